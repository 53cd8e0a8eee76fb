"""Operators on small signal tables, with parameters drawn for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from autoselection.operators import Context, Outcome, default_registry, sample_params, validate_params
from autoselection.signals.table import SignalTable
from autoselection.testing import signal_table as make_table


def apply(table: SignalTable, name: str, params: dict | None = None, rows=None, seed: int = 0) -> Outcome:
    """One operator on rows of a table (default: all)."""
    operator = default_registry().get(name)
    rows = np.arange(table.n) if rows is None else np.asarray(rows, np.int64)
    context = Context(table, seed, lambda _: np.arange(0, table.n, 2), operator=name)
    return operator(rows, validate_params(operator, params or {}), context)


@st.composite
def tables_and_rows(draw: Any) -> tuple[SignalTable, np.ndarray]:
    """A table and distinct rows of it in any order, at least one."""
    table = make_table(draw(st.integers(0, 10_000)), n=draw(st.integers(1, 60)), sources=draw(st.integers(1, 4)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return table, rng.permutation(table.n)[: draw(st.integers(1, table.n))].astype(np.int64)


def random_params(name: str, table: SignalTable, seed: int) -> dict[str, Any]:
    """Valid parameters of an operator for this table."""
    operator = default_registry().get(name)
    rng = np.random.default_rng(seed)
    if name == "source_mix":
        weights = {source: float(rng.integers(0, 4)) for source in table.source_names}
        weights[table.source_names[0]] = 1.0
        return validate_params(operator, {"weights": weights, "fraction": [None, 0.3, 0.9][seed % 3]})
    if name == "varentropy_mix":
        return validate_params(operator, {"temperature": 0.5, "total_samples": [None, 5, 1000][seed % 3]})
    if operator.available(table) or name not in ("score_filter", "sample", "blend_filter"):
        params = sample_params(operator, table, rng, recipes=("other",))
    elif name == "blend_filter":
        params = validate_params(operator, {"weights": {"reward": -1.0}})
    else:  # no signal varies on a table of one row
        params = validate_params(operator, {"signal": "reward"})
    if params.get("strategy") == "minhash":
        params["num_perm"] = 32
    if name == "score_filter" and seed % 4 == 3:
        band = {"band_low": 0.2, "band_high": 0.7, "fraction": None}
        return validate_params(operator, params | band)
    if name == "length_filter" and seed % 3:
        params |= {"min": 5.0, "max": 40.0, "fraction": [None, 0.5][seed % 2]}
    if name == "cluster_balance" and seed % 2:
        params |= {"within": "best", "signal": "reward", "missing": ["drop", "keep"][seed % 3 % 2], "clusters": 5}
        params = validate_params(operator, params)
    if "missing" in params and name != "decontaminate":
        params["missing"] = ["drop", "keep"][seed % 2]
    if name.endswith(("filter", "entropy", "branching")) and "top_k" in params:
        cut = [{}, {"fraction": None, "top_k": 1 + seed % 20}, {"fraction": None, "threshold": 0.5}][seed % 3]
        params |= cut
    return params
