"""What a search knows of features before its first evaluation, and how scores overrule it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from autoselection.errors import ConfigError
from autoselection.search import SearchController
from autoselection.search.config import SearchConfig
from autoselection.search.noise import noise_covariance
from autoselection.search.prior import SHIPPED, Effect, LinearPrior, read_prior
from autoselection.search.ranker import Known, Point
from autoselection.search.surrogate import GaussianProcess

NAMES = ("log_kept", "log_kept/task/a", "mean/ifd", "mean/reward")
FILE = """
learnt_from: [somewhere]
effects:
- {feature: log_kept, mean: 0.0, deviation: 0.1}
- {feature: mean/ifd, mean: -1.0, deviation: 0.3}
- {feature: log_kept squared, mean: -0.2, deviation: 0.1}
- {feature: 'log_kept/task/*', mean: 0.5, deviation: 0.1}
- {feature: 'mean/*', mean: 0.0, deviation: 0.2}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "effects.yaml"
    path.write_text(FILE, "utf-8")
    return path


def points(count: int, seed: int = 0) -> list[Point]:
    rng = np.random.default_rng(seed)
    return [Point(np.flatnonzero(rng.random(80) < 0.5), rng.normal(size=4), np.zeros(0)) for _ in range(count)]


def ranker(prior: bool | Path) -> GaussianProcess:
    return GaussianProcess(SearchConfig(surrogate={"prior": prior}))


def told(prior: bool | Path, train: list[Point], scores: np.ndarray, test: list[Point], names=NAMES) -> np.ndarray:
    known = Known(train, scores, np.ones(80), features=names)
    predicted = ranker(prior).predict(known, test, 0.0, 0)[len(train) :]
    return np.array([(one.mu, one.sigma) for one in predicted]).T


def test_the_first_matching_entry_decides_and_features_without_one_have_no_effect(file):
    prior = read_prior(file)
    assert prior.effect("mean/ifd").mean == -1.0 and prior.effect("mean/reward").deviation == 0.2
    assert prior.effect("log_kept/task/a").mean == 0.5
    assert prior.effect("spread/ifd") == Effect(feature="spread/ifd", mean=0.0, deviation=0.0)


def test_inputs_of_the_line_are_the_features_with_an_effect_and_the_square_of_the_size(file):
    states = np.array([[2.0, 1.0, 0.5, 0.0], [-9.0, 0.0, 0.0, 1.0]])
    design, means, deviations = read_prior(file).design((*NAMES[:3], "spread/x"), states)
    expected = [[2.0, 1.0, 0.5, 3.0], [-9.0, 0.0, 0.0, 80.0]]
    assert design == pytest.approx(2.0 * np.tanh(np.array(expected) / 2.0))
    assert means.tolist() == [0.0, 0.5, -1.0, -0.2] and deviations.tolist() == [0.1, 0.1, 0.3, 0.1]


def test_two_scores_are_enough_where_the_usual_effects_hold(file):
    made = points(60)
    truth = np.array([-point.state[2] + 0.5 * point.state[1] for point in made])
    with_prior, without = (spearmanr(told(p, made[:2], truth[:2], made[2:])[0], truth[2:])[0] for p in (file, False))
    assert with_prior > 0.6 and with_prior > without + 0.2


def test_before_any_score_recipes_are_told_apart_by_the_usual_effects_alone(file):
    made = points(40)
    mean, deviation = told(file, [], np.zeros(0), made)
    usual = [-np.tanh(point.state[2] / 2.0) + 0.5 * np.tanh(point.state[1] / 2.0) for point in made]
    assert spearmanr(mean, usual)[0] > 0.9 and (deviation > 0).all()
    assert [ranker(prior).has_prior for prior in (file, True, False)] == [True, True, False]
    overlaps_only = SearchConfig(surrogate={"prior": file, "features": "subset"})
    assert not GaussianProcess(overlaps_only).has_prior, "without features there is nothing to have effects"


def test_scores_that_contradict_the_usual_effects_switch_them_off(file):
    made = points(40, seed=1)
    truth = np.array([2.0 * point.state[2] for point in made])
    found = spearmanr(told(file, made[:14], truth[:14], made[14:])[0], truth[14:])[0]
    assert found > 0.6


def test_without_names_or_with_other_features_nothing_is_known(file):
    made = points(10)
    scores = np.array([point.state[2] for point in made[:5]])
    plain = told(False, made[:5], scores, made[5:])
    assert np.allclose(told(file, made[:5], scores, made[5:], names=()), plain)
    unknown = told(file, made[:5], scores, made[5:], names=("w", "x", "y", "z"))
    assert np.allclose(unknown, plain)


def test_a_point_unlike_all_others_is_less_certain_with_a_line(file):
    made = points(8)
    scores = np.array([point.state[2] for point in made])
    far = Point(made[0].rows, np.array([0.0, 0.0, 8.0, 0.0]), np.zeros(0))
    assert told(file, made, scores, [far])[1][0] > 1.2 * told(False, made, scores, [far])[1][0]


