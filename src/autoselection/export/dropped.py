"""The rows that a recipe leaves out, each with the step that dropped it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from autoselection.export.export import export_rows
from autoselection.export.written import ExportReport
from autoselection.pool.pool import Pool
from autoselection.recipes import PrefixCache, Recipe, dropped_rows
from autoselection.signals import SignalTable

#: Columns of the file.
STEP, BY = "dropped_step", "dropped_by"
#: What dropped a row that the pool's table excludes, and one that the format of the subset cannot hold.
EXCLUDED, FORMAT = "excluded from the pool (contamination)", "format of the subset"


def export_dropped(
    pool: Pool,
    recipe: Recipe,
    signals: SignalTable,
    path: Path | str,
    *,
    seed: int = 0,
    left_out: Sequence[str] = (),
    columns: Collection[str] | None = None,
    overwrite: bool = False,
    cache: PrefixCache | None = None,
) -> ExportReport:
    """Write the rows that a recipe leaves out to one file, in row order, as messages.

    Two columns tell why: ``dropped_step``, the number of the step from 1 (none if it was no step), and ``dropped_by``, its
    operator, or what else it was.

    Args:
        left_out: ids of selected rows that could not be written to the subset.
        columns: the user's columns to write, and ``_file`` and ``_line``; None for all.
        overwrite: replace a file.
        cache: what :func:`~autoselection.recipes.materialize` kept, to run no step twice.

    Raises:
        ConfigError, PoolError, RecipeError, SignalError: see :func:`export_rows` and ``materialize``.
    """
    rows, steps = dropped_rows(recipe, signals, seed=seed, cache=cache)
    operators = [EXCLUDED, *(step.operator for step in recipe.steps)]
    told = {row: (step or None, operators[step]) for row, step in zip(rows.tolist(), steps.tolist(), strict=True)}
    told |= dict.fromkeys(pool.row_of(left_out).tolist() if left_out else [], (None, FORMAT))
    ordered = sorted(told)
    return export_rows(
        pool,
        np.array(ordered, np.int64),
        path,
        columns=columns,
        marks={STEP: [told[row][0] for row in ordered], BY: [told[row][1] for row in ordered]},
        overwrite=overwrite,
    )
