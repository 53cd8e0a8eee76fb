from __future__ import annotations

import math
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from autoselection.compare.comparison import Difference, Items, Run, compare_runs, first_at, item_scores
from autoselection.compare.outputs import markdown, meaning, print_comparison
from autoselection.evaluation import EvaluationResult
from autoselection.report import write_comparison_page
from autoselection.terminal import Terminal

NAN = math.nan


def _run(
    method: str, seed: int, curve: tuple[float, ...], incumbent: str | None = "x", test: float | None = None
) -> Run:
    return Run(method, seed, curve, incumbent, 10, len(curve), 0, 0.5, test)


def test_methods_are_ranked_and_measured_against_random() -> None:
    runs = [
        _run("ours", 0, (0.1, 0.4, 0.6)),
        _run("random", 0, (NAN, 0.2, 0.3)),
        _run("ours", 1, (0.3, 0.4, 0.4)),
        _run("random", 1, (0.1, 0.2, 0.5)),
        _run("slow", 0, (0.0, 0.1, 0.2)),
        _run("dead", 0, (NAN, NAN, NAN), None),
    ]
    found = compare_runs("study", 3, runs, {}, 9)
    assert found.reference == "random"
    assert [item.method for item in found.methods] == ["ours", "random", "slow", "dead"]
    ours, random, slow, dead = found.methods
    assert ours.curve == pytest.approx((0.2, 0.4, 0.5)) and random.curve == pytest.approx((0.1, 0.2, 0.4))
    assert (ours.evaluations_to_reference, slow.evaluations_to_reference) == (2, None)
    assert dead.to_dict()["best_dev"] is None and dead.evaluations_to_reference is None
    assert "never" in markdown(found)


def test_without_random_the_first_named_is_the_reference() -> None:
    runs = [_run("published", 0, (0.1,)), _run("ours", 0, (0.2,))]
    assert compare_runs("study", 1, runs, {}, 2).reference == "published"


def test_several_arithmetics_are_told_in_every_output(tmp_path: Path) -> None:
    runs, said = [_run("random", 0, (0.1,))], "different arithmetics (cpu float32, cuda bfloat16)"
    for made_with in (["cpu float32"], ["cpu float32", "cuda bfloat16"]):
        found = compare_runs("study", 1, runs, {}, 1, made_with)
        assert found.to_dict()["arithmetics"] == made_with
        printed = Terminal(width=1000, file=StringIO())
        print_comparison(found, printed)
        write_comparison_page(found, tmp_path / "plot.html")
        shown = [markdown(found), printed.file.getvalue(), (tmp_path / "plot.html").read_text(encoding="utf-8")]
        assert [said in text for text in shown] == [len(made_with) > 1] * 3


def test_first_at() -> None:
    assert first_at([NAN, 0.1, 0.3, 0.2], 0.2) == 3
    assert first_at([0.1], 0.2) is None


def test_items_are_paired_by_id_and_losses_count_negative() -> None:
    def result(ids: list[str], nll: list[float], right: list[float]) -> EvaluationResult:
        items = {"a": {"ids": ids, "nll": nll, "accuracy": right}}
        return EvaluationResult("test", 0, 0.0, items=items)

    first = result(["p", "q"], [1.0, 3.0], [1.0, 0.0])
    second = result(["q", "p"], [1.0, 2.0], [1.0, 1.0])
    assert item_scores([first, second], {"a": "nll"}) == {"a": {"p": -1.5, "q": -2.0}}
    assert item_scores([first, second], {"a": "accuracy"}) == {"a": {"p": 1.0, "q": 0.5}}


def _compared(ours: list[Items], theirs: list[Items], **others: list[Items]) -> dict[str, Difference | None]:
    """Methods against random, by the items of their searches."""
    searches = {"random": theirs, "ours": ours, **others}
    items = {f"{method}{seed}": found for method, listed in searches.items() for seed, found in enumerate(listed)}
    runs = [_run(name, k, (0.1,), f"{name}{k}") for name, listed in searches.items() for k in range(len(listed))]
    return {found.method: found.difference for found in compare_runs("study", 1, runs, items, 1).methods}


def _scored(values: Any, task: str = "a") -> Items:
    return {task: {str(i): float(value) for i, value in enumerate(values)}}


def test_one_search_each_is_compared_over_items_alone_and_says_so() -> None:
    rng = np.random.default_rng(0)
    hard = 5 * rng.normal(size=200)  # how hard items are is common to both
    found = _compared([_scored(hard + 0.1 + 0.05 * rng.normal(size=200))], [_scored(hard)])["ours"]
    assert found is not None
    assert 0.08 < found.low < found.value < found.high < 0.12 and (found.items, found.over) == (200, "items")
    assert found.p < 0.001 and found.together == (found.low, found.high) and found.p_together == found.p
    same = _compared([_scored(hard)], [_scored(hard)])["ours"]
    assert same is not None and (same.value, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)


