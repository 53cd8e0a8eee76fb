"""The comparison of a winner with its baselines: what is tested, and what is said."""

from __future__ import annotations

import numpy as np
import pytest

from autoselection.statistics import compare_all, mcnemar


def named(*tasks: np.ndarray) -> dict[str, np.ndarray]:
    return {f"task{i}": np.atleast_2d(task).astype(float) for i, task in enumerate(tasks)}


def test_right_and_wrong_items_are_compared_exactly() -> None:
    ours, theirs = np.array([1] * 9 + [0] * 3), np.array([0] * 8 + [1, 0, 1, 1])
    (found,) = compare_all("winner", {"full": (named(ours), named(theirs))})
    assert found.test == "mcnemar" and found.p_items == found.p == mcnemar(ours, theirs)
    assert found.p_seeds is None and found.seeds == 1 and found.difference.over == "items"
    assert found.difference.estimate == pytest.approx((ours - theirs).mean())


def test_tasks_of_other_sizes_and_continuous_scores_are_permuted() -> None:
    rng = np.random.default_rng(0)
    uneven = (
        named(rng.integers(0, 2, 10), rng.integers(0, 2, 20)),
        named(rng.integers(0, 2, 10), rng.integers(0, 2, 20)),
    )
    smooth = named(rng.normal(size=10)), named(rng.normal(size=10))
    assert [c.test for c in compare_all("w", {"a": uneven})] == ["permutation"]
    assert [c.test for c in compare_all("w", {"a": smooth})] == ["permutation"]


def test_a_clear_difference_is_called_one_and_noise_is_not() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(size=(1, 200))
    ours = named(base + 0.5)
    better, same, worse = compare_all(
        "winner",
        {
            "full": (ours, named(base + rng.normal(0, 0.3, base.shape))),
            "random": (ours, named(base + 0.5 + rng.normal(0, 0.3, base.shape))),
            "top": (ours, named(base + 1.0 + rng.normal(0, 0.3, base.shape))),
        },
    )
    assert better.significant and better.verdict.startswith("winner is better than full (+0.")
    assert not same.significant and same.verdict.startswith("No significant difference between winner and random")
    assert worse.significant and worse.verdict.startswith("winner is worse than top (-0.")
    assert better.p_adjusted >= better.p


def test_a_difference_that_other_seeds_may_not_repeat_is_not_one() -> None:
    rng = np.random.default_rng(2)
    base = np.tile(rng.normal(size=(1, 300)), (3, 1))
    luck = np.array([[0.9], [0.4], [-0.1]])
    (found,) = compare_all("winner", {"full": (named(base + luck), named(base + rng.normal(0, 0.2, base.shape)))})
    assert found.p_items < 0.001 and found.p_seeds is not None and found.p == found.p_seeds > 0.05
    assert not found.significant and "3 training seeds are too few, or differ too much" in found.verdict
    assert found.difference.over == "items" and found.interval_seeds is not None
    assert found.interval_seeds[0] < 0 < found.difference.low, "what the verdict says and what its interval says agree"
    assert (
        "over training seeds and items alone" not in found.verdict and "over training seeds and items" in found.verdict
    )


@pytest.mark.parametrize("seeds", [1, 3])
def test_every_interval_says_what_its_p_value_says(seeds: int) -> None:
    """Near the margin a bootstrap and flips of signs, or Student's test and these, differ in one table of ten."""
    rng = np.random.default_rng(0)
    excluded = []
    for _ in range(60):
        gained, base = rng.normal(0.035, 0.1 if seeds == 1 else 0.06, (seeds, 12)), rng.normal(-1, 0.3, (seeds, 12))
        (found,) = compare_all("w", {"full": (named(base + gained), named(base))}, draws=500)
        items = (found.difference.low, found.difference.high)
        assert found.interval_all is not None
        for (low, high), p in (
            (items, found.p_items),
            (found.interval, found.p),
            (found.interval_all, found.p_adjusted),
        ):
            assert (low >= 0 or high <= 0) if p <= 0.05 else low <= 0 <= high, (low, high, p)
        shown = f"{found.interval[0]:+.4f} to {found.interval[1]:+.4f}"
        assert shown in found.verdict and found.verdict.startswith("w is better") == found.significant
        excluded.append(found.significant)
    assert 5 < sum(excluded) < 55, "the scene needs both"


