"""Exports: files of rows in several layouts, LLaMA-Factory folders, and Hugging Face dataset folders.

Rows are written in the order given, a batch at a time. Every file or folder appears at its place when it is whole.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from autoselection.conversation import Message
from autoselection.errors import ConfigError
from autoselection.export.card import DatasetCard, render_card
from autoselection.export.columns import OwnColumns, own_columns
from autoselection.export.containers import checked_cells, has_types, open_container
from autoselection.export.layouts import LAYOUTS, SHAREGPT_ROLES, CannotHold, Layout, LayoutName
from autoselection.export.target import LLAMAFACTORY_NAME, FormatName, check_folder, export_target
from autoselection.files import whole_folder, write_text
from autoselection.pool.pool import Pool, Rows
from autoselection.pool.rows import PLAIN_MESSAGES_TYPE

_BATCH_ROWS = 1024
_SHARD_BYTES = 256 * 2**20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DATASET_INFO = "dataset_info.json"
_SHAREGPT_ENTRY: Mapping[str, Any] = {
    "formatting": "sharegpt",
    "columns": {"messages": "conversations", "system": "system"},
    "tags": {
        "role_tag": "from",
        "content_tag": "value",
        "user_tag": "human",
        "assistant_tag": "gpt",
        "observation_tag": "observation",
        "function_tag": "function_call",
        "system_tag": "system",
    },
}
_IDENTITY = {"id": pa.string(), "source": pa.string()}


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        path: the file or folder to give to the reader of the format.
        rows: rows written.
        left_out: ids of rows that the format cannot hold.
        reasons: why they were left out: count.
        remarks: what else has to be known of the file, in sentences.
    """

    path: Path
    rows: int
    left_out: tuple[str, ...] = ()
    reasons: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {
            "path": str(self.path),
            "rows": self.rows,
            "left_out": list(self.left_out),
            "reasons": dict(self.reasons),
            "remarks": list(self.remarks),
        }

    def sentences(self) -> list[str]:
        """What has to be said aloud: rows left out with the reasons, and the remarks."""
        if not self.left_out:
            return list(self.remarks)
        why = ", ".join(f"{count:,} {reason}" for reason, count in self.reasons.items())
        said = f"{len(self.left_out):,} rows are not in {self.path}, as the format cannot hold them: {why}."
        return [said, *self.remarks]


