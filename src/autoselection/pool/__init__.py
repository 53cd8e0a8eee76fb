"""The fixed pool of rows: any common file format in, one canonical memory-mapped table out."""

from __future__ import annotations

from autoselection.pool.columns import parse_map
from autoselection.pool.formats import RowFormat
from autoselection.pool.ingest import IngestReport, ingest
from autoselection.pool.ingest_config import IngestConfig
from autoselection.pool.manifest import FileRecord, PoolManifest, PoolState, SpecialTokenRecord
from autoselection.pool.pool import Pool
from autoselection.pool.skipped import BadRow, Fault
from autoselection.pool.special_tokens import KNOWN_SPECIAL_TOKENS
from autoselection.pool.stats import Distribution, Duplicates, PoolDescription, describe_pool
from autoselection.pool.subset import Row, Subset
from autoselection.pool.turns import ROLES

__all__ = [
    "KNOWN_SPECIAL_TOKENS",
    "ROLES",
    "BadRow",
    "Distribution",
    "Duplicates",
    "Fault",
    "FileRecord",
    "IngestConfig",
    "IngestReport",
    "Pool",
    "PoolDescription",
    "PoolManifest",
    "PoolState",
    "Row",
    "RowFormat",
    "SpecialTokenRecord",
    "Subset",
    "describe_pool",
    "ingest",
    "parse_map",
]
