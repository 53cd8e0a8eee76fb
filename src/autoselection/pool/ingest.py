"""Ingest: files in any of the known formats, or rows in memory, to one pool directory.

The pool is built in a temporary folder next to its destination and moved there when it is whole: an interrupted ingest
leaves nothing that looks like a pool.

Appended rows go into a table file of their own, and the new manifest, renamed into place last, takes them in: until
then the pool is the old one. The result has the rows and the fingerprint of one ingest of all files. Files that begin
with the rows of the pool at the destination (a file that has grown) extend it in the same way.
"""

from __future__ import annotations

import math
import re
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoselection import notebook
from autoselection.errors import ConfigError, OtherPoolError, PoolError
from autoselection.pool.addresses import HubRows, address_of, fetched, hub_name, shown
from autoselection.pool.build import Build, FileInput
from autoselection.pool.destination import base_pool, check_destination, extend, move_into_place, temporary_folder
from autoselection.pool.ingest_config import IngestConfig
from autoselection.pool.inputs import Input, expand, is_description
from autoselection.pool.inputs.base import is_there
from autoselection.pool.manifest import FileRecord, PoolManifest
from autoselection.pool.memory import MemoryRows, rows_or_paths
from autoselection.pool.pool import Pool
from autoselection.pool.readers import Reader, ReadOptions, container_of, stem_of
from autoselection.pool.settings import in_python
from autoselection.pool.skipped import BadRow, Fault
from autoselection.pool.sources import named_sources, source_names
from autoselection.pool.special_tokens import SpecialTokenScanner
from autoselection.progress import console, progress
from autoselection.terminal import styled
from autoselection.wording import clipped, command_line

