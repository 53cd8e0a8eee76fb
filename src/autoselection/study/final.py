"""The rows of the final table, fixed before a test item is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.config import StudyConfig
from autoselection.errors import StudyError
from autoselection.recipes import Recipe, RecipeBook, load_recipe, materialize, subset_hash
from autoselection.search import random_subset, single_operator_recipes
from autoselection.study.incumbent import incumbent_recipe
from autoselection.study.prepare import Prepared
from autoselection.study.study import Study
from autoselection.study.trials import Trial


@dataclass(frozen=True)
class FinalEntry:
    """One row of the final table.

    Attributes:
        kind: winner, base, full, random, recipe, incumbent or single.
        rows: number of rows trained on (0 for the base model).
        subset_hash: hash of the set of rows; None for the base model.
        recipe: the recipe as a mapping, for recipe files, the incumbent and single operators.
    """

    name: str
    kind: str
    rows: int
    subset_hash: str | None
    recipe: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the journal."""
        return dict(vars(self))


def final_request(config: StudyConfig) -> dict[str, Any]:
    """What a configuration asks of the final table, as plain data: kept in the plan, so that a later change is seen."""
    final = config.final
    incumbent = incumbent_recipe(config)
    return {
        "seeds": list(final.seeds),
        "base": final.base,
        "full": final.full,
        "random": final.random,
        "single_operators": final.single_operators,
        "recipes": {name: recipe.hash for name, recipe in _baselines(config).items()},
        "incumbent": incumbent[1].hash if incumbent is not None and incumbent[1].steps else None,
    }


def changed_request(plan: Mapping[str, Any], config: StudyConfig) -> list[str]:
    """Settings by which the configuration asks for another final table than the plan's, by their dotted names."""
    kinds = {entry["kind"] for entry in plan["entries"]}
    # Plans of older versions hold no request: what their rows tell is compared.
    told = {"seeds": plan["seeds"], **{kind: kind in kinds for kind in ("base", "full", "random")}}
    planned = plan.get("request", told)
    wanted = final_request(config)
    return [
        "incumbent.recipe" if name == "incumbent" else f"final.{name}"
        for name in planned
        if planned[name] != wanted.get(name)
    ]


def final_entries(study: Study, prepared: Prepared, winner: Trial) -> list[FinalEntry]:
    """The winner and the configured baselines; a baseline that realizes an earlier row's subset is not trained again."""
    final = study.config.final
    size = int(winner.record["rows"])
    entries = [FinalEntry(f"winner ({winner.id})", "winner", size, winner.record["subset_hash"])]
    if final.base:
        entries.append(FinalEntry("base model", "base", 0, None))
    if final.full:
        everything = prepared.table.selectable
        entries.append(FinalEntry("full pool", "full", len(everything), subset_hash(everything)))
    if final.random:
        drawn = _random_rows(study, prepared, size)
        entries.append(FinalEntry(f"random {len(drawn)}", "random", len(drawn), subset_hash(drawn)))
    seen = {entry.subset_hash for entry in entries}
    chosen = [("recipe", name, recipe) for name, recipe in _baselines(study.config).items()]
    incumbent = incumbent_recipe(study.config)
    if incumbent is not None and incumbent[1].steps and incumbent[1].hash not in {entry[2].hash for entry in chosen}:
        chosen.append(("incumbent", f"incumbent ({incumbent[0]})", incumbent[1]))
    singles = 0
    for recipe in single_operator_recipes(prepared.table, config=study.config.search):
        if singles == final.single_operators:
            break
        rows = materialize(recipe, prepared.table, seed=study.config.search.seed).rows
        if subset_hash(rows) not in seen:
            seen.add(subset_hash(rows))
            singles += 1
            chosen.append(("single", recipe.describe(), recipe))
    for kind, name, recipe in chosen:
        rows = materialize(recipe, prepared.table, seed=study.config.search.seed, book=RecipeBook()).rows
        # Results go by the names of rows: a recipe file may be called as another row is.
        while name in {entry.name for entry in entries}:
            name = f"{name} ({kind})"
        entries.append(FinalEntry(name, kind, len(rows), subset_hash(rows), recipe.to_dict()))
    return entries


def _baselines(config: StudyConfig) -> dict[str, Recipe]:
    """The recipes of ``final.recipes`` by the names of their rows: the file's without suffix, or the whole path where
    several files are called the same."""
    paths = list(dict.fromkeys(config.final.recipes))
    stems = Counter(path.stem for path in paths)
    return {path.stem if stems[path.stem] == 1 else str(path): load_recipe(path) for path in paths}


def rows_of_entry(entry: dict[str, Any], study: Study, prepared: Prepared) -> NDArray[np.int64] | None:
    """The ordered rows of an entry of the plan in force, which is the last one; None for the base model.

    Raises:
        StudyError: the rows are no longer those of the plan.
    """
    kind = entry["kind"]
    if kind == "base":
        return None
    if kind == "winner":
        rows = study.rows(study.journal.of("final_plan")[-1]["winner"])
    elif kind == "full":
        rows = prepared.table.selectable
    elif kind == "random":
        rows = _random_rows(study, prepared, int(entry["rows"]))
    else:
        recipe = Recipe.from_dict(entry["recipe"])
        rows = materialize(recipe, prepared.table, seed=study.config.search.seed, book=RecipeBook()).rows
    if subset_hash(rows) != entry["subset_hash"]:
        raise StudyError(
            f"{study.path}: the final plan's row '{entry['name']}' selects other rows than when it was planned; "
            "go on with the package version and the signals the study was started with."
        )
    return rows


def _random_rows(study: Study, prepared: Prepared, size: int) -> NDArray[np.int64]:
    selectable = prepared.table.selectable
    return selectable[random_subset(len(selectable), size, seed=study.config.search.seed)]
