"""Evaluations with another model, or on fewer items: what they cost, what is promoted, and that they never win."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from autoselection.errors import ConfigError
from autoselection.search import Observation, SearchConfig, SearchController
from autoselection.search.config import FidelityConfig
from autoselection.search.levels import FULL, Level, level_of, lower_levels, model_names
from autoselection.search.ranker import BaseRanker, Known, Point
from autoselection.search.roles import Choice, RoleReply, Roles
from autoselection.search.series import FIRST, OF_MODEL, Relations, aligned
from autoselection.search.surrogate import GaussianProcess, KernelParts, Transform, _fitted

SMALL = {"models": [{"path": "models/small", "cost": 0.2}]}


def search(small, fidelity, told=lambda score, rows: 0.7 * score - 3.0, evaluations=6, **settings):
    """A whole search; other models score lower, and rank as ``told`` says."""
    settings = {"seed": 2, "proposals": 16, "min_rows": 10, **settings}
    controller = SearchController(small.signals, SearchConfig(evaluations=evaluations, fidelity=fidelity, **settings))
    while candidates := controller.ask():
        for candidate in candidates:
            score = small.score(candidate.rows)
            full = candidate.fidelity == 1.0
            controller.tell(Observation(candidate.id, score if full else told(score, candidate.rows)))
    return controller


@pytest.fixture(scope="module")
def done(small):
    return search(small, SMALL)


def test_levels_have_the_costs_that_are_given_and_names_of_their_own():
    config = FidelityConfig.model_validate(
        {"level": 0.1, "models": [{"path": "a/base", "cost": 0.5}, {"path": "b/base", "cost": 0.05, "items": 0.5}]}
    )
    assert model_names(config) == ["base-1", "base-2"]
    assert lower_levels(config) == (
        Level(0.05, 1.0, 0.5, "base-2", 1),
        Level(0.1, 0.1),
        Level(0.5, 1.0, 1.0, "base-1", 0),
    )
    assert [level_of(config, level.model, level.cost) for level in lower_levels(config)] == list(lower_levels(config))
    assert level_of(config, "", 1.0) == FULL
    assert lower_levels(FidelityConfig.model_validate({})) == ()
    assert lower_levels(FidelityConfig.model_validate({"items": 0.5})) == (Level(0.75, 1.0, 0.5),)
    assert lower_levels(FidelityConfig.model_validate({"items": 0.1, "level": 0.2, "cost": 0.4})) == (
        Level(0.4, 0.2, 0.1),
    )
    assert Level(0.05, 0.5, 0.25, "small", 0).describe() == "model small, 50% of a training, 25% of the items"


def test_a_model_of_unknown_cost_is_refused_in_a_search_without_a_study(small):
    with pytest.raises(ConfigError, match=r"search\.fidelity\.models\[0\]\.cost: what an evaluation with m costs"):
        search(small, {"models": [{"path": "m"}]})


@pytest.mark.parametrize(
    ("fidelity", "why"),
    [
        ({"models": [{"path": "m", "cost": 0}]}, "greater than 0"),
        ({"models": [{"path": "m", "cost": 1}]}, "less than 1"),
        ({"models": [{"path": "", "cost": 0.5}]}, "at least 1 character"),
        ({"items": 1.0}, "less than 1"),
        ({"cost": 0.5}, "give 'level' or 'items', too"),
        ({"models": [{"path": "m", "cost": 0.5}] * 4}, "at most 3"),
    ],
)
def test_impossible_levels_are_refused(fidelity, why):
    with pytest.raises(ValueError, match=why):
        FidelityConfig.model_validate(fidelity)


def test_what_goes_below_keeps_to_its_share_and_can_be_followed_by_a_full_evaluation(done):
    assert 5.0 < done.spent <= 6.0 + 1e-9
    below = [c for c in done.candidates if c.fidelity < 1.0]
    assert {(c.model, c.fidelity) for c in below} == {("small", 0.2)}
    assert 0 < 0.2 * len(below) <= 0.3 * 6 + 1e-9
    assert done.candidates[-1].fidelity == 1.0


def test_another_model_never_wins(small):
    found = search(small, SMALL, told=lambda score, rows: score + 50.0)
    assert found.best is not None and found.best.full and not found.best.candidate.model and found.best.score < 10
    promoted = [c for c in found.candidates if c.origin == "promotion"]
    by_id = {c.id: c for c in found.candidates}
    assert promoted and all(by_id[c.of].model == "small" and not c.model and c.fidelity == 1.0 for c in promoted)
    assert all(by_id[c.of].subset_hash == c.subset_hash for c in promoted)


def test_it_is_decided_again_as_it_was(done, small):
    again = SearchController(small.signals, done.config)
    again.replay(trial.observation for trial in done.history)
    assert json.dumps([c.to_dict() for c in again.candidates]) == json.dumps([c.to_dict() for c in done.candidates])
    stored = json.loads(json.dumps(done.candidates[0].to_dict()))
    assert (
        stored["model"] == "small"
        and type(done.candidates[0]).from_dict(stored, done.candidates[0].rows).model == "small"
    )


def test_full_evaluations_write_no_model(done):
    assert all(("model" in c.to_dict()) == (c.fidelity < 1.0) for c in done.candidates)


def points(count, model="", seed=0):
    rng = np.random.default_rng(seed)
    fidelity = 0.2 if model else 1.0
    rows = [np.sort(rng.choice(200, 60, replace=False)) for _ in range(count)]
    states = rng.normal(size=(count, 2))
    return [Point(r, s, np.zeros(0), fidelity, model=model) for r, s in zip(rows, states, strict=True)]


def ranker(**changes):
    return GaussianProcess(SearchConfig.model_validate({"surrogate": {"prior": False, "features": "state", **changes}}))


def level_correlations(parts: KernelParts, scores: np.ndarray) -> dict:
    """How far each series of the points is believed to go with the first one: its correlation, averaged over the grid."""
    everything = np.arange(parts.n_train)
    y = Transform.of(scores, parts.config.robust).forward(scores)
    model = parts.model(everything, everything[:0])
    fitted = _fitted(model, y - y.mean())
    relations = parts.relations.correlations
    shares = fitted.share.reshape(len(parts.lines), len(relations), -1).sum(axis=(0, 2))
    names = sorted({point.series for point in parts.points} | {FIRST})
    return {name: float(shares @ relations[:, place]) for place, name in enumerate(names)}


def told_both(agree, count=24):
    """Recipes with scores of both models: the target's, and the small one's that agree with it or do not."""
    full, lower = points(count), points(count, "small")
    truth = np.array([point.state[0] for point in full])
    other = truth if agree else np.random.default_rng(9).normal(size=count)
    rest = points(6, "small", seed=5)
    theirs = [point.state[0] if agree else 0.3 * number for number, point in enumerate(rest)]
    return Known([*full, *lower, *rest], np.r_[truth, other, theirs], np.ones(200))


def test_the_correlation_is_learnt_from_what_both_have():
    found = {}
    for agree in (True, False):
        known = told_both(agree)
        parts = ranker()._parts(known)
        found[agree] = level_correlations(parts, known.scores)[(0, "small", 0.8)]
    assert found[True] > 0.85
    assert found[False] < 0.4 < np.mean(OF_MODEL)


def test_the_grid_stays_as_it_is_with_more_than_two_models():
    """Of three models the first has a correlation of its own, the others share one; factors are everybody's."""
    made = {count: Relations.of([(0, "", 0.0), *((0, name, 0.8) for name in "abcde"[:count])]) for count in (1, 2, 5)}
    assert [len(each.correlations) for each in made.values()] == [6, 18, 18]
    shared = made[5].correlations
    assert (shared[:, 2:] == shared[:, 2:3]).all() and (shared[:, :3] == made[2].correlations).all()
    earlier = Relations.of([(0, "", 0.0), (0, "b", 0.8), (1, "a", 0.0), (2, "c", 0.0)])
    assert len(earlier.correlations) == 18, "of earlier studies, too"


