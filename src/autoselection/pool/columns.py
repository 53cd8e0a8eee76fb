"""The user's own column names, and the row format they make.

A file's columns are recognized by the names that ``formats`` knows, whatever their case; else by other usual names (a
question's pair, a conversation); else by the map that the user gives. What is not recognized is refused with the columns
that were found and, where there is a likely reading, with the command for it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from autoselection.conversation import Conversation, Message
from autoselection.errors import ConfigError, PoolError
from autoselection.pool import formats
from autoselection.pool.column_advice import OPTIONS, advice, is_conversation
from autoselection.pool.column_choice import (
    answer_beside,
    as_map,
    completion_of,
    rival_of,
    turns_first,
    unanswered_shares,
    unread_answer,
    unread_reasoning,
    whole_reading,
)
from autoselection.pool.dialects import DIALECTS, Dialect, dialects_of, unreadable
from autoselection.pool.formats import RowFormat
from autoselection.pool.json_reader import Record
from autoselection.pool.row_error import RowError
from autoselection.pool.tools import TOOL_FIELDS
from autoselection.pool.turns import Reading, raw_turns
from autoselection.pool.values import field_list, fold, is_blank, is_missing, peeked

ColumnRole = Literal[
    "prompt", "input", "response", "reasoning", "system", "history", "messages", "tools", "source", "id"
]  # fmt: skip
ROLES: tuple[ColumnRole, ...] = get_args(ColumnRole)

#: Names of the fields that ``formats`` reads.
FIELDS = (
    *("messages", "conversations", "system", "instruction", "input", "context", "output", "response", "history"),
    *("prompt", "completion", "question", "answer", "choices", "options", "reasoning_content", "system_prompt"),
)
#: Other usual names of a prompt and its response. A pair counts only where no format of ``formats`` fits.
PAIRS = (
    *(
        ("query", "response"),
        ("query", "answer"),
        ("query", "output"),
        ("question", "response"),
        ("question", "output"),
    ),
    *(
        ("question", "completion"),
        ("question", "solution"),
        ("prompt", "answer"),
        ("prompt", "output"),
        ("prompt", "reply"),
    ),
    *(("input", "output"), ("input", "response"), ("input", "answer"), ("input", "completion"), ("input", "target")),
    *(("instruction", "answer"), ("instruction", "completion"), ("problem", "solution"), ("user", "assistant")),
    *(("human", "assistant"), ("human", "gpt"), ("human", "bot"), ("user", "bot"), ("request", "response")),
)
#: Other usual names of a conversation: lists of turns.
CONVERSATIONS = ("conversation", "dialogue", "dialog", "dialogues", "dialogs", "chat", "turns", "message")
#: Columns of the place where a row was read, which exports write: whoever reads such a file again has decided what its rows are.
PLACE_COLUMNS = ("_file", "_line")
#: The fields of whole conversations, by format.
_TURNS_FIELDS: Mapping[str, str] = {"messages": "messages", "sharegpt": "conversations"}
#: What a map names beside a conversation's turns and its answer, as formats read it.
_BESIDE_TURNS: Mapping[str, str] = {"reasoning": "reasoning_content", "system": "system"}
#: Share of a file's first rows that tells its format where some are written in another.
_MOST = 0.9
#: Formats' names of the fields that a map fills.
_PROMPTED: Mapping[str, str] = {
    "prompt": "prompt", "response": "completion", "reasoning": "reasoning_content", "system": "system", "tools": "tools"
}  # fmt: skip
_ALPACA: Mapping[str, str] = {
    "prompt": "instruction", "input": "input", "response": "output", "system": "system", "history": "history",
    "reasoning": "reasoning_content", "tools": "tools",
}  # fmt: skip
_CHAT: Mapping[str, str] = {"messages": "messages", "system": "system", "tools": "tools"}

_MAP_ENTRY = re.compile(rf",(?=(?:{'|'.join(ROLES)})=)")


def parse_map(text: str) -> dict[str, str]:
    """``prompt=COL,response=COL`` as a dictionary; a column's name may hold commas.

    Raises:
        ConfigError: an entry has no '=', or a role is unknown or given twice.
    """
    found: dict[str, str] = {}
    for entry in _MAP_ENTRY.split(text):
        role, separator, column = entry.partition("=")
        if not separator or role not in ROLES or not column:
            raise ConfigError(f"--map {text}: expected ROLE=COLUMN with commas between; roles are {', '.join(ROLES)}.")
        if role in found:
            raise ConfigError(f"--map {text}: '{role}' is given twice.")
        found[role] = column
    return found


def check_map(columns: Iterable[str]) -> None:
    """Refuse a map that makes no rows.

    Raises:
        ValueError: neither a conversation nor a prompt and a response are named, or both are.
    """
    roles = set(columns) - {"source", "id"}
    if not roles:
        return
    if "messages" in roles:
        if roles - {"messages", "system", "tools"}:
            raise ValueError(
                "'messages' holds whole conversations: no 'prompt', 'input', 'response', 'reasoning' or 'history' besides"
            )
    elif not {"prompt", "response"} <= roles:
        raise ValueError("name the columns of 'prompt' and 'response', or that of 'messages'")


@dataclass
class ColumnLayout:
    """How the rows of one file are read.

    Attributes:
        format: row format.
        renamed: from a column's name to the name that ``formats`` reads; only these columns are read if
            ``exclusive``, else those that have that name besides.
        exclusive: the columns were named by the user: none but these are text.
        id_field: column of the row's id, as wanted.
        source_field: column of the row's source, as wanted.
        dialect: what the rows are written in, if not in the format itself.
        told: the first rows told the format: a later row of a shape akin to it is read as what it is.
        unanswered: what they tell of columns beside their turns, see ``unanswered_shares``.
        remarks: what people should know of the choice.
        read_as: what the last row was read as.
    """

    format: RowFormat
    renamed: Mapping[str, str] = field(default_factory=dict)
    exclusive: bool = False
    id_field: str = "id"
    source_field: str = "source"
    dialect: Dialect | None = None
    told: bool = False
    unanswered: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    read_as: str = ""
    _plans: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)

    def plan(self, record: Record) -> dict[str, str]:
        """From the names that are read to the columns of ``record``, where they differ or only some are read.

        The columns of its id and source, where they are spelled otherwise than wanted, are under ``@id`` and ``@source``.
        """
        names = tuple(record)
        plan = self._plans.get(names)
        if plan is None:
            plan = self._plans[names] = self._make_plan(names)
            if len(self._plans) > 1000:  # rows whose keys are data
                self._plans.clear()
        return plan

    def _make_plan(self, names: Sequence[str]) -> dict[str, str]:
        folded: dict[str, list[str]] = {}
        for name in names:
            folded.setdefault(fold(name), []).append(name)
        plan: dict[str, str] = {}
        for own, wanted in self.renamed.items():
            column = _only(folded, own, names)
            if column is not None or self.exclusive:
                plan[wanted] = column or own
        if not self.exclusive:
            for name in FIELDS:
                if name not in names and name not in plan and (column := _only(folded, name, names)):
                    plan[name] = column
        own_names = bool(plan)
        # Beside the columns that a map names, too: without them the row's calls would be to nothing.
        for name in TOOL_FIELDS if "tools" not in plan else ():
            if (column := _only(folded, name, names)) and (self.exclusive or column != name):
                plan[name] = column
        for place, name in (("id", self.id_field), ("source", self.source_field)):
            # A table whose texts were always read keeps the ids that it always had.
            if name not in names and (own_names or name != place) and (column := _only(folded, name, names)):
                plan[f"@{place}"] = column
        return plan

    @property
    def name(self) -> str:
        """The row format, for people."""
        return self.format if self.dialect is None else self.dialect.name

    def conversation_of(
        self, record: Record, plan: Mapping[str, str], reading: Reading
    ) -> tuple[Conversation, set[str]]:
        """The row's conversation, and the columns that it is made of.

        Raises:
            RowError: see ``formats.convert``; in the words of the row's own columns.
        """
        view = self.view(record, plan)
        try:
            return self._read(self.format, self.dialect, view, plan, reading)
        except RowError as error:
            problem = error
        for row_format, dialect in self._akin(view):
            reading.ignored.clear()
            try:
                return self._read(row_format, dialect, view, plan, reading)
            except RowError as error:
                problem = error
        if (names := self._named_otherwise(record)) is not None:
            reading.ignored.clear()
            plan = {**plan, **names}
            found = self._read(self.format, None, self.view(record, plan), plan, reading)
            self.read_as = f"{self.format} ({', '.join(names.values())})"
            return found
        raise problem

    def _read(
        self, row_format: RowFormat, dialect: Dialect | None, view: Record, plan: Mapping[str, str], reading: Reading
    ) -> tuple[Conversation, set[str]]:
        prompted = dialect is None and not self.exclusive and _lacks_system(view)
        if prompted:
            view = {**view, "system": view["system_prompt"]}
        given, names = view, plan
        if dialect is not None:
            turns_field = dialect.turns_field(view)
            names = {**plan, "messages": turns_field}
            used = dialect.used.difference({dialect.field, *dialect.aliases} - {turns_field})
            view = dialect.rewrite(view, reading.ignored)
        read_as: str = row_format if dialect is None else dialect.name
        if (beside := self._beside(row_format, dialect, given, view)) is not None:
            turns, answer = (names.get(name, name) for name in beside)
            names = {**names, "prompt": turns, "completion": answer}
            read_as = f"prompt-completion ({turns}, {answer})"
        reading.columns = names
        try:
            if beside is not None:
                row_format, view = "prompt-completion", _continued(given, view, *beside)
            conversation, read = formats.convert(row_format, view, reading)
        except RowError as error:
            if dialect is not None:
                names = {**names, **dialect.named}
            system = "system_prompt" if prompted else "system" if dialect is None else dialect.system_field(given)
            raise own_words(error, {**names, "system": plan.get(system, system)}) from error
        if dialect is None:
            used = read
        elif beside is not None:
            used |= read - {"prompt"}
        if prompted:
            used = frozenset({*used, "system_prompt"})
        self.read_as = read_as
        return conversation, self.columns_of(used, plan if beside is None else names)

    def _beside(
        self, row_format: RowFormat, dialect: Dialect | None, given: Record, view: Record
    ) -> tuple[str, str] | None:
        """The fields of a row's turns and of the answer beside them, where the turns end with a question; else None.

        Args:
            given: the row as it has it.
            view: the row in the fields of the format.
        """
        name = _TURNS_FIELDS.get(row_format)
        if name is None or not self.told or (answer := answer_beside(given, view.get(name), self.unanswered)) is None:
            return None
        return None if dialect is None and _is_log(row_format, given) else (name, answer)

    def turns_in(self, records: Iterable[Record]) -> list[tuple[Record, Any]]:
        """The rows of whole turns by the names that ``formats`` reads, without what their dialect reads, each with its turns."""
        name = _TURNS_FIELDS.get(self.format)
        rows: list[tuple[Record, Any]] = []
        if name is None:
            return rows
        for record in records:
            view = self.view(record, self.plan(record))
            if self.dialect is None and not _is_log(self.format, view):
                rows.append((view, view.get(name)))
            elif self.dialect is not None and self.dialect.fits(view):
                with suppress(RowError):
                    turns = self.dialect.rewrite(view, Counter()).get(name)
                    rows.append(({own: view[own] for own in view.keys() - self.dialect.used}, turns))
        return rows

    def _akin(self, view: Record) -> Iterable[tuple[RowFormat, Dialect | None]]:
        """What else a row may be that the file's format cannot read: the first rows do not show all shapes."""
        if not self.told:
            return
        if self.dialect is None:
            for dialect in dialects_of([view]):
                if self.format in dialect.over:
                    yield dialect.base, dialect
        elif not self.dialect.complete and not self.dialect.fits(view):
            for row_format in sorted(formats.matching_formats(view) & self.dialect.over):
                yield row_format, None

    def _named_otherwise(self, record: Record) -> dict[str, str] | None:
        """The columns of a row that has the file's format under other usual names; None unless nothing else of it is there.

        A row with a text of the format itself beside them, or with an empty column for its answer, is not whole: what has
        another name may be something that is said of it.
        """
        readings = _usual_readings([record]) if self.told and self.dialect is None else []
        if len(readings) != 1 or readings[0][0] != self.format:
            return None
        columns = {fold(name): name for name in record}
        renamed = {wanted: columns[own] for own, wanted in readings[0][1].items()}
        used = set(renamed.values())
        own = [tuple(self.renamed)] if self.renamed else []  # what the file's other rows have
        for first, *others in (*formats.NEEDED[self.format], *own):
            unused = {columns[name] for name in (first, *others) if name in columns} - used
            if any(not is_missing(record[name]) for name in unused) or (unused and columns.get(first) in used):
                return None
        names = _ALPACA if self.format == "alpaca" else _PROMPTED
        pair: dict[str, str] = {role: renamed[name] for role, name in names.items() if name in renamed}
        return None if rival_of([record], pair) else renamed

    def roles(self, records: Iterable[Record]) -> dict[str, str]:
        """The columns of texts by their roles in a map; none where rows hold whole turns, or are written in a dialect."""
        found: dict[str, str] = {}
        for record in records if self.dialect is None else ():
            plan = self.plan(record)
            view = self.view(record, plan)
            fields = formats.text_fields(self.format, view)
            if (beside := self._beside(self.format, None, view, view)) is not None:
                fields = {"prompt": beside[0], "response": beside[1]}
                fields |= {role: name for role, name in _BESIDE_TURNS.items() if not is_missing(view.get(name))}
            if fields and not self.exclusive and _lacks_system(view):
                fields["system"] = "system_prompt"
            found = {**{role: plan.get(name, name) for role, name in fields.items()}, **found}
        return found

    def view(self, record: Record, plan: Mapping[str, str]) -> Record:
        """The row as ``formats`` reads it."""
        if not plan and not self.exclusive:
            return record
        view = {} if self.exclusive else dict(record)
        for wanted, column in plan.items():
            view[wanted] = record.get(column)
        return view

    def columns_of(self, used: Iterable[str], plan: Mapping[str, str]) -> set[str]:
        """The columns that the names ``used`` by ``formats`` stand for."""
        if not plan and not self.exclusive:
            return set(used)
        return (
            {plan[name] for name in used if name in plan} if self.exclusive else {plan.get(name, name) for name in used}
        )

    def id_of(self, record: Record, plan: Mapping[str, str]) -> tuple[str, Any]:
        """Name and value of the row's id."""
        column = plan.get("@id", self.id_field)
        return column, record.get(column)

    def source_of(self, record: Record, plan: Mapping[str, str]) -> tuple[str, Any]:
        """Name and value of the row's source."""
        column = plan.get("@source", self.source_field)
        return column, record.get(column)


