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
from autoselection.search.proposer import ProposalRequest, ProposedRecipe, ProposedRecipes, Proposer
from autoselection.search.ranker import BaseRanker, Known, Point, Prediction, Ranker
from autoselection.search.records import Candidate, Decision, EvaluatedCandidate, Finding, Observation, Ranked, Round
from autoselection.search.roles import Roles
from autoselection.search.space import RecipeSpace

__all__ = [
    "BaseRanker",
    "Candidate",
    "Credit",
    "Decision",
    "EvaluatedCandidate",
    "Finding",
    "Known",
    "LLMConfig",
    "Observation",
    "Point",
    "Prediction",
    "ProposalRequest",
    "ProposedRecipe",
    "ProposedRecipes",
    "Proposer",
    "Ranked",
    "Ranker",
    "RecipeSpace",
    "Roles",
    "Round",
    "SearchConfig",
    "SearchController",
    "Share",
    "full_recipe",
    "latin_hypercube_recipes",
    "published_settings",
    "random_recipes",
    "random_subset",
    "single_operator_recipes",
]
