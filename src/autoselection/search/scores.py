"""Which scores of a pool the steps of a search may cut by: what its surrogate has to see of a subset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.operators import Operator, in_role
from autoselection.operators.param import blend_of
from autoselection.search.space import RecipeSpace
from autoselection.signals.families.mona import MONA_PREFIX
from autoselection.signals.table import SignalTable

_NO_SCORES = frozenset({"text_hash", "minhash", "sae", "embeddings", "texts", "near_duplicates"})
"""What operators need besides scores: it has no ends to cut at."""


@dataclass(frozen=True)
class CutScores:
    """What the operators of a space cut by.

    Attributes:
        columns: columns of the signal table, sorted.
        unseen: sentences about operators whose cuts no column tells of.
    """

    columns: tuple[str, ...]
    unseen: tuple[str, ...]


def cut_scores(space: RecipeSpace) -> CutScores:
    """The columns that any operator of the space may cut by, whatever its parameters.

    An operator says so by :meth:`~autoselection.operators.Operator.needs`, asked for every value that its parameter of
    role ``column``, or a blend, may take on this pool; ``mona`` is the relevance for every task.
    """
    signals, filters = space.signals, set(space.filters)
    columns: set[str] = set()
    unseen = []
    for operator in space.operators:
        named = dict.fromkeys(named_by(operator, space))
        wanted = [name for name in named if name not in _NO_SCORES and name not in signals.arrays]
        found = [name for name in wanted if name in signals.columns and varies(signals.columns[name])]
        columns.update(found)
        missing = [name for name in wanted if name not in found]
        if missing:
            unseen.append(
                f"The surrogate does not see what {operator.name} cuts by in {', '.join(missing)}: the pool has no such "
                "column with two different scores."
            )
        elif operator.name in filters and not found:
            unseen.append(
                f"The surrogate does not see what {operator.name} cuts by: the operator declares no column (a parameter "
                "of role 'column', scored_by or needs)."
            )
    return CutScores(tuple(sorted(columns)), tuple(unseen))


def named_by(operator: Operator, space: RecipeSpace) -> Iterator[str]:
    """Columns and other signals that the operator may read to decide, ``mona`` spelt out."""
    column = in_role(space.params(operator.name), "column")
    values = () if column is None else column.choices or (column.default,)
    chosen: list[Mapping[str, Any]] = [{} if column is None else {column.name: value} for value in values if value]
    if blend := blend_of(space.params(operator.name)):
        chosen += [{blend.name: {choice: 1.0}} for choice in blend.choices]
    for params in chosen or [{}]:
        for name in operator.needs(params):
            if name == "mona":
                yield from _relevance(space.signals)
            else:
                yield name


def _relevance(signals: SignalTable) -> Iterator[str]:
    for task in signals.tasks:
        yield MONA_PREFIX + task


def varies(values: NDArray[np.float32]) -> bool:
    """Whether a column has two different scores."""
    known = values[np.isfinite(values)]
    return len(known) > 0 and bool(known.min() < known.max())
