"""Recipes, what they select from a pool, and what the selection looks like."""

from autoselection.recipes.lineage import StepLineage
from autoselection.recipes.lineage_warnings import Shortfall, lineage_remarks, shortfalls
from autoselection.recipes.lock import Lock
from autoselection.recipes.materialize import (
    Materialization,
    PrefixCache,
    StepRun,
    dropped_rows,
    materialize,
    ordered_hash,
    rows_by_step,
    step_runs,
    subset_hash,
)
from autoselection.recipes.ready import ReadyRecipe, is_ready_name, load_recipe, ready_recipe, ready_recipes
from autoselection.recipes.recipe import MAX_STEPS, Recipe, RecipeBook, Step
from autoselection.recipes.required_signals import check_columns, lacking_signals, recipe_signals
from autoselection.recipes.state import StateVector, state_vector, state_vectors
from autoselection.recipes.transfer import ScoredPool, Transfer, transfer
from autoselection.recipes.why import Fate, StepJudgement, why

__all__ = [
    "MAX_STEPS",
    "Fate",
    "Lock",
    "Materialization",
    "PrefixCache",
    "ReadyRecipe",
    "Recipe",
    "RecipeBook",
    "ScoredPool",
    "Shortfall",
    "StateVector",
    "Step",
    "StepJudgement",
    "StepLineage",
    "StepRun",
    "Transfer",
    "check_columns",
    "dropped_rows",
    "is_ready_name",
    "lacking_signals",
    "lineage_remarks",
    "load_recipe",
    "materialize",
    "ordered_hash",
    "ready_recipe",
    "ready_recipes",
    "recipe_signals",
    "rows_by_step",
    "shortfalls",
    "state_vector",
    "state_vectors",
    "step_runs",
    "subset_hash",
    "transfer",
    "why",
]
