"""From a configuration to an open pool with its signals: everything before the first decision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from autoselection.config import StudyConfig
from autoselection.errors import PoolError
from autoselection.pool import IngestReport, Pool, ingest
from autoselection.progress import console
from autoselection.signals import ScoreReport, SignalTable, load_table, score_pool
from autoselection.tasks import load_items


@dataclass(frozen=True)
class Prepared:
    """A pool whose signals are cached.

    Attributes:
        ingest: what reading the raw files counted; None if the pool directory was given.
        score: what was computed and what came from the cache.
    """

    pool: Pool
    table: SignalTable
    ingest: IngestReport | None
    score: ScoreReport


def _open(path: Path, fingerprint: str | None) -> Pool:
    """The pool as the study knows it; another one that took its place is opened, and named by the study's own check."""
    pool = Pool.open(path)
    known = fingerprint is not None and pool.manifest.at(fingerprint) is not None
    if not known or pool.fingerprint == fingerprint:
        return pool
    former = Pool.open(path, fingerprint=fingerprint)
    console.print(
        f"The pool has {len(pool) - len(former):,} rows that were appended since the study began; it goes on without.",
        highlight=False,
        soft_wrap=True,
    )
    return former


def check_inputs(config: StudyConfig) -> None:
    """Read every task file once, so that a bad one is named before hours of work, not after.

    Raises:
        ConfigError: a split is missing, empty or malformed.
        PoolError: a raw pool file does not exist.
    """
    for task in config.tasks:
        load_items(task, "dev")
        if config.final.enabled:
            load_items(task, "test")
        if config.sae is not None and task.target is not None:
            load_items(task, "target")
    for path in config.pool.files:
        if not path.exists():
            raise PoolError(f"{path}: no such pool file (pool.files).")


def prepare(config: StudyConfig, study_dir: Path, fingerprint: str | None = None) -> Prepared:
    """Open (or ingest) the pool and compute the signals that are not cached yet.

    Args:
        fingerprint: that of the pool the study was started with. Rows appended to its directory since are left out.
    """
    check_inputs(config)
    report = None
    if config.pool.path is not None:
        pool = _open(config.pool.path, fingerprint)
    else:
        report = ingest(config.pool.files, study_dir / "pool", config.pool.ingest)
        pool = Pool.open(study_dir / "pool")
    console.print(
        f"Pool: {len(pool):,} rows, {len(pool.source_names)} sources, fingerprint {pool.fingerprint[:12]}",
        highlight=False,
        soft_wrap=True,
    )
    score = score_pool(
        pool,
        config.signals,
        model=config.model.path,
        sae=config.sae,
        tasks=config.tasks,
        chat_template=config.model.chat_template,
        trust_remote_code=config.model.trust_remote_code,
    )
    return Prepared(pool, load_table(pool, keys=score.keys), report, score)