def _is_log(row_format: RowFormat, row: Record) -> bool:
    """Whether a row that fits a format is written in a dialect: the answer of a log is not the text that it stands in."""
    return any(row_format in dialect.over for dialect in dialects_of([row]))


def _continued(given: Record, view: Record, turns: str, answer: str) -> Record:
    """A row of turns and of the answer beside them as one of a prompt and a completion."""
    return {
        **view,
        "prompt": raw_turns(view[turns], turns),
        "completion": completion_of(given[answer]),
        "reasoning_content": given.get("reasoning_content"),
    }


def _lacks_system(row: Record) -> bool:
    """Whether the row has its system prompt in a column of another name, and nowhere else."""
    prompt = row.get("system_prompt")
    if not isinstance(prompt, str) or is_blank(prompt) or not is_missing(row.get("system")):
        return False
    for name in ("messages", "conversations"):
        turns = peeked(row.get(name))
        if not is_missing(turns):
            first = turns[0] if isinstance(turns, list) and turns else None
            return isinstance(first, dict) and "system" not in (first.get("role"), first.get("from"))
    return True


def _only(folded: Mapping[str, list[str]], name: str, names: Sequence[str]) -> str | None:
    """The column of this name, whatever its case and joints; None if there is none, or several and none of exactly this name."""
    found = folded.get(fold(name), [])
    return name if name in names else found[0] if len(found) == 1 else None


