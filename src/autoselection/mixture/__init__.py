"""Mixtures of sources: what runs that were already made say, and which ones to make next."""

from autoselection.mixture.analysis import analyse, column_place, column_weights
from autoselection.mixture.controller import EvaluatedMixture, MixtureCandidate, MixtureController
from autoselection.mixture.findings import Analysis
from autoselection.mixture.model import Belief, MixtureModel
from autoselection.mixture.runs import Levels, Runs, ScoreColumns, parse_costs, read_runs
from autoselection.mixture.space import MixtureSpace

__all__ = [
    "Analysis",
    "Belief",
    "EvaluatedMixture",
    "Levels",
    "MixtureCandidate",
    "MixtureController",
    "MixtureModel",
    "MixtureSpace",
    "Runs",
    "ScoreColumns",
    "analyse",
    "column_place",
    "column_weights",
    "parse_costs",
    "read_runs",
]
