"""What the suffixes of data files say: what holds the rows, and what packs it."""

from __future__ import annotations

from collections.abc import Mapping

#: Container of each suffix; ``.lance`` is a folder.
CONTAINERS: Mapping[str, str] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".xlsx": "xlsx",
    ".duckdb": "duckdb",
    ".lance": "lance",
}
#: What packs a file of each further suffix.
COMPRESSIONS: Mapping[str, str] = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}
