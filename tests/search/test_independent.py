"""The search against values worked out another way: textbook formulas, set arithmetic, and scores made for the purpose."""

from __future__ import annotations

import dataclasses
from itertools import product

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_t, norm
from sklearn.gaussian_process.kernels import Matern

from autoselection.operators import default_registry
from autoselection.recipes import Recipe, Step
from autoselection.search import Observation, SearchConfig, SearchController
from autoselection.search.config import FidelityConfig, RepeatConfig, SurrogateConfig
from autoselection.search.credit import shares
from autoselection.search.kernels import KernelParts
from autoselection.search.ranker import Point, Prediction, log_expected_improvement
from autoselection.search.repeats import leader_to_repeat
from autoselection.search.surrogate import GaussianProcess, leave_one_out, noise_deviation, predict

FAST = {"proposals": 12, "min_rows": 10}
WEIGHTS = np.random.default_rng(5).integers(1, 100, 60).astype(float)


def points(count, seed=0, short=0):
    """Random subsets with two features; the first ``short`` were trained shortly."""
    rng = np.random.default_rng(seed)
    made = []
    for place in range(count):
        rows = rng.permutation(60)[: rng.integers(5, 50)]
        made.append(Point(rows, rng.normal(size=2) * [1.0, 3.0], np.zeros(0), 0.2 if place < short else 1.0))
    return made


def textbook(train, test, scores, kappa, robust):
    """Posterior mean, deviation, bound and log improvement: every setting's evidence is a multivariate t density."""
    if robust:
        centre, count = np.median(scores), len(scores)
        upper = np.mean((scores[scores >= centre] - centre) ** 2)
        scale = np.sqrt((count * upper + 8.0 * scores.var()) / (count + 8.0))
        y, back = np.arcsinh((scores - centre) / scale), lambda z: centre + scale * np.sinh(z)
    else:
        centre, scale = scores.mean(), scores.std()
        y, back = (scores - centre) / scale, lambda z: centre + scale * z
    offset, everyone = y.mean(), [*train, *test]
    y = y - offset
    states = np.array([point.state for point in everyone])
    overlap = np.array([[jaccard(a.rows, b.rows, WEIGHTS) for b in everyone] for a in everyone])
    short = np.array([point.fidelity < 1 for point in everyone])
    other = short[:, None] != short
    n, weights, means, variances, noises = len(train), [], [], [], []
    for length in (2.0, 8.0):
        smooth = Matern(length_scale=length * np.sqrt(2.0), nu=2.5)(states)
        for share in (0.3, 0.7):
            for relation, step in product((0.5, 0.9), (0.4, 1.0)) if other.any() else ((1.0, 1.0),):
                steps = np.where(short, step, 1.0)  # what short scores differ by, beside full ones
                kernel = (
                    (share * smooth + (1 - share) * overlap) * np.where(other, relation, 1.0) * np.outer(steps, steps)
                )
                kernel = (
                    kernel + ~other
                )  # a constant of full trainings and one of short ones, with the variance of the rest
                for noise in (1e-3, 1e-2, 5e-2, 0.2):
                    cov = kernel[:n, :n] + np.diag(noise * steps[:n] ** 2 + 1e-10)
                    weights.append(multivariate_t(np.zeros(n), cov * 0.5, df=4).pdf(y))  # scale rate / shape = 1 / 2
                    rest = np.linalg.solve(cov, kernel[:n])
                    amplitude = (1.0 + 0.5 * y @ np.linalg.solve(cov, y)) / (2.0 + 0.5 * n - 1.0)  # its posterior mean
                    means.append(y @ rest)
                    variances.append(
                        amplitude * np.clip(kernel.diagonal() - np.sum(kernel[:n] * rest, axis=0), 1e-12, None)
                    )
                    noises.append(amplitude * noise)
    share = np.array(weights) / np.sum(weights)
    mean = share @ np.array(means)
    spread = np.sum(share[:, None] * (np.array(variances) + (np.array(means) - mean) ** 2), axis=0)
    deviation, mean = np.sqrt(spread), mean + offset
    best = mean[:n][~short[:n]].max()
    gain = [
        quad(lambda x, m=m, s=s: (x - best) * norm.pdf(x, m, s), best, best + 12 * s, epsabs=1e-13)[0]
        for m, s in zip(mean, deviation, strict=True)
    ]
    half = (back(mean + deviation) - back(mean - deviation)) / 2
    noise = np.sqrt(share @ np.array(noises))
    top = mean[:n].max()
    noise = (back(top + noise) - back(top - noise)) / 2
    return back(mean), half, back(mean + kappa * deviation), np.array(gain), noise


