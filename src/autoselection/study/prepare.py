"""From a configuration to an open pool with its signals: everything before the first decision."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.config import StudyConfig
from autoselection.errors import ConfigError, OtherPoolError, PoolError, StudyError
from autoselection.pool import IngestReport, Pool, ingest
from autoselection.pool.addresses import address_of, matching
from autoselection.progress import console
from autoselection.signals import ScoreReport, SignalTable, cut_rows, load_table, score_pool
from autoselection.signals.families.contamination import ANY_STAT, MIN_WORDS, STAT, contamination, item_grams
from autoselection.signals.store import SignalStore
from autoselection.study.checks import check_operators, check_recipes, check_setup
from autoselection.tasks import Split, load_items
from autoselection.tasks.check import TaskProblem, check_benchmarks
from autoselection.terminal import styled

LIST_FILE = "contamination.jsonl"
SIMILAR = 0.95
"""Cosine from which rows are counted as like an item where the configuration names no other."""
_NAMED = 10
_COSINE = "contamination_cosine"
_SCORED: tuple[Split, ...] = ("dev", "test")


@dataclass(frozen=True)
class Contamination:
    """Rows of the pool that share word n-grams with the benchmarks' items, and what was done about them.

    Attributes:
        rows: rows that share text with any item.
        parts: rows by ``task/split``; those with none are left out.
        ngram: words of an n-gram.
        action: ``warn``, ``accept`` or ``drop``, as configured.
        similar: rows whose embedding is at least ``cosine`` like an item's; None without embeddings.
        items: items that rows were compared with.
        too_short: those among them too short to be looked for.
        template_only: those whose question is nothing but text of many items of their task.
    """

    rows: int
    parts: Mapping[str, int]
    ngram: int
    action: str
    similar: int | None = None
    cosine: float = SIMILAR
    items: int = 0
    too_short: int = 0
    template_only: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the journal and the summary."""
        return {**vars(self), "parts": dict(self.parts)}

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Contamination:
        """What a journal's event tells."""
        return cls(**{entry.name: event[entry.name] for entry in fields(cls) if entry.name in event})

    def sentence(self, pool_rows: int) -> str:
        """For people: how many rows, of which benchmarks, and what follows."""
        parts = ", ".join(f"{part} {count:,}" for part, count in self.parts.items())
        done = "left out of every subset" if self.action == "drop" else "kept; set pool.on_contamination: drop"
        said = []
        if self.rows:
            share, are = ("shares", "is") if self.rows == 1 else ("share", "are")
            said.append(
                f"{self.rows:,} of {pool_rows:,} rows {share} text ({self.ngram} words in a row, or a whole shorter item) "
                f"with benchmark items and {are} {done} ({parts})."
            )
        if self.similar:
            said.append(f"{self.similar:,} rows are similar to an item (cosine of {self.cosine:g} or more).")
        reasons = [
            f"{count:,} {why}"
            for count, why in (
                (self.too_short, f"of fewer than {MIN_WORDS} words"),
                (self.template_only, "of nothing but text that many items of their task share"),
            )
            if count
        ]
        if reasons:
            found = "" if self.rows else "No row shares text with the others."
            said.append(
                f"{self.too_short + self.template_only:,} of {self.items:,} benchmark items cannot be searched for: "
                f"{' and '.join(reasons)}. {found}".strip()
            )
        return " ".join(said)


@dataclass(frozen=True)
class Prepared:
    """A pool whose signals are cached.

    Attributes:
        ingest: what reading the raw files counted; None if the pool directory was given.
        score: what was computed and what came from the cache.
        contamination: what the guard found, see :class:`Contamination`.
        benchmarks: what is wrong with the benchmarks and was accepted (or found by a study that goes on).
    """

    pool: Pool
    table: SignalTable
    ingest: IngestReport | None
    score: ScoreReport
    contamination: Contamination
    benchmarks: tuple[TaskProblem, ...] = ()


def _open(path: Path, fingerprint: str | None) -> Pool:
    """The pool as the study knows it; another one that took its place is opened, and named by the study's own check."""
    pool = Pool.open(path)
    known = fingerprint is not None and pool.manifest.at(fingerprint) is not None
    if not known or pool.fingerprint == fingerprint:
        return pool
    former = Pool.open(path, fingerprint=fingerprint)
    console.say(
        f"The pool has {len(pool) - len(former):,} rows that were appended since the study began; it continues without them."
    )
    return former


def check_inputs(config: StudyConfig) -> None:
    """Read every task file once, so that a bad one is named before hours of work, not after.

    Raises:
        ConfigError: a split is missing, empty or malformed, or the search names an operator that it cannot use.
        PoolError: a raw pool file does not exist.
        RecipeError: the incumbent's recipe cannot be read.
    """
    for task in config.tasks:
        load_items(task, "dev")
        if config.final.enabled:
            load_items(task, "test")
        if config.sae is not None and task.target is not None:
            load_items(task, "target")
    check_recipes(config)
    check_operators(config)
    for path in config.pool.files:
        if not path.exists() and address_of(path) is None and matching(path) == [path]:
            raise PoolError(f"{path}: no such pool file (pool.files).")


