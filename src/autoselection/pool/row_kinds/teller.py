"""Tells what kind of row a row is: by itself, by what the first rows of its file say, or by why it cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoselection.conversation import Conversation
from autoselection.pool.columns import ColumnLayout
from autoselection.pool.dialects import OtherFields, dialects_of, unreadable
from autoselection.pool.formats import matching_formats
from autoselection.pool.json_reader import RawRow, Record
from autoselection.pool.row_error import RowError
from autoselection.pool.row_kinds import media, others, pairs, unpaired
from autoselection.pool.row_kinds.base import OtherRow, RowsFrom
from autoselection.pool.values import fold, is_missing

#: Share of a file's first rows with a placeholder from which on its placeholders count wherever they stand.
_MEDIA_SHARE = 0.1
#: Words in the names of columns that rate a row's answer.
_RATINGS = ("score", "reward", "rating", "helpfulness", "correctness", "rank")


@dataclass(frozen=True)
class _Columns:
    """What the names of a row's columns say; rows of one file share a few of these."""

    folded: Mapping[str, str]
    sides: pairs.Sides | None
    media: tuple[tuple[str, str], ...]
    label: tuple[str, bool] | None
    other: bool
    answers: tuple[str, ...]  # columns of answers; text in one of them settles what the row is

    @property
    def plain(self) -> bool:
        """Whether rows with these columns are what they seem."""
        return self.sides is None and not self.media and not self.other


@dataclass(frozen=True)
class FileEvidence:
    """What the first rows of a file say.

    Attributes:
        label: of its column ``label``.
        media: its rows have media, so that placeholders count wherever they stand.
        remarks: what people should know of it.
    """

    label: unpaired.LabelEvidence = field(default_factory=unpaired.LabelEvidence)
    media: bool = False
    remarks: tuple[str, ...] = ()


