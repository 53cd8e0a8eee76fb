from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoselection.errors import RecipeError, StudyError
from autoselection.recipes import Recipe, Step, materialize
from autoselection.search import Observation, SearchConfig, SearchController, published_settings
from autoselection.search.config import PUBLISHED_ZONES, EditConfig, ReseedConfig, SurrogateConfig
from autoselection.signals.table import SignalTable

FAST = {"proposals": 12, "min_rows": 10}
LOCAL = {**FAST, "parents": 1, "fresh": 0.0, "generations": 1}
"""Every proposal is one edit of the best recipe, as published."""


def told(controller, small, count=None, fail=()):
    """Ask, score by the hidden truth and tell; up to ``count`` trials."""
    while count is None or len(controller.history) < count:
        candidates = controller.ask()
        if not candidates:
            break
        for candidate in candidates:
            failed = candidate.number in fail
            score = None if failed else small.score(candidate.rows)
            controller.tell(Observation(candidate.id, score, reason="diverged" if failed else None))
    return controller


def documents(controller):
    return json.dumps([[r.to_dict() for r in controller.rounds], [c.to_dict() for c in controller.candidates]])


def test_the_same_configuration_asks_the_same(small):
    config = SearchConfig(evaluations=8, seed=3, **FAST)
    one, two = (told(SearchController(small.signals, config), small) for _ in range(2))
    assert documents(one) == documents(two)
    assert all((a.rows == b.rows).all() for a, b in zip(one.candidates, two.candidates, strict=True))
    other = told(SearchController(small.signals, config.model_copy(update={"seed": 4})), small, 3)
    assert {c.subset_hash for c in other.candidates}.isdisjoint(c.subset_hash for c in one.candidates)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("stop", [1, 4, 6])
def test_a_search_killed_anywhere_and_replayed_goes_on_as_if_it_had_not_been(small, batch, stop):
    config = SearchConfig(evaluations=8, batch=batch, seed=1, reseed={"patience": 2}, **FAST)
    whole = told(SearchController(small.signals, config), small)
    again = SearchController(small.signals, config)
    again.replay(trial.observation for trial in whole.history[:stop])
    end_of_round = min(8, -(-(stop + 1) // batch) * batch)  # the pending rest of a round, or the whole next one
    assert [c.id for c in again.ask()] == [c.id for c in whole.candidates[stop:end_of_round]]
    assert documents(told(again, small)) == documents(whole)


def test_scores_of_a_round_may_be_told_in_any_order(small):
    config = SearchConfig(evaluations=6, batch=3, **FAST)
    whole = told(SearchController(small.signals, config), small)
    turned = SearchController(small.signals, config)
    while candidates := turned.ask():
        for candidate in reversed(candidates):
            turned.tell(Observation(candidate.id, small.score(candidate.rows)))
    assert documents(turned) == documents(whole)


def test_replay_takes_a_whole_history_and_refuses_a_gap(small):
    config = SearchConfig(evaluations=6, **FAST)
    whole = told(SearchController(small.signals, config), small)
    observations = [Observation.from_dict(trial.observation.to_dict()) for trial in whole.history]
    again = SearchController(small.signals, config)
    again.replay(reversed(observations))
    assert documents(again) == documents(whole)
    with pytest.raises(StudyError, match="does not lead to trial t003"):
        SearchController(small.signals, config).replay([observations[0], observations[2]])


def test_pending_candidates_are_asked_again(small):
    controller = SearchController(small.signals, SearchConfig(batch=2, **FAST))
    first = controller.ask()
    assert [c.id for c in first] == ["t001", "t002"]
    assert controller.ask() == first and controller.ask(1) == first[:1]
    controller.tell(Observation("t001", 0.1))
    assert controller.ask() == first[1:]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), batch=st.integers(1, 4))
