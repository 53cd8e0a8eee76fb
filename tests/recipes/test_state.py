"""Every field of the state vector against its formula, written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoselection.recipes import state_vector
from autoselection.recipes.state import shown_numbers
from autoselection.signals.table import SignalTable


def make_table(n: int, seed: int) -> SignalTable:
    rng = np.random.default_rng(seed)
    columns = {name: rng.random(n) for name in ("ifd", "varentropy", "mona/a", "mona/b", "mona/c")}
    for values in columns.values():
        values[rng.random(n) < 0.15] = np.nan
    columns["n_tokens"] = rng.integers(1, 400, n).astype(float)
    columns["n_tokens"][rng.random(n) < 0.15] = np.nan  # the template refused them: they add nothing to either sum
    features = rng.random((n, 9)) * (rng.random((n, 9)) < 0.3)
    return SignalTable.from_arrays(columns, source=[f"s{i}" for i in rng.integers(0, 3, n)], sae=features)


def mean(values: list[float]) -> float | None:
    present = [value for value in values if not np.isnan(value)]
    return sum(present) / len(present) if present else None


@settings(max_examples=80, deadline=None)
@given(n=st.integers(1, 50), seed=st.integers(0, 1000), share=st.floats(0, 1))
def test_equals_the_formulas(n, seed, share):
    table = make_table(n, seed)
    rows = np.random.default_rng(seed).permutation(n)[: max(1, int(share * n))].astype(np.int64)
    state = state_vector(rows, table, cost_ratio=0.4)
    near = lambda value: None if value is None else pytest.approx(value, rel=1e-5, abs=1e-7)  # noqa: E731
    tokens = np.where(np.isnan(table.column("n_tokens")), 0, table.column("n_tokens")).astype(float)
    assert state.retain_ratio == len(rows) / n
    assert state.token_ratio == near(tokens[rows].sum() / max(1, tokens.sum()))
    active = table.sae.to_scipy().toarray() > 0
    difference = active[rows].mean(axis=0) - active.mean(axis=0)
    assert state.distribution_drift == near(np.sqrt((difference**2).sum()) / np.sqrt(9))
    combined = [mean([float(table.column(f"mona/{task}")[row]) for task in "abc"]) for row in rows]
    combined = [value for value in combined if value is not None]
    assert state.score_mean == near(mean(combined))
    assert state.score_std == near(np.std(combined) if combined else None)
    for task in "abc":
        assert state.score_per_task[task] == near(mean(table.column(f"mona/{task}")[rows].tolist()))
    for field, column in ((state.mean_ifd, "ifd"), (state.mean_varentropy, "varentropy")):
        inside, pool = mean(table.column(column)[rows].tolist()), mean(table.column(column).tolist())
        assert field == near(None if inside is None or not pool else min(max(inside / pool, 0), 2) / 2)
    assert state.cumulative_cost_ratio == 0.4
    for code, name in enumerate(table.source_names):
        inside = table.source[rows] == code
        assert state.source_share[name] == near(inside.mean())
        assert state.source_token_share[name] == near(tokens[rows][inside].sum() / max(1, tokens[rows].sum()))


def test_the_whole_pool_is_the_reference():
    table = make_table(40, 0)
    state = state_vector(np.arange(40), table)
    assert (state.retain_ratio, state.token_ratio, state.distribution_drift) == (1.0, 1.0, 0.0)
    assert (state.mean_ifd, state.mean_varentropy) == (pytest.approx(0.5), pytest.approx(0.5))


def test_ratios_are_clipped_at_twice_the_pools_mean():
    table = SignalTable.from_arrays({"ifd": [0.0] * 9 + [10.0]})
    assert state_vector(np.array([9]), table).mean_ifd == 1.0


def test_absent_signals_give_none_and_are_left_out_of_names():
    state = state_vector(np.array([0, 2]), SignalTable.from_arrays(source=["a", "b", "b", "b"]))
    assert state.token_ratio is None and state.distribution_drift is None and state.score_mean is None
    assert state.score_per_task == {} and state.mean_ifd is None and state.source_token_share == {}
    assert state.names() == ("retain_ratio", "cumulative_cost_ratio", "source_share/a", "source_share/b")
    assert state.vector().tolist() == [0.5, 0.0, 0.5, 0.5]
    assert np.isnan(state.vector(["mean_ifd", "retain_ratio"])).tolist() == [True, False]
    with pytest.raises(KeyError):
        state.vector(["nonsense"])


def test_to_dict_has_every_field():
    state = state_vector(np.arange(5), make_table(10, 0))
    assert set(state.to_dict()) == {
        "retain_ratio",
        "token_ratio",
        "distribution_drift",
        "score_mean",
        "score_std",
        "score_per_task",
        "mean_ifd",
        "mean_varentropy",
        "cumulative_cost_ratio",
        "source_share",
        "source_token_share",
    }


def test_what_has_rows_is_described_by_them() -> None:
    class Some:
        rows = np.array([3, 1])

    table = SignalTable.from_arrays({"n_tokens": np.arange(5.0)})
    assert state_vector(Some(), table) == state_vector(np.array([1, 3]), table)


def test_of_many_sources_the_largest_are_shown_and_the_others_as_one() -> None:
    n = 300
    codes = np.r_[np.repeat(np.arange(10), 10), np.arange(10, 210)]
    columns = {"n_tokens": np.full(n, 2.0)}
    table = SignalTable.from_arrays(columns, source=[f"s{code:03d}" for code in codes])
    # The first subset has the large sources, and the second 8 small ones.
    states = [state_vector(rows, table).to_dict() for rows in (np.arange(150), np.arange(292, 300))]
    one, two = shown_numbers(states)
    shares = [name for name in one if name.startswith("source_share/")]
    assert list(one) == list(two) and len(shares) == 21
    assert shares[-1] == "source_share/190 other sources" and "source_token_share/190 other sources" in one
    assert {f"source_share/s{code:03d}" for code in [*range(10), *range(202, 210)]} < set(shares)
    for numbers in (one, two):
        for field in ("source_share", "source_token_share"):
            assert sum(value for name, value in numbers.items() if name.startswith(field)) == pytest.approx(1.0)
    assert {name: value for name, value in one.items() if "source" not in name} == {
        name: value for name, value in states[0].items() if "source" not in name and value != {}
    }
    few = SignalTable.from_arrays({"n_tokens": np.ones(21)}, source=[f"s{i}" for i in range(21)])
    state = state_vector(np.arange(21), few)
    assert shown_numbers([state.to_dict()])[0] == state.flat()
