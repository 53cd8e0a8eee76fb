"""What a search learns from earlier ones: scores of the same pool, and effects that another pool showed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from autoselection.recipes import materialize
from autoselection.search import Observation, SearchConfig, SearchController, random_recipes
from autoselection.search.earlier import EarlierTrial
from autoselection.search.prior import Effect, LinearPrior, read_prior
from autoselection.search.prior_learning import KINSHIP, updated
from autoselection.search.ranker import Known
from autoselection.search.series import aligned
from autoselection.search.surrogate import GaussianProcess
from autoselection.search.transfer import effects_after

SETTINGS = {"proposals": 40, "min_rows": 10}


def search(small, evaluations, seed, score=None, **given):
    controller = SearchController(small.signals, SearchConfig(evaluations=evaluations, seed=seed, **SETTINGS), **given)
    controller.run(lambda candidate: (score or small.score)(candidate.rows))
    return controller


@pytest.fixture(scope="module")
def before(small):
    return search(small, 12, seed=1)


def trials(before, score=lambda score: score, study=1):
    return [
        EarlierTrial(
            study, t.candidate.recipe, np.sort(t.candidate.rows), t.candidate.subset_hash, score(t.observation.score)
        )
        for t in before.history
    ]


@pytest.fixture(scope="module")
def scored(small):
    """Random recipes as the surrogate sees them, their scores, and weights of rows."""
    inputs = SearchController(small.signals, SearchConfig(**SETTINGS)).predictions.inputs
    found = [materialize(recipe, small.signals, seed=7) for recipe in random_recipes(small.signals, 80, 8)]
    found = list({outcome.subset_hash: outcome for outcome in found}.values())
    points = inputs.points([outcome.recipe for outcome in found], [outcome.rows for outcome in found])
    return points, np.array([small.score(outcome.rows) for outcome in found]), inputs.elsewhere([], np.zeros(0)).weights


def foretold(scored, own, earlier, told):
    """Rank correlation of expected and true scores, from ``own`` scores and ``earlier`` ones that are ``told`` otherwise; mean
    over 8 draws."""
    points, scores, weights = scored
    ranker, found = GaussianProcess(SearchConfig(surrogate={"prior": False})), []
    for draw in range(8):
        rng = np.random.default_rng(draw)
        mine, theirs, rest = np.split(rng.permutation(len(points)), [own, own + earlier])
        known = [points[place] for place in mine] + [replace(points[place], study=1) for place in theirs]
        said = np.concatenate([scores[mine], told(scores[theirs], rng)])
        moved = aligned(said, [point.series for point in known], [str(place) for place in (*mine, *theirs)])
        expected = ranker.predict(Known(known, moved, weights), [points[place] for place in rest], 0.0, 0)
        found.append(spearmanr([p.mu for p in expected[len(known) :]], scores[rest]).statistic)
    return float(np.mean(found))


@pytest.mark.parametrize("factor", [1.0, 100.0, 0.01])
def test_scores_of_the_same_pool_tell_a_search_which_recipes_are_good(scored, factor):
    """Of another measure with the same ranking as well: what a step of it is worth is not taken over."""
    after = foretold(scored, 3, 15, lambda scores, rng: 50.0 + factor * scores)
    assert after > foretold(scored, 3, 0, lambda scores, rng: scores) + 0.15


@pytest.mark.parametrize(
    "told", [lambda scores, rng: -scores, lambda scores, rng: rng.permutation(scores)], ids=["contrary", "luck"]
)
def test_scores_that_say_the_contrary_or_nothing_switch_themselves_off(scored, told):
    for own in (6, 12):
        after, alone = foretold(scored, own, 15, told), foretold(scored, own, 0, told)
        assert after > alone - 0.1


def test_a_search_begins_at_the_level_of_an_earlier_winner(small, before):
    after = search(small, 4, seed=7, earlier=trials(before), initial=[before.best.candidate.recipe])
    assert after.history[0].score == pytest.approx(before.best.score, abs=0.05)
    assert after.predictions.leave_one_out() is None, "four scores of its own, whatever others found"


def test_probes_do_not_look_where_earlier_studies_point(small, before):
    alone, after = search(small, 3, seed=7), search(small, 3, seed=7, earlier=trials(before))
    assert [c.subset_hash for c in after.candidates] == [c.subset_hash for c in alone.candidates]


def test_earlier_subsets_may_be_evaluated_again_and_leave_no_trace_in_the_history(small, before):
    after = search(small, 2, seed=7, earlier=trials(before), initial=[before.best.candidate.recipe])
    assert after.history[0].candidate.recipe == before.best.candidate.recipe
    assert len(after.history) == 2 and after.spent == 2.0


def test_it_can_be_replayed(small, before):
    earlier = [*trials(before), *trials(before, lambda score: 2 * score, study=2)]
    first = search(small, 4, seed=3, earlier=earlier)
    again = SearchController(small.signals, first.config, earlier=earlier)
    again.replay(Observation(t.id, t.score) for t in first.history)
    assert json.dumps([c.to_dict() for c in again.candidates]) == json.dumps([c.to_dict() for c in first.candidates])


PRIOR = LinearPrior(
    learnt_from=("others",),
    effects=(
        Effect(feature="log_kept/source/*", mean=0.2, deviation=0.3),
        Effect(feature="mean/*", mean=0.0, deviation=0.4),
    ),
)


def test_the_next_pools_effects_follow_from_the_earlier_ones_as_two_jointly_normal_numbers():
    found = updated(PRIOR, ["mean/ifd"], np.array([0.8]), np.array([0.1]), "study")
    effect = found.effect("mean/ifd")
    assert effect.mean == pytest.approx(KINSHIP * 0.8)
    rng = np.random.default_rng(0)
    earlier = rng.normal(0.8, 0.1, 200_000)
    following = KINSHIP * earlier + rng.normal(0, np.sqrt(1 - KINSHIP**2) * 0.4, 200_000)
    assert effect.deviation == pytest.approx(following.std(), rel=0.01)
    assert found.learnt_from == ("others", "study")
    assert found.effect("mean/reward") == PRIOR.effects[1], "what it did not show stays"


def test_a_pool_that_shows_nothing_changes_nothing():
    found = updated(PRIOR, ["mean/ifd"], np.array([0.0]), np.array([0.4]), "study")
    assert (found.effect("mean/ifd").mean, found.effect("mean/ifd").deviation) == (0.0, 0.4)


def test_sources_with_other_names_get_the_mean_over_those_of_the_earlier_pool():
    names = ["log_kept/source/a", "log_kept/source/b"]
    found = updated(PRIOR, names, np.array([1.0, 0.6]), np.array([0.1, 0.1]), "study")
    assert found.effect("log_kept/source/new").mean == pytest.approx(0.2 + KINSHIP * (0.8 - 0.2))
    assert found.effect("log_kept/source/a").mean == pytest.approx(0.2 + KINSHIP * (1.0 - 0.2))


def test_an_earlier_study_of_another_pool_shifts_effects_the_right_way(small):
    """Scores that rise with the mean of a score, and then scores that fall with it."""
    usual = read_prior(True)
    seen = {}
    for sign in (1.0, -1.0):
        column = np.nan_to_num(np.asarray(small.signals.columns["ifd"], float), nan=0.0)
        ranks = column.argsort().argsort() / len(column)
        made = search(small, 15, seed=4, score=lambda rows, sign=sign, ranks=ranks: sign * float(ranks[rows].mean()))
        learnt = effects_after(usual, small.signals, made.config, trials(made), "study")
        seen[sign] = learnt.effect("mean/ifd").mean
        assert learnt.effect("mean/ifd").deviation < usual.effect("mean/ifd").deviation
        ranker = GaussianProcess(SearchConfig(), learnt)
        assert ranker.priors == (learnt, usual), "the usual ones stay beside them"
    middle = usual.effect("mean/ifd").mean
    assert seen[1.0] > middle > seen[-1.0]
