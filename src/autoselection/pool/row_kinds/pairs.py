"""Preference pairs: recognized by their columns, and their chosen side as a conversation.

======================  ==============================================================================================
prompt                  ``prompt`` (``question``, ``instruction`` with ``input``, ``query``): text or turns; or the turns in
                        front, in ``messages`` or ``conversations``; or an object of ``messages`` with ``tools`` and
                        ``system``; or none, where the sides are whole conversations
sides                   ``chosen`` and ``rejected``, also as ``chosen_response``, ``response_rejected``, ``preferred_output``,
                        ``non_preferred_output``, …: text, a turn, or turns
transcripts             texts such as "\\n\\nHuman: …\\n\\nAssistant: …", in a side or in the prompt
======================  ==============================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from typing import Any

from autoselection.pool.dialects.base import is_json, nested
from autoselection.pool.formats import history_turns, matching_formats
from autoselection.pool.json_reader import Record
from autoselection.pool.row_error import RowError
from autoselection.pool.row_kinds.base import SFT_ANYWAY, Folded, OtherRow, is_text, present
from autoselection.pool.tools import TOOL_FIELDS
from autoselection.pool.turns import ROLES, as_context, holds_turns, is_turn
from autoselection.pool.values import from_json, is_blank, is_missing, peeked

KIND = "preference pairs"
HINT = "`--from preference:chosen`, which takes the chosen side"
_GOOD = frozenset(("chosen", "preferred", "accepted", "better", "winning"))
_BAD = frozenset(("rejected", "dispreferred", "worse", "losing"))
#: What may be left of a side's name without the word that makes it one; others, such as a score or a model, are no texts.
_TEXTS = frozenset(
    (
        "",
        "response",
        "answer",
        "output",
        "completion",
        "text",
        "reply",
        "message",
        "messages",
        "conversation",
        "conversations",
    )
)
_PROMPTS = ("prompt", "question", "instruction", "query", "input")
_FRONTS = ("messages", "conversations", "conversation")
_TRANSCRIPT = re.compile(r"(?:\A|\n\n)\s*(Human|Assistant|User|H|A):", re.IGNORECASE)
_SPEAKERS = {"human": "user", "user": "user", "h": "user", "assistant": "assistant", "a": "assistant"}

_ANSWERERS = ("assistant", "gpt", "model", "bot", "chatbot", "ai")

Turns = list[dict[str, Any]]


@dataclass(frozen=True)
class Sides:
    """The two columns of a preference pair."""

    chosen: str
    rejected: str

    def hold(self, record: Record) -> bool:
        """Whether the row is a pair: both columns hold text or turns."""
        return _is_side(record.get(self.chosen)) and _is_side(record.get(self.rejected))


def sides_of(columns: Folded) -> Sides | None:
    """The columns of a pair among a row's columns, by folded name."""
    if {"response_j", "response_k"} <= columns.keys():  # of Stack Exchange: j has more votes
        return Sides(columns["response_j"], columns["response_k"])
    good: dict[str, str] = {}
    bad: dict[str, str] = {}
    for name, column in columns.items():
        words = name.split("_")
        negated = "non" in words or "not" in words or "dis" in words
        rest = "_".join(word for word in words if word not in _GOOD | _BAD | {"non", "not", "dis"})
        if rest in _TEXTS:
            if set(words) & _BAD or (negated and set(words) & _GOOD):
                bad.setdefault(rest, column)
            elif set(words) & _GOOD:
                good.setdefault(rest, column)
    both = [rest for rest in good if rest in bad]
    if both:
        return Sides(good[both[0]], bad[both[0]])
    return None


def pair_found(record: Record, columns: Folded, sides: Sides) -> OtherRow:
    """What is reported of a pair that is not taken."""
    prompts = [columns[name] for name in (*_PROMPTS, *_FRONTS) if name in columns and record.get(columns[name])]
    hint = f"{HINT}; {SFT_ANYWAY}" if matching_formats(record) else HINT
    return OtherRow(KIND, [*prompts[:2], sides.chosen, sides.rejected], hint)