def own_words(error: RowError, plan: Mapping[str, str]) -> RowError:
    """A reason for a bad row in terms of the columns that the file has."""
    if not plan:
        return error
    reason = re.sub(r"(field|of) '([^']*)'", lambda match: f"{match[1]} '{plan.get(match[2], match[2])}'", str(error))
    name, *rest = re.split(r"(?=[.\[])", error.field, maxsplit=1)
    return RowError(reason, error.kind, plan.get(name, name) + "".join(rest), error.hint)


@dataclass(frozen=True)
class LayoutRequest:
    """What the user said about columns.

    Attributes:
        format: row format, or ``auto``.
        map: from roles to columns.
        id_field: column of the row's id.
        source_field: column of the row's source.
    """

    format: str
    map: Mapping[str, str]
    id_field: str
    source_field: str


def layout_of(
    records: Sequence[Record],
    path: Path,
    request: LayoutRequest,
    command: str,
    only_file: bool,
    described: Dialect | RowFormat | None = None,
) -> ColumnLayout:
    """How to read a file whose first rows are ``records``.

    Args:
        command: what reads all files as they were asked for, without a map: for the message.
        only_file: no other file is read.
        described: what a description beside the file says that its rows are written in.

    Raises:
        PoolError: the columns cannot be recognized, or a mapped one does not exist.
    """
    present = {fold(column) for record in records for column in record}
    exported = all(name in record for record in records for name in PLACE_COLUMNS)

    def layout(
        row_format: str | Dialect, renamed: Mapping[str, str], exclusive: bool = False, told: bool = False
    ) -> ColumnLayout:
        def own(role: str, usual: str) -> str:
            named = request.map.get(role, usual)  # a file that has none of the mapped columns is read as if without map
            return named if exclusive or only_file or fold(named) in present else usual

        id_field, source_field = own("id", request.id_field), own("source", request.source_field)
        dialect = row_format if isinstance(row_format, Dialect) else DIALECTS.get(row_format)
        base = row_format if dialect is None else dialect.base
        found = ColumnLayout(base, renamed, exclusive, id_field, source_field, dialect, told)  # type: ignore[arg-type]
        found.unanswered = unanswered_shares(found.turns_in(records)) if told else {}
        return found

    def told(row_format: str, renamed: Mapping[str, str], *remarks: str) -> ColumnLayout:
        """The layout that the first rows tell, unless a likelier answer stands beside the one that it would take."""
        found = layout(row_format, renamed, told=True)
        columns = found.roles(records)
        if not exported and (rival := rival_of(records, columns)) is not None:
            said, likelier, bare = rival
            raise PoolError(
                f"{path} has {said}: name what is to be learnt (in a configuration: pool.ingest.map), "
                f"`{command} --map {likelier}` or `{command} --map {bare}`."
            )
        names = {wanted: column for record in records for wanted, column in found.plan(record).items()}
        own = (
            unread_reasoning(records, columns, command),
            unread_answer(found.turns_in(records), found.unanswered, names),
        )
        found.remarks = (*remarks, *(remark for remark in own if remark is not None))
        return found

    if described is not None:
        return layout(described, {})

    text_map = {role: column for role, column in request.map.items() if role not in ("id", "source")}
    if text_map and _has_mapped(records, path, text_map, only_file):
        names = _CHAT if "messages" in text_map else _ALPACA if {"input", "history"} & set(text_map) else _PROMPTED
        row_format = "messages" if names is _CHAT else "alpaca" if names is _ALPACA else "prompt-completion"
        return layout(row_format, {column: names[role] for role, column in text_map.items()}, exclusive=True)
    plain = layout("messages", {})
    views = [plain.view(record, plain.plan(record)) for record in records]
    found = set(chain.from_iterable(map(formats.matching_formats, views)))
    if request.format in DIALECTS:
        return layout(request.format, {})
    if request.format != "auto":
        readings = [] if request.format in found else _usual_readings(records)
        renamed = next((renamed for row_format, renamed in readings if row_format == request.format), {})
        return layout(request.format, renamed)
    if exported and len(turns := found & set(_TURNS_FIELDS)) == 1:  # what stands beside them is the user's own
        return told(turns.pop(), {})
    dialects = dialects_of(views)
    known: set[str] = {dialect.name for dialect in dialects}
    known |= found.difference(*(dialect.over for dialect in dialects))
    if len(known) > 1:
        known = _most(views, known)
    if len(known) == 1:
        return told(known.pop(), {})
    if (
        known
        and (whole := whole_reading(records, known, lambda name, row: _messages(layout(name, {}, told=True), row)))
        is not None
    ):
        others = ", ".join(sorted(known - {whole}))
        return told(
            whole,
            {},
            f"its rows were read as {whole}, which has all turns; as {others} they would be the same or shorter",
        )
    columns = list(dict.fromkeys(chain.from_iterable(records)))
    listed = field_list(columns)
    if known:
        first = turns_first(known)[0]
        answered = layout(first, {}, told=True).roles(records) if first in _TURNS_FIELDS else {}
        raise PoolError(
            f"{path} fits several row formats ({', '.join(sorted(known))}); its first rows have the fields {listed}: "
            + (
                f"turns in {answered['prompt']!r} end with a question, which {answered['response']!r} answers; name the columns (in a "
                f"configuration: pool.ingest.map), for instance `{command} --map {as_map(answered)}`."
                if answered
                else f"name one of them with --format (in a configuration: pool.ingest.format), for instance `{command} --format {first}`."
            )
        )
    if (why := unreadable(views)) is not None:
        raise PoolError(f"{path} cannot be read as it is: {why}")
    readings = _usual_readings(records)
    if not readings:  # the first rows lack what their fields are for: the names tell
        filled = list(map(_filled, records))
        found = set(chain.from_iterable(formats.matching_formats(plain.view(row, plain.plan(row))) for row in filled))
        readings = [(row_format, {}) for row_format in found] or _usual_readings(filled)
    if len(readings) == 1:
        row_format, renamed = readings[0]
        return told(row_format, renamed)
    raise PoolError(
        f"The row format of {path} is unknown: its first rows have the fields {listed}; expected messages, "
        f"conversations, instruction and output, or prompt and completion: {advice(records, columns, path, command)}"
    )


