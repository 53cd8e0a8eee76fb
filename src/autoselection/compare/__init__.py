"""Search methods side by side under one budget, on a study's own pool and evaluator."""

from autoselection.compare.comparison import Comparison, Difference, Run, Standings
from autoselection.compare.method import Materializer, Method, evaluate_in_turn
from autoselection.compare.methods import DEFAULT, METHODS, choose_methods
from autoselection.compare.outputs import print_comparison
from autoselection.compare.run import run_compare
from autoselection.compare.session import (
    BudgetSpent,
    Evaluated,
    EvaluationFailed,
    Rows,
    Scorer,
    Session,
    Standing,
    incumbents,
    standings,
)

__all__ = [
    "DEFAULT",
    "METHODS",
    "BudgetSpent",
    "Comparison",
    "Difference",
    "Evaluated",
    "EvaluationFailed",
    "Materializer",
    "Method",
    "Rows",
    "Run",
    "Scorer",
    "Session",
    "Standing",
    "Standings",
    "choose_methods",
    "evaluate_in_turn",
    "incumbents",
    "print_comparison",
    "run_compare",
    "standings",
]