#: Settings that only some containers obey.
_MEANT_FOR = (
    ("split", "dataset folders, workbooks and databases", {"dataset", "xlsx", "duckdb"}),
    ("delimiter", "CSV files", {"csv", "tsv"}),
    ("encoding", "text files (CSV, JSON)", {"csv", "tsv", "json", "jsonl"}),
)
_MEGABYTE = 10**6
#: Notes printed; all are in the report.
_SHOWN_NOTES = 20


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did.

    Attributes:
        path: the pool directory.
        rows: rows of the pool.
        skipped: rows of the input that were skipped.
        format: row format of the files, or ``mixed``.
        fingerprint: content hash of the pool.
        sources: rows of each source.
        special_tokens: occurrences of each special token inside row text.
        special_token_rows: rows that had at least one.
        special_token_handling: what was done with them.
        ignored: parts of turns that were not kept, by field name.
        seconds: wall time.
        bad: the first bad rows.
        unchanged: the same pool was already there and was left alone.
        appended: rows that were added to a pool that was there; all of them if there was none.
        faults: how many rows were skipped for what, by kind and field, the most frequent first.
        notes: what was guessed or done that people should know of: encodings, delimiters, names of sources, ids.
        files: the input files of the pool, in order.
    """

    path: Path
    rows: int
    skipped: int
    format: str
    fingerprint: str
    sources: Mapping[str, int]
    special_tokens: Mapping[str, int]
    special_token_rows: int
    special_token_handling: str
    ignored: Mapping[str, int]
    seconds: float
    bad: tuple[BadRow, ...]
    unchanged: bool
    appended: int
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[FileRecord, ...] = ()

    @property
    def pool(self) -> Pool:
        """The pool itself, opened."""
        return Pool.open(self.path, fingerprint=self.fingerprint)

    def __repr__(self) -> str:
        return notebook.line("IngestReport", f"{self.path}: {_told(self)}")

    def _repr_html_(self) -> str:
        sources = sorted(self.sources.items(), key=lambda source: -source[1])
        parts = [notebook.table(("source", "rows"), sources, what="sources")]
        if self.faults:
            faults = [(fault.rows, fault.first.kind, fault.first.field, str(fault.first)) for fault in self.faults]
            parts.append(notebook.table(("bad rows", "kind", "field", "the first of them"), faults, what="kinds"))
        if self.notes:
            parts.append(notebook.table(("notes",), [(note,) for note in self.notes], what="notes", cell=400))
        return notebook.page(f"{self.path}: {_told(self)}", {"fingerprint": self.fingerprint}, *parts)

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {
            "path": str(self.path),
            "rows": self.rows,
            "skipped": self.skipped,
            "format": self.format,
            "fingerprint": self.fingerprint,
            "sources": dict(self.sources),
            "special_tokens": dict(self.special_tokens),
            "special_token_rows": self.special_token_rows,
            "special_token_handling": self.special_token_handling,
            "ignored": dict(self.ignored),
            "seconds": round(self.seconds, 3),
            "bad": [bad.to_dict() for bad in self.bad],
            "unchanged": self.unchanged,
            "appended": self.appended,
            "faults": [fault.to_dict() for fault in self.faults],
            "notes": list(self.notes),
            "files": [record.model_dump(exclude_defaults=True) for record in self.files],
        }


def _told(report: IngestReport) -> str:
    """What an ingest did, in one line."""
    added = f", {report.appended:,} of them new" if 0 < report.appended < report.rows else ""
    skipped = f", {notebook.counted(report.skipped, 'bad row')} skipped" if report.skipped else ""
    return (
        f"{notebook.counted(report.rows, 'row')}{added}{skipped}{' (it was there already)' if report.unchanged else ''}"
    )


def ingest(
    data: Path | str | Iterable[Any],
    out: Path | str,
    config: IngestConfig | None = None,
    tokenizer_special_tokens: Sequence[str] = (),
    *,
    overwrite: bool = False,
    append: bool = False,
) -> IngestReport:
    """Read files, in order, or rows in memory into the pool directory ``out``.

    The same content gives the same fingerprint; if ``out`` already holds it, it is left alone. If the rows begin with
    those of the pool that ``out`` holds, that pool is extended as if by ``append``.

    Args:
        data: a path, or several: JSON Lines, JSON, CSV, TSV or Parquet files (or gzip or zstd of those), Excel workbooks, or
            Hugging Face dataset folders, Lance datasets, DuckDB databases; patterns such as ``shards/*.parquet``; addresses that
            fsspec reads, such as ``s3://bucket/a.jsonl``; data sets of the hub (``org/name``, ``hf://datasets/org/name``). Or
            rows: a data frame of pandas or Polars, a table, reader or dataset of Arrow, a ``datasets.Dataset``, a relation of DuckDB,
            a dataset of Lance, or any iterable of mappings from column to value, or of a pool's rows. Rows in memory that name no source have the source ``rows``; else
            they give the pool that the same rows in a file give.
        out: the pool directory to make.
        config: how to read them.
        tokenizer_special_tokens: the base model's special tokens, looked for besides the configured ones.
        overwrite: replace another pool at ``out``, with the signals computed from it.
        append: add the rows, all of them new, behind those of the pool at ``out``. Its signals stay and are computed for the
            new rows alone, and ``Pool.open(out, fingerprint=...)`` still opens the pool as it was.

    Raises:
        ConfigError: ``config`` is something else.
        PoolError: a file is missing, damaged, of unknown format or without a usable row; a row is bad and
            ``on_bad_row`` is ``refuse``; ``out`` holds something else, or nothing to append to; ``data`` is no rows.
        MissingExtraError: a dataset folder, and ``datasets`` is not installed.

    >>> import autoselection as au
    >>> rows = [{"prompt": "2 + 2?", "response": "4"}, {"prompt": "3 + 3?", "response": "6", "source": "sums"}]
    >>> ingest(rows, "sums").pool
    <Pool sums: 2 rows of 2 sources>
    """
    started = time.monotonic()
    if append and overwrite:
        raise PoolError("A pool is either overwritten or appended to: leave one of the two out.")
    config = IngestConfig() if config is None else config
    if not isinstance(config, IngestConfig):
        raise ConfigError(
            f"How rows are read is set by an IngestConfig, not by {type(config).__name__}: IngestConfig(map=…)."
        )
    out = Path(out)
    given = rows_or_paths(data, config.split)
    command = "" if isinstance(given, MemoryRows) else _command(given, out, config, overwrite=overwrite, append=append)

    def words(text: str) -> str:
        """What helps, said for who called: by options of the command, or as arguments of this function."""
        return in_python(text) if isinstance(given, MemoryRows) else _with_addresses(text, given)

    try:
        build, manifest, unchanged = _built(given, out, config, tokenizer_special_tokens, command, overwrite, append)
    except PoolError as error:
        raise type(error)(words(str(error))) from error.__cause__
    notes = [words(note) for note in build.notes]
    for note in notes[:_SHOWN_NOTES]:
        console.say(styled("note:", "yellow"), f" {note}")
    if len(notes) > _SHOWN_NOTES:
        console.say(f"… and {len(notes) - _SHOWN_NOTES:,} more notes in the report.")
    former = build.former
    return IngestReport(
        path=out,
        rows=manifest.rows,
        skipped=manifest.skipped,
        format=manifest.format,
        fingerprint=manifest.fingerprint,
        sources=manifest.sources,
        special_tokens=manifest.special_tokens.counts,
        special_token_rows=manifest.special_tokens.rows,
        special_token_handling=manifest.special_tokens.handling,
        ignored=manifest.ignored,
        seconds=time.monotonic() - started,
        bad=tuple(bad.worded(words) for bad in build.bad),
        unchanged=unchanged,
        appended=0 if unchanged else manifest.rows - (len(former) if former is not None else 0),
        faults=tuple(Fault(fault.first.worded(words), fault.rows) for fault in build.skipped.faults()),
        notes=tuple(notes),
        files=manifest.files,
    )


def _built(
    given: MemoryRows | Sequence[Path | str],
    out: Path,
    config: IngestConfig,
    special_tokens: Sequence[str],
    command: str,
    overwrite: bool,
    append: bool,
) -> tuple[Build, PoolManifest, bool]:
    """The finished build and the manifest of the pool that is now there; and whether it was there already."""
    wanted = [Input(given.path, rows=given)] if isinstance(given, MemoryRows) else _inputs(given, config)
    present = check_destination(out, overwrite)
    scanner = SpecialTokenScanner([*config.special_token_list, *special_tokens])
    with ExitStack() as stack:
        base = stack.enter_context(base_pool(out)) if append else None
        folder = stack.enter_context(temporary_folder(out))
        wanted = _fetched(wanted, stack)
        inputs = _with_sources(wanted, config, base, None if overwrite else present)
        build = Build(folder, config, scanner, inputs, command, base, present)
        _read_all(build, config)
        manifest = build.finish()
        former = build.former
        present = check_destination(out, overwrite)  # another process may have been faster
        unchanged = present is not None and present.fingerprint == manifest.fingerprint
        if base is not None:
            extend(folder, base, manifest)
        elif former is not None:
            with base_pool(out, former):
                extend(folder, former, manifest)
        elif present is not None and not unchanged and not overwrite:
            if not _is_reading_of(present.manifest, manifest):
                raise OtherPoolError(
                    f"{out} already holds another pool ({len(present):,} rows, fingerprint {present.fingerprint}; the "
                    f"new one has {manifest.rows:,} rows): choose another --out, or pass --overwrite or --append."
                )
            unchanged = True
            build.notes.append(
                f"{out} was made from these files by an older version, which read them differently ({len(present):,} rows, "
                f"now {manifest.rows:,}): it is kept unchanged; --overwrite reads them again."
            )
            manifest = present.manifest
        elif not unchanged:
            move_into_place(folder, out)
    return build, manifest, unchanged


def _fetched(wanted: Sequence[Input], stack: ExitStack) -> list[Input]:
    """The inputs, those that lie elsewhere with copies that are removed when ``stack`` ends."""
    if all(one.rows is not None or address_of(one.path) is None for one in wanted):
        return list(wanted)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="autoselection-")))
    return [
        one if one.rows is not None or address_of(one.path) is None else replace(one, copy=fetched(one.path, folder))
        for one in wanted
    ]


def _with_addresses(text: str, wanted: Iterable[Path | str]) -> str:
    """A message with addresses as the user wrote them: paths have lost a stroke of theirs."""
    schemes = {str(path).partition(":/")[0] for path in wanted if address_of(path) is not None}
    schemes |= {"hf" for path in wanted if hub_name(path) is not None}
    for scheme in schemes:
        text = re.sub(rf"(?<![\w+.-]){re.escape(scheme)}:/+[^\s'\"]*", lambda found: shown(found[0]), text)
    return text


def _command(files: Sequence[Path | str], out: Path, config: IngestConfig, *, overwrite: bool, append: bool) -> str:
    """The command line that does what is asked, but for a map of columns."""
    words = ["autoselection", "ingest", *map(shown, files), "--out", str(out)]
    plain = IngestConfig()
    for name in ("source_field", "split", "encoding", "delimiter", "quotes", "on_bad_row", "special_tokens"):
        value = getattr(config, name)
        if value != getattr(plain, name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    for kind in config.parse:
        words += ["--parse", kind]
    if config.rows_from != "auto":
        words += ["--from", config.rows_from]
    for name, pattern in config.sources.items():
        words += ["--source", f"{name}={pattern}"]
    for flag, wanted in (
        ("--assistant-opens", config.assistant_opens),
        ("--overwrite", overwrite),
        ("--append", append),
    ):
        words += [flag] if wanted else []
    return command_line(*words)


def _is_reading_of(present: PoolManifest, new: PoolManifest) -> bool:
    """Whether a pool was read from the files of the new one, by the rules of an older version."""
    ours, theirs = ([(record.path, record.bytes) for record in manifest.files] for manifest in (new, present))
    return present.rules < new.rules and ours == theirs


def _with_sources(
    wanted: Sequence[Input], config: IngestConfig, base: Pool | None, present: Pool | None
) -> list[FileInput]:
    """The files with the names of their sources; files of the pool that is there keep those that they have.

    Raises:
        PoolError: a pattern of ``sources`` matches no file, or two match one.
    """
    former = base or present
    paths = [one.path for one in wanted]
    known: dict[Path, str] = {}
    if former is not None and config.source is None:
        known = {Path(record.path): record.source or stem_of(Path(record.path)) for record in former.manifest.files}
    if base is None:  # a pool of other files says nothing about these
        known = {path: known[path] for path in paths if path in known}
    given = named_sources(paths, config.sources)
    # Names of files may be no UTF-8, names of sources are.
    names = [name.encode("utf-8", "backslashreplace").decode() for name in source_names(paths, known)]
    for place, one in enumerate(wanted):
        if one.rows is not None:
            names[place] = one.rows.source
    return [
        FileInput(one, fixed or config.source or name, fixed is not None)
        for one, fixed, name in zip(wanted, given, names, strict=True)
    ]


def _read_all(build: Build, config: IngestConfig) -> None:
    """Read every input into ``build``, with progress."""
    options = config.read_options()
    total = sum(math.ceil(_reader(given.input, options).bytes / _MEGABYTE) for given in build.inputs)
    with build, progress("Ingest (MB)", total or None) as advance:
        for given in build.inputs:
            before = 0
            with _reader(given.input, options) as reader:
                for _ in build.read(reader, given):
                    now = reader.position() // _MEGABYTE
                    advance(now - before)
                    before = now
                advance(math.ceil(reader.bytes / _MEGABYTE) - before)


def _reader(given: Input, options: ReadOptions) -> Reader | MemoryRows:
    if given.rows is not None:
        return given.rows
    return Reader(given.path, options if given.split is None else replace(options, split=given.split), given.copy)


def _refuse_text(given: object) -> None:
    """Refuse what is meant as a row's text: words that are no path and have no ending of a file."""
    if (
        isinstance(given, str)
        and len(given.split()) > 1
        and not re.search(r"\.\w+$", given)
        and not is_there(Path(given))
    ):
        raise PoolError(
            f"The pool file {clipped(given, 200)} does not exist; if this is the text of a row, give rows as dicts: "
            "[{'prompt': …, 'response': …}]."
        )


def _inputs(files: Sequence[Path | str], config: IngestConfig) -> list[Input]:
    if not files:
        raise PoolError("No pool file was given, and no row.")
    _refuse_text(files[0])
    inputs = [one for file in files for one in expand(Path(file), config.split)]
    kinds = {"dataset" if isinstance(one.rows, HubRows) else container_of(one.path) for one in inputs}
    kinds |= {"dataset" for file in files if is_description(Path(file))}
    for name, what, meant in _MEANT_FOR:
        if getattr(config, name) is not None and not kinds & meant:
            raise PoolError(
                f"--{name} {getattr(config, name)} (in a configuration: pool.ingest.{name}) is for {what}, and none was given: "
                "leave it out."
            )
    seen: set[Path] = set()
    for one in inputs:
        if one.path.resolve() in seen:
            raise PoolError(f"The pool file {one.path} was given twice.")
        seen.add(one.path.resolve())
    return inputs
