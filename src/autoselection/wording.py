"""Words that messages share."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def clipped(text: str, length: int = 80) -> str:
    """The beginning of a text, for messages."""
    return text if len(text) <= length else text[: length - 1] + "…"


def kind_of(value: object) -> str:
    """What a value of a YAML or JSON document is, for messages."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "keys and values" if isinstance(value, dict) else "a list" if isinstance(value, list) else "something else"


def ended(text: str) -> str:
    """A sentence with its end mark: a full stop, unless it has one."""
    return text if text.endswith((".", "?", "!", "…")) else f"{text}."


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest known name, or a list of the known ones."""
    names = sorted(known)
    close = get_close_matches(clipped(name), names, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(names)}."