def jaccard(a, b, weights):
    a, b = set(map(int, a)), set(map(int, b))
    return sum(weights[i] for i in a & b) / sum(weights[i] for i in a | b)


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("short", [0, 3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_predictions_are_those_of_the_textbook(robust, short, seed):
    made = points(16, seed, short)
    # A score that rises with a feature: the points to predict lie beyond the known ones, some above all of them.
    made.sort(key=lambda point: (point.fidelity == 1.0, point.state[0]))
    train, test = made[:10], made[10:]
    noise = np.random.default_rng(seed).normal(0, 0.05, 10)
    scores = 0.4 * np.array([point.state[0] for point in train]) - 0.3 * (np.arange(10) < short) + noise
    parts = KernelParts(train, test, SurrogateConfig(robust=robust), WEIGHTS)
    found = predict(parts, scores, 1.7)
    mu, sigma, ucb, gain, deviation = textbook(train, test, scores, 1.7, robust)
    assert [p.mu for p in found] == pytest.approx(mu, rel=1e-5, abs=1e-6)
    assert [p.sigma for p in found] == pytest.approx(sigma, rel=1e-5)
    assert [p.ucb for p in found] == pytest.approx(ucb, rel=1e-5, abs=1e-6)
    assert noise_deviation(KernelParts(train, [], parts.config, WEIGHTS), scores) == pytest.approx(deviation, rel=1e-5)
    visible = gain > 1e-9
    assert np.exp([p.log_ei for p in found])[visible] == pytest.approx(gain[visible], rel=1e-4)


def test_the_improvement_of_a_proposal_is_on_the_best_evaluated_recipe_not_on_the_best_proposal():
    """Known scores rise towards a gap and fall behind it: what is expected in the gap lies above all of them."""
    at = [-3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 0.0, 0.3]
    made = [Point(np.arange(1), np.array([0.7 * x]), np.zeros(0)) for x in at]
    scores = np.array([1.0, 6.0, 9.0, 9.1, 6.1, 1.1])
    told = predict(
        KernelParts(made[:6], made[6:], SurrogateConfig(features="state", robust=False), WEIGHTS), scores, 1.0
    )
    best = max(p.mu for p in told[:6])
    assert min(p.mu for p in told[6:]) > best
    for p in told:
        high = p.mu + 12 * p.sigma
        gain = quad(lambda x, p=p: (x - best) * norm.pdf(x, p.mu, p.sigma), best, max(high, best), points=[p.mu])[0]
        if gain > 1e-6:
            assert np.exp(p.log_ei) * scores.std() == pytest.approx(gain, rel=1e-5)


def test_an_improvement_is_on_the_best_evaluated_recipe():
    mean, deviation = np.array([0.0, 0.4, 1.0]), np.array([0.1, 0.2, 0.5])
    for place in range(3):
        expected = quad(lambda x, p=place: (x - 0.4) * norm.pdf(x, mean[p], deviation[p]), 0.4, 9)[0]
        assert np.exp(log_expected_improvement(mean, deviation, 0.4))[place] == pytest.approx(expected, rel=1e-6)


def test_the_share_within_intervals_counts_errors_on_both_sides():
    made = points(12, 3)
    scores = np.array([point.state[0] for point in made])
    scores[int(scores.argmin())] -= 40.0  # one far below what the others foretell
    scores[int(scores.argmax())] += 40.0  # and one above
    found = leave_one_out(KernelParts(made, [], SurrogateConfig(robust=False), WEIGHTS), scores)
    errors = []
    for place in range(12):
        rest = [point for i, point in enumerate(made) if i != place]
        others = np.delete(scores, place)
        mu, _, _, _, noise = textbook(rest, [made[place]], others, 0.0, False)
        sigma = predict(KernelParts(rest, [made[place]], SurrogateConfig(robust=False), WEIGHTS), others, 0.0)[-1].sigma
        errors.append((scores[place] - mu[-1]) / np.hypot(sigma, noise))
    assert min(errors) < -1.2816 and max(errors) > 1.2816
    assert found.within_80 == np.mean(np.abs(errors) <= 1.2815515655)
    assert found.rms_error == pytest.approx(np.sqrt(np.mean(np.square(errors))), rel=1e-5)


# The controller's use of it


def run(small, config, score=None):
    """A whole search; ``score`` of a candidate (default: the hidden truth); every fifth evaluation fails."""
    controller = SearchController(small.signals, config)
    while candidates := controller.ask():
        for candidate in candidates:
            value = small.score(candidate.rows) if score is None else score(candidate)
            controller.tell(Observation(candidate.id, None if candidate.number % 5 == 0 else value))
    return controller


def described(controller, candidates, fidelity=None):
    """What the surrogate should see of candidates: their rows, what they were trained with, and nothing kept from before."""
    bare = controller.predictions.inputs.points([c.recipe for c in candidates], [c.rows for c in candidates])
    return [
        dataclasses.replace(point, fidelity=candidate.fidelity if fidelity is None else fidelity)
        for point, candidate in zip(bare, candidates, strict=True)
    ]


def foretold(controller, train, scores, test, noise=None, told=None):
    """Predictions of ``test`` by a fresh model; ``told``: how many of the scores were told, the others are expected."""
    known = dataclasses.replace(controller.predictions.inputs.elsewhere(train, scores), noise=noise)
    if told is not None:
        known = dataclasses.replace(known, expected=[told <= place < len(train) for place in range(len(known.points))])
    return GaussianProcess(controller.config).predict(known, test, 3.0, 0)[len(train) :]


@pytest.mark.parametrize(
    ("kind", "extra"),
    [
        ("one by one", {"evaluations": 11}),
        ("batches", {"evaluations": 12, "batch": 3, "warmup": 2}),
        ("bound", {"evaluations": 9, "surrogate": {"acquisition": "ucb"}}),
        ("no prior", {"evaluations": 9, "surrogate": {"prior": False}}),
        ("seeds", {"evaluations": 9, "seed": 7}),
    ],
)
def test_what_a_candidate_is_expected_to_score_is_foretold_from_everything_told_and_pending(small, kind, extra):
    """Failures count as the worst score, pending trials of the batch as told with what is expected of them."""
    config = SearchConfig(**FAST, **extra)
    controller = run(small, config)
    all_of = {candidate.id: candidate for candidate in controller.candidates}
    scores = {trial.id: trial.score for trial in controller.history}
    checked = pending_seen = failures_seen = 0
    for record in controller.rounds:
        asked = [all_of[decision.candidate] for decision in record.decisions]
        told = [c for c in controller.candidates if asked and c.number < asked[0].number]
        for place, candidate in enumerate(asked):
            if candidate.origin not in ("edit", "fresh"):
                continue
            known = [scores[c.id] for c in told]
            worst = min(score for score in known if score is not None)
            y = np.array([worst if score is None else score for score in known])
            waiting = asked[:place]
            if waiting:
                before = foretold(controller, described(controller, told), y, described(controller, waiting))
                y = np.append(y, [p.mu for p in before])
            train = described(controller, [*told, *waiting])
            (expected,) = foretold(controller, train, y, described(controller, [candidate]), told=len(told))
            found = candidate.prediction
            for name in ("mu", "sigma", "ucb", "log_ei"):
                assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-6, abs=1e-7), (name, kind)
            checked += 1
            pending_seen += bool(waiting)
            failures_seen += None in known
    assert checked >= 3 and failures_seen and (pending_seen > 1 or kind != "batches")


SHORT = FidelityConfig(level=0.25, warmup=4, share=0.4)


def short_score(small):
    """Short trainings score one lower, and rank alike."""
    return lambda candidate: small.score(candidate.rows) - (candidate.fidelity < 1.0)


@pytest.fixture(scope="module")
def shortly(small):
    config = SearchConfig(evaluations=8, seed=3, fidelity=SHORT, **FAST)
    return run(small, config, short_score(small))


def test_promotions_are_foretold_as_full_trainings_from_short_ones_that_look_short(shortly, small):
    scores = {trial.id: trial.score for trial in shortly.history}
    promoted = [c for c in shortly.candidates if c.origin == "promotion"]
    told = [c for c in shortly.candidates if c.number < promoted[0].number and scores[c.id] is not None]
    assert len(told) == promoted[0].number - 1, "nothing failed before the first"
    assert {c.fidelity for c in told} == {0.25}
    y = np.array([scores[c.id] for c in told])
    noise = 4.0 * np.eye(len(told))  # of a quarter of a training
    found = foretold(shortly, described(shortly, told), y, described(shortly, told, 1.0), noise)
    expected = {c.id: p for c, p in zip(told, found, strict=True)}
    best = max(told, key=lambda c: expected[c.id].log_ei)
    assert promoted[0].of == best.id
    assert promoted[0].prediction.log_ei == pytest.approx(expected[best.id].log_ei, rel=1e-6)
    assert [proposal.prediction.log_ei for proposal in ranked(shortly, promoted[0])] == pytest.approx(
        sorted((p.log_ei for p in expected.values()), reverse=True), rel=1e-6
    )
    assert all(p.sigma > 0.2 * np.std(y) for p in expected.values()), "a short training leaves much open"


def ranked(controller, candidate):
    return next(d for r in controller.rounds for d in r.decisions if d.candidate == candidate.id).ranked


def test_credit_compares_a_child_with_its_parent_in_trainings_of_one_length(shortly):
    by_id = {c.id: c for c in shortly.candidates}
    known = {(t.candidate.subset_hash, t.candidate.fidelity): t.score for t in shortly.history if t.score is not None}
    expected, used = {}, 0
    for trial in shortly.history:
        child, parent = trial.candidate, by_id.get(trial.candidate.parent)
        before = parent and known.get((parent.subset_hash, child.fidelity))
        if before is None or trial.score is None:
            continue
        used += 1
        change = trial.score - before
        assert abs(change) < 0.9, "of one length: the step between lengths is 1"
        for name, value in shares(parent.recipe, child.recipe, change)[0].items():
            expected[name] = expected.get(name, 0.0) + value
    assert used >= 2 and {c.fidelity for c in shortly.candidates if c.parent} == {0.25, 1.0}
    assert {name: share.total for name, share in shortly.credit.operators.items()} == pytest.approx(expected)


def test_a_short_training_is_asked_for_while_they_have_had_less_than_their_share(shortly):
    for before, candidate in zip(accumulate(shortly.candidates), shortly.candidates, strict=True):
        if candidate.number <= 4:
            assert candidate.fidelity == 0.25 and candidate.origin == "warmup"
        elif 8 - before[1] >= 1.25 and any(c.fidelity < 1 and c.id not in before[2] for c in before[3]):
            due = before[0] + 0.25 <= 0.4 * (before[1] + 0.25) + 1e-9
            assert (candidate.fidelity < 1.0) == due, candidate.id


def accumulate(candidates):
    """Before each candidate: what short trainings cost, what all cost, which were promoted, and all."""
    for place in range(len(candidates)):
        done = candidates[:place]
        short = sum(c.fidelity for c in done if c.fidelity < 1.0)
        yield short, sum(c.fidelity for c in done), {c.of for c in done}, done


# What is worth an evaluation


@pytest.mark.parametrize("limit", [0.45, 0.55])
def test_no_candidate_shares_more_tokens_with_another_than_allowed(small, limit):
    """The limit is by tokens: some pairs share more rows than it allows, and some less rows than tokens."""
    tokens = np.where(np.arange(small.signals.n) % 4, 1.0, 60.0)
    columns = {**small.signals.columns, "n_tokens": tokens.astype(np.float32)}
    signals = dataclasses.replace(small.signals, columns=columns)
    above = 0
    for seed in range(8):
        if seed >= 2 and (above or limit > 0.5):
            break
        config = SearchConfig(evaluations=8, seed=seed, max_jaccard=limit, proposals=20, min_rows=10)
        controller = SearchController(signals, config)
        while candidates := controller.ask():
            for candidate in candidates:
                controller.tell(Observation(candidate.id, small.score(candidate.rows)))
        done = controller.candidates
        pairs = [(a, b) for a in done for b in done if a.number < b.number]
        assert max(jaccard(a.rows, b.rows, tokens) for a, b in pairs) <= limit
        above += sum(jaccard(a.rows, b.rows, np.ones(400)) > limit for a, b in pairs)
        dropped = [d.dropped for r in controller.rounds for d in r.decisions]
        assert any(counts.get("nearly the subset of a known trial") for counts in dropped)
        for candidate in done:
            expected = [jaccard(candidate.rows, other.rows, tokens) for other in done]
            assert controller.predictions.inputs.known(candidate).similarity == pytest.approx(expected)
    assert above or limit > 0.5, "by rows these would have been refused"


def test_the_smallest_subset_is_evaluated_and_nothing_below(small):
    """A cap of a fifth of 100 rows is 20 rows exactly."""
    signals = small.signals
    recipe = Recipe((Step("truncate_samples", {"total_samples": 40}),))
    for least, wanted in ((40, None), (41, "below min_rows")):
        controller = SearchController(signals, SearchConfig(min_rows=least))
        draft = controller._drafts.make(recipe, "")
        assert len(draft.outcome.rows) == 40 and controller._drafts.problem(draft) == wanted


# Patience


def origins(small, scores, **extra):
    controller = SearchController(small.signals, SearchConfig(**{**FAST, "reseed": {"enabled": True}, **extra}))
    for score in scores:
        (candidate,) = controller.ask()
        controller.tell(Observation(candidate.id, score))
    return [c.origin for c in controller.candidates]


def test_an_equal_score_is_no_new_best_and_a_reseed_starts_the_count_again(small):
    scores = [0.0, 0.0, 1.0, 1.05, 1.10, 1.15, 1.3, 1.35, 1.4, 1.45, 1.5]
    common = {"reseed": {"patience": 3}, "fresh": 0.0}
    assert "reseed" not in origins(small, scores, evaluations=11, **common)
    equal = [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    expected = ["edit"] * 3 + ["reseed"] + ["edit"] * 3 + ["reseed"]
    assert origins(small, equal, evaluations=11, **common)[3:] == expected


def test_repeats_count_for_patience(small):
    """Every score is noise around one value: leaders are repeated, and four evaluations without a new best, over the means of
    repeats, ask for a reseed."""
    config = SearchConfig(
        evaluations=24,
        seed=2,
        reseed={"patience": 4},
        repeats=RepeatConfig(enabled=True, after=3, most=4),
        surrogate={"prior": False, "acquisition": "ucb"},
        **FAST,
    )
    rng = np.random.default_rng(3)
    controller = SearchController(small.signals, config)
    while candidates := controller.ask():
        for candidate in candidates:
            controller.tell(Observation(candidate.id, 5.0 if candidate.number == 1 else float(rng.normal())))
    made = [c.origin for c in controller.candidates]
    assert made.count("reseed") >= 2 and "repeat" in made[3:]
    told: dict[str, list[float]] = {}
    without = 0
    for trial in controller.history:
        assert (trial.candidate.origin == "reseed") == (without >= 4), made
        best = max(map(np.mean, told.values()), default=-np.inf)
        told.setdefault(trial.candidate.subset_hash, []).append(trial.score)
        better = np.mean(told[trial.candidate.subset_hash]) > best
        without = 0 if better or trial.candidate.origin in ("reseed", "warmup") else without + 1


# Repeats


def test_a_leader_is_compared_with_the_next_best_and_the_others_with_the_leader():
    rng = np.random.default_rng(0)

    def simulated(mu, sigma, rival, noise):
        truth = mu + sigma * rng.normal(size=1_000_000)
        seen = truth + noise * rng.normal(size=truth.size)
        after = mu + (seen - mu) * sigma**2 / (sigma**2 + noise**2)
        return np.maximum(after, rival).mean() - max(mu, rival)

    for known in ([(1.0, 0.5), (0.4, 0.2), (0.1, 0.2)], [(0.4, 0.2), (1.0, 0.3), (0.7, 0.6)]):
        beliefs = [Prediction(mu, sigma, mu, 0.0) for mu, sigma in known]
        top = max(mu for mu, _ in known)
        second = sorted(mu for mu, _ in known)[-2]
        gains = [simulated(mu, sigma, second if mu == top else top, 0.3) for mu, sigma in known]
        place, gain, instead = leader_to_repeat(beliefs, None, 0.3)
        assert place == int(np.argmax(gains)) and instead == 0.0
        assert gain == pytest.approx(max(gains), abs=0.003)
        new = Prediction(top - 1.0, 0.5, 0.0, 0.0)
        assert leader_to_repeat(beliefs, new, 0.3)[2] == pytest.approx(simulated(top - 1.0, 0.5, top, 0.3), abs=0.002)


def test_no_subset_is_trained_more_often_than_allowed_nor_before_it_is_time(small):
    rng = np.random.default_rng(2)
    config = SearchConfig(evaluations=18, seed=2, repeats=RepeatConfig(enabled=True, after=6, most=2), **FAST)
    controller = SearchController(small.signals, config)
    while candidates := controller.ask():
        for candidate in candidates:
            controller.tell(Observation(candidate.id, small.score(candidate.rows) + float(rng.normal())))
    repeats = [c for c in controller.candidates if c.origin == "repeat"]
    assert repeats and min(c.number for c in repeats) > 6
    times = [sum(c.subset_hash == other.subset_hash for other in controller.candidates) for c in repeats]
    assert set(times) == {2}
    for candidate in repeats:
        own = [t.score for t in controller.history if t.candidate.subset_hash == candidate.subset_hash]
        (standing,) = (t for t in controller.standing if t.candidate.subset_hash == candidate.subset_hash)
        assert standing.score == pytest.approx(np.mean(own))


# Seeds


def test_every_trial_and_every_seed_draws_anew(small):
    """The same scores, told to searches of other seeds, lead elsewhere; trials do not repeat each other's draws."""
    subsets, reasons = [], []
    for seed in range(3):
        usual = {**FAST, "reseed": {"enabled": False}, "surrogate": {"prior": False}}  # drawn probes
        config = SearchConfig(evaluations=6, seed=seed, warmup=3, zones=[ZONE], **usual)
        controller = SearchController(small.signals, config, default_registry())
        while candidates := controller.ask():
            for candidate in candidates:
                controller.tell(Observation(candidate.id, float(candidate.number)))
        subsets += [candidate.subset_hash for candidate in controller.candidates]
        probes = [c for c in controller.candidates if c.origin == "warmup"]
        reasons += [controller.rounds[c.number - 1].decisions[0].generated for c in probes]
    assert len(set(subsets)) == 18
    assert set(reasons) == {1}, "a probe is new at its first draw: it does not draw what an earlier one drew"


ZONE = {"name": "only", "low": 0.4, "high": 0.4}


def test_the_seed_of_a_search_is_that_of_its_recipes_random_steps(small):
    recipe = Recipe((Step("truncate_samples", {"fraction": 0.3}),))
    drawn = []
    for seed in range(2):
        controller = SearchController(small.signals, SearchConfig(seed=seed, warmup=0, **FAST), initial=[recipe])
        drawn.append(controller.ask()[0].subset_hash)
    assert drawn[0] != drawn[1]


# Settings that are counted


@pytest.mark.parametrize(("generations", "chained"), [(1, False), (3, True)])
def test_proposals_are_edited_again_in_later_generations_only(small, generations, chained):
    edits = {"second_edit": 0.0}
    config = SearchConfig(evaluations=7, proposals=30, min_rows=10, generations=generations, edits=edits, fresh=0.0)
    controller = run(small, config)
    said = [p.edit for r in controller.rounds for d in r.decisions if d.origin == "edit" for p in d.ranked]
    assert said and any("; then" in edit for edit in said) == chained
    assert max(edit.count("; then") for edit in said) <= generations - 1


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_fresh_recipes_is_as_set(small, share):
    config = SearchConfig(evaluations=8, proposals=8, min_rows=10, fresh=share, reseed={"patience": 9}, max_jaccard=1.0)
    controller = run(small, config)
    ranked = [p.edit for r in controller.rounds for d in r.decisions if d.origin in ("edit", "fresh") for p in d.ranked]
    fresh = np.mean([edit.startswith("fresh") for edit in ranked])
    assert ranked and (fresh == share if share in (0.0, 1.0) else 0.15 < fresh < 0.85)


def test_a_subset_is_never_asked_for_twice_even_where_any_overlap_is_allowed(small):
    """Few subsets are possible: whole sources."""
    config = SearchConfig(
        evaluations=12, operators=("source_filter",), max_jaccard=1.0, min_rows=1, proposals=20, reseed={"patience": 3}
    )
    controller = run(small, config)
    hashes = [candidate.subset_hash for candidate in controller.candidates]
    assert len(set(hashes)) == len(hashes) >= 8
    dropped = [d.dropped for r in controller.rounds for d in r.decisions]
    assert sum(counts.get("same subset as a known trial", 0) for counts in dropped) > 0


def test_findings_compare_recipes_with_an_operator_and_without_it(small):
    controller = run(small, SearchConfig(evaluations=12, **FAST))
    scored = [trial for trial in controller.standing if trial.score is not None]
    seen = 0
    for finding in controller.findings:
        if finding.kind != "operator":
            continue
        name = finding.text.removeprefix("Recipes with ").split(" average")[0]
        has = [trial.id in finding.trials for trial in scored]
        scores = np.array([trial.score for trial in scored])
        assert finding.value == pytest.approx(scores[has].mean() - scores[~np.array(has)].mean())
        operator = name.split(" (")[0]
        assert all(
            any(step.operator == operator for step in trial.candidate.recipe.steps)
            for trial, inside in zip(scored, has, strict=True)
            if inside
        )
        seen += 1
    assert seen


def test_findings_tell_falling_scores_from_rising_ones(small):
    for sign, word in ((1.0, "rises"), (-1.0, "falls")):
        controller = SearchController(small.signals, SearchConfig(evaluations=8, **FAST))
        while candidates := controller.ask():
            for candidate in candidates:
                controller.tell(Observation(candidate.id, sign * candidate.state.retain_ratio))
        (found,) = (f for f in controller.findings if f.kind == "state" and "with retain_ratio" in f.text)
        assert word in found.text and found.value == pytest.approx(sign)


def test_a_recipe_is_never_crossed_with_itself(small):
    config = SearchConfig(evaluations=9, parents=1, generations=1, edits={"weights": {"cross": 1.0}}, **FAST)
    controller = run(small, config)
    crossed = 0
    for record in controller.rounds:
        for decision in record.decisions:
            for proposal in decision.ranked:
                if decision.parent and "crossed with" in proposal.edit:
                    crossed += 1
                    assert f"crossed with {decision.parent}:" not in proposal.edit
    assert crossed
