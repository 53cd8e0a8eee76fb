"""Looking at rows: which they are, where their scores stand, why a recipe dropped them, what two subsets differ in."""

from autoselection.inspection.expression import Condition
from autoselection.inspection.percentiles import Score, row_scores
from autoselection.inspection.show import SHOWN, ShownRow, ShownRows, matching_rows, numbers_of, show_rows, shown_rows

__all__ = [
    "SHOWN",
    "Condition",
    "Score",
    "ShownRow",
    "ShownRows",
    "matching_rows",
    "numbers_of",
    "row_scores",
    "show_rows",
    "shown_rows",
]