def test_the_unit_of_a_comparison_of_searches_is_the_search() -> None:
    """Three searches each, far apart: many items make the difference no surer."""
    rng = np.random.default_rng(1)
    hard, spread = rng.normal(size=500), (-0.2, 0.05, 0.3)
    ours = [_scored(hard + 0.1 + luck + 0.01 * rng.normal(size=500)) for luck in spread]
    theirs = [_scored(hard + luck + 0.01 * rng.normal(size=500)) for luck in (0.1, -0.15, 0.2, 0.0)]
    found = _compared(ours, theirs)["ours"]
    assert found is not None and (found.over, found.searches) == ("searches and items", 3)
    one, other = np.array(spread) + 0.1, np.array([0.1, -0.15, 0.2, 0.0])
    expected = stats.ttest_ind(one, other, equal_var=False)
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)
    assert (found.low, found.high) == pytest.approx(expected.confidence_interval(0.95), abs=0.03)
    assert found.value == pytest.approx(one.mean() - other.mean(), abs=0.01) and found.low < 0 < found.high
    assert found.detectable > found.high - found.value, (
        "what is found with 80% power is more than what is just significant"
    )


def test_several_methods_are_corrected_for_together() -> None:
    rng = np.random.default_rng(2)

    def searches(mean: float) -> list[Items]:
        return [_scored(mean + rng.normal(0, 0.05) + rng.normal(0, 0.01, 60)) for _ in range(6)]

    others = {name: searches(mean) for name, mean in (("a", 0.0), ("b", 0.05), ("c", -0.1))}
    found = _compared(searches(0.3), searches(0.0), **others)
    assert found["random"] is None
    for name in ("ours", *others):
        difference = found[name]
        assert difference is not None and difference.p_together >= difference.p
        assert difference.together[0] <= difference.low <= difference.high <= difference.together[1]
        assert (difference.p_together <= 0.05) == (not difference.together[0] < 0 < difference.together[1])
    ours = found["ours"]
    assert ours is not None and ours.value == pytest.approx(0.3, abs=0.1) and ours.together[0] > 0


def test_tasks_count_alike() -> None:
    zero = {"a": {"1": 0.0}, "b": {str(i): 0.0 for i in range(9)}}
    mine = {"a": {"1": 1.0}, "b": {str(i): 0.0 for i in range(9)}}
    found = _compared([mine], [zero])["ours"]
    assert found is not None and found.value == pytest.approx(0.5)


def test_what_intervals_are_over_is_said_where_they_stand() -> None:
    rng = np.random.default_rng(3)
    tables = {name: [_scored(rng.normal(size=20)) for _ in range(2)] for name in ("random", "ours")}
    for count, said in (
        (1, "over test items only"),
        (2, "whose seeds all searches share, is in none. With 2 searches a difference"),
    ):
        items = {f"{name}{k}": table for name, listed in tables.items() for k, table in enumerate(listed[:count])}
        runs = [_run(name, k, (0.1,), f"{name}{k}", 0.1) for name in tables for k in range(count)]
        found = compare_runs("study", 1, runs, items, 1)
        assert said in markdown(found)
        assert {"over", "p", "ci95_together", "p_together", "detectable"} <= set(
            next(m for m in found.to_dict()["methods"] if m["method"] == "ours")["test_minus_reference"]
        )


def _said(ours: list[Items | None], theirs: list[Items]) -> str:
    """What a comparison says of its intervals; a search of None has no test score."""
    searches = {"random": theirs, "ours": ours}
    items = {f"{name}{k}": found for name, listed in searches.items() for k, found in enumerate(listed) if found}
    runs = [_run(name, k, (0.1,), f"{name}{k}", 0.1) for name, listed in searches.items() for k in range(len(listed))]
    return meaning(compare_runs("study", 1, runs, items, 1))


def test_no_power_is_claimed_where_scores_do_not_vary() -> None:
    same = _scored(np.arange(20.0))
    assert "0.0000" not in _said([same, same], [same, same]) and "80%" not in _said([same, same], [same, same])
    assert "cannot be said" in _said([same, same], [same, same])


def test_why_intervals_are_over_items_only_is_said_as_it_is() -> None:
    rng = np.random.default_rng(4)
    many, one = ([_scored(rng.normal(size=size)) for _ in range(3)] for size in (20, 1))
    assert "over test items only" in _said([many[0]], [many[1]])
    lent = _said([many[0], None], many[1:])
    assert "a single scored search is taken to vary as the other one's" in lent and "test items only" not in lent
    assert "With one search of one of two methods a difference" in lent
    alone = _said([*one], [*one[:2]])
    assert "one search" not in alone and "No task has more than one test item" in alone


def test_items_of_every_metric_are_read_with_its_sign_and_those_that_were_not_kept_are_told() -> None:
    def result(**items: list[Any]) -> EvaluationResult:
        return EvaluationResult("test", 0, -1.0, scores={"a": -1.0}, items={"a": {"ids": ["p", "q"], **items}})

    assert item_scores([result(nll_per_byte=[1.0, 2.0])], {"a": "nll_per_byte"}) == {"a": {"p": -1.0, "q": -2.0}}
    assert item_scores([result(option_likelihood=[0.1, 0.2])], {"a": "option_likelihood"}) == {
        "a": {"p": 0.1, "q": 0.2}
    }
    assert item_scores([result(nll=[1.0, 2.0])], {"a": "nll_per_byte"}) is None  # as earlier versions kept them


def test_what_evaluations_remarked_is_in_every_output(tmp_path: Path) -> None:
    told = ["40 rows: Training drops 30 of 40 rows (75%): 30 because they have no response."]
    found = compare_runs("c", 1, [_run("random", 0, (0.1,))], {}, 1, (), told)
    assert found.to_dict()["remarks"] == told
    assert f"- {told[0]}" in markdown(found)
    shown = StringIO()
    print_comparison(found, Terminal(file=shown, width=300))
    assert told[0] in shown.getvalue()
