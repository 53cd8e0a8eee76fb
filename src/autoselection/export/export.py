"""Exports: messages JSON Lines, ShareGPT for LLaMA-Factory, and a Hugging Face dataset folder.

Rows are written in the order given, a batch at a time. Every file or folder appears at its place when it is whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from autoselection.errors import ConfigError
from autoselection.export.card import DatasetCard, render_card
from autoselection.pool.pool import MESSAGES_TYPE, Message, Pool, Rows

_BATCH_ROWS = 1024
_SHARD_BYTES = 256 * 2**20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DATASET_INFO = "dataset_info.json"
#: Values of LLaMA-Factory's ``from`` for each canonical role.
_SHAREGPT_ROLES = {"user": "human", "assistant": "gpt", "tool": "observation"}
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
_HF_SCHEMA = pa.schema([("id", pa.string()), ("source", pa.string()), ("messages", MESSAGES_TYPE)])


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        path: the file or folder to give to the reader of the format.
        rows: rows written.
        left_out: ids of rows that the format cannot hold.
    """

    path: Path
    rows: int
    left_out: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report as a JSON document."""
        return {"path": str(self.path), "rows": self.rows, "left_out": list(self.left_out)}


def export_messages(pool: Pool, rows: Rows | None, path: Path | str) -> ExportReport:
    """Write ``rows`` (all if None) as JSON Lines with ``id``, ``source`` and ``messages``; ingest reads it back.

    Raises:
        PoolError: a row is not in the pool.
    """
    path = Path(path)
    count = 0
    with _whole_file(path) as file:
        for row_id, source, messages in _records(pool, rows):
            file.write(_json({"id": row_id, "source": source, "messages": messages}) + "\n")
            count += 1
    return ExportReport(path, count)


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
    with _whole_file(directory / file_name) as file:
        for row_id, _, messages in _records(pool, rows):
            row = _sharegpt(messages)
            if row is None:
                left_out.append(row_id)
                continue
            file.write(_json({"id": row_id, **row}) + "\n")
            count += 1
    info[name] = entry
    with _whole_file(directory / _DATASET_INFO) as file:
        file.write(json.dumps(info, ensure_ascii=False, indent=2) + "\n")
    return ExportReport(directory, count, tuple(left_out))


def export_hf_dataset(
    pool: Pool, rows: Rows | None, directory: Path | str, card: DatasetCard, *, overwrite: bool = False
) -> ExportReport:
    """Write ``rows`` (all if None) as a Hugging Face dataset folder: ``data/train-*.parquet`` and a card, ``README.md``.

    ``datasets.load_dataset(directory)`` reads it; so does ingest.

    Args:
        pool: the pool.
        rows: row numbers, in the order to write.
        directory: the folder to make; it may exist if it is empty.
        card: what the card tells.
        overwrite: replace an earlier export at ``directory``.

    Raises:
        ConfigError: ``directory`` is in use.
        PoolError: a row is not in the pool.
    """
    directory = Path(directory)
    wanted = pool.check_rows(rows)
    _check_folder(directory, overwrite)
    with _whole_folder(directory) as folder:
        (folder / "data").mkdir()
        kept = _write_shards(pool, wanted, folder / "data")
        text = render_card(
            card,
            rows=len(wanted),
            pool_rows=len(pool),
            pool_fingerprint=pool.fingerprint,
            sources={name: (kept[name], total) for name, total in pool.manifest.sources.items()},
        )
        (folder / "README.md").write_text(text, encoding="utf-8")
    return ExportReport(directory, len(wanted))


def _records(pool: Pool, rows: Rows | None) -> Iterator[tuple[str, str, list[Message]]]:
    wanted = pool.check_rows(rows)
    for start in range(0, len(wanted), _BATCH_ROWS):
        part = wanted[start : start + _BATCH_ROWS]
        yield from zip(pool.row_ids(part), pool.sources(part), pool.messages(part), strict=True)


def _json(record: Mapping[str, Any]) -> str:
    # U+2028 and its like end a line for many readers of text: escaped, they cannot break a JSON line.
    text = json.dumps(record, ensure_ascii=False)
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")


def _sharegpt(messages: list[Message]) -> dict[str, Any] | None:
    """ShareGPT form of a conversation; None if LLaMA-Factory would skip it."""
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    turns = messages[1:] if system else messages
    conversations = []
    for number, message in enumerate(turns):
        role = _SHAREGPT_ROLES.get(message["role"])
        if role is None or (role == "gpt") != (number % 2 == 1):
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


def _write_shards(pool: Pool, wanted: Any, folder: Path) -> Counter[str]:
    """Write ``train-i-of-n.parquet`` files of about a quarter of a gigabyte of text; return rows by source."""
    kept: Counter[str] = Counter()
    shards: list[Path] = []
    writer: Any = None
    size = 0
    try:
        for start in range(0, max(len(wanted), 1), _BATCH_ROWS):
            part = wanted[start : start + _BATCH_ROWS]
            sources = pool.sources(part)
            kept.update(sources)
            table = pa.table([pool.row_ids(part), sources, pool.messages(part)], schema=_HF_SCHEMA)
            if writer is None:
                shards.append(folder / f"{len(shards)}.part")
                writer = pq.ParquetWriter(str(shards[-1]), _HF_SCHEMA, compression="zstd")
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


@contextmanager
def _whole_file(path: Path) -> Iterator[TextIO]:
    """Write a text file aside and move it into place when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give a file name.")
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _check_folder(directory: Path, overwrite: bool) -> None:
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory} is a file; give a folder to export to.")
    if not directory.is_dir():
        return
    names = {entry.name for entry in directory.iterdir()}
    if names and not overwrite:
        raise ConfigError(f"{directory} is not empty; export to another folder, or overwrite it.")
    if not names <= {"README.md", "data"}:
        raise ConfigError(f"{directory} holds more than an earlier export; export to another folder.")


@contextmanager
def _whole_folder(directory: Path) -> Iterator[Path]:
    """Fill a folder aside and move it into place when it is complete."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    part = directory.with_name(f".{directory.name}.{uuid.uuid4().hex[:12]}.part")
    part.mkdir()
    try:
        yield part
        if directory.is_dir():
            old = directory.with_name(f".{directory.name}.{uuid.uuid4().hex[:12]}.old")
            directory.rename(old)
            part.rename(directory)
            shutil.rmtree(old)
        else:
            part.rename(directory)
    finally:
        shutil.rmtree(part, ignore_errors=True)
