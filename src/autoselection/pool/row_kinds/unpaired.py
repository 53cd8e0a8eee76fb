"""Unpaired preferences (KTO): conversations with a label that says whether their answer is wanted.

``kto_tag`` is such a label whatever it holds. A column ``label`` is one where it holds truth values beside a conversation,
unless it is a class of the answer: if few different answers come again and again, each always with the same label, or all
answers are yes and no. Numbers and words (0, 2, "positive") are classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoselection.conversation import Message
from autoselection.pool.json_reader import Record
from autoselection.pool.row_kinds.base import SFT_ANYWAY, Folded, OtherRow, is_truth

KIND = "unpaired preferences, label false"
HINT = f"`--from kto:true`, which leaves these out and takes those labelled true; {SFT_ANYWAY}"
_TAGS = ("kto_tag", "kto_label", "is_desirable", "desirable")
_CLASSES = frozenset(("yes", "no", "true", "false", "y", "n", "0", "1"))
#: Rows with an answer that tell whether a label is a class.
_FEW = 4


def label_column(columns: Folded) -> tuple[str, bool] | None:
    """The column that may say whether an answer is wanted, and whether its name alone says so."""
    for name in _TAGS:
        if name in columns:
            return columns[name], True
    return (columns["label"], False) if "label" in columns else None


@dataclass(frozen=True)
class LabelEvidence:
    """What a file's first rows say of its column ``label``.

    Attributes:
        is_class: it says what the answer is.
        texts: its values are the words true and false, as tables without types hold truth values.
    """

    is_class: bool = False
    texts: bool = False


def label_evidence(labelled: Iterable[tuple[Any, str]], prompted: bool) -> LabelEvidence:
    """What first rows say.

    Args:
        labelled: the label and the answer of each row that has a label.
        prompted: the rows have ``prompt`` and ``completion``, as such data have where they come as plain text.
    """
    rows = list(labelled)
    labels = [label for label, _ in rows]
    texts = bool(rows) and prompted and all(isinstance(label, str) and is_truth(label) is not None for label in labels)
    by_answer: dict[str, set[str]] = {}
    for label, answer in rows:
        by_answer.setdefault(answer.strip().casefold(), set()).add(str(label).casefold())
    one_each = all(len(found) == 1 for found in by_answer.values())
    repeated = len(rows) >= _FEW and 2 * len(by_answer) <= len(rows)
    return LabelEvidence(bool(rows) and ((one_each and repeated) or set(by_answer) <= _CLASSES), texts)


def unwanted(
    record: Mapping[str, Any], column: str, sure: bool, evidence: LabelEvidence, *, told: bool = False
) -> OtherRow | None:
    """What is reported of a row whose answer is not wanted.

    Args:
        sure: the column's name alone says what it is.
        told: such rows are left out because the user said so.
    """
    value = record[column]
    if sure:
        wanted = is_truth(value)
    elif evidence.is_class or not (isinstance(value, bool) or (evidence.texts and isinstance(value, str))):
        wanted = None
    else:
        wanted = is_truth(value)
    if wanted is not False:
        return None
    return OtherRow(KIND, [column], HINT, where=f"its field '{column}' says that the answer is a bad one", told=told)


def answer_of(record: Record, columns: Folded) -> str:
    """The text of a row's answer, as far as it can be seen without reading the row; "" otherwise."""
    for name in ("completion", "response", "output", "answer"):
        if name in columns:
            return _text(record[columns[name]])
    for name in ("messages", "conversations"):
        if name in columns:
            return _text(record[columns[name]])
    return ""


def _text(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        value = value[-1].get("content", value[-1].get("value"))
    return value if isinstance(value, str) else ""


def said_by(messages: Sequence[Message], role: str) -> list[str]:
    """The contents of one role's turns."""
    return [message["content"] for message in messages if message["role"] == role]
