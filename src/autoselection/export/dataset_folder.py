"""Hugging Face dataset folders: Parquet files and a card, as ``datasets`` loads and TRL trains on them.

``datasets`` keeps what it loaded from a folder with a card under the folder's last name and what its card says of the data
files, not under what these hold. So a checksum of the rows stands in the names of the files and in the card: else an
export that replaces another, or one in a folder of the same name, would be loaded with the rows of the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from autoselection.export.card import DatasetCard, render_card
from autoselection.export.layouts import IDENTITY, LAYOUTS, Shape
from autoselection.export.target import check_folder
from autoselection.export.written import ExportReport, Written, batches, remarks_on, shape_of
from autoselection.files import checksum as checksum_of
from autoselection.files import whole_folder
from autoselection.pool.own_columns import OwnColumns, own_columns
from autoselection.pool.pool import Pool
from autoselection.pool.table import Rows
from autoselection.pool.typed_tables import table_of

_SHARD_BYTES = 256 * 2**20


def export_hf_dataset(
    pool: Pool,
    rows: Rows | None,
    directory: Path | str,
    card: DatasetCard,
    *,
    columns: Collection[str] | None = (),
    overwrite: bool = False,
) -> ExportReport:
    """Write ``rows`` (all if None) as a Hugging Face dataset folder: ``data/train-*-CHECKSUM.parquet`` and a card, ``README.md``.

    ``datasets.load_dataset(directory)`` reads it; so does ingest. Where turns have more than role and content, each is a value
    of type JSON, so that none has the keys of others as nulls, which chat templates would stumble over.

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
    layout = LAYOUTS["messages"]
    own = own_columns(pool, wanted, columns, {*IDENTITY, *layout.fields, *layout.reserved})
    shape = shape_of(pool, wanted, layout, "parquet")
    found = Written()
    with whole_folder(directory) as folder:
        (folder / "data").mkdir()
        data_files = f"data/{_write_shards(pool, wanted, folder / 'data', shape, own, found)}"
        text = render_card(
            card,
            rows=found.rows,
            pool_rows=len(pool),
            pool_fingerprint=pool.fingerprint,
            sources={name: (found.sources[name], total) for name, total in pool.manifest.sources.items()},
            columns=_described(shape, found, own),
            data_files=data_files,
            copies=found.copies,
        )
        (folder / "README.md").write_text(text, encoding="utf-8")
    return found.report(directory, remarks_on(found, own, "parquet", layout.name))


def _described(shape: Shape, found: Written, own: OwnColumns) -> dict[str, str]:
    """What the columns of a folder hold, by their names."""
    turns = "the conversation, a list of `role` (system, user, assistant, tool) and `content`"
    if shape.more:
        turns += "; where a turn has them also `reasoning_content`, `tool_calls` (arguments are objects), `tool_call_id` and `name`"
    if found.weighted:
        turns += "; `weight: 0` marks answers that are context without a loss (TRL does not look at it)"
    told = {"id": "the row's id in the pool", "source": "where the row came from", "messages": turns}
    if "tools" in shape.present:
        told["tools"] = "the tools that the row declares, a list of JSON schemas; null where it declares none"
    return told | {own.renamed.get(name, name): "a column of the data's own" for name in own.names}


def _write_shards(pool: Pool, wanted: NDArray[Any], folder: Path, shape: Shape, own: OwnColumns, found: Written) -> str:
    """Write ``train-i-of-n-CHECKSUM.parquet`` files of about a quarter of a gigabyte of text; the pattern of their names."""
    schema = pa.schema([*IDENTITY.items(), *shape.fields().items(), *own.schema()])
    shards: list[Path] = []
    writer: Any = None
    size = 0
    try:
        for part in batches(wanted) if len(wanted) else [wanted]:
            records = found.records(pool, part, shape.convert, own.values(pool, part, typed=True), "parquet")
            table = table_of(list(records), schema)
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
    # 16 hexadecimal digits, as `datasets` itself puts behind numbers of shards.
    checksum = hashlib.sha256("".join(map(checksum_of, shards)).encode()).hexdigest()[:16]
    for number, shard in enumerate(shards):
        shard.rename(folder / f"train-{number:05d}-of-{len(shards):05d}-{checksum}.parquet")
    return f"train-*-{checksum}.parquet"
