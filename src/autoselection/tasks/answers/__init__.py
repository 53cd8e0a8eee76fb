r"""The answer inside generated text, by rules that can be read, so that exact match does not hang on formatting.

What stands inside a reasoning block (``<think>…</think>``) is not read; a block that is never closed leaves no answer.
Where a text marks its answer, the mark decides, in this order: the last ``\boxed{…}`` or ``<answer>…</answer>``; a last
line that is nothing but a number, a letter, yes or no; the last clause behind "the answer is", "Answer:", "Antwort:",
"答案是" or "####" that holds an answer (a later one corrects an earlier one; "not A" takes A back); bold text of the last
line. Without a mark it is the last number, the last line that points to a letter, the last sentence that says yes or no,
or the last lines. Two answers at once ("A or B") are none, and so is a refusal. What could be read in two ways is not
read. Numbers and letters of other scripts are read as what they mean; mathematics is read by math-verify.

Text in, answer out, no random choice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from autoselection.tasks.answers.letters import extract_letter
from autoselection.tasks.answers.marks import gold_words
from autoselection.tasks.answers.numbers import (
    Expression,
    Number,
    extract_number,
    is_formula,
    is_number,
    number_matches,
    read_gold,
)
from autoselection.tasks.answers.plain import normalised
from autoselection.tasks.answers.short_text import extract_text, text_matches
from autoselection.tasks.answers.yes_no import extract_yes_no, gold_yes_no

__all__ = [
    "answers_match",
    "can_be_gold",
    "extract_letter",
    "extract_number",
    "extract_text",
    "extract_yes_no",
    "gold_yes_no",
    "kind_of",
]

AnswerKind = Literal["auto", "choice", "number", "yes_no", "text"]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def answers_match(
    generated: str,
    gold: str | Sequence[str],
    letters: str = "",
    *,
    choices: Sequence[str] = (),
    kind: AnswerKind = "auto",
) -> bool:
    """Return whether ``generated`` gives the answer ``gold``.

    Args:
        gold: the right answer, or several of which any is right.
        letters: the option letters of a multiple-choice item; empty for other items.
        choices: the texts of the options, so that a text that names an option by its words is understood.
        kind: how to read the answer. ``auto``: a letter if there are ``letters`` or the gold answer is one in brackets
            (``(B)``), a number if it is one or is mathematics, yes or no if it is that, else text.

    Raises:
        MissingExtraError: an answer is mathematics, and math-verify is not installed.
    """
    if not isinstance(gold, str):
        return any(answers_match(generated, one, letters, choices=choices, kind=kind) for one in gold)
    if kind == "auto":
        kind = kind_of(gold, letters)
        if kind == "number" and is_formula(gold) and text_matches(generated, gold):
            return True
    if kind == "choice":
        letter = extract_letter(gold, letters or LETTERS)
        return letter is not None and extract_letter(generated, letters or LETTERS, choices) == letter
    if kind == "number":
        return number_matches(generated, gold)
    gold = gold_words(gold)
    if kind == "yes_no":
        said = gold_yes_no(gold)
        return said is not None and extract_yes_no(generated) == said
    return text_matches(generated, gold)


def can_be_gold(gold: str, letters: str = "", *, kind: AnswerKind = "auto") -> bool:
    """Whether a gold answer is one that answers of ``kind`` can be compared with; no answer is right beside another one.

    Args:
        letters: as in :func:`answers_match`.
    """
    if kind == "choice":
        return extract_letter(gold, letters or LETTERS) is not None
    if kind == "number":
        return isinstance(read_gold(gold), (Number, Expression))
    return kind != "yes_no" or gold_yes_no(gold) is not None


def kind_of(gold: str, letters: str = "") -> AnswerKind:
    """How an answer is read that is marked ``auto``; true and false are text unless the task says ``yes_no``."""
    words = gold_words(gold)
    if letters or re.fullmatch(r"\([A-Z]\)", words.strip()):
        return "choice"
    if is_number(gold):
        return "number"
    return "yes_no" if normalised(words) in ("yes", "no") else "text"