def test_no_realized_subset_is_asked_twice_and_all_are_large_and_distinct(small, seed, batch):
    config = SearchConfig(evaluations=9, seed=seed, batch=batch, reseed={"patience": 2}, max_jaccard=0.9, **FAST)
    controller = told(SearchController(small.signals, config), small)
    subsets = [frozenset(candidate.rows.tolist()) for candidate in controller.candidates]
    assert len(set(subsets)) == len(subsets) == 9
    tokens = small.signals.column("n_tokens")
    for i, a in enumerate(subsets):
        assert len(a) >= 10
        assert len(controller.candidates[i].recipe.steps) <= 5
        for b in subsets[:i]:
            assert tokens[list(a & b)].sum() / tokens[list(a | b)].sum() <= 0.9 + 1e-6


def test_a_candidate_is_what_its_recipe_selects(small):
    config = SearchConfig(evaluations=8, seed=5, **FAST)
    controller = told(SearchController(small.signals, config), small)
    for candidate in controller.candidates:
        outcome = materialize(Recipe.from_dict(candidate.recipe.to_dict()), small.signals, seed=5)
        assert (outcome.rows == candidate.rows).all()
        assert outcome.ordered_hash == candidate.ordered_hash


def test_the_parent_is_the_best_so_far_and_the_later_of_equals(small):
    controller = SearchController(small.signals, SearchConfig(evaluations=7, reseed={"patience": 9}, **LOCAL))
    for score in (0.5, 0.7, 0.7):
        controller.tell(Observation(controller.ask()[0].id, score))
    (child,) = controller.ask()
    assert (child.origin, child.parent) == ("edit", "t003")
    controller.tell(Observation(child.id, 0.9))
    (grandchild,) = controller.ask()
    assert grandchild.parent == "t004" and grandchild.prediction is not None


def test_warmup_probes_reach_their_zones(small):
    config = SearchConfig(evaluations=6, warmup=6, surrogate={"prior": False}, **FAST)
    for seed in range(4):
        controller = told(SearchController(small.signals, config.model_copy(update={"seed": seed})), small)
        for position, candidate in enumerate(controller.candidates):
            zone = PUBLISHED_ZONES[position % 3]
            kept = len(candidate.rows) / small.signals.n
            assert candidate.origin == "warmup" and candidate.parent is None
            assert zone.low / 1.5 - 1e-9 <= kept <= zone.high * 1.5 + 1e-9


def test_a_probe_whose_zone_is_below_min_rows_takes_another_zone(small):
    config = SearchConfig(evaluations=3, warmup=3, min_rows=150, proposals=12, surrogate={"prior": False})
    controller = told(SearchController(small.signals, config), small)
    decision = controller.rounds[2].decisions[0]
    assert decision.dropped["below min_rows"] > 0
    assert decision.notes["zone"] != "exploratory"
    assert len(controller.candidates[2].rows) >= 150


def test_probes_are_the_ranker_s_choice_of_many_where_it_knows_the_usual_effects(small):
    controller = told(SearchController(small.signals, SearchConfig(evaluations=3, warmup=3, **FAST)), small)
    for number, entry in enumerate(controller.rounds, 1):
        (decision,) = entry.decisions
        chosen, *others = decision.ranked
        assert decision.origin == "warmup" and decision.generated == 12, "as many as search.proposals"
        assert chosen.prediction.log_ei == max(other.prediction.log_ei for other in (chosen, *others))
        assert controller.candidates[number - 1].prediction == chosen.prediction
    one = SearchController(small.signals, SearchConfig(warmup=3, **{**FAST, "proposals": 1})).ask()
    assert one[0].subset_hash != controller.candidates[0].subset_hash, "from more draws another leads"


