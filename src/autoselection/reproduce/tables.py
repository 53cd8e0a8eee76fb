"""The tables' arithmetic: means with intervals over seeds and items, and paired differences to AutoSelection."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from autoselection.reproduce.results import Floats, Stored, item_values
from autoselection.reproduce.rows import AUTOSELECTION, Entry
from autoselection.statistics import BaselineComparison, Interval, bootstrap_interval, compare_all
from autoselection.tasks import TaskConfig

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
        average: the same for the mean over tasks.
        versus: AutoSelection minus this row, paired by replicate and item; None for itself or while either is missing.
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
    """

    title: str
    metric: TableMetric
    tasks: tuple[str, ...]
    rows: tuple[TableRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "title": self.title,
            "metric": self.metric,
            "tasks": list(self.tasks),
            "rows": [row.to_dict() for row in self.rows],
        }


def make_table(
    title: str,
    metric: TableMetric,
    tasks: Sequence[TaskConfig],
    entries: Sequence[Entry],
    stored: Stored,
    settings: str,
) -> Table:
    """A table of planned entries from what was scored; rows in the order of the entries.

    Args:
        settings: of the evaluations on test, see :meth:`Stored.digest`.
    """
    by_row: dict[str, list[Entry]] = {}
    for entry in entries:
        by_row.setdefault(entry.row, []).append(entry)
    scored = {name: _scores(own, metric, tasks, stored, settings) for name, own in by_row.items()}
    key = _content(title, metric, entries, scored)
    if key not in _KNOWN:
        _KNOWN[key] = Table(title, metric, tuple(task.name for task in tasks), _rows(by_row, scored))
    return _KNOWN[key]


#: Tables made in this process by their content: they are written again after every section, and most have not changed.
_KNOWN: dict[str, Table] = {}

Replicates = dict[int, dict[str, Floats]]
Scored = tuple[Replicates, list[int], dict[int, str]]


def _content(title: str, metric: str, entries: Sequence[Entry], scored: Mapping[str, Scored]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([title, metric, [entry.to_dict() for entry in entries]]).encode())
    for found, missing, failed in scored.values():
        digest.update(json.dumps([missing, failed, sorted(found)]).encode())
        for seed in sorted(found):
            for task, values in found[seed].items():
                digest.update(task.encode() + values.tobytes())
    return digest.hexdigest()


def _rows(by_row: Mapping[str, Sequence[Entry]], scored: Mapping[str, Scored]) -> tuple[TableRow, ...]:
    values = {name: found[0] for name, found in scored.items()}
    versus = _compared(values)
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
                {task: bootstrap_interval([array], draws=DRAWS) for task, array in stacked.items()},
                bootstrap_interval(list(stacked.values()), draws=DRAWS) if stacked else None,
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


def _compared(values: Mapping[str, Replicates]) -> dict[str, BaselineComparison]:
    """AutoSelection against every other row, in the replicates both have; Holm over all rows."""
    ours = values.get(AUTOSELECTION, {})
    pairs = {}
    for name, theirs in values.items():
        seeds = sorted(set(ours) & set(theirs))
        if name != AUTOSELECTION and seeds:
            pairs[name] = _stacked(ours, seeds), _stacked(theirs, seeds)
    return {found.baseline: found for found in compare_all(AUTOSELECTION, pairs, draws=DRAWS)}


def _interval(found: Interval) -> dict[str, Any]:
    return {"value": found.estimate, "ci95": [found.low, found.high], "over": found.over}
