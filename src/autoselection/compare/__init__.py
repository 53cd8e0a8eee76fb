"""Search methods side by side under one budget, on a study's own pool and evaluator."""

from autoselection.compare.method import Materializer, Method, evaluate_in_turn
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
    "BudgetSpent",
    "Evaluated",
    "EvaluationFailed",
    "Materializer",
    "Method",
    "Rows",
    "Scorer",
    "Session",
    "Standing",
    "evaluate_in_turn",
    "incumbents",
    "standings",
]