def scratch_pool(config: StudyConfig, scratch: Path) -> Pool:
    """The configured pool, for work outside of a study: opened, or read from its files into ``scratch/pool``.

    Raises:
        PoolError: it cannot be read.
    """
    if config.pool.path is not None:
        return Pool.open(config.pool.path)
    ingest(config.pool.files, scratch / "pool", config.pool.ingest)
    return Pool.open(scratch / "pool")


def prepare(config: StudyConfig, study_dir: Path, opening: Mapping[str, Any] | None = None) -> Prepared:
    """Open (or ingest) the pool and compute the signals that are not cached yet.

    Args:
        opening: the first event of the study's journal, if it was started before. Rows appended to its pool since are
            left out, and so are signals it did not have (of a plugin installed since, say).

    Raises:
        ConfigError: the pool is too small for a search.
        StudyError: its files give another pool than it was started on, or contaminated rows are to be refused.
    """
    fingerprint = None if opening is None else str(opening["pool"])
    check_inputs(config)
    if opening is None:  # one that goes on, or is finished, needs nothing that it did not need before
        check_setup(config)
    findings = trusted_benchmarks(config, refuse=opening is None)
    report = None
    if config.pool.path is not None:
        pool = _open(config.pool.path, fingerprint)
    else:
        try:
            # Before anything is decided, a pool that lies there is what another reading of the files left.
            report = ingest(config.pool.files, study_dir / "pool", config.pool.ingest, overwrite=opening is None)
        except OtherPoolError as error:
            raise StudyError(
                f"{study_dir}: the study was started on another pool than its files (pool.files) give now: restore them, "
                "or choose another --out."
            ) from error
        pool = _open(study_dir / "pool", fingerprint)
    if opening is None:
        config.search.check_pool_size(len(pool))  # before hours of signals
    console.say(f"Pool: {len(pool):,} rows, {len(pool.source_names)} sources, fingerprint {pool.fingerprint[:12]}")
    names = config.signals.signals
    score = score_pool(
        pool,
        config.signals,
        model=config.model.path,
        sae=config.sae,
        tasks=config.tasks,
        signals=None if names is None else _guarded(names, config),
        chat_template=config.model.chat_options(),
        trust_remote_code=config.model.trust_remote_code,
    )
    for sentence in cut_rows(score):
        console.say(sentence, style="yellow")
    begun = None if opening is None else opening["signal_report"]["signals"]
    if begun is not None:
        score = _as_begun(score, pool, begun)
    table = load_table(pool, keys={name: key for name, key in score.keys.items() if begun is None or name in begun})
    found, dirty = measure_contamination(table, score, config)
    if dirty.any() and opening is None:
        listed = list_contamination(pool, table, dirty, config, study_dir / LIST_FILE)
        why = refusal(found, int(dirty.sum()), len(pool), config)
        if why is not None:
            raise StudyError(f"{why} {listed}")
    if dirty.any() and found.action == "drop":
        table = without(table, dirty)
    if said := found.sentence(table.n):
        console.say(styled("Contamination", "yellow"), f": {said}")
    return Prepared(pool, table, report, score, found, tuple(findings))


def _as_begun(score: ScoreReport, pool: Pool, begun: Mapping[str, Any]) -> ScoreReport:
    """Signals that this version defines differently, as a study began with them, if they still exist."""
    store = SignalStore.of(pool)
    signals, former = [], []
    for signal in score.signals:
        key = str(begun.get(signal.name, {}).get("key", signal.key))
        stored = store.earlier(signal.name, key, signal.key)
        if stored is not None:
            former.append(signal.name)
            facts = {name: stored.meta[name] for name in ("stats", "params", "missing")}
            signal = replace(signal, key=key, **facts)
        signals.append(signal)
    if former:
        console.say(
            f"The study goes on with signals as an earlier version of this package computed them: {', '.join(former)}. "
            "A new study would use those of this version."
        )
    return replace(score, signals=tuple(signals))


def trusted_benchmarks(config: StudyConfig, *, refuse: bool = True) -> list[TaskProblem]:
    """Findings about the benchmarks, said aloud.

    Raises:
        ConfigError: there are some, and ``benchmarks_check`` is ``refuse``.
    """
    findings = check_benchmarks(config.tasks, test=config.final.enabled)
    if findings and refuse and config.benchmarks_check == "refuse":
        raise ConfigError(
            "The benchmarks cannot be trusted: "
            + " ".join(finding.sentence for finding in findings)
            + " Fix the task files, or accept this with benchmarks_check: warn."
        )
    for finding in findings:
        console.say(styled("Benchmarks", "yellow"), f": {finding.sentence}")
    return findings


