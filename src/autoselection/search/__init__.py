"""The search for the best recipe: which one to evaluate next, and why."""

from autoselection.search.baselines import (
    full_recipe,
    latin_hypercube_recipes,
    random_recipes,
    random_subset,
    single_operator_recipes,
)
from autoselection.search.config import SearchConfig, published_settings
from autoselection.search.controller import SearchController
from autoselection.search.credit import Credit, Share
from autoselection.search.llm_config import LLMConfig
from autoselection.search.records import Candidate, Decision, Finding, Observation, Ranked, Round, Trial
from autoselection.search.roles import Roles
from autoselection.search.space import RecipeSpace
from autoselection.search.surrogate import Prediction

__all__ = [
    "Candidate",
    "Credit",
    "Decision",
    "Finding",
    "LLMConfig",
    "Observation",
    "Prediction",
    "Ranked",
    "RecipeSpace",
    "Roles",
    "Round",
    "SearchConfig",
    "SearchController",
    "Share",
    "Trial",
    "full_recipe",
    "latin_hypercube_recipes",
    "published_settings",
    "random_recipes",
    "random_subset",
    "single_operator_recipes",
]