def chosen_record(record: Record, columns: Folded, sides: Sides) -> Record:
    """The row with ``messages`` made of the chosen side; its other columns stay, the rejected side too, as one of them.

    Where the chosen side is a whole conversation, the prompt adds what of the system stands in front of it, and stays a
    column if the conversation begins otherwise.

    Raises:
        RowError: there is no prompt, or a part is neither text nor turns.
    """
    front, used = _front(record, columns)
    chosen = _turns(record[sides.chosen], "assistant", sides.chosen)
    others = {name: value for name, value in record.items() if name != sides.chosen}
    kept = {name: value for name, value in others.items() if name not in used} | _beside_turns(record, columns, used)
    if _is_whole(chosen):
        shared = _shared(chosen, record[sides.rejected], sides.rejected)
        turns = [*_system_of(front, chosen), *as_context(chosen[:shared]), *chosen[shared:]]
        if not _begins_with(turns, front) and not matching_formats(others):
            kept |= {name: record[name] for name in used}
    else:
        while front and _role(front[-1]) in _ANSWERERS:
            front.pop()  # an answer that stands where the sides do
        turns = [*as_context(front), *chosen]
    if not any(_canonical(turn) == "user" for turn in turns):
        raise RowError(
            f"the pair has no prompt: '{sides.chosen}' is an answer alone",
            "pair without a prompt",
            sides.chosen,
            f"a question in one of the columns {', '.join(map(repr, _PROMPTS))}",
        )
    return {**kept, "messages": turns}


def _system_of(front: Turns, chosen: Turns) -> Turns:
    """The turns of the system that a prompt begins with, if a whole conversation begins with none."""
    if _canonical(chosen[0]) == "system":
        return []
    return list(takewhile(lambda turn: _canonical(turn) == "system", front))


def _begins_with(turns: Turns, front: Turns) -> bool:
    """Whether a conversation begins with the turns of a prompt, whatever the system is told in front of them."""
    if front and _canonical(front[0]) != "system":
        turns = list(dropwhile(lambda turn: _canonical(turn) == "system", turns))
    return [*map(_said, turns[: len(front)])] == [*map(_said, front)]


def _said(turn: dict[str, Any]) -> tuple[str | None, Any]:
    content = turn.get("content", turn.get("value"))
    return _canonical(turn), content.strip() if isinstance(content, str) else content


def _beside_turns(record: Record, columns: Folded, used: Iterable[str]) -> Record:
    """What an object of ``messages`` holds besides them: tools and a system prompt of the row, the rest as its column."""
    found: Record = {}
    for column in used:
        value = _from_json(record[column], column)
        if not isinstance(value, dict) or "messages" not in value:
            continue
        rest = {name: held for name, held in value.items() if name != "messages" and not is_missing(held)}
        for names in (TOOL_FIELDS, ("system",)):
            if not present(record, columns, names):
                found |= {name: rest.pop(name) for name in names if name in rest}
        if rest:
            found[column] = rest
    return found


def _shared(chosen: Turns, rejected: Any, column: str) -> int:
    """How many turns of a whole conversation are the prompt of its pair: those that both sides begin with (count)."""
    try:
        other = _turns(rejected, "assistant", column)
    except RowError:  # the side that is not taken need not be readable
        other = []
    if not _is_whole(other):
        return len(chosen) - 1
    same = next((place for place, (one, two) in enumerate(zip(chosen, other, strict=False)) if one != two), None)
    return min(len(chosen), len(other)) - 1 if same is None else same


def _front(record: Record, columns: Folded) -> tuple[Turns, list[str]]:
    """The turns that both sides answer, and the columns that they come from."""
    for name in _FRONTS:  # whole turns say more than a prompt, which repeats one of them
        column = columns.get(name)
        if column is not None and not is_missing(record[column]) and record[column] not in ("", []):
            prompts = [columns[prompt] for prompt in _PROMPTS if prompt in columns]
            turns = nested(record, column) if is_json(record[column], "[") else record[column]
            return _turns(turns, "user", column), [column, *prompts]
    for name in _PROMPTS:
        column = columns.get(name)
        value = _from_json(record.get(column), column) if column is not None else None
        if column is None or is_missing(value) or value in ("", []):
            continue
        if isinstance(value, dict) and "messages" in value:
            return _turns(value["messages"], "user", column), [column]
        turns = _turns(value, "user", column)
        if name != "instruction":
            return turns, [column]
        extras = [
            columns[extra] for extra in ("input", "context") if extra in columns and is_text(record[columns[extra]])
        ]
        if extras and isinstance(value, str):
            turns = [{**turns[0], "content": f"{turns[0]['content']}\n{record[extras[0]]}"}]
        history = [columns["history"]] if "history" in columns else []
        earlier = [dict(turn) for name in history for turn in history_turns(record[name])]
        return [*earlier, *turns], [column, *extras[:1], *history]
    return [], []