def test_choices_keep_at_least_half_of_the_smallest_subset_so_far(small):
    """Whatever the scores promise: here the smaller a subset, the better."""
    smallest = {}
    for prior in (True, False):
        config = SearchConfig(
            evaluations=8, proposals=40, min_rows=4, reseed={"enabled": False}, surrogate={"prior": prior}
        )
        controller = SearchController(small.signals, config)
        controller.run(lambda candidate: -float(len(candidate.rows)))
        sizes = [len(candidate.rows) for candidate in controller.candidates]
        smallest[prior] = min(after / min(sizes[: place + 1]) for place, after in enumerate(sizes[1:]))
    assert smallest[True] >= 0.5 > smallest[False]


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_a_reseed_comes_exactly_after_patience_edits_without_a_new_best(small, patience):
    controller = SearchController(small.signals, SearchConfig(evaluations=14, reseed={"patience": patience}, **LOCAL))
    origins = []
    while candidates := controller.ask():
        origins.append(candidates[0].origin)
        controller.tell(Observation(candidates[0].id, 1.0 if len(origins) == 2 else 0.1))
    expected = ["warmup"] * 3
    while len(expected) < 14:
        expected += ["edit"] * patience + ["reseed"]
    assert origins == expected[:14]
    trajectories = [c.trajectory for c in controller.candidates if c.origin == "reseed"]
    assert trajectories == list(range(1, len(trajectories) + 1))
    assert {c.trajectory for c in controller.candidates if c.origin == "edit"} == {0}  # the best stays t002


def test_a_new_best_starts_the_count_again_and_edits_follow_its_trajectory(small):
    controller = SearchController(small.signals, SearchConfig(evaluations=9, reseed={"patience": 2}, **LOCAL))
    scores = [0.1, 0.2, 0.3, 0.25, 0.4, 0.1, 0.1, 0.9, 0.1]
    for score in scores:
        controller.tell(Observation(controller.ask()[0].id, score))
    origins = [c.origin for c in controller.candidates]
    assert origins == ["warmup"] * 3 + ["edit"] * 4 + ["reseed", "edit"]
    assert controller.candidates[8].parent == "t008" and controller.candidates[8].trajectory == 1


def test_reseeding_can_be_switched_off(small):
    config = SearchConfig(evaluations=8, reseed=ReseedConfig(enabled=False), **LOCAL)
    controller = SearchController(small.signals, config)
    while candidates := controller.ask():
        controller.tell(Observation(candidates[0].id, -candidates[0].number))
    assert Counter(c.origin for c in controller.candidates) == {"warmup": 3, "edit": 5}


def test_failed_evaluations_count_and_are_never_a_parent_or_source(small):
    config = SearchConfig(evaluations=9, reseed={"patience": 3}, **LOCAL)
    controller = told(SearchController(small.signals, config), small, fail={1, 2, 3, 4, 7})
    assert len(controller.history) == 9
    assert [c.origin for c in controller.candidates[:5]] == ["warmup"] * 5  # no score yet: one probe more
    failed = {c.id: c.recipe.hash for c in controller.candidates if c.number in {1, 2, 3, 4, 7}}
    for candidate in controller.candidates:
        assert candidate.parent not in failed
        for step in candidate.recipe.steps:
            assert step.params.get("source_recipe") not in failed.values()
    assert controller.rounds[-1].imputed == 5
    assert controller.rounds[-1].findings[0].text.startswith("5 of 8 evaluations failed: t001 (diverged)")


def test_the_surrogate_keeps_away_from_failures(small):
    config = SearchConfig(evaluations=5, **FAST)
    controllers = [SearchController(small.signals, config) for _ in range(2)]
    for controller, third in zip(controllers, (0.9, None), strict=True):
        for score in (0.5, 0.6, third):
            controller.tell(Observation(controller.ask()[0].id, score))
    bold, wary = (c.predictions.of_candidates([c.candidates[2]], 4)[0].mu for c in controllers)
    assert wary < 0.6 < bold


def test_initial_recipes_come_first_and_repeats_of_a_subset_are_left_out(small, tmp_path):
    path = tmp_path / "today.yaml"
    Recipe((Step("ifd_filter", {"fraction": 0.4}),), name="today").dump(path)
    config = SearchConfig(evaluations=6, initial=(path,), include_full=True, **FAST)
    given_too = Recipe((Step("ifd_filter", {"fraction": 1.0}),), name="everything again")
    controller = told(SearchController(small.signals, config, initial=[given_too]), small)
    assert [c.origin for c in controller.candidates] == ["initial"] * 2 + ["warmup"] * 3 + ["edit"]
    assert len(controller.candidates[0].rows) == small.signals.n
    assert controller.candidates[1].recipe.name == "today"
    assert controller.rounds[0].decisions[0].notes == {"initial recipes left out as repeats": 1}
    with pytest.raises(RecipeError, match="unknown parameter"):
        SearchController(small.signals, initial=[Recipe((Step("ifd_filter", {"part": 0.5}),))])


