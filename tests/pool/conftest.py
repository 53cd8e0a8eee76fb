"""Writers of the containers that ingest reads, and rows in each format that mean the same conversations."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Rows = list[dict[str, Any]]


def json_lines(rows: Rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def csv_bytes(rows: Rows, delimiter: str = ",") -> bytes:
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        flat = {k: json.dumps(v, ensure_ascii=False) if isinstance(v, (list, dict)) else v for k, v in row.items()}
        writer.writerow(flat)
    return text.getvalue().encode()


def parquet_bytes(rows: Rows) -> bytes:
    sink = pa.BufferOutputStream()
    names = list(dict.fromkeys(name for row in rows for name in row))
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), sink)
    return sink.getvalue().to_pybytes()


ENCODERS: dict[str, Callable[[Rows], bytes]] = {
    "jsonl": json_lines,
    "json": lambda rows: json.dumps(rows, ensure_ascii=False, indent=1).encode(),
    "csv": csv_bytes,
    "tsv": lambda rows: csv_bytes(rows, "\t"),
    "parquet": parquet_bytes,
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write bytes, text lines or rows to a file of the test's folder."""

    def write(name: str, content: bytes | str | Rows, codec: str | None = None, container: str | None = None) -> Path:
        if isinstance(content, str):
            content = content.encode()
        elif isinstance(content, list):
            content = ENCODERS[container or name.split(".")[1]](content)
        path = tmp_path / name
        path.write_bytes(pa.compress(content, codec=codec, asbytes=True) if codec else content)
        return path

    return write
