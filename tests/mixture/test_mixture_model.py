"""The model of runs: against direct formulas, what does not matter to it, and truths that it has to find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import check_grad
from scipy.stats import spearmanr
from tables import losses, mixtures, two_levels

from autoselection.mixture import MixtureModel
from autoselection.mixture.inputs import LOWEST_FLOOR, LogShares, share_floor
from autoselection.mixture.link import GRID, Link, Setting
from autoselection.mixture.process import CONSTANT, JITTER, RelevanceProcess, Remembered, _cost, drawn
from autoselection.mixture.value import knowledge_gradient, variance_reduction

WEIGHTS = np.array([0.5, 0.5])


def test_floor_is_half_the_smallest_positive_share_and_never_too_small() -> None:
    assert share_floor(np.array([[0.0, 0.2, 0.8]])) == 0.1
    assert share_floor(np.array([[1e-9, 1.0]])) == LOWEST_FLOOR


def test_a_source_that_never_changes_is_no_input() -> None:
    shares = np.array([[0.2, 0.3, 0.5], [0.2, 0.5, 0.3], [0.2, 0.4, 0.4]])
    assert LogShares.of(shares)(shares).shape == (3, 2)


def _process(count: int = 12) -> RelevanceProcess:
    shares = mixtures(count)
    return RelevanceProcess(LogShares.of(shares)(shares), -losses(shares)[:, 0])


def test_posterior_and_left_out_runs_agree_with_the_direct_formula() -> None:
    process, rng = _process(), np.random.default_rng(3)
    points, found = process.points, process.hyperparameters
    scores = (-losses(mixtures(12))[:, 0] - process.centre) / process.scale
    new = rng.standard_normal((4, points.shape[1]))

    def covariance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        made = np.zeros((len(left), len(right)))
        for i, one in enumerate(left):
            for j, other in enumerate(right):
                step = np.sqrt(5) * np.sqrt((((one - other) / found.lengths) ** 2).sum())
                made[i, j] = found.amplitude * (1 + step + step**2 / 3) * np.exp(-step)
                made[i, j] += found.slope * (one @ other) + CONSTANT
        return made

    inverse = np.linalg.inv(covariance(points, points) + (found.noise + JITTER) * np.eye(12))
    cross = covariance(new, points)
    mean, spread = process.posterior(new)
    assert mean == pytest.approx(process.centre + process.scale * cross @ inverse @ scores)
    assert spread == pytest.approx(process.scale**2 * (covariance(new, new) - cross @ inverse @ cross.T), abs=1e-6)
    left_out, deviation = process.leave_one_out()
    for place in range(12):
        others = np.delete(np.arange(12), place)
        own = np.linalg.inv(covariance(points[others], points[others]) + (found.noise + JITTER) * np.eye(11))
        cross = covariance(points[[place]], points[others])[0]
        variance = covariance(points[[place]], points[[place]])[0, 0] + found.noise + JITTER - cross @ own @ cross
        assert left_out[place] == pytest.approx(process.centre + process.scale * cross @ own @ scores[others], abs=1e-6)
        assert deviation[place] == pytest.approx(process.scale * np.sqrt(variance), rel=1e-5)


def test_gradient_of_the_marginal_likelihood() -> None:
    shares = mixtures(15)
    points, scores = LogShares.of(shares)(shares), np.random.default_rng(0).standard_normal(15)
    centre, deviation = np.zeros(points.shape[1] + 3), np.full(points.shape[1] + 3, 1.5)
    arguments = (points, scores, centre, deviation)
    at = 0.3 * np.random.default_rng(1).standard_normal(len(centre))
    wrong = check_grad(lambda x: _cost(x, *arguments)[0], lambda x: _cost(x, *arguments)[1], at)
    assert wrong < 1e-4


def test_a_link_agrees_with_the_direct_formula() -> None:
    base = _process()
    shares, new = mixtures(5, 9), mixtures(3, 11)
    inputs = LogShares.of(mixtures(12))
    points, others = inputs(shares), inputs(new)
    scores = -losses(shares, 0.6)[:, 0]
    link = Link(base, base, points, scores)
    assert link.scale == max(base.scale, scores.std())
    setting = Setting(0.7, 0.15, 0.03, 0.03, 0.003)
    link._settings = [(setting, 1.0)]
    everything = np.concatenate([points, others])
    lower, covariance = base.posterior(everything)
    off = (lower - base.centre) / link.scale
    total = (setting.slope**2 + setting.slope_deviation**2) * covariance / link.scale**2
    total += setting.slope_deviation**2 * np.outer(off, off) + 100.0
    total += 0.03 * (
        base.hyperparameters.line(everything, everything) + base.hyperparameters.curve(everything, everything)
    )
    prior = scores.mean() / link.scale + setting.slope * off
    own = total[:5, :5] + (setting.noise + JITTER) * np.eye(5)
    gain = total[5:, :5] @ np.linalg.inv(own)
    mean, spread = link.posterior(others)
    assert mean / link.scale == pytest.approx(prior[5:] + gain @ (scores / link.scale - prior[:5]), abs=1e-6)
    assert spread / link.scale**2 == pytest.approx(total[5:, 5:] - gain @ total[:5, 5:], abs=1e-5)
    assert setting in GRID or setting.slope in {one.slope for one in GRID}


def test_what_is_remembered_is_what_would_be_asked() -> None:
    process = _process()
    points = LogShares.of(mixtures(12))(mixtures(6, 4))
    remembered = Remembered(process, points)
    for asked in (points[[3, 1]], points[[0]] + 0.5):
        for mine, direct in zip(remembered.posterior(asked), process.posterior(asked), strict=True):
            assert mine == pytest.approx(direct, abs=1e-9)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**16))
def test_order_of_runs_sources_and_columns_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shares, values, levels = two_levels(14, 5)
    new = mixtures(4, 77)
    belief = MixtureModel(shares, values, levels, 2).objective(WEIGHTS, new)
    runs, sources, columns = rng.permutation(len(shares)), rng.permutation(4), rng.permutation(2)
    turned = MixtureModel(shares[runs][:, sources], values[runs][:, columns], levels[runs], 2)
    again = turned.objective(WEIGHTS, new[:, sources])
    assert again.mean == pytest.approx(belief.mean, abs=1e-3)
    assert again.deviation == pytest.approx(belief.deviation, rel=0.05)


def test_runs_to_learn_from_are_the_same_in_any_order() -> None:
    points = np.random.default_rng(5).standard_normal((50, 3))
    order = np.random.default_rng(6).permutation(50)
    chosen = {tuple(point) for point in points[drawn(points, 20)]}
    assert {tuple(point) for point in points[order][drawn(points[order], 20)]} == chosen
    assert list(drawn(points, 99)) == list(range(50))


def test_small_runs_tell_what_large_ones_score_though_slopes_differ() -> None:
    shares, values, levels = two_levels(30, 4)
    new = mixtures(40, 5)
    truth = -losses(new, 0.6, 2.0).mean(axis=1)
    every = MixtureModel(shares, values, levels, 2)
    alone = MixtureModel(shares[levels == 1], values[levels == 1], np.zeros(4, np.int64), 1)
    wrong = [np.sqrt(np.mean((model.objective(WEIGHTS, new).mean - truth) ** 2)) for model in (every, alone)]
    assert spearmanr(every.objective(WEIGHTS, new).mean, truth).statistic > 0.97
    assert wrong[0] < 0.5 * wrong[1]
    assert every.slopes(0) == pytest.approx([0.6, 0.6], abs=0.15)


def test_a_level_that_tells_nothing_is_not_believed() -> None:
    shares, values, levels = two_levels(30, 20)
    values[levels == 0] = np.random.default_rng(8).standard_normal((30, 2))
    model = MixtureModel(shares, values, levels, 2)
    new = mixtures(40, 5)
    assert spearmanr(model.objective(WEIGHTS, new).mean, -losses(new, 0.6).mean(axis=1)).statistic > 0.9
    assert np.abs(model.slopes(0)).max() < 0.35


def test_intervals_hold_what_they_promise() -> None:
    inside = []
    for seed in range(4):
        shares, values, levels = two_levels(25, 6, noise=0.05, seed=seed)
        new = mixtures(30, 50 + seed)
        belief = MixtureModel(shares, values, levels, 2).objective(WEIGHTS, new)
        off = belief.mean + losses(new, 0.6, 2.0).mean(axis=1)
        inside.append(np.mean(np.abs(off) <= 1.96 * belief.deviation))
    assert np.mean(inside) >= 0.85


@pytest.mark.parametrize("spread", [0.02, 0.0005])
def test_a_cheap_level_that_scores_nearly_alike_leaves_intervals_as_wide_as_the_targets_scores_ask_for(
    spread: float,
) -> None:
    # A small model that answers by chance: its scores say nothing of how far those of the large one differ.
    inside, wrong = [], []
    for seed in range(4):
        shares, values, levels = two_levels(40, 30, noise=0.05, seed=seed)
        chance = np.random.default_rng(seed).standard_normal((40, 2))
        values[levels == 0] = 0.25 + spread * chance
        every = MixtureModel(shares, values, levels, 2)
        alone = MixtureModel(shares[levels == 1], values[levels == 1], np.zeros(30, np.int64), 1)
        found, own = every.left_out(1), alone.left_out(0)
        off = np.abs(found.mean - found.score)
        inside.append(np.mean(off <= 1.2816 * found.deviation))
        wrong.append([np.sqrt(np.mean(off**2)), np.sqrt(np.mean((own.mean - own.score) ** 2))])
    assert 0.7 <= np.mean(inside) <= 0.95, inside
    with_small, without = np.mean(wrong, axis=0)
    assert with_small < 1.5 * without, wrong


def test_missing_scores_are_left_out_of_their_column_alone() -> None:
    shares, values, levels = two_levels(20, 6)
    values[::3, 0] = np.nan
    values[levels == 0, 1] = np.nan  # this column has the target's runs alone
    belief = MixtureModel(shares, values, levels, 2).objective(WEIGHTS, mixtures(5, 1))
    assert np.isfinite(belief.mean).all() and (belief.deviation > 0).all()


def test_probabilities_of_pairs_add_up_to_one() -> None:
    shares, values, levels = two_levels(12, 4)
    better = MixtureModel(shares, values, levels, 2).objective(WEIGHTS, mixtures(6, 1)).first_better()
    assert better + better.T == pytest.approx(np.ones((6, 6)))


def test_value_of_a_run_agrees_with_simulation() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((4, 4))
    covariance, mean = root @ root.T, np.array([0.0, 0.3, 0.2, -1.0])
    variance = np.diag(covariance) + 0.1
    drawn_scores = rng.standard_normal(400_000)
    for place, value in enumerate(knowledge_gradient(mean, covariance, variance)):
        moved = mean[:, None] + covariance[:, [place]] / np.sqrt(variance[place]) * drawn_scores
        assert value == pytest.approx(moved.max(axis=0).mean() - mean.max(), abs=0.01)


def test_an_offset_that_all_share_tells_nothing() -> None:
    assert variance_reduction(np.full((5, 3), 7.0), np.ones(3)) == pytest.approx(0.0)
