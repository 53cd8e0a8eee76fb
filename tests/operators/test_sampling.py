"""Random caps, source filters and mixes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_tables import apply, tables_and_rows

from autoselection.errors import RecipeError
from autoselection.operators.quotas import allocate
from autoselection.signals.table import SignalTable


def table_of(**sizes: int) -> SignalTable:
    names = [name for name, size in sizes.items() for _ in range(size)]
    rng = np.random.default_rng(0)
    return SignalTable.from_arrays({"varentropy": rng.random(len(names))}, source=names)


def counts(table: SignalTable, rows: np.ndarray) -> dict[str, int]:
    sizes = np.bincount(table.source[rows], minlength=len(table.source_names)).tolist()
    return dict(zip(table.source_names, sizes, strict=True))


@given(
    total=st.integers(0, 300),
    groups=st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0, 3.0]), st.integers(0, 60)), min_size=1, max_size=6),
)
def test_allocate_places_all_it_can_in_proportion(total, groups):
    weights = np.array([weight for weight, _ in groups])
    capacity = np.array([size for _, size in groups])
    quotas = allocate(total, weights, capacity)
    assert (quotas >= 0).all() and (quotas <= capacity).all()
    assert (quotas[weights == 0] == 0).all()
    assert quotas.sum() == min(total, capacity[weights > 0].sum())
    free = (weights > 0) & (quotas < capacity)  # groups with room left stand in proportion, up to rounding
    if free.sum() > 1:
        level = quotas[free] / weights[free]
        assert level.max() - level.min() <= 1 / weights[free].min() + 1e-9
        # A full group stands no higher than that, but for the one row that rounding may have given it.
        assert all(
            (quotas[i] - 1) / weights[i] < level.max() + 1e-9 for i in np.flatnonzero(weights > 0) if not free[i]
        )


def test_truncate_gives_every_source_the_same_quota_and_refills_the_shortfall():
    table = table_of(a=100, b=100, c=4)
    assert counts(table, apply(table, "truncate_samples", {"total_samples": 30}).rows) == {"a": 13, "b": 13, "c": 4}
    assert counts(table, apply(table, "truncate_samples", {"total_samples": 11}).rows) == {"a": 4, "b": 4, "c": 3}


def test_truncate_clips_to_the_rows_there_are():
    table = table_of(a=5, b=5)
    assert len(apply(table, "truncate_samples", {"total_samples": 100_000}).rows) == 10


def test_truncate_draws_by_seed_and_evenly():
    table = table_of(a=1000)
    first = apply(table, "truncate_samples", {"fraction": 0.5}, seed=1).rows
    second = apply(table, "truncate_samples", {"fraction": 0.5}, seed=2).rows
    assert 200 < len(np.intersect1d(first, second)) < 300
    assert 400 < first.mean() < 600


@settings(max_examples=40, deadline=None)
@given(case=tables_and_rows(), low=st.integers(1, 99), more=st.integers(1, 99), seed=st.integers(0, 9))
def test_a_larger_cap_keeps_all_that_a_smaller_one_keeps(case, low, more, seed):
    table, rows = case
    small = apply(table, "truncate_samples", {"fraction": low / 100}, rows, seed=seed).rows
    large = apply(table, "truncate_samples", {"fraction": min(100, low + more) / 100}, rows, seed=seed).rows
    source_rank = len(table.source_names)
    assert len(np.setdiff1d(small, large)) <= source_rank  # largest remainders may move one row between sources


def test_source_filter_drops_or_keeps():
    table = table_of(a=2, b=2, c=2)
    assert apply(table, "source_filter", {"sources": ["a", "c"]}).rows.tolist() == [2, 3]
    assert apply(table, "source_filter", {"sources": "a", "mode": "keep"}).rows.tolist() == [0, 1]


def test_source_filter_refuses_an_unknown_source_with_a_suggestion():
    with pytest.raises(RecipeError, match="no source 'alpaka'; did you mean 'alpaca'"):
        apply(table_of(alpaca=1, b=1), "source_filter", {"sources": ["alpaka"]})


def test_source_mix_without_a_size_is_the_largest_exact_mix():
    table = table_of(a=90, b=30, c=50)
    outcome = apply(table, "source_mix", {"weights": {"a": 2, "b": 1, "c": 0}})
    assert counts(table, outcome.rows) == {"a": 60, "b": 30, "c": 0}


def test_source_mix_with_a_size_refills_without_repeating_rows():
    table = table_of(a=90, b=10, c=50)
    outcome = apply(table, "source_mix", {"weights": {"a": 1, "b": 1}, "other": 0, "total_samples": 60})
    assert counts(table, outcome.rows) == {"a": 50, "b": 10, "c": 0}
    assert outcome.notes["refilled"] == 20


def test_source_mix_says_when_the_size_cannot_be_reached():
    table = table_of(a=10, b=90)
    outcome = apply(table, "source_mix", {"weights": {"a": 1, "b": 0}, "fraction": 0.5})
    assert len(outcome.rows) == 10
    assert outcome.notes["short of the size by"] == 40


def test_source_mix_must_name_all_sources():
    with pytest.raises(RecipeError, match="leaves out the source 'b'"):
        apply(table_of(a=1, b=1), "source_mix", {"weights": {"a": 1}})


def test_source_mix_by_temperature_flattens_the_sizes():
    table = table_of(a=900, b=100)
    assert counts(table, apply(table, "source_mix", {"total_samples": 40}).rows) == {"a": 30, "b": 10}  # 3 to 1: roots
    for temperature, expected in ((1.0, 36), (100.0, 20)):
        kept = counts(table, apply(table, "source_mix", {"temperature": temperature, "total_samples": 40}).rows)
        assert kept["a"] == expected
    with pytest.raises(RecipeError, match="'other' applies only if weights is set"):
        apply(table, "source_mix", {"temperature": 2.0, "other": 1.0})


def test_source_mix_weight_zero_everywhere_present_leaves_nothing():
    table = table_of(a=3, b=3)
    assert len(apply(table, "source_mix", {"weights": {"a": 1, "b": 0}}, rows=[3, 4, 5]).rows) == 0


def test_varentropy_mix_is_the_softmax_of_source_means():
    table = SignalTable.from_arrays(
        {"varentropy": [1.0] * 500 + [2.0] * 500 + [np.nan] * 500}, source=["a"] * 500 + ["b"] * 500 + ["c"] * 500
    )
    rows = apply(table, "varentropy_mix", {"temperature": 1.0, "total_samples": 400}).rows
    kept = counts(table, rows)
    assert kept["b"] / kept["a"] == pytest.approx(np.e, rel=0.02)
    assert kept["c"] == 0
    keep = apply(table, "varentropy_mix", {"temperature": 100.0, "total_samples": 300, "missing": "keep"})
    assert keep.missing == 500
    assert all(abs(value - 100) <= 1 for value in counts(table, keep.rows).values())


def test_a_source_without_scores_gets_the_mean_over_all_rows_that_have_one():
    sizes = {"a": 900, "b": 300, "c": 600}
    scores = [1.0] * 900 + [3.0] * 300 + [np.nan] * 600
    table = SignalTable.from_arrays(
        {"varentropy": scores}, source=[name for name, size in sizes.items() for _ in range(size)]
    )
    means = np.array([1.0, 3.0, (900 * 1.0 + 300 * 3.0) / 1200])  # not 2, the mean of the sources' means
    shares = np.exp(means / 2) / np.exp(means / 2).sum()
    mixed = apply(table, "varentropy_mix", {"temperature": 2.0, "total_samples": 400, "missing": "keep"})
    found = counts(table, mixed.rows)
    assert [found[name] for name in "abc"] == pytest.approx(400 * shares, abs=1)
    assert mixed.missing == 600


def test_varentropy_mix_of_infinite_scores():
    table = SignalTable.from_arrays({"varentropy": [np.inf, 1, 2, np.nan]}, source=list("aabb"))
    assert apply(table, "varentropy_mix").rows.tolist() == [0, 1]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("lead", [7.0, 7.1, 7.2, 7.3, 7.4, 7.5])
def test_a_share_next_to_nothing_limits_no_mix(lead):
    table = SignalTable.from_arrays({"varentropy": [0.0, 0.0, lead, lead]}, source=list("aabb"))
    assert apply(table, "varentropy_mix", {"temperature": 0.01}).rows.tolist() == [2, 3]


def test_the_largest_mix_of_very_many_rows_is_the_largest():
    """Where the quotient of two whole numbers lies further below a whole one than rounding does for small pools."""
    table = SignalTable.from_arrays({}, source=["a"] * 178_673 + ["b"] * 113_701)
    outcome = apply(table, "source_mix", {"weights": {"a": 847, "b": 539}, "max_repeats": 100})
    assert outcome.notes["from a"] == 17_867_300 and outcome.notes["refilled"] == 0
