"""The operator keeps the contract of operators, and does what it is for."""

from __future__ import annotations

from autoselection_plugin_example.operator import SourceCap

from autoselection.operators import OperatorRegistry
from autoselection.recipes import Recipe, Step, materialize
from autoselection.testing import check_operator, signal_table


def test_source_cap_keeps_the_contract_of_operators():
    # Which rows are the first ones depends on the order in which they are given.
    check_operator(SourceCap, params=lambda table, seed: {"rows": 1 + seed % 9}, greedy=True)


def test_source_cap_keeps_the_first_rows_of_each_source():
    signals = signal_table(2, n=50, sources=3)
    registry = OperatorRegistry()
    registry.register(SourceCap())
    recipe = Recipe((Step("ifd_filter", {"fraction": 1.0}), Step("source_cap", {"rows": 4})))
    before = materialize(Recipe(recipe.steps[:1]), signals, registry=registry).rows.tolist()
    after = materialize(recipe, signals, registry=registry).rows.tolist()
    taken: dict[int, list[int]] = {}
    for row in before:
        taken.setdefault(int(signals.source[row]), []).append(row)
    assert after == [row for row in before if row in taken[int(signals.source[row])][:4]]
    assert len(after) < len(before)
