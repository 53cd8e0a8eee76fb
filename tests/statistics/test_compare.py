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
    assert not found.significant and "the spread over 3 training seeds forbids it" in found.verdict
    assert found.difference.over == "items and seeds"


def test_tables_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="same seeds and items"):
        compare_all("w", {"a": (named(np.zeros(3)), named(np.zeros(4)))})
    with pytest.raises(ValueError, match="same tasks"):
        compare_all("w", {"a": (named(np.zeros(3)), {"other": np.zeros((1, 3))})})