def test_tables_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="same seeds and items"):
        compare_all("w", {"a": (named(np.zeros(3)), named(np.zeros(4)))})
    with pytest.raises(ValueError, match="same tasks"):
        compare_all("w", {"a": (named(np.zeros(3)), {"other": np.zeros((1, 3))})})


def test_the_interval_over_seeds_covers_what_other_seeds_would_show() -> None:
    rng = np.random.default_rng(12)
    covered = 0
    for _ in range(200):
        layout = 0.2 + rng.normal(0, 0.3, (3, 1)) + rng.normal(0, 1, (1, 40)) + rng.normal(0, 0.3, (3, 40))
        (found,) = compare_all("w", {"a": (named(layout), named(np.zeros_like(layout)))}, draws=50)
        assert found.interval_seeds is not None
        covered += found.interval_seeds[0] <= 0.2 <= found.interval_seeds[1]
    assert 0.9 <= covered / 200 <= 1.0


def test_the_interval_over_seeds_is_that_of_a_table_of_students_t() -> None:
    # Every item says the same of a seed: what is left is the mean of three numbers. t(2) of a book at 97.5% and 90%.
    layout = np.array([0.0, 1.0, 2.0])[:, None] * np.ones((3, 5))
    for level, quantile in ((0.95, 4.302653), (0.8, 1.885618)):
        (found,) = compare_all("w", {"a": (named(layout), named(np.zeros_like(layout)))}, level=level, draws=50)
        reach = quantile / np.sqrt(3)
        assert found.interval_seeds == pytest.approx((1 - reach, 1 + reach), abs=1e-5)


def replicates(rng: np.random.Generator, base: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """A row of so many replicates: what separates them, and how each answers the items of ``base``."""
    return named(base + rng.normal(0, 0.1, (count, 1)) + rng.normal(0, 0.2, (count, base.shape[1])))


@pytest.mark.parametrize(("ours", "theirs"), [(5, 1), (1, 5)])
def test_a_row_of_one_replicate_is_not_judged_by_items_alone_where_the_other_has_several(
    ours: int, theirs: int
) -> None:
    """By items alone six of ten such tables without a difference had one."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(150):
        base = rng.normal(0, 0.3, (1, 60))
        pair = replicates(rng, base, ours), replicates(rng, base, theirs)
        found += compare_all("w", {"b": pair}, draws=20, units="replicates", independent=["b"])
    assert np.mean([one.significant for one in found]) < 0.09
    assert all(one.seeds == 1 and one.p_seeds is not None and one.interval_seeds is not None for one in found)
    assert all("row of one replicate is taken to vary as the other one does" in one.verdict for one in found)
    assert any("one replicate is too few" in one.verdict for one in found)
    spread = found[0].spread
    assert spread is not None and spread.seeds[0] == spread.seeds[1] > 0


def test_several_replicates_that_do_not_differ_lend_one_nothing() -> None:
    """An untrained model has the same score in every replicate; a training has not."""
    rng = np.random.default_rng(1)
    base = rng.normal(0, 0.3, (1, 60))
    pair = replicates(rng, base, 1), named(np.repeat(base, 5, axis=0))
    (found,) = compare_all("w", {"base": pair}, draws=20, units="replicates", independent=["base"])
    assert found.p_seeds is None and found.spread is None and "taken to vary" not in found.verdict


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize(("seeds", "items"), [(1, 1), (2, 1), (3, 10)])
def test_no_power_is_claimed_where_it_cannot_be_said(seeds: int, items: int, independent: bool) -> None:
    """One item, or scores that never vary: a difference of 0.0000 was called findable."""
    one, zero = named(np.ones((seeds, items))), named(np.zeros((seeds, items)))
    pairs = {"x": (zero, zero)} if items > 1 else {"x": (one, zero), "y": (zero, one)}
    for found in compare_all("w", pairs, independent=set(pairs) if independent else set(), draws=20):
        assert found.detectable is None and "80% power" not in found.verdict
        assert not found.significant and found.verdict.startswith("No significant difference between w and ")
        assert found.interval_all is not None and np.isfinite([*found.interval, *found.interval_all]).all()
