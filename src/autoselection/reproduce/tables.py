"""The tables' arithmetic: means with intervals over replicates and items, and differences to AutoSelection."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from autoselection.reproduce.results import Floats, Stored, item_values
from autoselection.reproduce.rows import AUTOSELECTION, Entry
from autoselection.statistics import BaselineComparison, Interval, compare_all, crossed_interval, replicates_needed
from autoselection.tasks import TaskConfig, factors, weighed

TableMetric = Literal["score", "right"]
DRAWS = 2000


@dataclass(frozen=True)
class TableRow:
    """One row of a table.

    Attributes:
        replicates: seeds whose test scores are all there.
        missing: seeds that were not scored yet.
        failed: seeds in which the search found nothing or a training failed, with the reason.
        size: mean number of rows trained on.
        dev: mean dev score of the replicates where it is known.
        tasks: by task, the mean with its interval over items and (with several replicates) seeds.
        average: the same for the mean over tasks, by their weights.
        versus: AutoSelection minus this row, item by item; None for itself or while either is missing.
    """

    name: str
    kind: str
    replicates: tuple[int, ...]
    missing: tuple[int, ...]
    failed: Mapping[int, str]
    size: float
    dev: float | None
    tasks: Mapping[str, Interval] = field(default_factory=dict)
    average: Interval | None = None
    versus: BaselineComparison | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "method": self.name,
            "kind": self.kind,
            "replicates": list(self.replicates),
            "missing": list(self.missing),
            "failed": {str(seed): why for seed, why in self.failed.items()},
            "size": self.size,
            "dev": self.dev,
            "tasks": {task: _interval(found) for task, found in self.tasks.items()},
            "average": _interval(self.average) if self.average else None,
            "autoselection_minus": self.versus.to_dict() if self.versus else None,
        }


@dataclass(frozen=True)
class Table:
    """Rows over the same tasks.

    Attributes:
        metric: ``score`` (each task's search metric, higher is better) or ``right`` (share of right answers).
        first: rows of this table that AutoSelection is compared with before all others, in this order: fixed before, not by
            what came out.
        planning: what the comparisons named before could have found, and how many replicates would, a sentence each.
    """

    title: str
    metric: TableMetric
    tasks: tuple[str, ...]
    rows: tuple[TableRow, ...]
    first: tuple[str, ...]

    @property
    def planning(self) -> list[str]:
        found = {row.name: row.versus for row in self.rows}
        return [_planned(versus) for name in self.first if (versus := found.get(name)) is not None]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "title": self.title,
            "metric": self.metric,
            "tasks": list(self.tasks),
            "rows": [row.to_dict() for row in self.rows],
            "first": list(self.first),
            "planning": self.planning,
        }


def make_table(
    title: str,
    metric: TableMetric,
    tasks: Sequence[TaskConfig],
    entries: Sequence[Entry],
    stored: Stored,
    settings: str,
    first: Sequence[str] = (),
) -> Table:
    """A table of planned entries from what was scored; rows in the order of the entries.

    Args:
        first: rows that AutoSelection is compared with before all others, as far as they are planned for this table.
        settings: of the evaluations on test, see :meth:`Stored.digest`.
    """
    by_row: dict[str, list[Entry]] = {}
    for entry in entries:
        by_row.setdefault(entry.row, []).append(entry)
    first = [name for name in first if name in by_row]
    scored = {name: _scores(own, metric, tasks, stored, settings) for name, own in by_row.items()}
    place, content = (title, metric, settings), _content(first, entries, scored, [task.weight for task in tasks])
    if place not in _LAST or _LAST[place][0] != content:
        rows = _rows(by_row, scored, metric, factors(tasks), first)
        _LAST[place] = content, Table(title, metric, tuple(task.name for task in tasks), rows, tuple(first))
    return _LAST[place][1]


#: The last table that this process made of each kind, with its content: they are written again after every section, and most
#: have not changed.
_LAST: dict[tuple[str, TableMetric, str], tuple[str, Table]] = {}

Replicates = dict[int, dict[str, Floats]]
Scored = tuple[Replicates, list[int], dict[int, str]]


def _content(
    named: Sequence[str], entries: Sequence[Entry], scored: Mapping[str, Scored], weights: Sequence[float]
) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([named, [entry.to_dict() for entry in entries], weights]).encode())
    for found, missing, failed in scored.values():
        digest.update(json.dumps([missing, failed, sorted(found)]).encode())
        for seed in sorted(found):
            for task, values in found[seed].items():
                digest.update(task.encode() + values.tobytes())
    return digest.hexdigest()


def _rows(
    by_row: Mapping[str, Sequence[Entry]],
    scored: Mapping[str, Scored],
    metric: TableMetric,
    by: Mapping[str, float],
    first: Sequence[str],
) -> tuple[TableRow, ...]:
    values = {name: found[0] for name, found in scored.items()}
    versus = _compared(values, {name: own[0].kind for name, own in by_row.items()}, by, first)
    rows = []
    for name, own in by_row.items():
        found, missing, failed = scored[name]
        stacked = _stacked(found, sorted(found))
        if own[0].kind == "base":  # one pass stands for all replicates
            stacked = {task: array[:1] for task, array in stacked.items()}
        devs = [entry.dev for entry in own if entry.dev is not None]
        sizes = [entry.rows for entry in own if entry.subset is not None]
        rows.append(
            TableRow(
                name,
                own[0].kind,
                tuple(sorted(found)),
                tuple(missing),
                failed,
                float(np.mean(sizes)) if sizes else 0.0,
                float(np.mean(devs)) if devs else None,
                {task: _with_interval([array], metric) for task, array in stacked.items()},
                _with_interval(list(weighed(stacked, by).values()), metric) if stacked else None,
                versus.get(name),
            )
        )
    return tuple(rows)


def _scores(
    entries: Sequence[Entry], metric: TableMetric, tasks: Sequence[TaskConfig], stored: Stored, settings: str
) -> Scored:
    """Item values by replicate and task (mean over final seeds), replicates not scored yet, and failed ones."""
    found: Replicates = {}
    missing, failed = [], {}
    for entry in entries:
        if entry.subset is None:
            failed[entry.seed] = "every training of the search failed"
            continue
        results = stored.on_test(entry, settings)
        done = [result for result in results if result is not None]
        why = next((result.failure for result in done if result.failure), None)
        if why is not None:
            failed[entry.seed] = why
        elif len(done) < len(results):
            missing.append(entry.seed)
        else:
            items = {task.name: [item_values(r, task.name, metric, task.metric) for r in done] for task in tasks}
            known = {task: [v for v in listed if v is not None] for task, listed in items.items()}
            if all(len(listed) == len(done) for listed in known.values()):
                found[entry.seed] = {task: np.mean(listed, axis=0) for task, listed in known.items()}
            else:
                failed[entry.seed] = f"'{metric}' was not scored for every task"
    return found, missing, failed


def _stacked(found: Replicates, seeds: Sequence[int]) -> dict[str, Floats]:
    """Per task (replicates, items)."""
    if not seeds:
        return {}
    return {task: np.stack([found[seed][task] for seed in seeds]) for task in found[seeds[0]]}


def _with_interval(table: Sequence[Floats], metric: TableMetric) -> Interval:
    found = crossed_interval(table)
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0)) if metric == "right" else found


def _compared(
    values: Mapping[str, Replicates], kinds: Mapping[str, str], by: Mapping[str, float], first: Sequence[str]
) -> dict[str, BaselineComparison]:
    """AutoSelection against every other row: those named before one after the other, then all others together.

    Replicates are pairs where they have more in common than a number: an ablation begins with AutoSelection's own probes
    and random numbers, so both are taken in the replicates that both have. A search and another one, or a row without
    a search, share no more than the training seed of the test, which is little beside what separates two searches.
    """
    ours = values.get(AUTOSELECTION, {})
    pairs, independent = {}, set()
    for name, theirs in values.items():
        paired = kinds[name] == "ablation"
        both = sorted(set(ours) & set(theirs))
        if name == AUTOSELECTION or not ours or not theirs or (paired and not both):
            continue
        if not paired:
            independent.add(name)
        pairs[name] = (
            _stacked(ours, both if paired else sorted(ours)),
            _stacked(theirs, both if paired else sorted(theirs)),
        )
    found = compare_all(
        AUTOSELECTION, pairs, draws=DRAWS, units="replicates", independent=independent, first=first, factors=by
    )
    return {comparison.baseline: comparison for comparison in found}


def _planned(versus: BaselineComparison) -> str:
    if versus.detectable is None:
        return f"What difference to {versus.baseline} would be found cannot be said: that takes several items, and scores that vary."
    if versus.spread is None:
        return f"One replicate says nothing of other searches: how far they differ from {versus.baseline} takes two or more."
    had = f"{versus.seeds} replicates" if versus.seeds > 1 else "one replicate of one of the two"
    said = (
        f"With {had} a difference of {versus.detectable:.4f} to {versus.baseline} is found with 80% "
        "power, by this comparison alone"
    )
    measured = versus.difference.estimate
    if measured == 0:
        return said + "."
    needed = replicates_needed(measured, versus.spread)
    takes = "takes other items" if needed is None else f"takes {needed:,} replicates"
    return f"{said}; one as large as the measured one ({measured:+.4f}) {takes}."


def _interval(found: Interval) -> dict[str, Any]:
    """Plain data; ``ci95`` is None where nothing is known of it."""
    ends = [found.low, found.high]
    return {"value": found.estimate, "ci95": ends if all(map(math.isfinite, ends)) else None, "over": found.over}
