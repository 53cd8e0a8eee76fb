from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from autoselection.search import surrogate
from autoselection.search.config import SurrogateConfig
from autoselection.search.kernels import KernelParts, matern
from autoselection.search.ranker import Point, calibration, log_expected_improvement
from autoselection.search.surrogate import leave_one_out, predict
from autoselection.search.surrogate_inputs import Scale


def points(count: int, n: int = 60, seed: int = 0) -> list[Point]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        rows = np.flatnonzero(rng.random(n) < rng.uniform(0.1, 0.9))
        made.append(Point(rows, np.array([len(rows) / n, rows.mean() / n]), rng.random(3)))
    return made


def test_matern_at_known_distances():
    a = np.sqrt(5.0)
    assert matern(np.array([0.0, 1.0])) == pytest.approx([1.0, (1 + a + 5 / 3) * np.exp(-a)])


@pytest.mark.parametrize("features", ["realized", "state", "subset", "both"])
def test_every_kernel_of_the_grid_is_positive_semidefinite(features):
    for kernel in KernelParts(points(12), [], SurrogateConfig(features=features), np.ones(60)).kernels:
        assert np.diag(kernel) == pytest.approx(np.ones(12))
        assert np.linalg.eigvalsh(kernel).min() > -1e-9


@pytest.mark.parametrize("features", ["realized", "state", "subset", "encoding", "both"])
def test_predictions_follow_the_scores_and_are_surer_near_them(features):
    made = points(12)
    scores = np.array([(point.encoding.sum() if features == "encoding" else point.state[0]) for point in made])
    parts = KernelParts(made[:8], [*made[8:], made[0]], SurrogateConfig(features=features), np.ones(60))
    told = predict(parts, scores[:8], 1.0)
    assert spearmanr([p.mu for p in told[:8]], scores[:8]).statistic > 0.8
    if features != "state":  # two smooth features of twelve points: there is nothing left to be unsure of
        assert np.mean([p.sigma for p in told[:8]]) < np.mean([p.sigma for p in told[8:12]])
    assert (told[12].mu, told[12].sigma) == pytest.approx((told[0].mu, told[0].sigma))
    assert all(p.ucb >= p.mu for p in told)
    assert predict(parts, scores[:8], 1.0) == told


@pytest.mark.parametrize("scores", [[0.5], [0.5, 0.5], [0.5, 0.5, 0.5], [1.0, 1.0 + 1e-14, 1.0]])
@pytest.mark.parametrize("features", ["realized", "encoding"])
def test_few_or_equal_scores_give_finite_predictions(scores, features):
    made = points(6)
    parts = KernelParts(made[: len(scores)], made[len(scores) :], SurrogateConfig(features=features), np.ones(60))
    for prediction in predict(parts, np.array(scores), 1.0):
        assert np.isfinite(list(prediction.to_dict().values())).all()
        assert prediction.mu == pytest.approx(scores[0], abs=1e-6)


def test_robust_scores_keep_differences_among_good_recipes_visible():
    made = points(10, seed=3)
    scores = np.array([point.state[0] for point in made])
    outlier = scores.copy()
    outlier[int(scores.argmin())] = -50.0
    good = [i for i in range(10) if i != int(scores.argmin())]
    parts = KernelParts(made, [], SurrogateConfig(features="state"), np.ones(60))
    mu = [predict(parts, outlier, 1.0)[i].mu for i in good]
    assert spearmanr(mu, scores[good]).statistic > 0.9


@pytest.mark.parametrize("known", [5, 8, 15])
@pytest.mark.parametrize("told", [-11.0, -3.0])
def test_a_training_that_diverged_says_no_more_than_one_that_failed(known, told):
    """Good scores differ by some hundredths: their order must be seen past one that is far away."""

    def correlation(seed, bad):
        made = points(known + 30, seed=seed)
        scores = np.array([-0.4 + 0.1 * point.state[0] for point in made])
        scores += 0.005 * np.random.default_rng(seed).normal(size=len(scores))
        sure = scores[:known].copy()
        sure[1] = np.delete(sure, 1).min() if bad is None else bad
        parts = KernelParts(made[:known], made[known:], SurrogateConfig(features="state"), np.ones(60))
        mu = [prediction.mu for prediction in predict(parts, sure, 1.0)[known:]]
        return spearmanr(mu, scores[known:]).statistic

    bad = np.mean([correlation(seed, told) for seed in range(8)])
    failed = np.mean([correlation(seed, None) for seed in range(8)])
    assert bad > failed - 0.1


def test_the_scale_of_scores_is_that_of_the_good_ones():
    good = np.array([-0.43, -0.41, -0.40, -0.38, -0.37])
    plain = surrogate.Transform.of(good, True)
    assert plain.forward(good) == pytest.approx(np.arcsinh((good + 0.40) / plain.scale))
    lost = surrogate.Transform.of(np.append(good, -0.7), True)  # a task that was lost is no divergence
    assert lost.worst == -0.7 and lost.forward(np.array([-0.7]))[0] < -1.5
    for worse in (-3.0, -11.0, -1e6):
        found = surrogate.Transform.of(np.append(good, worse), True)
        assert found.scale < 1.5 * plain.scale
        assert found.forward(np.array([worse, -1e9])) == pytest.approx(found.forward(np.array([good.min()] * 2)))


