"""One score from several tasks: weights, and guards that are no part of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoselection.statistics import compare_all
from autoselection.tasks import TaskConfig, factors, labels, overall, weighed


def tasks(**weights: float) -> tuple[TaskConfig, ...]:
    return tuple(TaskConfig(name=name, dev="dev.jsonl", weight=weight) for name, weight in weights.items())


scores = st.floats(-5, 5)


@given(
    st.lists(st.tuples(scores, st.floats(0, 10)), min_size=1, max_size=6).filter(lambda p: any(w > 0.01 for _, w in p))
)
def test_the_score_is_the_weighted_mean_of_the_tasks_that_count(pairs):
    named = {f"t{place}": score for place, (score, _) in enumerate(pairs)}
    listed = tasks(**{f"t{place}": weight for place, (_, weight) in enumerate(pairs)})
    weights = [weight for _, weight in pairs]
    assert overall(named, listed) == pytest.approx(np.average(list(named.values()), weights=weights), abs=1e-9)
    counted = weighed(named, factors(listed))
    assert list(counted) == [name for name, (_, weight) in zip(named, pairs, strict=True) if weight > 0]


def test_equal_weights_are_the_plain_mean_to_the_digit():
    found = {"a": 0.1, "b": 0.7, "c": -0.123456789}
    assert overall(found, tasks(a=3, b=3, c=3)) == float(np.mean(list(found.values())))
    assert set(factors(tasks(a=0.1, b=0.1, c=0.1)).values()) == {1.0}
    assert labels(tasks(a=3, b=3)) == ["a", "b"]
    assert labels(tasks(a=3, b=0.5, c=0)) == ["a (weight 3)", "b (weight 0.5)", "c (guard)"]


def test_comparisons_weigh_the_tasks_and_tell_of_guards():
    rng = np.random.default_rng(0)
    ours = {"a": rng.normal(1.0, 0.1, (3, 40)), "b": rng.normal(0.0, 0.1, (3, 40)), "g": rng.normal(-9.0, 0.1, (3, 40))}
    theirs = {name: rng.normal(0.0, 0.1, (3, 40)) for name in ours}
    by = factors(tasks(a=3, b=1, g=0))
    (found,) = compare_all("ours", {"theirs": (ours, theirs)}, factors=by)
    plain = {name: float((ours[name] - theirs[name]).mean()) for name in ours}
    assert found.tasks == pytest.approx(plain)
    assert found.difference.estimate == pytest.approx(0.75 * plain["a"] + 0.25 * plain["b"])
    assert found.difference.low < found.difference.estimate < found.difference.high
    (unweighed,) = compare_all("ours", {"theirs": (ours, theirs)})
    assert unweighed.difference.estimate < -2
    with pytest.raises(ValueError, match="same tasks"):
        compare_all("ours", {"theirs": (ours, {"a": theirs["a"]})}, factors=by)


def test_a_weight_is_a_finite_number_from_zero_on():
    for wrong in (-1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="weight"):
            tasks(a=wrong)