def export_subset(
    pool: Pool,
    rows: Rows | None,
    path: Path | str,
    format_name: FormatName | None = None,
    *,
    card: DatasetCard | None = None,
    columns: Collection[str] | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write ``rows`` (all if None) in the form that :func:`export_target` tells, with the user's own columns.

    Args:
        card: of a dataset folder; a bare one without it.
        columns: the user's columns to write, and ``_file`` and ``_line``, where the row was read; None for all.
        overwrite: replace what an earlier export wrote there.

    Raises:
        ConfigError: see :func:`export_target`, or the rows have no such column.
        PoolError: a row is not in the pool.
    """
    path = Path(path)
    target = export_target(path, format_name, overwrite=overwrite)
    if target.kind == "file":
        return export_rows(pool, rows, path, target.layout, columns=columns, overwrite=overwrite)
    if target.kind == "hf":
        card = card or DatasetCard(title=path.name, recipe={})
        return export_hf_dataset(pool, rows, path, card, columns=columns, overwrite=overwrite)
    return export_sharegpt(pool, rows, path, LLAMAFACTORY_NAME)


def export_rows(
    pool: Pool,
    rows: Rows | None,
    path: Path | str,
    layout: LayoutName = "messages",
    *,
    columns: Collection[str] | None = None,
    marks: Mapping[str, Sequence[str | int | None]] | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write ``rows`` (all if None) to one file of JSON Lines, JSON, CSV or Parquet, as its suffix says; ingest reads it.

    Cells of CSV files are written as they are: a spreadsheet would run those that begin with ``=``, ``+``, ``-`` or
    ``@``, which the report tells of.

    Args:
        layout: messages, sharegpt, alpaca or prompt-completion.
        columns: the user's columns to write, and ``_file`` and ``_line``; None for all.
        marks: further columns, by name one value a row.
        overwrite: replace a file.

    Raises:
        ConfigError: the suffix is unknown, the file exists, or the rows have no such column.
        PoolError: a row is not in the pool.
    """
    path = Path(path)
    target = export_target(path, layout, overwrite=overwrite, file=True)
    form, wanted, marked = LAYOUTS[layout], pool.check_rows(rows), marks or {}
    own = own_columns(pool, wanted, columns, {*_IDENTITY, *form.fields, *marked})
    present = _fields_present(pool, wanted, form)
    fields = {**_IDENTITY, **{name: form.fields[name] for name in present}}
    schema = pa.schema(
        [*fields.items(), *((name, _mark_type(column)) for name, column in marked.items()), *own.schema()]
    )
    found = _Written()
    with open_container(path, target.container, schema) as write:
        for start in range(0, len(wanted), _BATCH_ROWS):
            part = wanted[start : start + _BATCH_ROWS]
            extras = own.values(pool, part, typed=has_types(target.container))
            for place, extra in enumerate(extras, start=start):
                extra |= {name: column[place] for name, column in marked.items()}
            write(list(found.records(pool, part, form, present, extras, target.container)))
    remarks = _remarks(own, target.container, found.formulas)
    return ExportReport(path, found.rows, tuple(found.left_out), dict(found.reasons.most_common()), remarks)


@dataclass
class _Written:
    """What was written so far: rows and cells that look like formulas (counts), and the rows left out."""

    rows: int = 0
    formulas: int = 0
    left_out: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def records(
        self,
        pool: Pool,
        rows: NDArray[np.int64],
        form: Layout,
        present: Sequence[str],
        extras: Sequence[Mapping[str, Any]],
        container: str,
    ) -> Iterator[dict[str, Any]]:
        """The rows as a file holds them, those that it cannot hold left out."""
        for (row_id, source, messages), extra in zip(_records(pool, rows), extras, strict=True):
            try:
                converted = form.convert(messages)
                record = {"id": row_id, "source": source, **{name: converted[name] for name in present}, **extra}
                if container in ("csv", "tsv"):
                    self.formulas += checked_cells(record)
            except CannotHold as problem:
                self.left_out.append(row_id)
                self.reasons[str(problem)] += 1
                continue
            self.rows += 1
            yield record


def _mark_type(values: Sequence[str | int | None]) -> pa.DataType:
    return pa.int64() if all(value is None or isinstance(value, int) for value in values) else pa.string()


def _fields_present(pool: Pool, rows: NDArray[np.int64], form: Layout) -> tuple[str, ...]:
    """The fields of a layout, without those that none of the rows has."""
    absent = set(form.optional)
    for _, _, messages in _records(pool, rows):
        if not absent:
            break
        try:
            converted = form.convert(messages)
        except CannotHold:
            continue
        absent -= {name for name in absent if converted[name]}
    return tuple(name for name in form.fields if name not in absent)


def _remarks(own: OwnColumns, container: str, cells: int) -> tuple[str, ...]:
    said = [
        f"The column '{name}' is called '{new}' in the file: the format itself uses its name."
        for name, new in own.renamed.items()
    ]
    if own.as_json and has_types(container):
        named = ", ".join(f"'{name}'" for name in own.names if name in own.as_json)
        said.append(f"Columns of mixed or nested values are written as JSON text: {named}.")
    if cells:
        said.append(
            f"{cells:,} cells begin with =, +, - or @, as they do in the rows: a spreadsheet would run them as formulas; "
            "import the file as text."
        )
    return tuple(said)


def export_messages(pool: Pool, rows: Rows | None, path: Path | str) -> ExportReport:
    """Write ``rows`` (all if None) as JSON Lines with ``id``, ``source`` and ``messages``; ingest reads it back.

    A file that is there is replaced.

    Raises:
        PoolError: a row is not in the pool.
    """
    return export_rows(pool, rows, path, columns=(), overwrite=True)


def export_sharegpt(pool: Pool, rows: Rows | None, directory: Path | str, name: str) -> ExportReport:
    """Write ``rows`` (all if None) as ``NAME.jsonl`` in ShareGPT form, and enter it in ``dataset_info.json``.

    The folder is a LLaMA-Factory ``dataset_dir``: train with ``dataset: NAME``. That program takes a system prompt,
    then turns in which asking (user, tool) and answering (assistant) alternate and the last is an answer, and skips
    other rows; those are left out here and reported.

    Raises:
        ConfigError: ``name`` is no plain file name, or ``dataset_info.json`` is damaged or uses the name otherwise.
        PoolError: a row is not in the pool.
    """
    directory = Path(directory)
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise ConfigError(
            f"{name[:100]!r} is no name for a dataset: use up to 100 letters, digits, '.', '_' and '-', "
            "the first a letter or digit."
        )
    file_name = f"{name}.jsonl"
    entry = {"file_name": file_name, **_SHAREGPT_ENTRY}
    info = _read_dataset_info(directory / _DATASET_INFO)
    present = info.get(name)
    if present is not None and (not isinstance(present, dict) or present.get("file_name") != file_name):
        raise ConfigError(
            f"{directory / _DATASET_INFO} already has a dataset '{name}' of another file; choose another name."
        )
    left_out: list[str] = []
    count = 0
    with open_container(directory / file_name, "jsonl", pa.schema([])) as write:
        for row_id, _, messages in _records(pool, pool.check_rows(rows)):
            row = _sharegpt(messages)
            if row is None:
                left_out.append(row_id)
                continue
            write([{"id": row_id, **row}])
            count += 1
    info[name] = entry
    write_text(directory / _DATASET_INFO, json.dumps(info, ensure_ascii=False, indent=2) + "\n")
    reasons = {"that LLaMA-Factory skips: they do not alternate, or do not end with an answer": len(left_out)}
    return ExportReport(directory, count, tuple(left_out), reasons if left_out else {})


def export_hf_dataset(
    pool: Pool,
    rows: Rows | None,
    directory: Path | str,
    card: DatasetCard,
    *,
    columns: Collection[str] | None = (),
    overwrite: bool = False,
) -> ExportReport:
    """Write ``rows`` (all if None) as a Hugging Face dataset folder: ``data/train-*.parquet`` and a card, ``README.md``.

    ``datasets.load_dataset(directory)`` reads it; so does ingest.

    Args:
        pool: the pool.
        rows: row numbers, in the order to write.
        directory: the folder to make; it may exist if it is empty.
        card: what the card tells.
        columns: the user's columns to write, and ``_file`` and ``_line``; None for all.
        overwrite: replace an earlier export at ``directory``.

    Raises:
        ConfigError: ``directory`` is in use.
        PoolError: a row is not in the pool.
    """
    directory = Path(directory)
    wanted = pool.check_rows(rows)
    check_folder(directory, overwrite)
    own = own_columns(pool, wanted, columns, {*_IDENTITY, "messages"})
    with whole_folder(directory) as folder:
        (folder / "data").mkdir()
        kept = _write_shards(pool, wanted, folder / "data", own)
        text = render_card(
            card,
            rows=len(wanted),
            pool_rows=len(pool),
            pool_fingerprint=pool.fingerprint,
            sources={name: (kept[name], total) for name, total in pool.manifest.sources.items()},
        )
        (folder / "README.md").write_text(text, encoding="utf-8")
    return ExportReport(directory, len(wanted), remarks=_remarks(own, "parquet", 0))


def _records(pool: Pool, rows: NDArray[np.int64]) -> Iterator[tuple[str, str, list[Message]]]:
    for start in range(0, len(rows), _BATCH_ROWS):
        part = rows[start : start + _BATCH_ROWS]
        yield from zip(pool.row_ids(part), pool.sources(part), pool.messages(part), strict=True)


def _sharegpt(messages: list[Message]) -> dict[str, Any] | None:
    """ShareGPT form of a conversation; None if LLaMA-Factory would skip it."""
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    turns = messages[1:] if system else messages
    conversations = []
    for number, message in enumerate(turns):
        role = SHAREGPT_ROLES[message["role"]]
        if role == "system" or (role == "gpt") != (number % 2 == 1):
            return None
        conversations.append({"from": role, "value": message["content"]})
    if len(conversations) % 2:
        return None
    return {"conversations": conversations, "system": system}


def _read_dataset_info(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); mend it or export into another folder.") from error
    if not isinstance(info, dict):
        raise ConfigError(f"{path} must hold a JSON object of datasets; mend it or export into another folder.")
    return info


def _write_shards(pool: Pool, wanted: NDArray[np.int64], folder: Path, own: OwnColumns) -> Counter[str]:
    """Write ``train-i-of-n.parquet`` files of about a quarter of a gigabyte of text; return rows by source."""
    schema = pa.schema([*_IDENTITY.items(), ("messages", PLAIN_MESSAGES_TYPE), *own.schema()])
    kept: Counter[str] = Counter()
    shards: list[Path] = []
    writer: Any = None
    size = 0
    try:
        for start in range(0, max(len(wanted), 1), _BATCH_ROWS):
            part = wanted[start : start + _BATCH_ROWS]
            sources = pool.sources(part)
            kept.update(sources)
            values = own.values(pool, part, typed=True)
            columns = [[value[name] for value in values] for name, _ in own.schema()]
            table = pa.table([pool.row_ids(part), sources, pool.messages(part), *columns], schema=schema)
            if writer is None:
                shards.append(folder / f"{len(shards)}.part")
                writer = pq.ParquetWriter(str(shards[-1]), schema, compression="zstd")
                size = 0
            writer.write_table(table)
            size += table.nbytes
            if size >= _SHARD_BYTES:
                writer.close()
                writer = None
    finally:
        if writer is not None:
            writer.close()
    for number, shard in enumerate(shards):
        shard.rename(folder / f"train-{number:05d}-of-{len(shards):05d}.parquet")
    return kept
