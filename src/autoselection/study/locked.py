"""Recipes run where a user names them, and locks: a pool opened as a lock saw it, with its rows and signals of then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from autoselection.config import StudyConfig
from autoselection.errors import ConfigError, RecipeError, naming
from autoselection.pool import Pool
from autoselection.recipes import (
    Lock,
    Materialization,
    PrefixCache,
    Recipe,
    ScoredPool,
    lacking_signals,
    load_recipe,
    materialize,
)
from autoselection.signals import SignalStore, load_table
from autoselection.study.named_pools import NamedPool, compute_signals, open_named_pool, open_scored_pool
from autoselection.study.prepare import contaminated, without


@dataclass(frozen=True, eq=False)
class NamedSelection:
    """What a recipe selects from a pool, both as a user named them.

    Attributes:
        name: of the recipe.
        recipe: as it was read.
        place: the pool and its signals.
        result: what the recipe selects.
        seed: of the random steps.
        cache: of the steps that ran.
        cosine: of rows that the study, if the pool is one's, excludes by their cosine with items.
        remarks: what has to be known besides, in sentences.
    """

    name: str
    recipe: Recipe
    place: ScoredPool
    result: Materialization
    seed: int
    cache: PrefixCache
    cosine: float | None = None
    remarks: tuple[str, ...] = ()

    def lock(self) -> Lock:
        """The lock of the selection."""
        return Lock.of(self.result, self.place.table, seed=self.seed, cosine=self.cosine)


def run_named_recipe(
    recipe: Path | None,
    pool: Sequence[Path],
    config: StudyConfig | None = None,
    *,
    seed: int | None = None,
    locked: Path | None = None,
) -> NamedSelection:
    """Run a recipe on a pool, study or raw files, or select the rows of a lock again.

    Args:
        recipe: file or ready recipe; with a lock it may be left out, or must be the lock's.
        seed: of the random steps (default: that of the lock, else 0).
        locked: a lock file.

    Raises:
        ConfigError: neither recipe nor lock is named.
        PoolError, RecipeError, SignalError, StudyError: as of :func:`~autoselection.study.named_pools.open_scored_pool` and
            :meth:`~autoselection.recipes.Lock.select`.
    """
    cache = PrefixCache()
    if locked is not None:
        lock = Lock.read(locked)
        given = None if recipe is None else load_recipe(recipe)
        place = open_locked_pool(lock, pool, config)
        result = lock.select(place.table, recipe=given, seed=seed, cache=cache)
        said = "; ".join(lock.versions())
        remarks = (f"The rows are those of {locked}, though {said}.",) if said else ()
        cosine = None if lock.excluded is None else lock.excluded.cosine
        name = str(locked if recipe is None else recipe)
        return NamedSelection(name, given or lock.selected_by(), place, result, lock.seed, cache, cosine, remarks)
    if recipe is None:
        raise ConfigError("Name a recipe, or a lock file with --locked.")
    loaded = load_recipe(recipe)
    place = open_scored_pool(list(pool), loaded, config, str(recipe))
    with naming(str(recipe)):
        result = materialize(loaded, place.table, seed=seed or 0, cache=cache)
    study = open_named_pool(pool).config if place.table.excluded is not None else None
    cosine = None if study is None else study.pool.contamination_cosine
    return NamedSelection(str(recipe), loaded, place, result, seed or 0, cache, cosine)


def open_locked_pool(lock: Lock, paths: Sequence[Path], config: StudyConfig | None = None) -> ScoredPool:
    """The pool of a lock, with the signals that it names as far as they are there, and others that its recipe needs.

    A pool that grew since is opened as it was. Whether all is as it was then is for :meth:`Lock.select` to say.

    Raises:
        PoolError, StudyError, SignalError: as of :func:`~autoselection.study.named_pools.open_scored_pool`.
        RecipeError: the pool is another one.
    """
    named = open_named_pool(paths)
    config = config or named.config
    named = _as_it_was(named, lock)
    store = SignalStore.of(named.pool)
    keys = dict(named.keys or store.current())
    keys |= {name: signal.key for name, signal in lock.signals.items() if store.has(name, signal.key)}
    table = load_table(named.pool, keys=keys)
    if lacking := lacking_signals(lock.selected_by(), table):
        report = compute_signals(named, lacking, config, "RECIPE")
        table = load_table(named.pool, keys={**keys, **report.keys})
    if lock.excluded is not None:
        dirty = contaminated(table, lock.excluded.cosine)
        table = without(table, dirty) if dirty.any() else table
    return ScoredPool(named.name, named.pool, table)


def _as_it_was(named: NamedPool, lock: Lock) -> NamedPool:
    pool = named.pool
    if pool.fingerprint == lock.pool.fingerprint:
        return named
    if any(fingerprint == lock.pool.fingerprint for fingerprint, _ in pool.parents):
        return replace(named, pool=Pool.open(pool.path, fingerprint=lock.pool.fingerprint), keys=None)
    raise RecipeError(
        f"The lock's rows cannot be selected here: the pool {named.name} has the fingerprint {pool.fingerprint} and "
        f"{len(pool):,} rows, locked {lock.pool.fingerprint} and {lock.pool.rows:,}: it was made from other rows, or read "
        "otherwise."
    )
