"""Looking at rows: which they are, where their scores stand, why a recipe dropped them, what two subsets differ in."""

from autoselection.inspection.difference import EXAMPLES, Difference, Side, diff, difference
from autoselection.inspection.dropped import DroppedBy, dropped_examples
from autoselection.inspection.explanation import Explanation, Explanations, explain
from autoselection.inspection.expression import Condition
from autoselection.inspection.percentiles import Score, row_scores
from autoselection.inspection.relatives import NearItem, Relative, nearest_items, relatives
from autoselection.inspection.show import SHOWN, ShownRow, ShownRows, matching_rows, numbers_of, show_rows, shown_rows

__all__ = [
    "EXAMPLES",
    "SHOWN",
    "Condition",
    "Difference",
    "DroppedBy",
    "Explanation",
    "Explanations",
    "NearItem",
    "Relative",
    "Score",
    "ShownRow",
    "ShownRows",
    "Side",
    "diff",
    "difference",
    "dropped_examples",
    "explain",
    "matching_rows",
    "nearest_items",
    "numbers_of",
    "relatives",
    "row_scores",
    "show_rows",
    "shown_rows",
]