def test_a_level_reaches_as_far_as_its_scores_went_with_full_ones():
    """A level that said nothing of full scores is expected to say nothing of the next one."""
    for one, least in ((ranker(), 2.0), (Plain(), 1.2)):
        reached = {}
        for agree in (True, False):
            asked = points(4, seed=77)
            below = [Point(p.rows, p.state, p.encoding, 0.2, model="small") for p in asked]
            reached[agree] = one.reach(told_both(agree), asked, below, 0)
        assert ((reached[True] >= 0) & (reached[True] <= 1)).all()
        assert reached[True].mean() > least * reached[False].mean(), type(one).__name__


def test_a_level_reaches_less_far_the_less_its_scores_average_over():
    """Of a correlation c / sqrt((v + n s²) w) the inverse square is a line in the noise n."""
    known, asked = told_both(True), points(4, seed=77)
    below = [Point(p.rows, p.state, p.encoding, 0.2, model="small") for p in asked]
    one, ten, far = (ranker().reach(known, asked, below, 0, noise=noise) for noise in (1.0, 10.0, 19.0))
    assert (far**-2.0 + one**-2.0) / 2 == pytest.approx(ten**-2.0) and (far < ten).all() and (ten < one).all()
    plain = [Plain().reach(known, asked, below, 0, noise=noise).mean() for noise in (1.0, 1000.0)]
    assert plain[1] < 0.95 * plain[0]


def test_the_share_of_the_items_tells_how_far_a_level_reaches(small):
    """At a tenth of the items a score has ten times the noise of a full one, whatever it costs."""
    controller = search(small, {"items": 0.1, "cost": 0.5, "warmup": 2})
    predictions = controller.predictions
    told = [trial.candidate for trial in controller.history]
    asked = [replace(predictions.inputs.known(candidate), fidelity=1.0) for candidate in told[:3]]
    (level,) = lower_levels(controller.config.fidelity)
    reached = predictions.reach(asked, level, 9), predictions.reach(asked, replace(level, items=1.0), 9)
    assert reached[0].mean() < 0.95 * reached[1].mean()


