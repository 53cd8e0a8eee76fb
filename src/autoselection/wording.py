"""Words that messages share."""

from __future__ import annotations

import math
import os
import re
import shlex
from bisect import bisect_left
from collections.abc import Iterable
from difflib import get_close_matches

from autoselection.errors import ConfigError

#: Of the names of one kind: those that a wrong one is compared with, those that are listed, and how long the one is shown
#: that may be meant.
_COMPARED, _LISTED, _LONGEST = 2000, 40, 200
_LOGIN = re.compile(r"(?<=://)[^/\n]*@")


def clipped(text: str, length: int = 80) -> str:
    """The beginning of a text, for messages."""
    return text if len(text) <= length else text[: length - 1] + "…"


def without_login(text: str) -> str:
    """A text without the users and passwords of addresses in it."""
    return _LOGIN.sub("", text)


def command_line(*words: object) -> str:
    """Words of a command as they are typed in this system's shell, in quotes where they need them."""
    texts = [str(word) for word in words]
    if os.name != "nt":
        return shlex.join(texts)
    from subprocess import list2cmdline  # here, as it is slow to import

    return list2cmdline(texts)


def duration(seconds: float) -> str:
    """A time (seconds) for people, in the one or two units that matter: ``4.2 s``, ``12 min``, ``3 h 20 min``."""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


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
    # A pool may have a source for each row: comparing takes long then, and what is meant mostly begins alike.
    place = bisect_left(names, name)
    near = names[max(0, place - _COMPARED // 2) : place + _COMPARED // 2] if len(names) > _COMPARED else names
    close = get_close_matches(clipped(name), near, n=1)
    if close:
        return f"; did you mean '{clipped(close[0], _LONGEST)}'?"
    shown = [clipped(each) for each in names[:_LISTED]]
    more = f" and {len(names) - len(shown):,} more" if len(names) > len(shown) else ""
    return f"; known: {', '.join(shown)}{more}."


def named_numbers(text: str, option: str, form: str, example: str, *, zero: bool = True) -> dict[str, float]:
    """What ``NAME=NUMBER,…`` says; blanks around names and numbers, and commas too many, mean nothing.

    Args:
        option: where it stands, for messages; as are ``form`` ("COLUMN=WEIGHT") and ``example``.
        zero: 0 is a number that may stand there.

    Raises:
        ConfigError: something else stands there, a number below 0 or none that is finite, or a name twice.
    """
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, sign, value = part.rpartition("=")
        name = name.strip()
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not sign or not name or not (number > 0 or (zero and number == 0)) or number == math.inf:
            raise ConfigError(
                f"{option}: '{clipped(part)}' is not {form}, with a number {'of 0 or more' if zero else 'above 0'}, such as {example}."
            )
        if name in found:
            raise ConfigError(f"{option}: '{clipped(name)}' stands there twice.")
        found[name] = number
    return found
