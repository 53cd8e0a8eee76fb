"""A pool whose scores are interpolated from a table of real trainings.

A search observes dev scores with the noise of real training runs; it is judged by the noise-free score on test (on dev
while the table has no test scores; ``judged_by`` says which).

**Cheaper fidelities** are modelled from real short trainings of subsets of the table: per task, a line from the full
training's log loss, a lasting deviation (a short training prefers other subsets than a long one; drawn anew for every
subset, although alike subsets may share it in truth) and noise. Their price is the share of training; in the real runs,
scoring included, it is higher.

**Optimum**: the best test score of a long search with the truth in hand (:mod:`benchmarks.worlds.climb`), for the
interpolator at hand; stored under its digest, as it takes minutes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from autoselection.recipes import Recipe
from benchmarks.recipebench.fidelity import Short
from benchmarks.recipebench.interpolate import Interpolator, Rows
from benchmarks.worlds.base import noise_generator
from benchmarks.worlds.climb import climb

CLIMBS, STARTS, GENERATIONS = 3, 600, 12
"""Long searches for the optimum, the recipes each starts from, and its generations of edits."""


class InterpolatedWorld:
    """A pool with interpolated scores.

    Args:
        name: of the world; part of its noise.
        optima: files that may hold the optimum; what is missing in all is searched for and written to the last.
        noise: factor on the spread that training seeds make.
        climbs: long searches for the optimum, recipes each starts from, generations; None: the defaults.
    """

    def __init__(
        self,
        interpolator: Interpolator,
        min_rows: int,
        name: str,
        optima: Sequence[Path],
        noise: float = 1.0,
        climbs: tuple[int, int, int] | None = None,
    ) -> None:
        self.name = name
        self.noise = noise
        self.interpolator = interpolator
        self.table = interpolator.table
        self.min_rows = min_rows
        self.judged_by = "test" if interpolator.has_test else "dev"
        self._optima = tuple(optima)
        self._climbs = climbs

    def truth_of_tasks(self, rows: Rows) -> dict[str, float]:
        return self.interpolator.scores(rows, self.judged_by)

    def truth(self, rows: Rows) -> float:
        return float(np.mean(list(self.truth_of_tasks(rows).values())))

    def observe(self, rows: Rows, seed: int, fidelity: float = 1.0) -> dict[str, float]:
        rng = noise_generator(rows, seed, f"{self.name} {fidelity:.4f}")
        if fidelity >= 1:
            return self.interpolator.draw(rows, rng, self.noise)
        short = self._short[fidelity]
        losses = np.log([-score for score in self.interpolator.scores(rows, "dev").values()])
        lasting = noise_generator(rows, 0, f"{self.name} lasting {fidelity:.4f}").normal(size=len(losses))
        drawn = short.offset + short.slope * losses + short.lasting * lasting
        drawn += self.noise * short.noise * rng.normal(size=len(losses))
        return dict(zip(self.interpolator.tasks, (-np.exp(drawn)).tolist(), strict=True))

    @cached_property
    def _short(self) -> Mapping[float, Short]:
        """Models of the short trainings by fidelity."""
        raise NotImplementedError

    def strangeness(self, rows: Rows) -> float:
        """How far a subset is from all of the table, 0 where it is trusted."""
        return float(self.interpolator.strangeness([rows])[0])

    @cached_property
    def optimum(self) -> float:
        key = f"{self.interpolator.digest}/{self.judged_by}"
        for path in self._optima:
            stored = json.loads(path.read_text("utf-8")) if path.is_file() else {}
            if key in stored:
                return float(stored[key]["truth"])
        best, recipe, rows = self._search()
        stored[key] = {"truth": round(best, 6), "rows": len(rows), "recipe": recipe.describe()}
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}")
        part.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n", "utf-8")
        part.replace(path)
        return round(best, 6)

    def _search(self) -> tuple[float, Recipe, Rows]:
        """The best of some long searches."""

        def truths(subsets: list[Rows]) -> np.ndarray:
            return self.interpolator.mean_scores(subsets, self.judged_by)

        climbs, starts, generations = self._climbs or (CLIMBS, STARTS, GENERATIONS)
        found = [
            climb(self.table, truths, self.min_rows, seed, starts=starts, generations=generations)
            for seed in range(climbs)
        ]
        return max(found, key=lambda item: item[0])

    @property
    def reachable(self) -> float:
        return self.optimum