class Teller:
    """Tells rows apart.

    Args:
        rows_from: what rows are taken for: ``auto`` tells their kind, ``sft`` takes all for conversations,
            ``preference:chosen`` makes conversations of preference pairs, ``kto:true`` leaves out unwanted answers.
        mapped: columns of texts that the user named: rows that have them are not recognized by other columns.
    """

    def __init__(self, rows_from: RowsFrom = "auto", mapped: Iterable[str] = ()) -> None:
        self.rows_from = rows_from
        self._mapped = frozenset(map(fold, mapped))
        self._known: dict[tuple[str, ...], _Columns] = {}

    def rows(
        self, rows: Iterable[RawRow], described: bool = False, fields: OtherFields | None = None
    ) -> Iterator[RawRow]:
        """The rows; those of another kind become bad ones, and chosen sides conversations.

        Args:
            described: a description beside the file says what its columns are.
            fields: those by which the description says of what kind a row is.
        """
        if self.rows_from == "sft":
            yield from rows
            return
        for line, record, problem in rows:
            if record is None or ((columns := self._columns(record)).plain and fields is None):
                yield line, record, problem
                continue
            try:
                if fields is not None and (other := self._said(record, fields)) is not None:
                    raise other
                yield line, self._told(record, columns, described), None
            except RowError as error:
                yield line, None, error

    def _said(self, record: Record, fields: OtherFields) -> OtherRow | None:
        """What a description's fields say of a row, if it is of another kind."""
        for medium, column in fields.media:
            if not is_missing(value := record.get(column)) and value not in ("", [], "[]", {}):
                return OtherRow(media.KINDS[medium], [column], media.HINT)
        if fields.sides is not None and self.rows_from != "preference:chosen":
            return OtherRow(pairs.KIND, fields.sides, pairs.HINT)
        if fields.label is not None and fields.label in record:
            told = self.rows_from == "kto:true"
            return unpaired.unwanted(record, fields.label, True, unpaired.LabelEvidence(), told=told)
        return None

    def _told(self, record: Record, columns: _Columns, described: bool) -> Record:
        if columns.media and (found := media.media_of(record, columns.media)) is not None:
            raise found
        if described:
            return record
        if columns.sides is not None and columns.sides.hold(record):
            if self.rows_from == "preference:chosen":
                return pairs.chosen_record(record, columns.folded, columns.sides)
            raise pairs.pair_found(record, columns.folded, columns.sides)
        if not columns.other:
            return record
        for column in columns.answers:
            if _is_answered(record[column]):
                return record
        found = others.other_of(record, columns.folded)
        if found is not None and not dialects_of([record]) and unreadable([record]) is None:
            raise found
        return record

    def evidence(self, records: Sequence[Record]) -> FileEvidence:
        """What the first rows of a file say, those of other kinds left out."""
        labelled: list[tuple[Any, str]] = []
        prompted, pictured = False, 0
        for record in records:
            columns = self._columns(record)
            if columns.label is not None and not is_missing(label := record[columns.label[0]]):
                labelled.append((label, unpaired.answer_of(record, columns.folded)))
                prompted = prompted or {"prompt", "completion"} <= columns.folded.keys()
            pictured += _has_placeholder(record)
        share = pictured / max(len(records), 1)
        remark = self._rated(records)
        return FileEvidence(
            unpaired.label_evidence(labelled, prompted), share >= _MEDIA_SHARE, (remark,) if remark else ()
        )

    def check(self, record: Record, conversation: Conversation, ignored: Counter[str], evidence: FileEvidence) -> None:
        """Refuse a row that was read, but is no conversation to learn from.

        Raises:
            OtherRow: its answer is not wanted, or it speaks of what is not shown.
        """
        if self.rows_from == "sft":
            return
        columns = self._columns(record)
        if columns.label is not None:
            column, sure = columns.label
            told = self.rows_from == "kto:true"
            found = unpaired.unwanted(record, column, sure, evidence.label, told=told)
            if found is not None:
                raise found
        if ignored and any(media.media_columns({name.rpartition(".")[2]: name}) for name in ignored):
            for name, value in record.items():
                if found := media.media_in_turns(value, name):
                    raise found
        for turn in conversation.messages:
            if turn["role"] == "user" and ("<" in turn["content"] or "[IMG" in turn["content"]):
                _check_placeholders(record, conversation, evidence)
                return

    def explained(self, record: Record, layout: ColumnLayout, error: RowError) -> RowError:
        """A better reason why a row cannot be read, if there is one: it has media, or is written in another format."""
        if self.rows_from != "sft":
            for name, value in record.items():
                if found := media.media_in_turns(value, name):
                    return found
        if layout.exclusive or layout.dialect is not None:
            return error
        formats = matching_formats(layout.view(record, layout.plan(record)))
        if not formats or layout.format in formats:
            return error
        return RowError(
            f"the row has another format ({min(formats)}) than its file ({layout.format}): {error}",
            "another format",
            error.field,
            "rows of each format in a file of their own",
        )

    def _columns(self, record: Record) -> _Columns:
        names = tuple(record)
        found = self._known.get(names)
        if found is None:
            if len(self._known) > 1000:  # rows whose keys are data
                self._known.clear()
            found = self._known[names] = self._look(names)
        return found

    def _look(self, names: Sequence[str]) -> _Columns:
        folded = {fold(name): name for name in reversed(names)}
        mapped = bool(self._mapped) and self._mapped <= folded.keys()
        other = not mapped and (others.may_be_other(folded) or pairs.may_compare(folded))
        label = None if mapped and "kto_tag" not in folded else unpaired.label_column(folded)
        sides = None if mapped else pairs.sides_of(folded)
        # With options an answer may be a letter, and without a question it answers nothing.
        unclear = not others.OPTIONS.isdisjoint(folded) or not others.is_asked(folded)
        answers = () if unclear else tuple(folded[name] for name in others.ANSWERS if name in folded)
        return _Columns(folded, sides, media.media_columns(folded), label, other, answers)

    def _rated(self, records: Sequence[Record]) -> str | None:
        """A remark on rows that rate one of several answers to the same prompt."""
        prompts: Counter[str] = Counter()
        rating = None
        for record in records:
            folded = self._columns(record).folded
            names = [folded[name] for name in ("prompt", "question", "instruction") if name in folded]
            if names and isinstance(record[names[0]], str):
                prompts[record[names[0]]] += 1
            rated = [name for key, name in folded.items() if any(word in key.split("_") for word in _RATINGS)]
            numbers = [
                name for name in rated if isinstance(record[name], (int, float)) and not isinstance(record[name], bool)
            ]
            rating = rating or next(iter(numbers), None)
        shared = sum(count for count in prompts.values() if count > 1)
        if rating is None or 2 * shared < len(records) or len(records) < 2:
            return None
        return (
            f"several rows answer the same prompt and are rated ('{rating}'), as data of reward models are: all of them were "
            "taken, poor answers too; keep the best rows of each prompt beforehand if only good ones are to be learnt"
        )


def _check_placeholders(record: Record, conversation: Conversation, evidence: FileEvidence) -> None:
    asked, answers = (unpaired.said_by(conversation.messages, role) for role in ("user", "assistant"))
    what = media.placeholder(asked, answers, evidence.media)
    if what is not None:
        medium = media.KINDS[media.medium_of_placeholder(what)]
        where = media.place_of(record, what)
        raise OtherRow(medium, (where,), media.HINT, where=f"a question has the placeholder {what!r}")


def _is_answered(value: Any) -> bool:
    """Whether a value is sure to hold an answer: text, or turns of which the last is one. What is not sure is looked at."""
    if isinstance(value, str):
        return value != ""
    last = value[-1] if isinstance(value, list) and value else None
    return isinstance(last, dict) and (last.get("role") or last.get("from")) in ("assistant", "gpt")


def _has_placeholder(record: Record) -> bool:
    """Whether a row's texts have a placeholder that stands like one."""
    texts: list[str] = []
    for value in record.values():
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, list):
            for turn in value:
                content = turn.get("content", turn.get("value")) if isinstance(turn, dict) else None
                texts += [content] if isinstance(content, str) else []
    return media.placeholder(texts, (), False) is not None
