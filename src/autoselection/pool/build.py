"""Rows on their way into a pool: converted, checked, given ids, counted and written in batches.

Memory does not grow with the pool, except for the ids, about 200 bytes a row, which have to be unique.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from autoselection import notebook
from autoselection.errors import PoolError
from autoselection.files import checksum
from autoselection.pool.addresses import shown
from autoselection.pool.batch import Batch, grown, meta_of
from autoselection.pool.columns import ColumnLayout, layout_of
from autoselection.pool.ingest_config import IngestConfig
from autoselection.pool.inputs import Input
from autoselection.pool.json_reader import RawRow, Record
from autoselection.pool.manifest import (
    FORMAT_VERSION,
    RULES,
    SIGNALS_FOLDER,
    SKIPPED_FILE,
    TABLE_FILE,
    FileRecord,
    PoolManifest,
    SpecialTokenRecord,
    TableRecord,
    write_manifest,
)
from autoselection.pool.memory import PLACE, MemoryRows
from autoselection.pool.placeholders import ShortPrompts
from autoselection.pool.pool import Pool
from autoselection.pool.readers import Reader, stem_of
from autoselection.pool.row_error import RowError
from autoselection.pool.row_ids import SAME_ROW, CopiedRow, RowIds
from autoselection.pool.row_kinds import FileEvidence, KindCounts, OtherRow, Teller
from autoselection.pool.rows import SCHEMA, Fingerprint, content_hash, turns_digest
from autoselection.pool.skipped import BadRow, SkippedList
from autoselection.pool.special_tokens import SpecialTokenScanner, texts_of
from autoselection.pool.tags import Tally, declares_twice, parse
from autoselection.pool.turns import Reading
from autoselection.pool.values import is_missing

#: Rows looked at to tell a file's format.
DETECTION_ROWS = 32
#: Rows looked at if most of them are empty, which tell nothing.
_MOST_EMPTY = 1000
#: Bad rows kept in the report (all of them are in skipped.jsonl).
REPORTED_BAD_ROWS = 20

_MEND = "fix the row, or leave out --on-bad-row refuse (in a configuration: pool.ingest.on_bad_row)"
_COMPARED_ROWS = 4096


@dataclass
class FileInput:
    """One input file.

    Attributes:
        input: the file, and what is known of it from elsewhere.
        source: source of its rows that name none.
        fixed: it is the source of all its rows, whatever they say.
    """

    input: Input
    source: str
    fixed: bool = False


@dataclass
class _Counts:
    rows: int = 0
    skipped: int = 0
    first_problem: str | None = None  # of rows that are bad, not of another kind
    first_mended: str = ""  # what would read that row, as the end of a sentence
    kinds: KindCounts = field(default_factory=KindCounts)
    nameless: int = 0  # rows that named no source
    otherwise: Counter[str] = field(default_factory=Counter)  # rows read as something akin to the file's format
    repeated: int = 0  # bad rows that are there already, under their ids
    asked: ShortPrompts = field(default_factory=ShortPrompts)


@dataclass
class Build:
    """A pool under construction in ``folder``.

    Attributes:
        base: the pool behind whose rows those read come.
        present: the pool that the destination holds.
        former: the pool with whose rows this one begins: ``base``, or ``present`` if it turned out so.
        inputs: the files, in order; ``command`` reads them as they were asked for, for messages.
        bad: the first bad rows.
        notes: what people should know of how the files were read.
    """

    folder: Path
    config: IngestConfig
    scanner: SpecialTokenScanner
    inputs: Sequence[FileInput]
    command: str
    base: Pool | None = None
    present: Pool | None = None
    bad: list[BadRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._nameless: dict[str, list[Path]] = {}  # source → files whose rows got it by default
        self._mapped = False
        self._named_ids = self._named_sources = False
        wanted = self.config.layout_request()
        self._wanted_id, self._wanted_source = (
            wanted.map.get(role, field) for role, field in (("id", wanted.id_field), ("source", wanted.source_field))
        )
        self._teller = Teller(self.config.rows_from, self.config.mapped_texts())
        self._kinds = KindCounts()
        self._files: list[FileRecord] = []
        self._skipped = 0
        self._rows = 0
        self._sources: dict[str, int] = {}  # name → code, in order of appearance
        self._source_names: list[str] = []
        self._source_rows: list[int] = []
        self._source_array = self._path_array = pa.array([], pa.string())  # as far as batches were written
        self._base_turns: set[int] = set()  # hashes of the turns of ``base``
        self._known_rows = 0  # rows whose turns a row of ``base`` has
        self._fingerprint = Fingerprint()
        self._tokens: Counter[str] = Counter()
        self._token_rows = 0
        self._ignored: Counter[str] = Counter()
        self._tally = Tally()
        self._copies = 0  # rows that stand in their file once more, as they are
        # Rows with tools in a field and in the text of a system prompt, by whether calls and tools were to be parsed.
        self._twice_declared: Counter[bool] = Counter()
        # How the file at hand is read; what is ignored is of the row at hand, which may still prove bad.
        self._reading = Reading()
        self._batch = Batch()
        self._paths: list[str] = []
        self._ids = RowIds(self.base, self._paths)
        self.former = self.base
        self._begins_with_present = False
        self._compared_at = len(self.present) if self.present is not None and self.base is None else -1
        if self.base is not None:
            self._go_on_from(self.base)

    def _go_on_from(self, base: Pool) -> None:
        """Take over the counts, the ids and the running fingerprint of a pool, as if its rows had just been read."""
        manifest = base.manifest
        self._fingerprint = base.recompute_fingerprint()
        if self._fingerprint.hexdigest() != base.fingerprint:
            raise PoolError(f"The pool {base.path} is damaged: its rows do not match its fingerprint; ingest again.")
        self._files += manifest.files
        self._skipped, self._rows = manifest.skipped, manifest.rows
        self._sources = {name: code for code, name in enumerate(manifest.sources)}
        self._source_names, self._source_rows = list(manifest.sources), list(manifest.sources.values())
        self._tokens.update(manifest.special_tokens.counts)
        self._token_rows = manifest.special_tokens.rows
        self._ignored.update(manifest.ignored)
        self._paths.append(printable(base.path))  # an id's place is then the pool and the row, from 1
        for start in range(0, len(base), _COMPARED_ROWS):
            batch = base.conversations(range(start, min(start + _COMPARED_ROWS, len(base))))
            self._base_turns.update(map(content_hash, batch))

    def __enter__(self) -> Build:
        options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
        self._table_file = (self.folder / TABLE_FILE).open("wb")
        self._writer = pa.ipc.new_file(self._table_file, SCHEMA, options=options)
        self.skipped = SkippedList(self.folder / SKIPPED_FILE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._flush()
        with self.skipped, self._table_file as file:
            self._writer.close()
            file.flush()
            os.fsync(file.fileno())
            self.skipped.sync()

    def read(self, reader: Reader | MemoryRows, given: FileInput) -> Iterator[None]:
        """Take in one input; yields now and then, for progress."""
        path = printable(reader.path)
        file_number = len(self._paths)
        self._paths.append(path)
        self.skipped.begin_file(reader.bytes)
        counts = _Counts()
        layout, evidence, rows = self._layout(reader, path, given.input, counts)
        self._reading = Reading(assistant_opens=self.config.assistant_opens, filled=reader.filled)
        for line, record, problem in rows:
            try:
                if record is None:
                    raise problem or RowError("the row cannot be read", "unreadable row")
                self._row(record, layout, evidence, given, file_number, line, counts)
            except RowError as error:
                self._reject(path, line, error, counts)
            except CopiedRow:
                self._copies += 1
            else:
                counts.rows += 1
                if layout.read_as != layout.name:
                    counts.otherwise[layout.read_as] += 1
            if self._batch.full():
                self._flush()
                yield
        self.skipped.end_file()
        self.notes += [*given.input.notes, *reader.guesses]
        if counts.nameless and not given.fixed and self.config.source is None and reader.path != PLACE:
            self._nameless.setdefault(given.source, []).append(reader.path)
        if not counts.rows:
            raise self._no_usable_row(path, counts)
        self._kinds.update(counts.kinds)
        otherwise = (
            f"its rows were read as {name}"
            if rows == counts.rows
            else f"{notebook.counted(rows, 'row')} of another shape than the file ({layout.name}) {'was' if rows == 1 else 'were'} read "
            f"as {name}"
            for name, rows in counts.otherwise.most_common()
        )
        remarks = (*layout.remarks, *otherwise, *evidence.remarks, counts.asked.remark(counts.rows))
        self.notes += [f"{path}: {remark}." for remark in remarks if remark is not None]
        self._files.append(
            FileRecord(
                path=path,
                bytes=reader.bytes,
                format=layout.name,
                rows=counts.rows,
                skipped=counts.skipped,
                source=given.source,
                encoding=reader.encoding,
                delimiter=reader.delimiter,
            )
        )

    def _no_usable_row(self, path: str, counts: _Counts) -> PoolError:
        if counts.repeated and counts.repeated == counts.skipped:
            return PoolError(
                f"{path} adds no row: all of its {notebook.counted(counts.skipped, 'row')} are there already, under the same ids; the "
                f"first: {counts.first_problem}."
            )
        said = f", but {counts.kinds.sentence(counts.skipped, self.command)}" if counts.kinds else ""
        if counts.first_problem:
            said += f"; the first of {counts.skipped - counts.kinds.total:,} bad rows: {counts.first_problem}{counts.first_mended}"
        return PoolError(f"{path} holds no usable row{said}.")

    def _layout(
        self, reader: Reader | MemoryRows, path: str, given: Input, counts: _Counts
    ) -> tuple[ColumnLayout, FileEvidence, Iterator[RawRow]]:
        """How the rows of an input are read, what its first rows say, and all rows but bad ones in front, which are counted.

        Raises:
            PoolError: the rows cannot be recognized, or none can be read.
        """
        described = given.dialect or given.format
        fields = given.dialect.others if given.dialect is not None else None
        rows = self._teller.rows(reader.rows(), described is not None, fields)
        head: list[RawRow] = []
        records: list[Record] = []
        told = 0
        for row in rows:
            if row[2] is not None and not head:
                self._reject(path, row[0], row[2], counts)
                continue
            head.append(row)
            if row[1] is not None:
                records.append(row[1])
                told += not all(map(is_missing, row[1].values()))
            if told >= DETECTION_ROWS or len(head) >= _MOST_EMPTY:
                break
        if not records and counts.kinds:
            raise self._no_usable_row(path, counts)
        if not records and self.config.format == "auto":
            problem = f"; {counts.first_problem}" if counts.skipped else "" if reader.bytes else ": it is empty"
            raise PoolError(f"{path} holds no readable row{problem}.")
        request, alone = self.config.layout_request(), len(self.inputs) == 1
        layout = layout_of(records, reader.path, request, self.command, alone, described)
        self._mapped = self._mapped or layout.exclusive
        return layout, self._teller.evidence(records), chain(head, rows)

    def _row(
        self,
        record: Record,
        layout: ColumnLayout,
        evidence: FileEvidence,
        given: FileInput,
        file_number: int,
        line: int,
        counts: _Counts,
    ) -> None:
        config = self.config
        plan = layout.plan(record)
        source_column, source = (None, given.source) if given.fixed else layout.source_of(record, plan)
        if source_column is not None:
            if is_missing(source):
                source = given.source
                counts.nameless += 1
            elif not isinstance(source, str) or not source.strip():
                raise RowError(
                    f"field '{source_column}' must be a non-empty string", "source that is no text", source_column
                )
            else:
                self._named_sources |= layout.source_field == self._wanted_source
        ignored = self._reading.ignored
        if ignored:
            ignored.clear()
        try:
            conversation, used = layout.conversation_of(record, plan, self._reading)
        except RowError as error:
            raise self._teller.explained(record, layout, error) from error
        self._teller.check(record, conversation, ignored, evidence)
        tally, parsed = None, {*config.parse, *given.input.parse}
        if parsed:
            tally = Tally()
            conversation = parse(conversation, parsed, tally)
        if declares_twice(conversation):
            self._twice_declared["tool_calls" in parsed] += 1
        found = self.scanner.count(texts_of(conversation))
        if found is not None:
            self._tokens.update(found)
            self._token_rows += 1
            if config.special_tokens == "refuse":
                raise RowError(f"the text has the special token {min(found)!r}", "special token in a text")
            if config.special_tokens == "strip":
                conversation = self.scanner.strip(conversation)
        try:
            digest = turns_digest(source, conversation.messages, conversation.tools)
            id_column, id_value = layout.id_of(record, plan)
            own = {*used, id_column, source_column}
            meta = meta_of(record, own) if config.keep_meta else None
            row_id, content = self._ids.choose(id_column, id_value, digest.hexdigest(), conversation, meta, file_number)
            self._named_ids |= not is_missing(id_value) and layout.id_field == self._wanted_id
            row_id.encode("utf-8")
        except UnicodeEncodeError as error:
            character = error.object[error.start]
            raise RowError(
                f"a text is not valid Unicode: it has the lone surrogate or undecodable byte U+{ord(character):04X}",
                "not valid Unicode",
                None,
                "text in UTF-8, written again from its origin",
            ) from error
        self._ids.add(row_id, content, file_number, line)
        self._fingerprint.add(row_id, digest.digest(), meta)
        code = self._sources.setdefault(source, len(self._sources))
        if code == len(self._source_rows):
            self._source_names.append(source)
            self._source_rows.append(0)
        self._source_rows[code] += 1
        self._ignored += ignored  # what is counted as zero is no count
        if tally is not None:
            self._tally.add(tally)
        self._batch.add(row_id, code, conversation, meta, file_number, line)
        counts.asked.add(conversation.messages)
        self._rows += 1
        self._known_rows += bool(self._base_turns) and content_hash(conversation) in self._base_turns
        if self._rows == self._compared_at and self.present is not None:
            self._begins_with_present = self._fingerprint.hexdigest() == self.present.fingerprint
        elif self._rows == self._compared_at + 1 and self._begins_with_present:
            self.former = self.present

    def _reject(self, path: str, line: int, error: RowError, counts: _Counts) -> None:
        """Count a row that is not taken.

        Raises:
            PoolError: bad rows are to be refused, and it is not left out because the user said so.
        """
        bad = BadRow.of(path, line, error)
        other = error if isinstance(error, OtherRow) else None
        if self.config.on_bad_row == "refuse" and not (other is not None and other.told):
            raise PoolError(f"{bad.described(self.command)}; {_MEND}.")
        counts.skipped += 1
        if other is not None:
            counts.kinds.add(other)
        else:
            if counts.first_problem is None:
                counts.first_problem, counts.first_mended = str(bad), bad.mended(self.command)
            counts.repeated += bad.kind == SAME_ROW
        self._skipped += 1
        if len(self.bad) < REPORTED_BAD_ROWS:
            self.bad.append(bad)
        self.skipped.add(bad)

    def _flush(self) -> None:
        if self._batch.ids:
            self._source_array = grown(self._source_array, self._source_names)
            self._path_array = grown(self._path_array, self._paths)
            self._writer.write_batch(self._batch.to_arrow(self._source_array, self._path_array))
            self._batch = Batch()

    def _check_settings(self) -> None:
        """Settings that no file obeyed are mistakes.

        Raises:
            PoolError: a mapped column, or a field named for ids or sources, is in no file.
        """
        config = self.config
        if not self._mapped and set(config.map) - {"id", "source"}:
            columns = ", ".join(repr(column) for column in config.map.values())
            raise PoolError(
                f"No file has the columns that --map (in a configuration: pool.ingest.map) names ({columns}): fix it, or leave it out."
            )
        for name, field_name, found in (
            ("id", self._wanted_id, self._named_ids),
            ("source", self._wanted_source, self._named_sources),
        ):
            if field_name != name and not found and not (name == "source" and all(file.fixed for file in self.inputs)):
                raise PoolError(
                    f"No row has a value in the field {field_name!r}, which was named as its {name}: fix the name."
                )

    def _note_what_was_done(self) -> None:
        self.notes += self._kinds.notes(self.command)
        for source, files in sorted(self._nameless.items()):
            if len(files) > 1:
                self.notes.append(f"Source '{source}': {len(files):,} files, {files[0].name} to {files[-1].name}.")
            elif stem_of(files[0]) != source:
                self.notes.append(f"Source '{source}': {printable(files[0])}.")
        self.notes += self._tally.notes()
        for parsed, rows in sorted(self._twice_declared.items()):
            one = rows == 1
            self.notes.append(
                f"{notebook.counted(rows, 'row')} {'declares its' if one else 'declare their'} tools in a field and in the text of "
                f"{'its' if one else 'their'} system prompt, so that a template writes them twice: "
                + (
                    "--parse tool_calls could not take them out of the text, which has other words beside them or other tools; remove "
                    "them there, or leave out the field."
                    if parsed
                    else "--parse tool_calls (in a configuration: pool.ingest.parse) reads both as one, where the text around them is known."
                )
            )
        if self._copies:
            self.notes.append(
                f"{notebook.counted(self._copies, 'row')} of the files {'is a copy' if self._copies == 1 else 'are copies'} of another row of "
                "the file, under the same id and with the same fields, as exports write rows that count more than once: each is read once."
            )
        if self._ids.renumbered:
            self.notes.append(
                f"{notebook.counted(self._ids.renumbered, 'row')} {'has' if self._ids.renumbered == 1 else 'have'} an id that a row of "
                f"other content has too: {self._ids.renumbered_example}."
            )

        if self._known_rows and self.base is not None:
            self.notes.append(
                f"{self._known_rows:,} of the {self._rows - len(self.base):,} rows that were added are in the pool already, "
                "word for word: was a file appended a second time? A recipe that removes duplicates leaves them out."
            )

    def finish(self) -> PoolManifest:
        """Write the manifest of the finished table.

        Raises:
            PoolError: a setting was obeyed by no file.
        """
        self._check_settings()
        self._note_what_was_done()
        used = {record.format for record in self._files}
        size = (self.folder / TABLE_FILE).stat().st_size
        former = self.former.manifest if self.former is not None else None
        kept = former.table_files if former is not None and self.base is not None else ()
        # The rows of a pool without checksums were just compared with its fingerprint.
        kept = tuple(
            record.model_copy(update={"blake2b": record.blake2b or checksum(self.former.path / record.file)})
            for record in kept
            if self.former is not None
        )
        tables = (
            *kept,
            TableRecord(file=_next_table(former), bytes=size, blake2b=checksum(self.folder / TABLE_FILE)),
        )
        manifest = PoolManifest(
            format_version=FORMAT_VERSION,
            rows=self._rows,
            skipped=self._skipped,
            format=used.pop() if len(used) == 1 else "mixed",
            fingerprint=self._fingerprint.hexdigest(),
            table_bytes=size + sum(record.bytes for record in kept),
            tables=tables,
            parents=(*former.parents, former.state()) if former is not None else (),
            files=tuple(self._files),
            sources={name: self._source_rows[self._sources[name]] for name in sorted(self._sources)},
            special_tokens=SpecialTokenRecord(
                handling=self._handling(),
                rows=self._token_rows,
                counts=dict(sorted(self._tokens.items(), key=lambda item: (-item[1], item[0]))),
            ),
            ignored=dict(sorted(self._ignored.items())),
            rules=min(RULES, self.base.manifest.rules) if self.base is not None else RULES,
        )
        (self.folder / SIGNALS_FOLDER).mkdir()
        write_manifest(self.folder, manifest)
        return manifest

    def _handling(self) -> str:
        """What was done with special tokens; ``mixed`` if the appended rows were treated otherwise."""
        ours = self.config.special_tokens
        theirs = self.base.manifest.special_tokens.handling if self.base is not None else ours
        return ours if ours == theirs else "mixed"


def _next_table(former: PoolManifest | None) -> str:
    """Name of a table file that the former pool, if there is one, does not have."""
    if former is None:
        return TABLE_FILE
    last = former.table_files[-1].file.removesuffix(".arrow").partition("-")[2]
    return f"pool-{int(last or 0) + 1:04d}.arrow"


def printable(path: Path) -> str:
    return shown(path).encode("utf-8", "backslashreplace").decode()
