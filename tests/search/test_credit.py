from __future__ import annotations

import pytest

from autoselection.recipes import Recipe, Step
from autoselection.search import Observation, SearchController
from autoselection.search.config import SearchConfig
from autoselection.search.credit import Share, credit, difference, shares
from autoselection.search.edits import operator_preference

IFD, CAP, NGRAM = Step("ifd_filter"), Step("truncate_samples"), Step("ngram_entropy")


def recipe(*steps: Step) -> Recipe:
    return Recipe(steps).canonical()


def test_an_added_operator_gets_the_whole_change():
    operators, pairs = shares(recipe(IFD), recipe(IFD, CAP), 0.3)
    assert operators == {"truncate_samples": 0.3}
    assert pairs == {("ifd_filter", "truncate_samples"): 0.3}


def test_a_removed_operator_gets_the_negative_share():
    operators, pairs = shares(recipe(IFD, CAP), recipe(IFD), 0.3)
    assert operators == {"truncate_samples": -0.3}
    assert pairs == {("ifd_filter", "truncate_samples"): -0.3}


def test_a_swap_is_divided_between_the_new_and_the_old_operator():
    operators, pairs = shares(recipe(IFD, CAP), recipe(IFD, NGRAM), 0.2)
    assert operators == pytest.approx({"ngram_entropy": 0.1, "truncate_samples": -0.1})
    assert pairs == pytest.approx({("ifd_filter", "ngram_entropy"): 0.1, ("ifd_filter", "truncate_samples"): -0.1})


def test_changed_parameters_count_like_an_added_operator():
    changed = Step("ifd_filter", {"direction": "low"})
    assert difference(recipe(IFD, CAP), recipe(changed, CAP)).changed == ("ifd_filter",)
    operators, pairs = shares(recipe(IFD, CAP, NGRAM), recipe(changed, CAP, NGRAM), -0.4)
    assert operators == {"ifd_filter": -0.4}
    assert pairs == pytest.approx({("ifd_filter", "truncate_samples"): -0.2, ("ifd_filter", "ngram_entropy"): -0.2})


def test_a_change_of_order_credits_the_pairs_that_turned_round():
    operators, pairs = shares(recipe(IFD, CAP, NGRAM), recipe(CAP, IFD, NGRAM), 0.5)
    assert operators == {}
    assert pairs == {("ifd_filter", "truncate_samples"): 0.5}


def test_a_repeated_step_removed_without_changing_order_credits_the_operator():
    operators, _ = shares(recipe(IFD, CAP, CAP), recipe(IFD, CAP), 0.1)
    assert operators == {"truncate_samples": -0.1}


def test_moving_a_repeated_step_may_touch_nothing():
    assert shares(recipe(CAP, CAP, IFD), recipe(CAP, IFD, CAP), 0.1) == ({}, {})


def test_credit_sums_the_shares_of_all_changes():
    whole = credit([(recipe(IFD), recipe(IFD, CAP), 0.3), (recipe(IFD, CAP), recipe(IFD), 0.1)])
    assert whole.operators["truncate_samples"] == Share(pytest.approx(0.2), 2)
    assert whole.operators["truncate_samples"].mean == pytest.approx(0.1)
    assert whole.to_dict()["pairs"]["ifd_filter+truncate_samples"] == {"total": pytest.approx(0.2), "count": 2}


def test_an_edit_that_diverged_leaves_the_others_their_credit(small):
    """Preferences are relative to the largest credit: one of -1,000 would make all others alike."""
    edits = []
    controller = SearchController(small.signals, SearchConfig(evaluations=12, proposals=12, min_rows=10))
    while candidates := controller.ask():
        for candidate in candidates:
            score = small.score(candidate.rows)
            if candidate.parent and not edits:
                edits.append(candidate.id)
                score -= 1000.0
            controller.tell(Observation(candidate.id, score))
    assert edits
    told = [trial.score for trial in controller.history if trial.candidate.id not in edits]
    spread = max(told) - min(told)
    assert all(abs(share.mean) <= spread for share in controller.credit.operators.values())
    names = sorted(controller.credit.operators)
    assert len({round(weight, 3) for weight in operator_preference(names, controller.credit, 1.0).values()}) > 2
