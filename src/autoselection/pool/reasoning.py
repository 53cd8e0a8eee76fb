"""Where an assistant's turn may have its reasoning, and what under such a name is none: text that its content holds too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from autoselection.marks import REASONING
from autoselection.pool.row_error import RowError
from autoselection.pool.values import is_blank, is_missing

#: Fields of a turn that may have its reasoning; the first that has some counts.
REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking", "thought")
#: Types of the parts of a content that are reasoning.
REASONING_PARTS = ("thinking", "reasoning")


def pop_reasoning(rest: dict[str, Any], found: str, content: str, ignored: Counter[str]) -> str:
    """The first reasoning of a turn, which is taken out of ``rest`` with those that say nothing else.

    Args:
        rest: the fields of the turn that were not read yet.
        found: the reasoning among the parts of its content.
        content: its text. What a field says of it once more is taken out too, and counted.
        ignored: counts what is not kept.
    """
    for name in REASONING_FIELDS:
        text = reasoning_text(rest.get(name))
        # Of the other names, settings of an API may be meant ({"effort": "high"}).
        if text is None and name == "reasoning_content" and not is_missing(rest.get(name)):
            raise RowError(f"{{turn}} has a '{name}' that is no text", "reasoning that is no text", name, "a string")
        if text and is_repeated(name, text, content, ignored):
            del rest[name]
        elif text is not None and text in ("", found or text):
            found = found or text
            del rest[name]
    return found


def is_repeated(name: str, text: str, content: str, ignored: Counter[str]) -> bool:
    """Whether the content holds a field's text too, between marks of reasoning or as what it begins with; it is counted then.

    SWE-agent writes as ``thought`` what an answer says before its call, in the words of the content. What is called
    ``reasoning_content`` was thought even where the answer begins with the same words.
    """
    text, content = text.strip(), content.strip()
    marked = (
        content[len(opening) :].partition(closing)
        for opening, closing in REASONING.items()
        if content.startswith(opening)
    )
    repeated = any(closed and inner.strip() == text for inner, closed, _ in marked)
    if name != "reasoning_content" and content.startswith(text):
        repeated = repeated or not content[len(text) :][:1].isalnum()  # no word is cut in two
    if repeated:
        ignored[f"{name} that the content holds too"] += 1
    return repeated


def reasoning_part(part: Mapping[str, Any]) -> str | None:
    """The reasoning that a part of a content is; None if it is none."""
    for name in (*REASONING_PARTS, "text", "content"):
        text = reasoning_text(part.get(name))
        if text:
            return text
    return None


def reasoning_text(value: Any) -> str | None:
    """Reasoning as a text, or as parts that are text; "" if it shows nothing, None if it is something else."""
    if isinstance(value, list) and value:
        texts = [
            part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None for part in value
        ]
        value = "".join(texts) if all(isinstance(text, str) for text in texts) else None  # type: ignore[arg-type]
    if not isinstance(value, str):
        return None
    return "" if is_blank(value) else value
