"""Lines over pools: what methods did on each cell of the family, summed up with the pool as the unit.

Scores of a cell are divided by its ``spread`` (standard deviation of the truths of its table's subsets) before pools are
put together: a nat is not the same everywhere. A pool's value is the mean over its models and seeds; intervals are
Student's t over pools.

* ``mean_regret``, ``ci95``: in spreads. ``regret_of``: by pool.
* ``curve``, ``curve_ci95``: mean over pools of the truth above the whole pool's, in spreads, after each evaluation.
* ``vs_random``: by how much the truth is above that of random recipe search after 5, 8 and all evaluations (spreads),
  with an interval over pools; ``vs_ours``: by how much ours (``ours:learnt`` where it is there) is above it after all, ``vs_ours_after``: after each.
* ``left_out``: whether what the method knows was learnt from other pools only.
* ``evals_to_random15``, ``evals_to_published15``: mean over cells, a cell where it never is counts as the budget plus one.
* ``worse_than_random``: pools on which the mean truth is below random recipe search's by more than twice the standard
  error of their paired difference over seeds and models.
* ``below_full``: by pool, the share of runs that end below the whole pool.
* ``full_stays``: by pool, the share of runs whose verdict leaves the whole pool in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from benchmarks.methods import own_search

AFTER = (5, 8)
ALL = "all"
"""What such a line has for a split, where the others have pool and model."""

Array = NDArray[np.float64]
Line = Mapping[str, Any]


def interval(values: Array) -> list[float] | None:
    """95% interval of the mean of independent values by Student's t; None for fewer than two."""
    if len(values) < 2:
        return None
    half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return [float(values.mean()) - half, float(values.mean()) + half]


def pooled_lines(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """One line a method over all cells of ``lines``, the lowest regret first."""
    methods = list(dict.fromkeys(line["method"] for line in lines))
    found = [_pooled(method, lines) for method in methods]
    return sorted(found, key=lambda line: line["mean_regret"])


def _pooled(method: str, lines: Sequence[Line]) -> dict[str, Any]:
    mine = [line for line in lines if line["method"] == method]
    pools = list(dict.fromkeys(line["pool"] for line in mine))
    budget = mine[0]["budget"]

    def by_pool(value: Any) -> Array:
        return np.array([np.mean([value(line) for line in mine if line["pool"] == pool]) for pool in pools])

    def against(other: str, after: int) -> dict[str, Any]:
        """Truth after some evaluations minus that of another method."""

        def difference(line: Line) -> float:
            theirs = _beside(other, line, lines)["curve"][after - 1]
            own = line["curve"][after - 1]
            return float("nan") if own is None or theirs is None else (own - theirs) / line["spread"]

        values = by_pool(difference)
        return {"difference": float(values.mean()), "ci95": interval(values)}

    regrets = by_pool(lambda line: line["mean_regret"] / line["spread"])
    above = [by_pool(lambda line, place=place: _above(line, place)) for place in range(budget)]
    curve = [_mean(values.tolist()) for values in above]
    out: dict[str, Any] = {
        "method": method,
        "family": mine[0]["family"],
        "split": ALL,
        "pools": len(pools),
        "left_out": all(line["left_out"] for line in mine),
        "budget": budget,
        "seeds": mine[0]["seeds"],
        "unit": "spreads",
        "mean_regret": float(regrets.mean()),
        "ci95": interval(regrets) or [float(regrets.mean())] * 2,
        "regret_of": dict(zip(pools, regrets.tolist(), strict=True)),
        "best_true": curve[-1],
        "curve": curve,
        "curve_ci95": [interval(values[np.isfinite(values)]) for values in above],
        "below_full": dict(zip(pools, by_pool(lambda line: line["below_full"]).tolist(), strict=True)),
        "full_stays": dict(zip(pools, by_pool(lambda line: line["full_stays"]).tolist(), strict=True)),
        "seconds_per_round": float(np.median([line["seconds_per_round"] for line in mine])),
    }
    for key in ("evals_to_random15", "evals_to_published15"):
        out[key] = float(by_pool(lambda line, key=key: budget + 1 if line[key] is None else line[key]).mean())
    there = {line["method"] for line in lines}
    if "random" in there and method != "random":
        out["vs_random"] = {str(after): against("random", after) for after in (*AFTER, budget) if after <= budget}
        out["worse_than_random"] = [pool for pool in pools if _worse(method, "random", pool, lines)]
    if (own := own_search(there)) not in (None, method):
        behind = {after: _turned(against(own, after)) for after in (*AFTER, budget) if after <= budget}
        out["vs_ours"] = behind[budget]
        out["vs_ours_after"] = {str(after): found for after, found in behind.items()}
    return out


def _turned(found: Mapping[str, Any]) -> dict[str, Any]:
    """A difference the other way round."""
    ends = found["ci95"]
    return {"difference": -found["difference"], "ci95": ends and [-ends[1], -ends[0]]}


def _beside(method: str, line: Line, lines: Sequence[Line]) -> Line:
    return next(other for other in lines if other["method"] == method and other["split"] == line["split"])


def _above(line: Line, place: int) -> float:
    value = line["curve"][place]
    return float("nan") if value is None else (value - line["full"]) / line["spread"]


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else None


def _worse(method: str, other: str, pool: str, lines: Sequence[Line]) -> bool:
    """Whether the final truths are below the other method's on the same seeds, beyond noise."""
    differences = np.concatenate(
        [
            (np.array(line["final"]) - np.array(_beside(other, line, lines)["final"])) / line["spread"]
            for line in lines
            if line["method"] == method and line["pool"] == pool
        ]
    )
    if len(differences) < 2:
        return False
    return bool(differences.mean() < -2 * differences.std(ddof=1) / np.sqrt(len(differences)))
