"""Small signal tables with every signal, ties, missing scores and planted duplicates."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from autoselection.operators import Context, Outcome, default_registry, sample_params, validate_params
from autoselection.signals.table import SignalTable

SCORES = ("ifd", "varentropy", "ngram_entropy", "action_object_branching", "mona/a", "mona/b")


def make_table(seed: int, n: int = 60, sources: int = 3, missing: float = 0.1) -> SignalTable:
    """Scores on a coarse grid (many ties) in [0, 1], some missing; sources of unequal sizes."""
    rng = np.random.default_rng(seed)
    columns = {name: np.round(rng.random(n), 1) for name in SCORES}
    for values in columns.values():
        values[rng.random(n) < missing] = np.nan
    columns["rsr"] = np.roll(columns["varentropy"], 1) * 20
    columns["n_tokens"] = rng.integers(1, 90, n).astype(float)
    features = np.round(rng.random((n, 12)), 1) * (rng.random((n, 12)) < 0.4)
    signatures = rng.integers(0, 3, (n, 32)).astype(np.uint32)
    for _ in range(n // 3):  # near copies
        old, new = rng.integers(0, n, 2)
        features[new] = features[old] * rng.choice([1.0, 1.0, 2.0]) + (rng.random(12) < 0.1) * 0.1
        changed = rng.random(32) < rng.choice([0.0, 0.1, 0.3])
        signatures[new] = np.where(changed, signatures[new], signatures[old])
    more = np.random.default_rng([seed, 1])
    columns["n_response_tokens"] = np.where(more.random(n) < missing, np.nan, np.ceil(columns["n_tokens"] / 2))
    columns["reward"] = np.where(more.random(n) < missing, np.nan, more.integers(-3, 4, n))
    columns["contamination"] = np.where(more.random(n) < 0.8, 0.0, np.round(more.random(n), 1))
    embeddings = more.normal(size=(n, 6))
    embeddings[more.random(n) < missing] = 0.0  # no direction: no embedding
    copies = more.integers(0, n, (n // 5, 2))
    embeddings[copies[:, 0]] = embeddings[copies[:, 1]]
    return SignalTable.from_arrays(
        columns,
        embeddings=embeddings,
        source=np.array([f"s{i}" for i in range(sources)])[np.minimum(rng.geometric(0.5, n) - 1, sources - 1)],
        text_hash=rng.integers(0, n // 2 + 1, n),
        minhash=signatures,
        sae=features,
    )


def apply(table: SignalTable, name: str, params: dict | None = None, rows=None, seed: int = 0) -> Outcome:
    """One operator on rows of a table (default: all)."""
    operator = default_registry().get(name)
    rows = np.arange(table.n) if rows is None else np.asarray(rows, np.int64)
    context = Context(table, seed, lambda _: np.arange(0, table.n, 2))
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
    if operator.available(table) or name not in ("score_filter", "sample"):
        params = sample_params(operator, table, rng, recipes=("other",))
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