def test_leave_one_out_needs_five_points_and_finds_a_learnable_score():
    made = points(14, seed=5)
    scores = np.array([point.state[0] for point in made])
    parts = KernelParts(made, [], SurrogateConfig(), np.ones(60))
    assert leave_one_out(KernelParts(made[:4], [], SurrogateConfig(), np.ones(60)), scores[:4]) is None
    assert leave_one_out(parts, scores).correlation > 0.8
    assert leave_one_out(parts, np.ones(14)) is None


@pytest.mark.parametrize("features", ["realized", "encoding"])
def test_leave_one_out_is_the_prediction_of_a_model_that_never_saw_the_point(features):
    made = points(9, seed=6)
    scores = np.array([point.state.sum() + point.encoding.sum() for point in made])
    config = SurrogateConfig(features=features)
    apart = [
        predict(KernelParts([*made[:i], *made[i + 1 :]], [made[i]], config, np.ones(60)), np.delete(scores, i), 0.0)[-1]
        for i in range(9)
    ]
    expected = spearmanr(scores, [prediction.mu for prediction in apart]).statistic
    found = leave_one_out(KernelParts(made, [], config, np.ones(60)), scores)
    assert found.correlation == pytest.approx(expected) and found.points == 9


def test_ranks_of_scores_and_predictions_do_not_hang_on_a_last_bit():
    low, high = 0.3, 0.1 + 0.2
    up, mixed = np.arange(6.0), np.array([low, low, low, high, high, high])
    assert calibration(up, mixed, np.zeros(6)) is None and calibration(mixed, up, np.zeros(6)) is None
    tied, spelled = np.array([low, low, 1.0, 2.0, 3.0]), np.array([high, low, 1.0, 2.0, 3.0])
    assert calibration(up[:5], spelled, np.zeros(5)) == calibration(up[:5], tied, np.zeros(5))


@pytest.mark.parametrize(("features", "scale"), [("encoding", 1.0), ("state", 1.0), ("state", 30.0)])
def test_calibration_is_that_of_predictions_of_noisy_scores(features, scale, monkeypatch):
    """Without the robust transform, from the predictions of the mean and the model's own noise."""
    made = points(40, seed=7)
    rng = np.random.default_rng(8)
    scores = scale * np.array([point.state.sum() + point.encoding.sum() for point in made])
    scores += scale * rng.normal(0, 0.5, 40)
    monkeypatch.setattr(surrogate, "PUBLISHED_NOISE", 0.1)
    config = SurrogateConfig(features=features, robust=False)
    found = leave_one_out(KernelParts(made, [], config, np.ones(60)), scores)
    assert 0.65 <= found.within_80 <= 0.95 and 0.7 <= found.rms_error <= 1.4
    if features == "encoding":
        errors = []
        for i in range(40):
            parts = KernelParts([*made[:i], *made[i + 1 :]], [made[i]], config, np.ones(60))
            others = np.delete(scores, i)
            last = predict(parts, others, 0.0)[-1]
            errors.append((scores[i] - last.mu) / np.sqrt(last.sigma**2 + 0.1 * others.var()))
        assert found.rms_error == pytest.approx(np.sqrt(np.mean(np.square(errors))))
        assert found.within_80 == np.mean(np.abs(errors) <= 1.2816)


def test_a_surrogate_that_is_too_sure_is_told_by_its_calibration():
    """Features that explain all scores but two: those lie far outside what the others foretell."""
    made = points(16, seed=9)
    scores = np.array([point.state[0] for point in made])
    smooth = leave_one_out(KernelParts(made, [], SurrogateConfig(features="state"), np.ones(60)), scores)
    scores[[3, 8]] += 25.0
    broken = leave_one_out(KernelParts(made, [], SurrogateConfig(features="state"), np.ones(60)), scores)
    assert broken.rms_error > smooth.rms_error and broken.rms_error > 1.2


def test_log_expected_improvement_agrees_with_the_integral_and_stays_finite_far_below():
    from scipy.stats import norm

    z = np.array([-6.0, -2.0, -1.0, -0.5, 0.0, 1.0, 4.0])
    exact = 0.5 * (norm.pdf(z) + z * norm.cdf(z))
    assert np.exp(log_expected_improvement(0.5 * z + 1.0, np.full(7, 0.5), 1.0)) == pytest.approx(exact, rel=1e-6)
    far = log_expected_improvement(np.array([-1e6, -2e3, -999.0, -10.0]), np.ones(4), 0.0)
    assert np.isfinite(far).all() and (np.diff(far) > 0).all()


def test_scale_ignores_missing_values_and_constant_features():
    scale = Scale.of(np.array([[0.0, 5.0, np.nan], [2.0, 5.0, 1.0], [4.0, 5.0, 3.0]]))
    assert scale(np.array([2.0, 6.0, 3.0])) == pytest.approx([0.0, 1.0, 1.0])
    assert scale(np.array([np.nan, 5.0, np.nan])) == pytest.approx([0.0, 0.0, 0.0])