class Plain(BaseRanker):
    """Predicts as ours does, and leaves the rest to the defaults."""

    def predict(self, known, points, kappa, seed):
        return ranker().predict(known, points, kappa, seed)


class Told(GaussianProcess):
    """Ours, told how far the small model's scores go with full ones."""

    reached = 0.0

    def reach(self, known, full, lower, seed, noise=1.0):
        return np.full(len(full), self.reached)


@pytest.mark.parametrize("reached", [0.1, 0.9])
def test_a_model_that_says_nothing_is_left_alone(small, reached):
    """At a fifth of the cost a correlation of 0.1 is not worth it, of 0.9 it is; what is learnt of it is tested above."""
    config = SearchConfig(evaluations=7, fidelity=SMALL, seed=2, proposals=16, min_rows=10)
    own = Told(config)
    own.reached = reached
    controller = SearchController(small.signals, config, ranker=own)
    controller.run(lambda c: small.score(c.rows) - (0.0 if c.fidelity == 1.0 else 3.0))
    later = [candidate for candidate in controller.candidates if candidate.origin != "warmup"]
    below = sum(candidate.fidelity < 1.0 for candidate in later)
    assert len(later) > below and (below > 0) == (reached == 0.9)


class Noted(GaussianProcess):
    """Ours, which notes what it is asked about."""

    asked: tuple[Point, ...] = ()

    def predict(self, known, points, kappa, seed):
        self.asked = tuple(points)
        return super().predict(known, points, kappa, seed)


def test_usual_gains_are_those_of_full_scores_while_only_the_small_model_has_any(small):
    config = SearchConfig(evaluations=6, fidelity=SMALL, seed=2, proposals=16, min_rows=10)
    own = Noted(config)
    controller = SearchController(small.signals, config, ranker=own)
    for _ in range(2):
        (candidate,) = controller.ask()
        assert candidate.model == "small"
        controller.tell(Observation(candidate.id, small.score(candidate.rows)))
    assert controller.predictions.effects(3)
    assert {point.series for point in own.asked} == {FIRST}


def test_another_models_scores_are_brought_to_the_targets_scale():
    """Losses in other units, such as those of another tokenizer, move by what the spreads say: a hundredfold becomes less than
    twofold."""
    first, other = (0, "", 0.0), (0, "small", 0.8)
    moved = aligned(np.array([1.0, 2.0, 3.0, 100.0, 200.0, 300.0]), [first] * 3 + [other] * 3, [*"abc", *"abc"])
    assert (
        moved[4] == pytest.approx(2.0)
        and 1.0 <= moved[5] - moved[4] <= 2.0
        and moved[4] - moved[3] == moved[5] - moved[4]
    )


def test_a_language_models_choice_is_evaluated_at_the_level_worth_most(small):
    """It takes the last of what it is shown; a decision that names its choice evaluates that."""
    shown = {}

    def rank(briefing, options):
        shown[briefing.number] = options[-1].recipe
        return RoleReply((Choice(len(options) - 1, "the last"),))

    config = SearchConfig(evaluations=7, fidelity=SMALL, seed=2, proposals=16, min_rows=10)
    controller = SearchController(small.signals, config, roles=Roles(rank=rank))
    controller.run(lambda c: small.score(c.rows) - (0.0 if c.fidelity == 1.0 else 3.0))
    reasons = {d.candidate: d.reason for found in controller.rounds for d in found.decisions}
    advised = [c for c in controller.candidates if c.number in shown]
    chosen = [c for c in advised if c.origin != "promotion"]
    assert chosen
    for candidate in advised:
        own = candidate.origin != "promotion"
        assert reasons[candidate.id].startswith("the language model's choice (number ") == own
        assert (candidate.recipe == shown[candidate.number]) == own


@pytest.mark.parametrize(
    ("evaluations", "cost", "warmup", "least", "probes", "halves"),
    [
        (30, 0.5, 9, 3, 6, False),  # a third of the share pays for six
        (30, 0.5, 6, 3, 6, True),
        (8, 0.5, 3, 3, 3, False),  # for one: as many as search.warmup, and no halves
    ],
)
def test_a_third_of_the_share_pays_for_the_first_probes(small, evaluations, cost, warmup, least, probes, halves):
    fidelity = {"items": 0.5, "cost": cost, "warmup": warmup}
    config = SearchConfig(evaluations=evaluations, warmup=least, fidelity=fidelity, min_rows=10, proposals=12)
    controller = SearchController(small.signals, config)
    for _ in range(probes + 3):
        (candidate,) = controller.ask()
        controller.tell(Observation(candidate.id, small.score(candidate.rows)))
    first = [candidate for candidate in controller.candidates if candidate.origin == "warmup"]
    assert len(first) == probes and {candidate.edit.startswith("half of a score") for candidate in first} == {halves}


def test_fewer_items_are_a_level_of_their_own(small):
    found = search(small, {"items": 0.2, "cost": 0.5, "warmup": 2})
    below = [c for c in found.candidates if c.fidelity < 1.0]
    assert below and {(c.model, c.fidelity) for c in below} == {("", 0.5)}
    assert found.best is not None and found.best.full