def _is_whole(side: Turns) -> bool:
    """Whether a side is a whole conversation, and not only the answer to what is in front of it."""
    return any(_canonical(turn) in ("user", "system") for turn in side[:1])


def _turns(value: Any, role: str, column: str) -> Turns:
    """A prompt or a side as turns: text is one of ``role``, a transcript several."""
    value = _from_json(value, column)
    if isinstance(value, str):
        if is_blank(value):
            raise RowError(f"field '{column}' is missing or empty", "empty text", column)
        return transcript(value) or [{"role": role, "content": value}]
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list) or not value or not all(isinstance(turn, dict) for turn in value):
        raise RowError(f"field '{column}' is neither text nor a list of turns", "neither text nor turns", column)
    return list(value)


def transcript(text: str) -> Turns | None:
    """The turns of "Human: …\\n\\nAssistant: …"; None if a text is no such thing."""
    parts = _TRANSCRIPT.split(text)
    speakers = [_SPEAKERS[who.casefold()] for who in parts[1::2]]
    if not is_blank(parts[0]) or speakers[:1] != ["user"] or "assistant" not in speakers:
        return None
    said = [(role, words.strip()) for role, words in zip(speakers, parts[2::2], strict=True)]
    if len(said) > 1 and not said[-1][1]:  # a prompt ends where the answer begins
        said.pop()
    return [{"role": role, "content": words} for role, words in said]


def _from_json(value: Any, column: str) -> Any:
    """Turns, one turn or an object of ``messages`` that their container holds as text; other data is a text like any.

    Raises:
        RowError: what it holds has a key twice.
    """
    if not isinstance(value, str):
        return value
    found = peeked(value)
    given = found.get("messages") if isinstance(found, dict) else None
    held = holds_turns(found) or is_turn(found) or (isinstance(given, list) and bool(given) and is_turn(given[0]))
    return from_json(value, column) if held else value


def _is_side(value: Any) -> bool:
    if isinstance(value, str):
        return True
    return isinstance(value, (list, dict)) and bool(value)


def _role(turn: dict[str, Any]) -> str:
    role = turn.get("role") or turn.get("from")
    return role.strip().casefold() if isinstance(role, str) else ""


def _canonical(turn: dict[str, Any]) -> str | None:
    return ROLES.get(_role(turn))


#: Columns that hold one of two answers, without the letter or number that tells which.
_ARM = re.compile(
    r"(?P<name>response|answer|output|completion|conversation|reply|human_ref|summary)_?(?P<arm>[ab]|[012])|"
    r"(?P<first>model_[ab])_(?P<rest>response|answer|output)"
)
_VERDICTS = frozenset(
    (
        *("winner", "winner_model_a", "preference", "preferred", "better_response_id", "safer_response_id", "choice"),
        *("overall_preference", "label", "labels", "human_preference", "rating", "better", "choose"),
    )
)


def comparison(record: Record, columns: Folded) -> list[str]:
    """The columns of two answers that are compared, if the row has them and a verdict."""
    verdicts = [column for name, column in columns.items() if name in _VERDICTS and not is_missing(record[column])]
    arms: dict[str, list[str]] = {}
    for name, column in columns.items():
        found = _ARM.fullmatch(name)
        if found and _is_side(record[column]):
            arms.setdefault(found["name"] or found["rest"], []).append(column)
    two = next((found for found in arms.values() if len(found) >= 2), [])
    return [*two, verdicts[0]] if two and verdicts else []


def may_compare(names: Iterable[str]) -> bool:
    """Whether columns of these folded names could be a comparison."""
    return sum(_ARM.fullmatch(name) is not None for name in names) >= 2
