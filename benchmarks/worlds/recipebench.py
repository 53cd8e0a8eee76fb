"""RecipeBench as a world: real evaluations of the embedded demo, interpolated; see benchmarks/recipebench."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from autoselection.compare.session import FIDELITIES
from benchmarks.recipebench.fidelity import SHIPPED as SHORT_RUNS
from benchmarks.recipebench.fidelity import Short, measured
from benchmarks.recipebench.interpolate import SHIPPED, Interpolator, default_path, demo_table, read_evaluations
from benchmarks.worlds.interpolated import InterpolatedWorld

OPTIMA = Path(__file__).parents[1] / "recipebench" / "data" / "optimum.json"


class RecipeBench(InterpolatedWorld):
    """The demo's pool with interpolated scores; its optimum is stored beside the table, or in ``work``."""

    def __init__(self, interpolator: Interpolator, min_rows: int, work: Path, noise: float = 1.0) -> None:
        super().__init__(interpolator, min_rows, "recipebench", (OPTIMA, work / "optimum.json"), noise)

    @classmethod
    def load(cls, work: Path, split: str, evaluations: Path | None = None, noise: float = 1.0) -> RecipeBench:
        """From the demo's signals in ``work`` and a table (default: the one built there, else the shipped one)."""
        table = demo_table(work)
        runs = read_evaluations(evaluations or default_path(work), table.n).split(split)
        return cls(Interpolator(table, runs), max(32, min(500, round(0.02 * table.n))), work, noise)

    @cached_property
    def _short(self) -> dict[float, Short]:
        """Models of the short trainings, of whichever part of the table: they are few."""
        evaluations = read_evaluations(SHIPPED, self.table.n)
        return {level: Short.of(*measured(evaluations, SHORT_RUNS, level)[:3]) for level in FIDELITIES}
