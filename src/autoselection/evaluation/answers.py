"""The answer inside generated text, by three small rules, so that exact match does not hang on formatting."""

from __future__ import annotations

import re
from decimal import Decimal

# 1,234.5 / -3 / $12; a minus counts only where no word or digit stands in front of it ("5-3" ends in 3).
_NUMBER = re.compile(r"(?<![\w.])-?\$?\d+(?:,\d{3})*(?:\.\d+)?|(?<=\D)\d+(?:\.\d+)?")
_NUMERIC = re.compile(r"-?\$?\d+(?:,\d{3})*(?:\.\d+)?")
_SPACES = re.compile(r"\s+")


def answers_match(generated: str, gold: str, letters: str = "") -> bool:
    """Return whether ``generated`` ends in the answer ``gold``.

    - with ``letters`` (a multiple-choice item), the letter that the text names: as its first word, or after the last
      "answer is";
    - a number: the last number of the text, thousands separators, currency and trailing zeros aside;
    - anything else: the last lines of the text, as many as the gold answer has, spaces, letter case and a final full
      stop aside.
    """
    if letters:
        return extract_letter(generated, letters) == gold
    if _NUMERIC.fullmatch(gold.strip()):
        return extract_number(generated) == extract_number(gold)
    lines = [line for line in generated.strip().split("\n") if line.strip()]
    wanted = [line for line in gold.strip().split("\n") if line.strip()]
    return [_normalise(line) for line in lines[-len(wanted) :]] == [_normalise(line) for line in wanted]


def extract_letter(text: str, letters: str) -> str | None:
    """The option letter that ``text`` names, or None."""
    last = re.findall(rf"answer\s*(?:is|:)?\s*\(?([{letters}])\b", text, flags=re.IGNORECASE)
    if last:
        return str(last[-1]).upper()
    for line in reversed([line for line in text.split("\n") if line.strip()]):
        first = re.match(rf"\W*([{letters}])\b", line)
        if first:
            return first.group(1)
    return None


def extract_number(text: str) -> Decimal | None:
    """The last number in ``text``, or None."""
    found = _NUMBER.findall(text)
    return Decimal(found[-1].replace(",", "").replace("$", "")).normalize() if found else None


def _normalise(line: str) -> str:
    return _SPACES.sub(" ", line.strip()).rstrip(".").casefold()
