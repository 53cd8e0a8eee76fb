"""A recipe on another pool, a grown pool or other signals than those it was found with: what changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from autoselection.errors import RecipeError, SignalError
from autoselection.pool import Pool
from autoselection.recipes.materialize import Materialization, materialize
from autoselection.recipes.recipe import Recipe
from autoselection.recipes.state import shown_numbers, state_vector
from autoselection.signals import SignalTable


@dataclass(frozen=True)
class ScoredPool:
    """A pool with signals, where a recipe is applied."""

    name: str
    pool: Pool
    table: SignalTable


@dataclass(frozen=True, eq=False)
class Transfer:
    """A recipe applied in two places.

    Attributes:
        before, after: what it selects there.
        steps: per step ``operator``, and rows in, rows out and rows without a score in both places.
        state: by name the numbers of the state vector (of many sources the largest), before and after; None where one place lacks a signal.
        shared: rows whose stable id both pools have (count).
        kept: ids of shared rows selected in both places.
        gained, lost: ids of shared rows selected only after, or only before.
        added: ids of selected rows that the pool before did not have.
        gone: ids of rows selected before that the pool after does not have.
        other_signals: signals that both have and that were computed otherwise (same pool only), or that one lacks.
    """

    before: Materialization
    after: Materialization
    names: tuple[str, str]
    pools: tuple[Mapping[str, Any], Mapping[str, Any]]
    steps: tuple[Mapping[str, Any], ...]
    state: Mapping[str, tuple[float | None, float | None]]
    shared: int
    kept: tuple[str, ...] = field(repr=False)
    gained: tuple[str, ...] = field(repr=False)
    lost: tuple[str, ...] = field(repr=False)
    added: tuple[str, ...] = field(repr=False)
    gone: tuple[str, ...] = field(repr=False)
    other_signals: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data with all ids, for a report file."""
        return {
            "recipe": self.after.recipe.to_dict(),
            "before": {"name": self.names[0], **self.pools[0], "selected": len(self.before.rows)},
            "after": {"name": self.names[1], **self.pools[1], "selected": len(self.after.rows)},
            "subset_hash": [self.before.subset_hash, self.after.subset_hash],
            "steps": [dict(step) for step in self.steps],
            "state": {name: list(values) for name, values in self.state.items()},
            "shared_rows": self.shared,
            "other_signals": list(self.other_signals),
            **{name: list(getattr(self, name)) for name in ("kept", "gained", "lost", "added", "gone")},
        }

    def summary(self) -> dict[str, Any]:
        """:meth:`to_dict` with counts in place of ids, and the sentences."""
        plain = self.to_dict()
        counts = {name: len(plain[name]) for name in ("kept", "gained", "lost", "added", "gone")}
        return {**plain, **counts, "sentences": self.sentences()}

    def sentences(self) -> list[str]:
        """What changed, for people."""
        said = [
            f"{len(self.after.rows):,} rows of {self.pools[1]['rows']:,} in {self.names[1]}, {len(self.before.rows):,} of "
            f"{self.pools[0]['rows']:,} in {self.names[0]}; the pools share {self.shared:,} rows."
        ]
        if self.shared:
            said.append(
                f"Of the shared rows {len(self.kept):,} are selected in both, {len(self.gained):,} newly selected and "
                f"{len(self.lost):,} newly dropped."
            )
        if self.added or self.gone:
            said.append(
                f"{len(self.added):,} selected rows are new to the pool; {len(self.gone):,} selected before are gone from it."
            )
        if self.other_signals:
            said.append(f"Signals that differ: {', '.join(self.other_signals)}.")
        return said


def transfer(recipe: Recipe, before: ScoredPool, after: ScoredPool, *, seed: int = 0) -> Transfer:
    """Apply a recipe in two places and tell what changed; rows are matched by their stable ids.

    Raises:
        RecipeError, SignalError: the recipe cannot be applied in one of them; names which.
    """
    results = [_apply(recipe, place, seed) for place in (before, after)]
    states = shown_numbers(
        [
            state_vector(result.rows, place.table).to_dict()
            for result, place in zip(results, (before, after), strict=True)
        ]
    )
    names = list(dict.fromkeys([*states[0], *states[1]]))
    old, new = (set(place.pool.row_ids(result.rows)) for result, place in zip(results, (before, after), strict=True))
    shared = int(pc.sum(pc.is_in(after.pool.ids, value_set=before.pool.ids)).as_py() or 0)
    gained, added = _parted(new - old, before.pool)
    lost, gone = _parted(old - new, after.pool)
    return Transfer(
        before=results[0],
        after=results[1],
        names=(before.name, after.name),
        pools=(_about(before), _about(after)),
        steps=tuple(
            {
                "operator": old.operator,
                **{key: [getattr(old, key), getattr(new, key)] for key in ("rows_in", "rows_out", "missing")},
            }
            for old, new in zip(results[0].lineage, results[1].lineage, strict=True)
        ),
        state={name: (states[0].get(name), states[1].get(name)) for name in names},
        shared=shared,
        kept=tuple(sorted(old & new)),
        gained=gained,
        lost=lost,
        added=added,
        gone=gone,
        other_signals=_other_signals(before, after),
    )


def _apply(recipe: Recipe, place: ScoredPool, seed: int) -> Materialization:
    try:
        return materialize(recipe, place.table, seed=seed)
    except (RecipeError, SignalError) as error:
        raise type(error)(f"{place.name}: {error}") from error


def _about(place: ScoredPool) -> dict[str, Any]:
    return {"pool": place.pool.fingerprint, "rows": len(place.pool)}


def _parted(ids: Collection[str], pool: Pool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those ids that a pool has, and the others; both sorted."""
    named = sorted(ids)
    there = pc.is_in(pa.array(named, pa.string()), value_set=pool.ids).to_pylist()
    return tuple(compress(named, there)), tuple(compress(named, (not has for has in there)))


def _other_signals(before: ScoredPool, after: ScoredPool) -> tuple[str, ...]:
    """Keys of signals hold their settings and models, but also the pool: they compare only on one pool."""
    old, new = (dict(place.table.keys or {}) for place in (before, after))
    if before.pool.fingerprint == after.pool.fingerprint:
        return tuple(sorted(name for name in {*old, *new} if old.get(name) != new.get(name)))
    return tuple(sorted(name for name in {*old, *new} if (name in old) != (name in new)))
