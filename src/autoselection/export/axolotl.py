"""Folders for Axolotl: a file of messages, and the YAML that its ``datasets`` setting takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from autoselection.conversation import Conversation
from autoselection.documents import dump_yaml
from autoselection.export.containers import json_line, open_container
from autoselection.export.layouts import CannotHold, declared_tools
from autoselection.export.target import DATASET_NAME
from autoselection.export.written import ExportReport, Written, batches
from autoselection.files import write_text
from autoselection.pool.inputs.axolotl import AXOLOTL_FILE
from autoselection.pool.openai_messages import openai_message
from autoselection.pool.pool import Pool
from autoselection.pool.table import Rows

_HEAD = """\
# An entry for `datasets` in a configuration of Axolotl. The path is as it was given to the export.
# Turns of weight 0 are context without a loss: message_field_training.
"""
#: The library that Axolotl reads with takes the keys of a file from its first 10 MB, and stops at others behind them.
_HEAD_BYTES = 8 * 2**20


def axolotl_row(conversation: Conversation) -> dict[str, Any]:
    """A row as Axolotl's ``chat_template`` data sets have it: ``messages``, and ``tools`` where there are some.

    Arguments of calls and parameters of tools are JSON text, which Axolotl parses: as objects, the reader of the file would
    give each of them the keys of all others.

    Raises:
        CannotHold: a call has arguments at which Axolotl stops.
    """
    for message in conversation.messages:
        for call in message.get("tool_calls", ()):
            if not _is_json(call["arguments"]):
                raise CannotHold("with a call whose arguments are not JSON, at which Axolotl stops")
    row: dict[str, Any] = {"messages": [openai_message(message) for message in conversation.messages]}
    tools = declared_tools(conversation)
    return row if tools is None else {**row, "tools": [_with_text(tool) for tool in tools]}


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _with_text(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("parameters"), dict):
        return dict(tool)
    text = json.dumps(function["parameters"], ensure_ascii=False)
    return {**tool, "function": {**function, "parameters": text}}


def dataset_entry(data: Path) -> dict[str, Any]:
    """The entry of ``datasets`` by which Axolotl reads a file of :func:`axolotl_row`: answers alone have a loss, but for weight 0."""
    return {
        "path": str(data),
        "ds_type": "json",
        "type": "chat_template",
        "field_messages": "messages",
        "field_tools": "tools",
        "message_property_mappings": {"role": "role", "content": "content"},
        "roles_to_train": ["assistant"],
        "train_on_eos": "turn",
        "message_field_training": "weight",
    }


def export_axolotl(pool: Pool, rows: Rows | None, directory: Path | str) -> ExportReport:
    """Write ``rows`` (all if None) as ``subset.jsonl`` in ``directory``, and ``axolotl.yaml`` that tells Axolotl to read it.

    Rows that have keys which no row near the file's beginning has are written first, as Axolotl would not read the file
    otherwise; the report tells of them. Files of an earlier export are replaced.

    Raises:
        PoolError: a row is not in the pool.
    """
    directory = Path(directory)
    data, found = directory / f"{DATASET_NAME}.jsonl", Written()
    wanted = pool.check_rows(rows)
    first = _needed_first(pool, wanted)
    ordered = np.concatenate([wanted[first], np.delete(wanted, first)])
    with open_container(data, "jsonl", pa.schema([])) as write:
        for part in batches(ordered):
            write(list(found.records(pool, part, axolotl_row)))
    write_text(directory / AXOLOTL_FILE, _HEAD + dump_yaml({"datasets": [dataset_entry(data)]}))
    moved = (
        f"{len(first):,} rows stand before the others: they have keys (of tools, calls, reasoning or weights) that no row in the "
        "first megabytes has, and Axolotl would stop at them further down. It shuffles rows by default."
    )
    return found.report(directory, [moved] if first else [])


def _needed_first(pool: Pool, rows: NDArray[np.int64]) -> list[int]:
    """Places of the rows that have a key which no row before has, but for those near the beginning."""
    known: set[tuple[str, ...]] = set()
    first: list[int] = []
    place = size = 0
    for part in batches(rows):
        for row_id, source, conversation in zip(
            pool.row_ids(part), pool.sources(part), pool.conversations(part), strict=True
        ):
            try:
                row = {"id": row_id, "source": source, **axolotl_row(conversation)}
            except CannotHold:
                place += 1
                continue
            new = set(_keys(row)) - known
            if new and size > _HEAD_BYTES:
                first.append(place)
            known |= new
            size += len(json_line(row).encode()) if size <= _HEAD_BYTES else 0
            place += 1
    return first


def _keys(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all keys in a JSON value; entries of a list have one path."""
    if isinstance(value, list):
        for item in value:
            yield from _keys(item, path)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield (*path, key)
            yield from _keys(inner, (*path, key))
