"""Chance in training pooled over everything trained twice, and the differences judged by it."""

from __future__ import annotations

import numpy as np
import pytest

from autoselection.statistics import (
    SHARED,
    SeedNoise,
    chance_correlation,
    compare_all,
    crossed_test,
    difference_error,
    pooled_noise,
    selection_flattery,
    shared_chance,
    trial_noise,
)


def test_variances_are_pooled_by_their_degrees_of_freedom() -> None:
    found = pooled_noise([{0: 1.0, 1: 3.0}, {0: 5.0}, {0: 0.0, 1: 0.0, 5: 3.0}, {}])
    assert found == SeedNoise(pytest.approx((2 + 6) / 3), 3) and found.known
    assert pooled_noise([{0: 1.0}, {0: 2.0}]) == SeedNoise(0.0, 0) and not pooled_noise([]).known


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
            noise = pooled_noise([dict(enumerate(o)) for o in (ours.mean(axis=1), theirs.mean(axis=1), *others)])
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


def similar(pair: float, subsets: int, rng: np.random.Generator, rows: int = 400) -> np.ndarray:
    """Jaccard similarity of halves of a pool, of which the first two have ``pair``, and of subsets of any size."""
    has = np.zeros((subsets, rows))
    half, order = rows // 2, rng.permutation(rows)
    common = round(2 * half * pair / (1 + pair))
    has[0, order[:half]] = has[1, order[half - common : 2 * half - common]] = 1
    for subset in has[2:]:
        subset[rng.permutation(rows)[: rng.integers(rows // 10, rows)]] = 1
    common_rows, sizes = has @ has.T, has.sum(axis=1)
    return np.asarray(common_rows / (sizes[:, None] + sizes - common_rows))


def lucky(similarity: np.ndarray, shared: float, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """Chance of trainings with a deviation of 0.02, (subsets, seeds), as :mod:`autoselection.statistics.noise` has it."""
    correlation = shared * similarity + (1 - shared) * np.eye(len(similarity))
    values, vectors = np.linalg.eigh(correlation)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0)) @ rng.normal(0, 0.02, (len(similarity), seeds)))


@pytest.mark.parametrize("pair", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("shared", [SHARED, 0.9])
def test_intervals_of_subsets_that_overlap_keep_their_level_and_are_narrower(pair: float, shared: float) -> None:
    """Ten subsets, three seeds; how far chance follows the rows is told by the trainings themselves."""
    rng = np.random.default_rng(0)
    similarity = similar(pair, 10, rng)
    holds, reaches, draws = {"as independent": 0, "judged": 0}, {"as independent": 0.0, "judged": 0.0}, 200
    for _ in range(draws):
        luck = lucky(similarity, shared, 3, rng)
        items = rng.normal(0, 0.1, 60)
        ours, theirs = (chance[:, None] + items + rng.normal(0, 0.02, (3, 60)) for chance in luck[:2])
        scores = [dict(enumerate(table.mean(axis=1))) for table in (ours, theirs)]
        scores += [dict(enumerate(rng.normal() + chance)) for chance in luck[2:]]
        found = shared_chance(scores, similarity)
        judged = difference_error([ours - theirs], pooled_noise(scores, similarity, found), overlap=found * pair)
        alone = difference_error([ours - theirs], pooled_noise(scores))
        for how, error in (("as independent", alone), ("judged", judged)):
            holds[how] += abs(float((ours - theirs).mean())) <= error.reach(0.95)
            reaches[how] += error.reach(0.95) / draws
    assert 0.91 < holds["judged"] / draws <= 1.0
    assert reaches["judged"] / reaches["as independent"] == pytest.approx(np.sqrt(1 - SHARED * pair), abs=0.1)
    if pair == 0.9:
        assert holds["as independent"] / draws > 0.97, "taken for independent, they get intervals that are too wide"


def test_how_far_chance_follows_the_rows_is_learnt_from_trainings() -> None:
    rng = np.random.default_rng(0)
    similarity = 0.9 + 0.1 * np.eye(8)
    for shared in (0.0, 0.5, 0.95):
        scores = [dict(enumerate(level + own)) for level, own in enumerate(lucky(similarity, shared, 30, rng))]
        assert shared_chance(scores, similarity) == pytest.approx(shared, abs=0.15)
    assert shared_chance([{0: 1.0}, {1: 2.0}], np.eye(2)) == pytest.approx(SHARED, abs=0.005)
    assert shared_chance([], np.zeros((0, 0))) == pytest.approx(SHARED, abs=0.005)
    for alike in (
        np.eye(2),
        np.full((2, 2), 0.7) + 0.3 * np.eye(2),
    ):  # a server that answers the same whatever it is asked
        found = shared_chance([{0: 1.1, 1: 1.1, 2: 1.1}, {0: 2.3, 1: 2.3, 2: 2.3}], alike)
        assert found == pytest.approx(SHARED, abs=0.005)


def test_subsets_with_common_chance_say_less_of_its_size() -> None:
    rng = np.random.default_rng(0)
    similarity = 0.8 + 0.2 * np.eye(10)
    found = [
        pooled_noise([dict(enumerate(own)) for own in lucky(similarity, 0.9, 3, rng)], similarity, 0.9)
        for _ in range(800)
    ]
    variances = np.array([noise.variance for noise in found])
    assert variances.mean() == pytest.approx(0.02**2, rel=0.1)
    freedom = 2 * variances.mean() ** 2 / variances.var()
    assert found[0].freedom == pytest.approx(freedom, rel=0.2) and found[0].freedom < 5 < 20
    alone = pooled_noise([{0: 0.0, 1: 1.0, 2: 0.0}, {0: 0.0, 3: 2.0}], np.eye(2), 0.9)
    assert alone.freedom == pytest.approx(3), "nothing in common"


def test_mean_scores_have_chance_in_common_by_their_common_seeds() -> None:
    similarity = np.array([[1.0, 0.5, 0.5], [0.5, 1.0, 0.0], [0.5, 0.0, 1.0]])
    found = chance_correlation([[0, 1], [1], [0, 1]], similarity, 0.8)
    assert found == pytest.approx(np.array([[1, 0.4 / np.sqrt(2), 0.4], [0.4 / np.sqrt(2), 1, 0], [0.4, 0, 1]]))
    assert chance_correlation([[0], [1]], np.ones((2, 2)), 0.8) == pytest.approx(np.eye(2))


def test_a_winner_is_flattered_less_where_all_share_their_luck() -> None:
    """Against other rows with the same luck, chance lifts the best of ten by what is its own."""
    rng = np.random.default_rng(0)
    tables = [[np.zeros((1, 4))] for _ in range(10)]
    for shared in (0.0, 0.8):
        correlation = shared * np.ones((11, 11)) + (1 - shared) * np.eye(11)
        noise = rng.multivariate_normal(np.zeros(11), 0.02**2 * correlation, 20_000)
        best = noise[:, :10].argmax(axis=1)[:, None]
        luck = np.take_along_axis(noise, best, axis=1)[:, 0]
        outside = selection_flattery(tables, 0.02, correlation=correlation, rival=10, draws=20_000).training
        assert outside == pytest.approx((luck - noise[:, 10]).mean(), abs=1e-3)
        inside = selection_flattery(tables, 0.02, correlation=correlation[:10, :10], rival=3, draws=20_000).training
        assert inside == pytest.approx((luck - noise[:, 3])[best[:, 0] != 3].mean(), abs=1e-3)
    assert trial_noise([[np.array([[0.0, 0.0], [1.0, 1.0]])]] * 2, alike=0.75) == pytest.approx(0.25)


def test_an_overlap_is_told_by_baseline() -> None:
    rng = np.random.default_rng(0)
    ours, near, far = ({"task": rng.normal(0, 0.01, (2, 30))} for _ in range(3))
    found = compare_all(
        "w", {"near": (ours, near), "far": (ours, far)}, noise=SeedNoise(0.04, 9), overlap={"near": 0.75}, draws=10
    )
    widths = [found[place].interval[1] - found[place].interval[0] for place in (0, 1)]
    assert widths[0] / widths[1] == pytest.approx(0.5, abs=0.01)
    spreads = [comparison.spread.seeds[0] for comparison in found if comparison.spread]
    assert spreads == pytest.approx([0.01, 0.04])