def measure_contamination(
    table: SignalTable, score: ScoreReport, config: StudyConfig
) -> tuple[Contamination, NDArray[np.bool_]]:
    """What the signals say of overlap with benchmark items, and which rows count as contaminated, bool[N]."""
    stats = next(signal.stats for signal in score.signals if signal.name == "contamination")
    counts = {name.removeprefix(STAT): count for name, count in sorted(stats.items()) if name.startswith(STAT)}
    parts = {name: count for name, count in counts.items() if "/" in name and count}
    limit = config.pool.contamination_cosine
    similar = None
    if _COSINE in table.columns:
        similar = int(np.count_nonzero(table.column(_COSINE) >= (limit or SIMILAR)))
    elif limit is not None:
        raise ConfigError(
            "pool.contamination_cosine compares embeddings: name a model with signals.embedding_model, and leave "
            "'embeddings' in signals.signals."
        )
    found = Contamination(
        stats[ANY_STAT],
        parts,
        config.signals.made_options("contamination").n,
        config.pool.on_contamination,
        similar,
        limit or SIMILAR,
        stats.get("items", 0),
        stats.get("items_too_short", 0),
        stats.get("items_of_template_only", 0),
    )
    return found, contaminated(table, limit)


def contaminated(table: SignalTable, cosine: float | None) -> NDArray[np.bool_]:
    """Rows that share an n-gram with an item or, with ``cosine``, are at least so like one, bool[N]."""
    if "contamination" not in table.columns:  # a study from before there was the signal
        return np.zeros(table.n, bool)
    dirty = table.column("contamination") > 0
    return dirty if cosine is None else dirty | (table.column(_COSINE) >= cosine)


def without(table: SignalTable, dirty: NDArray[np.bool_]) -> SignalTable:
    """The table with rows that no recipe may select.

    Raises:
        StudyError: none would be left.
    """
    table = replace(table, excluded=dirty)
    if len(table.selectable) == 0:
        raise StudyError("Every row of the pool shares text with benchmark items: nothing is left to select from.")
    return table


def _guarded(names: Sequence[str], config: StudyConfig) -> tuple[str, ...]:
    """The signals asked for and those the guard needs."""
    known = (*names, "contamination")
    alike = (_COSINE,) if "embeddings" in names and config.signals.embedding_model else ()
    return tuple(dict.fromkeys((*known, *alike)))


def refusal(found: Contamination, dirty: int, rows: int, config: StudyConfig) -> str | None:
    """Why so many contaminated rows do not let a study start, and how to go on; None if the configuration allows them."""
    limit = config.pool.contamination_limit
    if found.action == "refuse":
        allowed, how = 0, "set pool.on_contamination to drop or warn"
    elif found.action == "warn":
        allowed, how = (
            math.floor(limit * rows + 1e-9),
            "set pool.on_contamination to drop (leave them out) or accept (keep them)",
        )
    else:
        return None
    if dirty <= allowed:
        return None
    parts = f" ({', '.join(f'{part} {count:,}' for part, count in found.parts.items())})" if found.parts else ""
    above = f", more than pool.contamination_limit allows ({limit:g} of the rows)" if found.action == "warn" else ""
    return f"{dirty:,} rows of the pool share text with benchmark items{parts}{above}: remove them, or {how}."


def list_contamination(
    pool: Pool, table: SignalTable, dirty: NDArray[np.bool_], config: StudyConfig, path: Path | None = None
) -> str:
    """The sentence that names contaminated rows, worst first; with ``path`` all are written there, one object a line."""
    shares = table.column("contamination")
    rows = np.flatnonzero(dirty)
    rows = rows[np.argsort(-shares[rows], kind="stable")]
    ids = pool.row_ids(rows)
    more = f" and {len(ids) - _NAMED:,} more" if len(ids) > _NAMED else ""
    named = f"They are {', '.join(ids[:_NAMED])}{more}"
    if path is None:
        return f"{named}."
    items = {
        f"{task.name}/{split}": load_items(task, split)
        for task in config.tasks
        for split in _SCORED
        if task.brings(split)
    }
    grams = item_grams(items, config.signals.made_options("contamination").n)
    _, touched = contamination(pool.texts(rows), grams)
    cosines = table.column(_COSINE)[rows] if _COSINE in table.columns else np.full(len(rows), np.nan)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for row_id, row, own, cosine in zip(ids, rows.tolist(), touched, cosines.tolist(), strict=True):
            entry = {
                "id": row_id,
                "row": row,
                "parts": [grams.parts[i] for i in np.flatnonzero(own)],
                "share": round(float(shares[row]), 4),
                "cosine": None if np.isnan(cosine) else round(cosine, 4),
            }
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
    return f"{named}; all of them: {path}."
