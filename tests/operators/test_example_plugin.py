"""The operator of ``examples/plugin`` keeps the rules of operators."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from operator_tables import make_table

from autoselection.operators import Context, OperatorRegistry
from autoselection.recipes import Recipe, Step, materialize

FILE = Path(__file__).parents[2] / "examples" / "plugin" / "src" / "autoselection_plugin_example" / "operator.py"


def test_source_cap_keeps_the_first_rows_of_each_source():
    spec = importlib.util.spec_from_file_location("example_operator", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    registry = OperatorRegistry()
    registry.register(module.SourceCap())
    table = make_table(2, n=50, sources=3)
    rows = np.random.default_rng(0).permutation(50)
    outcome = registry.get("source_cap")(rows, {"rows": 4}, Context(table, 0, lambda _: rows))
    taken: dict[int, int] = {}
    expected = []
    for row in rows.tolist():
        code = int(table.source[row])
        taken[code] = taken.get(code, 0) + 1
        if taken[code] <= 4:
            expected.append(row)
    assert outcome.rows.tolist() == expected
    recipe = Recipe((Step("ifd_filter", {"fraction": 1.0}), Step("source_cap", {"rows": 4})))
    assert len(materialize(recipe, table, registry=registry).rows) <= 12