def test_unions_name_evaluated_recipes_and_bring_their_rows(small):
    edits = EditConfig(weights={"union": 1.0}, second_edit=0.0)
    config = SearchConfig(evaluations=5, edits=edits, max_jaccard=1.0, **LOCAL)
    controller = told(SearchController(small.signals, config), small, 4)
    child = controller.candidates[3]
    parent = next(c for c in controller.candidates if c.id == child.parent)
    source = next(c for c in controller.candidates if c.recipe.hash == child.recipe.steps[-1].params["source_recipe"])
    assert set(child.rows) == set(parent.rows) | set(source.rows)
    assert source.id in child.edit


def test_a_batch_is_spread_by_believing_predictions(small):
    config = SearchConfig(evaluations=9, batch=4, warmup=2, **LOCAL)
    controller = told(SearchController(small.signals, config), small)
    assert [r.told for r in controller.rounds] == [0, 4, 8]
    assert [len(r.decisions) for r in controller.rounds] == [4, 4, 1]
    # More probes fill the first round: nothing is scored yet that could be edited.
    assert [c.origin for c in controller.candidates[:5]] == ["warmup"] * 4 + ["edit"]


def test_good_recipes_other_than_the_best_are_edited_and_fresh_ones_tried(small):
    config = SearchConfig(evaluations=14, **{**FAST, "proposals": 40})
    controller = told(SearchController(small.signals, config), small)
    edits = [c for c in controller.candidates if c.origin == "edit"]
    assert len({c.parent for c in edits}) > 1
    fresh = told(SearchController(small.signals, config.model_copy(update={"fresh": 1.0})), small)
    asked = [c for c in fresh.candidates if c.origin != "warmup" and c.origin != "reseed"]
    assert {c.origin for c in asked} == {"fresh"} and {c.parent for c in asked} == {None}
    assert all("fresh random recipe" in c.edit for c in asked)


def test_a_second_generation_edits_the_leading_proposals(small):
    config = SearchConfig(evaluations=10, **{**LOCAL, "generations": 2, "proposals": 60})
    controller = told(SearchController(small.signals, config), small)
    edits = [c for c in controller.candidates if c.origin == "edit"]
    assert any("; then " in c.edit for c in edits)
    decisions = [d for r in controller.rounds for d in r.decisions if d.origin == "edit"]
    assert all(30 < d.generated <= 60 for d in decisions)


def test_both_acquisitions_rank_by_their_own_value(small):
    for name in ("ucb", "log_ei"):
        controller = told(
            SearchController(small.signals, SearchConfig(evaluations=6, surrogate={"acquisition": name}, **FAST)), small
        )
        ranked = [p.prediction for p in controller.rounds[-1].decisions[0].ranked]
        values = [getattr(prediction, name) for prediction in ranked]
        assert values == sorted(values, reverse=True) and len(values) > 3


def test_every_proposal_is_accounted_for(small):
    controller = told(SearchController(small.signals, SearchConfig(evaluations=10, **FAST)), small)
    for record in controller.rounds:
        for decision in record.decisions:
            if decision.origin in ("edit", "fresh"):
                assert decision.generated == decision.valid + sum(decision.dropped.values()) == 12
                assert (
                    decision.ranked[0].prediction == controller.candidates[int(decision.candidate[1:]) - 1].prediction
                )
                bounds = [proposal.prediction.log_ei for proposal in decision.ranked]
                assert bounds == sorted(bounds, reverse=True)
    assert controller.rounds[4].leave_one_out is None and controller.rounds[-1].leave_one_out is not None
    last = controller.rounds[-1].to_dict()
    assert last["calibration"]["correlation"] == last["leave_one_out"] and 0 <= last["calibration"]["within_80"] <= 1
    json.dumps([record.to_dict() for record in controller.rounds], allow_nan=False)