def test_every_entry_that_is_shipped_can_decide():
    prior = read_prior(True)
    assert isinstance(prior, LinearPrior) and read_prior(False) is None and SHIPPED.is_file()
    for entry in prior.effects:
        assert prior.effect(entry.feature.replace("*", "name")) == entry, entry.feature
    assert prior.effect("log_kept/task/any").mean > 0, "losing a task is a risk"


def test_a_file_that_is_no_prior_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text("effects:\n- {feature: a, mean: 1, deviation: -1}\nlearnt_from: []\n", "utf-8")
    with pytest.raises(ConfigError, match="deviation"):
        ranker(path)
    path.write_text("- 1\n", "utf-8")
    with pytest.raises(ConfigError, match="no prior of a search"):
        ranker(path)


def test_noise_of_full_trainings_is_alike_and_short_ones_have_more_of_it():
    assert noise_covariance([1.0, 1.0]) is None
    assert noise_covariance([1.0, 0.25]).tolist() == [[1.0, 0.0], [0.0, 4.0]]


def test_a_left_out_score_is_held_against_its_own_noise():
    """One short training's score is off by 30; with a noise of so much that is no surprise."""
    made = points(12)
    scores = np.array([point.state[0] for point in made])
    scores[5] += 30.0
    noise = np.eye(12)
    noise[5, 5] = 1e6
    surprise = [ranker(False).leave_one_out(Known(made, scores, np.ones(80), noise=n), 0) for n in (noise, None)]
    assert surprise[0].rms_error < 0.5 and surprise[1].rms_error > 1.0


def test_scores_with_more_noise_count_less():
    made = points(6)
    scores = np.array([0.0, 0.1, 0.0, 0.1, 0.0, 3.0])
    noise = np.eye(6)
    surer = ranker(False).predict(Known(made, scores, np.ones(80), noise=noise), [], 0.0, 0)[5].mu
    noise[5, 5] = 50.0
    noisier = ranker(False).predict(Known(made, scores, np.ones(80), noise=noise), [], 0.0, 0)[5].mu
    assert noisier < surer


def test_leaving_a_point_out_leaves_its_noise_out():
    known = Known(points(3), np.arange(3.0), np.ones(80), None, NAMES, np.diag([1.0, 2.0, 3.0]))
    left = known.without(1)
    assert left.noise.tolist() == [[1.0, 0.0], [0.0, 3.0]] and left.features == NAMES and len(left.points) == 2


def test_names_with_brackets_are_names_and_no_patterns():
    """An effect that an earlier study left for a source by its name holds for that source alone."""
    names = ("log_kept/source/a[1]", "log_kept/source/faq?", "log_kept/source/*")
    effects = tuple(Effect(feature=name, mean=mean, deviation=0.1) for name, mean in zip(names, (1, 2, 3), strict=True))
    prior = LinearPrior(learnt_from=("here",), effects=effects)
    assert [prior.effect(name).mean for name in names] == [1, 2, 3]
    assert prior.effect("log_kept/source/a1").mean == prior.effect("log_kept/source/faq1").mean == 3
    assert prior.effect("log_kept/source/two\nlines").mean == 3


def test_expectations_of_a_round_under_way_set_no_scale(small):
    """Before any score, the first round's candidates are chosen by usual effects, one after the other: what is expected of one
    must not change what is expected of the rest, nor how unsure that is."""
    controller = SearchController(
        small.signals, SearchConfig(evaluations=8, batch=4, warmup=4, min_rows=10, proposals=24)
    )
    asked = controller.ask()
    inputs = controller.predictions.inputs
    nothing = inputs.evaluated([], np.zeros(0), own=True)
    alone = controller.predictions.ranker.predict(nothing, [inputs.known(candidate) for candidate in asked], 3.0, 0)
    for candidate, before in zip(asked, alone, strict=True):
        assert candidate.prediction.sigma > 0.4 * before.sigma
        assert abs(candidate.prediction.mu - before.mu) < 0.4 * before.sigma


def test_a_score_that_is_expected_moves_no_prediction():
    """After two scores, far apart, the expectation of a third recipe changes neither the scale nor the constant."""
    made, asked = points(3), points(5, seed=1)
    told = Known(made[:2], np.array([0.0, 10.0]), np.ones(80))
    guess = ranker(False).predict(told, made[2:], 3.0, 0)[-1].mu
    more = Known(made, np.array([0.0, 10.0, guess]), np.ones(80), expected=[False, False, True])
    before, after = (ranker(False).predict(known, asked, 3.0, 0)[-5:] for known in (told, more))
    assert [each.mu for each in after] == pytest.approx([each.mu for each in before], abs=0.15)
