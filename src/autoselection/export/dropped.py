"""The rows that a recipe leaves out, each with the step that dropped it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoselection.export.export import export_rows
from autoselection.export.written import ExportReport
from autoselection.pool.pool import Pool
from autoselection.recipes import PrefixCache, Recipe, dropped_rows, why
from autoselection.recipes.why import EXCLUDED
from autoselection.signals import SignalTable

#: Columns of the file; the last three only where why is asked for.
STEP, BY = "dropped_step", "dropped_by"
WHY, MARGIN, OTHER = "dropped_why", "dropped_margin", "dropped_for"
#: What dropped a row that the format of the subset cannot hold.
FORMAT = "format of the subset"


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
    with_why: bool = False,
) -> ExportReport:
    """Write the rows that a recipe leaves out to one file, in row order, as messages.

    Two columns tell why: ``dropped_step``, the number of the step from 1 (none if it was no step), and ``dropped_by``, its
    operator, or what else it was. ``with_why`` adds ``dropped_why``, the reason in words, ``dropped_margin``, how far the row's score is on
    the side that stays (negative: by so much it missed), and ``dropped_for``, the id of the duplicate that was kept.

    Args:
        left_out: ids of selected rows that could not be written to the subset.
        columns: the user's columns to write, and ``_file`` and ``_line``; None for all.
        overwrite: replace a file.
        cache: what :func:`~autoselection.recipes.materialize` kept, to run no step twice.
        with_why: say of each row why it was dropped.

    Raises:
        ConfigError, PoolError, RecipeError, SignalError: see :func:`export_rows` and ``materialize``.
    """
    rows, steps = dropped_rows(recipe, signals, seed=seed, cache=cache)
    operators = [EXCLUDED, *(step.operator for step in recipe.steps)]
    told = {row: (step or None, operators[step]) for row, step in zip(rows.tolist(), steps.tolist(), strict=True)}
    told |= dict.fromkeys(pool.row_of(left_out).tolist() if left_out else [], (None, FORMAT))
    ordered = sorted(told)
    marks: dict[str, list[Any]] = {STEP: [told[row][0] for row in ordered], BY: [told[row][1] for row in ordered]}
    if with_why:
        marks |= _reasons(pool, recipe, signals, ordered, seed, cache)
    return export_rows(
        pool,
        np.array(ordered, np.int64),
        path,
        columns=columns,
        marks=marks,
        overwrite=overwrite,
    )


def _reasons(
    pool: Pool, recipe: Recipe, signals: SignalTable, rows: list[int], seed: int, cache: PrefixCache | None
) -> dict[str, list[Any]]:
    """Why each row was dropped, by column; None where it was not, or where that is not known."""
    removals = [fate.removal for fate in why(recipe, signals, rows, seed=seed, cache=cache)]
    judgements = [None if removal is None else removal.judgement for removal in removals]
    others = sorted({each.other for each in judgements if each is not None and each.other is not None})
    ids = dict(zip(others, pool.row_ids(others), strict=True))
    return {
        WHY: [None if each is None else each.sentence for each in judgements],
        MARGIN: [None if each is None else each.margin for each in judgements],
        OTHER: [None if each is None or each.other is None else ids[each.other] for each in judgements],
    }
