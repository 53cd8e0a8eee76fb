"""Draws and edits against what the settings promise: counted over many draws, and worked out by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from synthetic_pool import make_pool

from autoselection.operators import default_registry
from autoselection.recipes import Recipe, Step, materialize, state_vector
from autoselection.search import Observation, SearchConfig, edits, reseed, warmup
from autoselection.search.baselines import random_recipes, random_subset
from autoselection.search.config import DrawConfig, EditConfig, ZoneConfig
from autoselection.search.credit import Credit, Share
from autoselection.search.edits import Editor, UnionSource
from autoselection.search.records import Candidate, EvaluatedCandidate
from autoselection.search.reseed import draw_reseed
from autoselection.search.space import RecipeSpace
from autoselection.search.warmup import draw_probe

SIGNALS = make_pool(0, n=300).signals
REGISTRY = default_registry()
UNCAPPED = (1.0, 1.0)


def space(**config) -> RecipeSpace:
    return RecipeSpace(SIGNALS, REGISTRY, SearchConfig(**config))


def trial(number: int, score: float | None, *steps: Step) -> EvaluatedCandidate:
    made = materialize(Recipe(steps), SIGNALS)
    candidate = Candidate(
        f"t{number:03d}",
        number,
        made.recipe,
        made.rows,
        made.subset_hash,
        made.ordered_hash,
        made.lineage,
        state_vector(made.rows, SIGNALS),
        "warmup",
        None,
        "",
        0,
    )
    return EvaluatedCandidate(candidate, Observation(candidate.id, score))


def fractions(recipes, operator="ifd_filter"):
    return np.array(
        [step.params["fraction"] for recipe in recipes for step in recipe.steps if step.operator == operator]
    )


def reseeds(trials, credit=None, caps=UNCAPPED, count=300, step=1e-6, max_steps=5, **settings):
    """New trajectories, without caps and with hardly a step, so that parameters tell where they come from."""
    here = space(**settings)
    credit = Credit() if credit is None else credit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reseed, "CAPS", caps)
        patch.setattr(reseed, "SMALL_STEP", step)
        return [draw_reseed(here, trials, credit, max_steps, np.random.default_rng(seed))[0] for seed in range(count)]


IFD = {"operators": ("ifd_filter", "ngram_entropy", "varentropy_filter", "semantic_dedup")}


def test_a_new_trajectory_takes_parameters_from_the_better_half_the_best_most_often():
    scored = [(0.1, 0.10), (0.9, 0.80), (0.2, 0.20), (0.5, 0.60)]
    trials = [trial(n, score, Step("ifd_filter", {"fraction": kept})) for n, (score, kept) in enumerate(scored, 1)]
    trials.append(trial(5, None, Step("ifd_filter", {"fraction": 0.95})))
    found = Counter(np.round(fractions(reseeds(trials, **IFD)), 2).tolist())
    assert set(found) == {0.8, 0.6}, "neither the worse half nor a failure"
    assert found[0.8] / sum(found.values()) == pytest.approx(2 / 3, abs=0.1), "weights 1 and 1/2"
    equal = [trial(n, 0.5, Step("ifd_filter", {"fraction": kept})) for n, kept in ((1, 0.3), (2, 0.5))]
    equal += [trial(n, 0.1, Step("ifd_filter", {"fraction": 0.9})) for n in (3, 4)]
    found = Counter(np.round(fractions(reseeds(equal, **IFD)), 2).tolist())
    assert found[0.5] / sum(found.values()) == pytest.approx(2 / 3, abs=0.1), "of equals the later is the better one"


def test_a_new_trajectory_starts_from_a_credited_pair_and_shuns_what_lost():
    pair = ("ifd_filter", "ngram_entropy")
    credit = Credit(
        {"ifd_filter": Share(0.0, 1), "semantic_dedup": Share(1.0, 2), "varentropy_filter": Share(-1.0, 2)},
        {pair: Share(0.5, 1), ("semantic_dedup", "varentropy_filter"): Share(-2.0, 1)},
    )
    made = [{step.operator for step in recipe.steps} for recipe in reseeds([], credit, **IFD)]
    assert all(set(pair) <= names for names in made), "at least two operators: the only credited pair"
    third = Counter(name for names in made if len(names) == 3 for name in names - set(pair))
    # Chances 0.1 + 1 and 0.1 + 0: 11 to 1.
    assert third["semantic_dedup"] / sum(third.values()) == pytest.approx(11 / 12, abs=0.06)
    alone = [recipe for recipe in reseeds([], Credit(credit.operators), **IFD) if len(recipe.steps) == 2]
    assert len({frozenset(step.operator for step in recipe.steps) for recipe in alone}) > 3, (
        "without a pair, by operators"
    )


def test_a_new_trajectory_begins_with_a_cap_within_its_range():
    made = reseeds([], caps=reseed.CAPS, count=120)
    assert {recipe.steps[0].operator for recipe in made} == {"truncate_samples"}
    caps = fractions(made, "truncate_samples")
    assert 0.1 <= caps.min() < 0.14 and 0.96 < caps.max() <= 1.0
    assert len(fractions(reseeds([], count=80), "truncate_samples")) == 0


def edited(parent: Recipe, config: EditConfig, count=300, sources=(), credit=None, max_steps=5, **settings):
    editor = Editor(space(**settings), config, max_steps, sources, credit or Credit())
    rng = np.random.default_rng(0)
    return [made for made in (editor.edit(parent.steps, rng) for _ in range(count)) if made is not None]


PARENT = Recipe((Step("ifd_filter", {"fraction": 0.37}), Step("truncate_samples", {"fraction": 0.81}))).canonical()


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)])
def test_a_second_edit_is_as_likely_as_set(chance, share):
    made = edited(PARENT, EditConfig(weights={"reparametrise": 1.0}, second_edit=chance))
    assert np.mean(["; then" in said for _, said in made]) == pytest.approx(share, abs=0.07)


def test_a_redundant_family_is_as_unlikely_as_set(monkeypatch):
    families = {name: REGISTRY.get(name).family for name in space().plain}
    own = {families[step.operator] for step in PARENT.steps}

    def share(factor):
        monkeypatch.setattr(edits, "REDUNDANT_FAMILY", factor)
        config = EditConfig(weights={"add": 1.0}, second_edit=0.0)
        added = [next(s.operator for s in steps if s not in PARENT.steps) for steps, _ in edited(PARENT, config)]
        return np.mean([families[name] in own for name in added])

    free = [name for name in space().plain if name not in {"ifd_filter", "truncate_samples"}]
    redundant = sum(families[name] in own for name in free)
    if redundant:
        assert share(1.0) == pytest.approx(redundant / len(free), abs=0.09)
    assert share(0.0) == 0.0


def test_what_earned_credit_is_added_more_often(monkeypatch):
    credit = Credit({"ngram_entropy": Share(0.4, 2), "varentropy_filter": Share(-0.2, 1)})
    monkeypatch.setattr(edits, "REDUNDANT_FAMILY", 1.0)
    config = EditConfig(weights={"add": 1.0}, second_edit=0.0, credit=1.0)
    counts = Counter(step.operator for steps, _ in edited(PARENT, config, 900, credit=credit) for step in steps)
    # exp(1) and exp(-1): seven to one.
    assert counts["ngram_entropy"] / counts["varentropy_filter"] == pytest.approx(np.exp(2.0), rel=0.45)


@pytest.mark.parametrize("kind", ["union", "cross"])
def test_sources_are_drawn_by_their_weight(kind):
    recipes = [Recipe((Step("ngram_entropy", {"fraction": kept}),)).canonical() for kept in (0.2, 0.4, 0.6)]
    weights = (3.0, 1.0, 0.0)
    sources = [UnionSource(r, r.hash, f"t{i}", w) for i, (r, w) in enumerate(zip(recipes, weights, strict=True))]
    made = edited(PARENT, EditConfig(weights={kind: 1.0}, second_edit=0.0), sources=sources)
    counts = Counter(next(name for name in ("t0", "t1", "t2") if name in said) for _, said in made)
    assert counts["t2"] == 0 and counts["t0"] / len(made) == pytest.approx(0.75, abs=0.08)


def test_steps_of_parameters_are_as_large_as_set(monkeypatch):
    parent = Recipe((Step("truncate_samples", {"fraction": 0.505}),)).canonical()
    monkeypatch.setattr(edits, "SMALL_STEP", 0.02)  # far from the ends of the range, where a step is cut
    monkeypatch.setattr(edits, "LARGE_STEP", 0.2)
    made = edited(parent, EditConfig(weights={"reparametrise": 1.0}, second_edit=0.0), 400)
    small = [steps[0].params["fraction"] - 0.505 for steps, said in made if "small step" in said]
    large = [steps[0].params["fraction"] - 0.505 for steps, said in made if "large step" in said]
    assert np.std(small) == pytest.approx(0.02 * 0.99, rel=0.2) and np.std(large) == pytest.approx(0.2 * 0.99, rel=0.2)
    assert len(small) / len(made) == pytest.approx(0.5, abs=0.1)


def test_a_swapped_step_keeps_the_share_of_the_old_one_and_its_place():
    made = edited(PARENT, EditConfig(weights={"swap": 1.0}, second_edit=0.0))
    kept = 0
    for steps, _ in made:
        for new, old in zip(steps, PARENT.steps, strict=True):
            if new.operator != old.operator and "fraction" in new.params:
                assert new.params["fraction"] == old.params["fraction"]
                kept += 1
    assert kept > 100


def test_a_full_recipe_gets_nothing_added():
    for kind in ("add", "union"):
        source = UnionSource(PARENT, PARENT.hash, "t009", 1.0)
        config = EditConfig(weights={kind: 1.0}, second_edit=0.0)
        assert edited(PARENT, config, 20, [source], max_steps=2) == []
        assert {len(steps) for steps, _ in edited(PARENT, config, 20, [source], max_steps=3)} == {3}


def test_a_cross_uses_each_operator_once():
    other = Recipe((Step("ifd_filter", {"fraction": 0.9}), Step("ngram_entropy"))).canonical()
    made = edited(PARENT, EditConfig(weights={"cross": 1.0}), sources=[UnionSource(other, other.hash, "t002", 1.0)])
    for steps, _ in made:
        assert len({step.operator for step in steps}) == len(steps)


def test_a_moved_step_keeps_direction_and_scope():
    here, rng = space(), np.random.default_rng(0)
    for direction in ("low", "high"):
        step = here.clamp(Step("ifd_filter", {"fraction": 0.5, "direction": direction, "scope": "source"}))
        for _ in range(40):
            moved = here.perturb(step, rng, 0.3)
            assert (moved.params["direction"], moved.params["scope"]) == (direction, "source")


def test_directions_and_scopes_are_as_likely_as_set():
    here = space(
        draws=DrawConfig(low_direction=0.3, low_direction_of={"mona_filter": 0.0}, source_scope=0.2, task_scope=0.1)
    )
    rng = np.random.default_rng(0)
    drawn = [here.draw("ifd_filter", rng).params for _ in range(1500)]
    assert np.mean([params["direction"] == "low" for params in drawn]) == pytest.approx(0.3, abs=0.04)
    scopes = Counter(params["scope"] for params in drawn)
    assert [scopes[name] / 1500 for name in ("source", "task", "whole")] == pytest.approx([0.2, 0.1, 0.7], abs=0.04)
    assert scopes["cluster"] == 0
    turned = here.flips(here.clamp(Step("mona_filter", {"direction": "high", "scope": "whole"})))
    assert turned == ({"scope": "source"}, {"scope": "task"}), "never low, never a cluster"


def test_operators_are_left_out_as_set():
    everything = set(space().names)
    assert set(space(without=("ifd_filter",)).names) == everything - {"ifd_filter"}
    published = {name for name in everything if REGISTRY.get(name).published}
    assert set(space(published_operators=True).names) == published < everything
    assert set(space(also=("length_filter",)).names) == everything | {"length_filter"}
    assert set(space(operators=("ifd_filter", "union")).names) == {"ifd_filter", "union"}


@pytest.mark.parametrize("jitter", [0.0, 0.08])
def test_every_step_of_a_probe_keeps_the_root_of_the_target_up_to_the_jitter(jitter, monkeypatch):
    monkeypatch.setattr(warmup, "JITTER", jitter)
    zone = ZoneConfig(name="z", low=0.25, high=0.25)
    off = []
    for seed in range(60):
        recipe, target = draw_probe(space(), zone, 5, np.random.default_rng(seed))
        kept = np.array([step.params["fraction"] for step in recipe.steps])
        assert target == 0.25
        off += (kept / 0.25 ** (1 / len(kept))).tolist()
    if jitter:
        assert 0.92 <= min(off) < 0.93 and 1.07 < max(off) <= 1.08
    else:
        assert off == pytest.approx([1.0] * len(off), abs=1e-5)


def test_random_baselines_take_every_zone_and_follow_their_seed():
    config = SearchConfig(min_rows=10)
    made = random_recipes(SIGNALS, 9, 0, config=config)
    kept = [len(materialize(recipe, SIGNALS).rows) / 300 for recipe in made]
    for place, share in enumerate(kept):
        low, high = ((0.60, 0.70), (0.30, 0.50), (0.05, 0.15))[place % 3]
        assert low / 1.5 - 1e-9 <= share <= high * 1.5 + 1e-9
    assert [r.hash for r in made] != [r.hash for r in random_recipes(SIGNALS, 9, 1, config=config)]
    assert random_subset(300, 40, 0).tolist() != random_subset(300, 40, 1).tolist()
    assert len(set(random_subset(300, 40, 0).tolist())) == 40
