"""From a configuration to an open pool with its signals: everything before the first decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoselection.config import StudyConfig
from autoselection.errors import PoolError, StudyError
from autoselection.pool import IngestReport, Pool, ingest
from autoselection.progress import console
from autoselection.signals import ScoreReport, SignalTable, load_table, score_pool
from autoselection.signals.overlap import ANY_STAT, STAT
from autoselection.tasks import load_items


@dataclass(frozen=True)
class Contamination:
    """Rows of the pool that share word n-grams with the benchmarks' items, and what was done about them.

    Attributes:
        rows: rows that share text with any item.
        parts: rows by ``task/split``; those with none are left out.
        ngram: words of an n-gram.
        action: ``warn`` or ``drop``, as configured.
    """

    rows: int
    parts: Mapping[str, int]
    ngram: int
    action: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the journal and the summary."""
        return {"rows": self.rows, "parts": dict(self.parts), "ngram": self.ngram, "action": self.action}

    def sentence(self, pool_rows: int) -> str:
        """For people: how many rows, of which benchmarks, and what follows."""
        parts = ", ".join(f"{part} {count:,}" for part, count in self.parts.items())
        done = "left out of every subset" if self.action == "drop" else "kept; set pool.on_contamination: drop"
        return (
            f"{self.rows:,} of {pool_rows:,} rows share text ({self.ngram} words in a row, or a whole shorter item) with "
            f"benchmark items and are {done} ({parts})."
        )


@dataclass(frozen=True)
class Prepared:
    """A pool whose signals are cached.

    Attributes:
        ingest: what reading the raw files counted; None if the pool directory was given.
        score: what was computed and what came from the cache.
        contamination: what the guard found, see :class:`Contamination`.
    """

    pool: Pool
    table: SignalTable
    ingest: IngestReport | None
    score: ScoreReport
    contamination: Contamination


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


def prepare(config: StudyConfig, study_dir: Path, opening: Mapping[str, Any] | None = None) -> Prepared:
    """Open (or ingest) the pool and compute the signals that are not cached yet.

    Args:
        opening: the first event of the study's journal, if it was started before. Rows appended to its pool since are
            left out, and so are signals it did not have (of a plugin installed since, say).
    """
    fingerprint = None if opening is None else str(opening["pool"])
    check_inputs(config)
    report = None
    if config.pool.path is not None:
        pool = _open(config.pool.path, fingerprint)
    else:
        report = ingest(config.pool.files, study_dir / "pool", config.pool.ingest)
        pool = _open(study_dir / "pool", fingerprint)
    console.print(
        f"Pool: {len(pool):,} rows, {len(pool.source_names)} sources, fingerprint {pool.fingerprint[:12]}",
        highlight=False,
        soft_wrap=True,
    )
    names = config.signals.signals
    score = score_pool(
        pool,
        config.signals,
        model=config.model.path,
        sae=config.sae,
        tasks=config.tasks,
        signals=None if names is None else tuple(dict.fromkeys((*names, "contamination"))),  # the guard needs it
        chat_template=config.model.chat_template,
        trust_remote_code=config.model.trust_remote_code,
    )
    first = score.keys if opening is None else opening["signal_report"]["signals"]
    keys = {name: key for name, key in score.keys.items() if name in first}
    table, found = _guard(load_table(pool, keys=keys), score, config)
    return Prepared(pool, table, report, score, found)


def _guard(table: SignalTable, score: ScoreReport, config: StudyConfig) -> tuple[SignalTable, Contamination]:
    """Count the rows that share text with benchmark items, before anything is trained, and act as configured.

    Raises:
        StudyError: there are some and ``pool.on_contamination`` is ``refuse``, or ``drop`` would leave nothing.
    """
    stats = next(signal.stats for signal in score.signals if signal.name == "contamination")
    counts = {name.removeprefix(STAT): count for name, count in sorted(stats.items()) if name.startswith(STAT)}
    parts = {name: count for name, count in counts.items() if "/" in name and count}
    action = config.pool.on_contamination
    found = Contamination(stats[ANY_STAT], parts, config.signals.contamination_ngram, action)
    if found.rows == 0:
        return table, found
    if action == "refuse":
        raise StudyError(
            f"{found.rows:,} rows of the pool share text with benchmark items "
            f"({', '.join(f'{part} {count:,}' for part, count in parts.items())}): remove them, or set "
            "pool.on_contamination to drop or warn."
        )
    if action == "drop":
        table = replace(table, excluded=table.column("contamination") > 0)
        if len(table.selectable) == 0:
            raise StudyError("Every row of the pool shares text with benchmark items: nothing is left to select from.")
    console.print(f"[yellow]Contamination[/]: {found.sentence(table.n)}", highlight=False, soft_wrap=True)
    return table, found
