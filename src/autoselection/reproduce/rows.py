"""The rows of the tables: what is trained without a search, and what a search chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from autoselection import files
from autoselection.compare.ablations import ablated
from autoselection.compare.controller import controller
from autoselection.compare.method import Method
from autoselection.compare.methods import METHODS
from autoselection.errors import StudyError
from autoselection.ledger import UNTRAINED
from autoselection.operators import clamp_params, default_registry, in_role
from autoselection.operators.base import has_signal, needs_of_pool
from autoselection.recipes import Recipe, Step, load_recipe, materialize, subset_hash
from autoselection.recipes.required_signals import every_step
from autoselection.reproduce.config import ReproductionConfig
from autoselection.search import SearchConfig, random_subset, single_operator_recipes
from autoselection.signals import SignalTable

Rows = NDArray[np.int64]
Kind = Literal["base", "full", "single", "default", "recipe", "random", "search", "ablation"]

AUTOSELECTION = "AutoSelection"
BASE, FULL = "base model, untrained", "full data"
RANDOM_ROWS = f"random rows, as many as {AUTOSELECTION}"
METHOD_NAMES: Mapping[str, str] = {
    "random": "random recipe search",
    "random-top-k": "random top-k",
    "published": "published loop",
    "published:wide": "published loop, both ends and scopes",
    "single-operators": "best single operator",
    "single-operators:all": "best single operator of all",
    "ours": AUTOSELECTION,
}
TRANSFERRED = ("random", "ours")
"""Search methods whose winners are rows of the transfer table; full data and the default are rows too."""
ABLATION_NAMES: Mapping[str, str] = {
    "no-warmup": "without warmup",
    "no-edits": "without edits",
    "no-gp": "without GP",
    "no-state": "without state",
    "no-credit": "without credit",
    "no-reseed": "without reseed",
    "no-union": "without union",
}


def first_rows(names: Sequence[str]) -> tuple[str, ...]:
    """Rows that AutoSelection is compared with first, by their names in ``first`` of the configuration."""
    rows = {"full": FULL, "random-rows": RANDOM_ROWS, **METHOD_NAMES}
    return tuple(rows.get(name, name) for name in names)


@dataclass(frozen=True)
class FixedRow:
    """A row that needs no search: a recipe that is materialized with each replicate's seed."""

    name: str
    kind: Kind
    recipe: Recipe


@dataclass(frozen=True)
class Entry:
    """What one row of a table is in one replicate: planned before its test items are read.

    Attributes:
        seed: the replicate.
        subset: hash of the rows; :data:`UNTRAINED` for the base model; None if the search found nothing.
        rows: how many.
        dev: dev score that chose it, if it was chosen.
        chosen: the recipe in words, where a method's winner is always one of a list.
    """

    row: str
    kind: Kind
    seed: int
    subset: str | None
    rows: int
    dev: float | None = None
    chosen: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the journal."""
        return dict(vars(self))


def single_rows(config: ReproductionConfig) -> list[FixedRow]:
    """Every single operator with its defaults, its high end before its low one."""
    registry = default_registry()
    found = []
    for name in config.single_operators:
        operator = registry.get(name)
        end = in_role(operator.params, "end")
        for kept in ("high", "low") if end is not None else (None,):
            label = name if kept is None else f"{name}, {kept} end"
            params = {} if end is None else {end.name: kept}
            found.append(FixedRow(label, "single", Recipe((Step(name, params),))))
    return found


def fixed_rows(config: ReproductionConfig) -> list[FixedRow]:
    """Full data, single operators, the fixed default, other fixed recipes: in the order of the table.

    Raises:
        RecipeError: one is no recipe, or an operator does not exist.
    """
    return [
        FixedRow(FULL, "full", Recipe(name="full")),
        *single_rows(config),
        _named_row("fixed default", "default", config.default),
        *(_named_row("fixed recipe", "recipe", name) for name in config.recipes),
    ]


def _named_row(what: str, kind: Kind, name: str) -> FixedRow:
    recipe = load_recipe(name)
    return FixedRow(f"{what}: {recipe.name or Path(name).stem}", kind, recipe)


def random_rows(table: SignalTable, size: int, seed: int) -> Rows:
    """As many rows of the pool as a winner has, drawn with the replicate's seed."""
    selectable = np.asarray(table.selectable, np.int64)
    return selectable[random_subset(len(selectable), size, seed=seed)]


def lacking(row: FixedRow, table: SignalTable) -> list[str]:
    """Signals, as the pool calls their columns, that a row's recipe needs, its unions' too, and the pool does not have."""
    steps = every_step(row.recipe, default_registry())
    needed = {name for operator, params in steps for name in needs_of_pool(operator, params, table)}
    return sorted(name for name in needed if not has_signal(table, name))


def realized(row: FixedRow, table: SignalTable, seed: int) -> Rows:
    """The row's subset in one replicate, in row order; parameters of single operators within the pool's ranges."""
    recipe = row.recipe
    if row.kind == "full":
        return np.asarray(table.selectable, np.int64)
    if row.kind == "single":
        registry = default_registry()
        step = recipe.steps[0]
        recipe = Recipe((Step(step.operator, clamp_params(registry.get(step.operator), step.params, table)),))
    return np.sort(materialize(recipe, table, seed=seed).rows)


def search_rows(config: ReproductionConfig) -> dict[str, Method]:
    """Search methods of the main table, by the row's name."""
    return {METHOD_NAMES.get(name, name): METHODS[name] for name in config.methods}


def ablation_rows(config: ReproductionConfig, search: SearchConfig) -> dict[str, Method]:
    """Ablations of a study's search, by the row's name."""
    return {ABLATION_NAMES[name]: controller(name, ablated(search, name)) for name in config.ablations}


def single_operator_of(rows: Rows, table: SignalTable, search: SearchConfig, seed: int) -> str | None:
    """The recipe of one step that selects these rows, in words; None if none does.

    Args:
        search: whose space the recipes are of.
        seed: of the replicate.
    """
    wanted = subset_hash(rows)
    for recipe in single_operator_recipes(table, config=search):
        if subset_hash(materialize(recipe, table, seed=seed).rows) == wanted:
            return recipe.describe()
    return None


def keep_rows(folder: Path, rows: Rows) -> str:
    """Store a subset under its hash, which is returned."""
    name = subset_hash(rows)
    try:
        stored_rows(folder, name)
    except StudyError:  # not there yet, or damaged
        files.write_array(folder / f"{name}.npy", np.asarray(rows, np.int32))
    return name


def stored_rows(folder: Path, name: str) -> Rows | None:
    """The rows of a planned entry; None for the base model.

    Raises:
        StudyError: they are gone, or other rows than planned.
    """
    if name == UNTRAINED:
        return None
    path = folder / f"{name}.npy"
    if not path.is_file():
        raise StudyError(f"{path}: the rows of a planned entry are missing; restore the file, or use another --out.")
    try:
        rows = files.read_rows(path)
    except ValueError as error:
        raise StudyError(f"{path} cannot be read ({error}); restore the file, or use another --out.") from error
    if subset_hash(rows) != name:
        raise StudyError(f"{path}: holds other rows than were planned; restore the file, or use another --out.")
    return rows