@pytest.mark.parametrize("features", ["realized", "state", "subset", "encoding", "both"])
def test_every_surrogate_runs_a_whole_search(small, features):
    config = SearchConfig(evaluations=6, surrogate=SurrogateConfig(features=features), **FAST)
    assert len(told(SearchController(small.signals, config), small).history) == 6


def test_the_published_settings_propose_five(small):
    controller = told(SearchController(small.signals, published_settings(evaluations=5, min_rows=10)), small)
    assert [d.generated for r in controller.rounds for d in r.decisions if d.origin == "edit"] == [5, 5]


def test_a_space_that_is_used_up_ends_the_search_with_a_reason():
    signals = SignalTable.from_arrays({"n_tokens": np.ones(40)}, text_hash=np.arange(40) // 2)
    config = SearchConfig(evaluations=15, operators=("semantic_dedup",), min_rows=1)
    controller = SearchController(signals, config)
    best = controller.run(lambda candidate: float(len(candidate.rows)))
    assert len(controller.history) == 1 and best.id == "t001"
    assert controller.ask() == []
    assert "No new subset was found" in controller.rounds[-1].stopped
    assert len([r for r in controller.rounds if r.stopped]) == 1


def test_run_takes_scores_observations_and_failures(small):
    controller = SearchController(small.signals, SearchConfig(evaluations=3, **FAST))
    outcomes = iter([0.5, None, Observation("t003", 0.7, {"task0": 0.7})])
    best = controller.run(lambda candidate: next(outcomes))
    assert best.id == "t003" and [t.score for t in controller.history] == [0.5, None, 0.7]


def test_wrong_observations_are_refused(small):
    controller = SearchController(small.signals, SearchConfig(**FAST))
    (candidate,) = controller.ask()
    with pytest.raises(StudyError, match="'t009' was never asked"):
        controller.tell(Observation("t009", 0.1))
    with pytest.raises(StudyError, match="score is nan"):
        controller.tell(Observation("t001", float("nan")))
    for score in ("0.3", [0.3]):
        with pytest.raises(StudyError, match=r"Trial t001: the score is .*, not a number; tell None"):
            controller.tell(Observation("t001", score))
    with pytest.raises(StudyError, match="another subset"):
        controller.tell(Observation("t001", 0.1, subset_hash="0" * 16))
    controller.tell(Observation("t001", 0.1, subset_hash=candidate.subset_hash))
    controller.tell(Observation("t001", 0.1, subset_hash=candidate.subset_hash))
    with pytest.raises(StudyError, match="another outcome"):
        controller.tell(Observation("t001", 0.2))
    with pytest.raises(ValueError, match="q >= 1"):
        controller.ask(0)


def test_a_new_trajectory_is_chosen_among_many_and_within_what_was_seen(small):
    """Where a ranker has a prior, reseeds are predicted like edits, and none is far smaller than anything tried."""
    config = SearchConfig(evaluations=14, seed=3, proposals=24, min_rows=5, reseed={"patience": 1})
    controller = SearchController(small.signals, config)
    sizes: list[int] = []
    reseeds = []
    while candidates := controller.ask():
        for candidate in candidates:
            if candidate.origin == "reseed":
                reseeds.append(candidate)
                assert candidate.prediction is not None
                assert len(candidate.rows) >= 0.5 * min(size for size in sizes if size < small.signals.n)
            sizes.append(len(candidate.rows))
            controller.tell(Observation(candidate.id, small.score(candidate.rows)))
    ranked = [d for r in controller.rounds for d in r.decisions if d.candidate in {c.id for c in reseeds}]
    assert len(reseeds) >= 2 and all(decision.generated > 1 for decision in ranked)