def _messages(layout: ColumnLayout, record: Record) -> list[Message] | None:
    """A row's messages as a layout reads it; None if it cannot."""
    try:
        return list(layout.conversation_of(record, layout.plan(record), Reading())[0].messages)
    except RowError:
        return None


def _most(views: Sequence[Record], known: set[str]) -> set[str]:
    """The one format that all but a few of the first rows are written in, each of them in no other; else all."""
    rows = [
        known & {*formats.matching_formats(view), *(dialect.name for dialect in dialects_of([view]))} for view in views
    ]
    fitting = [names for names in rows if names]
    for name in known:
        if sum(names == {name} for names in fitting) >= _MOST * len(fitting) and all(
            len(names) == 1 for names in fitting
        ):
            return {name}
    return known


def _has_mapped(records: Sequence[Record], path: Path, text_map: Mapping[str, str], only_file: bool) -> bool:
    """Whether the file has the mapped columns; a file that has none of them is read as if there were no map.

    Raises:
        PoolError: it has some of them only.
    """
    columns = list(dict.fromkeys(chain.from_iterable(records)))
    folded = {fold(column) for column in columns}
    absent = [column for column in text_map.values() if fold(column) not in folded]
    if not absent:
        return True
    if len(absent) == len(text_map) and not only_file:
        return False
    close = get_close_matches(absent[0], columns, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    raise PoolError(f"{path} has no column {absent[0]!r}; its first rows have the fields {field_list(columns)}{hint}")


def _usual_readings(records: Sequence[Record]) -> list[tuple[RowFormat, Mapping[str, str]]]:
    """What other usual names make of the rows: all readings that fit."""
    rows = [{fold(name): value for name, value in record.items() if not is_missing(value)} for record in records]
    readings: list[tuple[RowFormat, Mapping[str, str]]] = []
    for name in CONVERSATIONS:
        if any(is_conversation(row.get(name)) for row in rows):
            readings.append(("messages", {name: "messages"}))
    if not readings:
        for prompt, response in PAIRS:
            if any(_is_pair(row, prompt, response) for row in rows):
                if prompt == "instruction":  # 'input' may hold what it speaks of
                    readings.append(("alpaca", {prompt: "instruction", response: "output"}))
                else:
                    readings.append(("prompt-completion", {prompt: "prompt", response: "completion"}))
    if any(row_format == "alpaca" for row_format, _ in readings):  # then 'input' is what the instruction speaks of
        readings = [reading for reading in readings if "input" not in reading[1]]
    return readings


def _filled(record: Record) -> Record:
    """The row as if every field had a text, but options that are missing, which make no choice of it."""
    empty = {
        name for name, value in record.items() if is_missing(value) or (isinstance(value, str) and is_blank(value))
    }
    return {
        name: "text" if name in empty else value
        for name, value in record.items()
        if name not in empty or fold(name) not in OPTIONS
    }


def _is_pair(row: Record, prompt: str, response: str) -> bool:
    if not all(isinstance(row.get(name), str) and not is_blank(row[name]) for name in (prompt, response)):
        return False
    return not any(name in row for name in OPTIONS)
