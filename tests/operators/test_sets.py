"""Set operations and decontamination."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from operator_tables import apply, tables_and_rows

from autoselection.signals.table import SignalTable


@settings(max_examples=50, deadline=None)
@given(case=tables_and_rows())
def test_intersect_and_subtract_part_the_rows(case):
    table, rows = case
    shared = apply(table, "intersect", {"source_recipe": "other"}, rows)  # "other" selects the even rows
    rest = apply(table, "subtract", {"source_recipe": "other"}, rows)
    assert shared.rows.tolist() == [row for row in rows.tolist() if row % 2 == 0]
    assert rest.rows.tolist() == [row for row in rows.tolist() if row % 2]
    assert shared.notes == rest.notes == {"other rows": -(-table.n // 2), "shared": len(shared.rows)}


def test_decontaminate_drops_any_overlap_or_a_large_one():
    table = SignalTable.from_arrays({"contamination": [0.0, 0.01, 0.5, np.nan, 1.0]})
    assert apply(table, "decontaminate").rows.tolist() == [0, 3]
    outcome = apply(table, "decontaminate", {"threshold": 0.5, "missing": "drop"}, [4, 3, 2, 1, 0])
    assert outcome.rows.tolist() == [1, 0] and outcome.missing == 1
    assert outcome.notes == {"overlap with items": 2}


def test_decontaminate_by_embedding_is_read_only_if_asked_for():
    columns = {"contamination": [0.0, 0.0, 0.2], "contamination_cosine": [0.99, 0.2, np.nan]}
    table = SignalTable.from_arrays(columns)
    assert apply(table, "decontaminate").rows.tolist() == [0, 1]
    assert apply(table, "decontaminate", {"cosine_threshold": 0.9}).rows.tolist() == [1]


def test_where_all_rows_are_contaminated_the_least_so_is_the_best():
    columns = {"contamination": [np.nan, 1.0, 0.1, 0.5, 0.1], "contamination_cosine": [0.9, 0.2, 0.9, 0.1, 0.8]}
    table = SignalTable.from_arrays(columns)
    outcome = apply(table, "decontaminate", {"missing": "drop"})
    assert outcome.rows.tolist() == [] and outcome.best == 2
    assert apply(table, "decontaminate", {"missing": "drop", "cosine_threshold": 0.5}).best == 4
    assert apply(table, "decontaminate", {"missing": "drop"}, [0]).best is None
