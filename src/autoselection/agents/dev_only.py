"""What keeps test from an agent: it gets the study's journal without what tells of test, and no signal that has read test items.

Nothing that an agent can call opens a task file of the test split. Besides that, a study holds three traces of it: the
final table (events of the journal), what the contamination guard found (the rows that it dropped are shown to no agent), and
the signals that compare rows with benchmark items, of which a recipe could make a subset of what looks like test.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import AutoSelectionError, ConfigError, PoolError, RecipeError, SignalError
from autoselection.inspection import numbers_of
from autoselection.ledger.journal import ReadJournal, read_events
from autoselection.pool import Pool
from autoselection.recipes import Recipe
from autoselection.recipes.required_signals import recipe_signals
from autoselection.signals import SignalTable
from autoselection.signals.needs import BENCHMARK_ITEMS
from autoselection.signals.registry import default_registry
from autoselection.study import Study
from autoselection.study.kind import JOURNAL
from autoselection.wording import clipped

#: Events of a journal that tell of test items or scores.
TELLING_OF_TEST = frozenset({"test", "final_plan", "contamination", "benchmarks"})


class DevJournal(ReadJournal):
    """The events of a journal, as they are now, without those that tell of test; nothing can be appended to it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, (event for event in read_events(path) if event["event"] not in TELLING_OF_TEST))


def dev_study(path: Path) -> Study:
    """The study in a folder, as it would be had test never been scored."""
    return Study(path, DevJournal(path / JOURNAL))


def hidden_signals() -> frozenset[str]:
    """Signals that are computed from dev and test items."""
    registry = default_registry()
    return frozenset(name for name in registry.names() if BENCHMARK_ITEMS in registry.needs(name))


def without_hidden(table: SignalTable) -> SignalTable:
    """The table without the scores and arrays of :func:`hidden_signals`."""
    columns = {name: values for name, values in table.columns.items() if not _is_hidden(name)}
    arrays = {name: array for name, array in table.arrays.items() if not _is_hidden(name)}
    return replace(table, columns=columns, arrays=arrays)


def check_recipe(recipe: Recipe) -> None:
    """Refuse a recipe that reads what is hidden, in a step or in a recipe that a step names.

    Raises:
        RecipeError: it does.
    """
    read = [name for name in recipe_signals(recipe) if name in hidden_signals()]
    if read:
        raise RecipeError(_why(read[0]))


def check_condition(condition: str) -> None:
    """Refuse a condition on rows that names what is hidden.

    Raises:
        ConfigError: it does.
    """
    for word in re.findall(r"\w+", condition):
        if _is_hidden(word):
            raise ConfigError(_why(word))


def check_columns(names: tuple[str, ...]) -> None:
    """Refuse names of scores that are hidden.

    Raises:
        SignalError: one is.
    """
    for name in names:
        if _is_hidden(name):
            raise SignalError(_why(name))


def visible_rows(
    pool: Pool, table: SignalTable, ids: Sequence[str | int] | None
) -> Sequence[str | int] | NDArray[np.int64] | None:
    """What was asked for, less the rows that the study has dropped: their text is that of dev or test items.

    Args:
        ids: ids or numbers of rows; None: all of them.

    Raises:
        PoolError: a row is none that the study selects from, or there is no such row.
    """
    if table.excluded is None:
        return ids
    if ids is None:
        return table.selectable
    numbers = numbers_of(pool, ids)
    if table.excluded[numbers].any():
        name = list(ids)[int(np.argmax(table.excluded[numbers]))]
        raise PoolError(f"The study does not select from row {clipped(str(name))!r}: ask for others.")
    return numbers


def _is_hidden(column: str) -> bool:
    try:
        signal = default_registry().signal_of_column(column) or column
    except AutoSelectionError:  # a broken package of signals
        signal = column
    return signal in hidden_signals()


def _why(name: str) -> str:
    return (
        f"'{name}' compares rows with test items, which agents do not see: what becomes of such rows is the study's to decide "
        "(pool.on_contamination)."
    )
