"""Chance in training pooled over everything trained twice, and the differences judged by it."""

from __future__ import annotations

import numpy as np
import pytest

from autoselection.statistics import SeedNoise, compare_all, crossed_test, difference_error, pooled_noise


def test_variances_are_pooled_by_their_degrees_of_freedom() -> None:
    found = pooled_noise([[1.0, 3.0], [5.0], [0.0, 0.0, 3.0], []])
    assert found == SeedNoise(pytest.approx((2 + 6) / 3), 3) and found.known
    assert pooled_noise([[1.0], [2.0]]) == SeedNoise(0.0, 0) and not pooled_noise([]).known


def test_without_items_it_is_a_t_test_with_the_pooled_variance() -> None:
    differences = [np.array([0.3, 0.5])[:, None] * np.ones((2, 8))]
    found = difference_error(differences, SeedNoise(0.04, 12))
    assert (found.error, found.freedom) == (pytest.approx(0.2), pytest.approx(12))
    alike = difference_error(differences, SeedNoise(0.04, 12), overlap=0.75)
    assert alike.error == pytest.approx(0.1), "subsets that share rows: a quarter of the variance"
    assert not difference_error(differences, SeedNoise(0.0, 0)).known
    with pytest.raises(ValueError, match="between 0 and 1"):
        difference_error(differences, SeedNoise(0.04, 12), overlap=1.5)


def test_pooling_keeps_the_level_and_finds_what_two_trainings_cannot() -> None:
    """Two trainings of either row; six other rows were trained twice."""
    rng = np.random.default_rng(0)
    found = {(gap, how): 0 for gap in (0.0, 0.1) for how in ("own", "pooled")}
    draws = 300
    for gap in (0.0, 0.1):
        for _ in range(draws):
            ours, theirs = (
                mean + rng.normal(0, 0.02, (2, 1)) + rng.normal(0, 0.1, (1, 80)) + rng.normal(0, 0.05, (2, 80))
                for mean in (gap, 0.0)
            )
            others = rng.normal(0, np.hypot(0.02, 0.05 / np.sqrt(80)), (6, 2))
            noise = pooled_noise([ours.mean(axis=1), theirs.mean(axis=1), *others])
            error = difference_error([ours - theirs], noise)
            found[gap, "own"] += crossed_test([ours - theirs])[2] <= 0.05
            found[gap, "pooled"] += error.p(float((ours - theirs).mean())) <= 0.05
    assert found[0.0, "pooled"] / draws < 0.07
    assert found[0.1, "pooled"] / draws > 0.8 > 0.4 > found[0.1, "own"] / draws


def test_one_training_each_is_compared_if_chance_in_training_is_known() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = ({"task": mean + rng.normal(0, 0.1, (1, 100))} for mean in (0.1, 0.0))
    (alone,) = compare_all("w", {"i": (ours, theirs)})
    assert alone.p_seeds is None and alone.interval_seeds is None and alone.significant
    (judged,) = compare_all("w", {"i": (ours, theirs)}, noise=SeedNoise(0.08**2, 6))
    assert judged.p_seeds is not None and judged.p_seeds > 0.05 and not judged.significant
    assert judged.detectable is not None and judged.detectable > 0.3
    assert "one training is too few" in judged.verdict
