"""Recipes of Data-Juicer in and out: of the operators that both have, and what cannot be said in the other's words, with why.

A range filter of Data-Juicer becomes one or two cuts (``score_filter``) by the filter's own statistic, which the signal
``data_juicer`` has Data-Juicer compute; operators that change texts, and selections that mean something else here, are named.

Data-Juicer computes a statistic of a row once: a second filter by the same one, with other parameters or of another text, cuts by
what the first computed. So it is read here, and what would not survive that is not written.
"""

from autoselection.recipes.data_juicer.packing import packed
from autoselection.recipes.data_juicer.reading import ImportedRecipe, from_data_juicer, load_data_juicer
from autoselection.recipes.data_juicer.vocabulary import Unmapped
from autoselection.recipes.data_juicer.writing import ExportedRecipe, configured_filters, to_data_juicer

__all__ = [
    "ExportedRecipe",
    "ImportedRecipe",
    "Unmapped",
    "configured_filters",
    "from_data_juicer",
    "load_data_juicer",
    "packed",
    "to_data_juicer",
]
