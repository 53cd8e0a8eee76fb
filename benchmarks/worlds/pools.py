"""A cell of the pool family as a world: a drawn pool with one of the base models, its real trainings interpolated; see
benchmarks/pools."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from autoselection.compare.session import FIDELITIES
from autoselection.search.config import SearchConfig
from benchmarks.pools.build import cell_table
from benchmarks.pools.pack import DATA, shipped
from benchmarks.recipebench.fidelity import Short, measured
from benchmarks.recipebench.interpolate import Interpolator, TableError, read_evaluations
from benchmarks.worlds.interpolated import InterpolatedWorld

OPTIMA = DATA / "optimum.json"
CLIMBS = (1, 200, 6)
LEAST_SUBSETS = 40
"""Subsets below which a table is not interpolated."""

LEAST_SHORT = 5
"""Subsets that have to be trained shortly before a short training can be modelled."""


class PoolWorld(InterpolatedWorld):
    """A pool with a base model.

    Args:
        path: table of trainings (packed), which also holds the short ones.
    """

    def __init__(self, interpolator: Interpolator, pool: str, model: str, path: Path, work: Path, noise: float = 1.0):
        least = SearchConfig().minimum_rows(interpolator.table.n)
        optima = (OPTIMA, work / "optimum.json")
        super().__init__(interpolator, least, f"{pool}/{model}", optima, noise, CLIMBS)
        self.pool = pool
        self.model = model
        self._path = path

    @classmethod
    def load(cls, work: Path, pool: str, model: str, folder: Path | None = None, noise: float = 1.0) -> PoolWorld:
        """From the pool's signals in ``work`` (made if they are not there) and a packed table.

        Args:
            folder: of packed tables; None: those of the repository.

        Raises:
            TableError: the cell has no table yet, or one of too few subsets.
        """
        path = shipped(pool, model) if folder is None else folder / shipped(pool, model).name
        if not path.is_file():
            raise TableError(f"{pool}/{model} has no table yet: run benchmarks.pools.build and benchmarks.pools.pack.")
        table = cell_table(work, pool, model)
        evaluations = read_evaluations(path, table.n)
        if (subsets := len(set(evaluations.keys))) < LEAST_SUBSETS:
            raise TableError(f"{pool}/{model} has a table of {subsets} subsets yet; {LEAST_SUBSETS} are needed.")
        return cls(Interpolator(table, evaluations), pool, model, path, work, noise)

    @cached_property
    def full(self) -> float:
        """Truth of the whole pool."""
        return self.truth(np.arange(self.table.n))

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the truths of the table's subsets: the unit in which pools are compared."""
        distinct = dict(zip(self.interpolator.evaluations.keys, self.interpolator.evaluations.subsets, strict=True))
        return float(np.std(self.interpolator.mean_scores(list(distinct.values()), self.judged_by)))

    @cached_property
    def seed_noise(self) -> float:
        """Standard deviation between seeds of the whole pool's mean dev score."""
        everything = np.arange(self.table.n)
        drawn = [np.mean(list(self.observe(everything, seed).values())) for seed in range(200)]
        return float(np.std(drawn))

    @cached_property
    def _short(self) -> dict[float, Short]:
        models = {}
        for level in FIDELITIES:
            full, short, differences, _ = measured(self.interpolator.evaluations, self._path, level)
            if len(full) < LEAST_SHORT or not len(differences):
                raise TableError(f"{self.name}: too few short trainings yet to model them ({len(full)} subsets).")
            models[level] = Short.of(full, short, differences)
        return models
