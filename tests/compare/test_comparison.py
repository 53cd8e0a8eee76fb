from __future__ import annotations

import math
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoselection.compare.comparison import Run, compare_runs, first_at, item_scores, paired_difference
from autoselection.compare.outputs import markdown, print_comparison, write_plot
from autoselection.evaluation import EvaluationResult
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
        write_plot(found, tmp_path / "plot.html")
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


def test_the_paired_interval_is_that_of_the_differences() -> None:
    rng = np.random.default_rng(0)
    hard = 5 * rng.normal(size=200)  # how hard items are is common to both
    other = {"a": {str(i): float(hard[i]) for i in range(200)}}
    mine = {"a": {str(i): float(hard[i] + 0.1 + 0.05 * rng.normal()) for i in range(200)}}
    found = paired_difference([(mine, other)])
    assert 0.08 < found.low < found.value < found.high < 0.12 and found.items == 200
    same = paired_difference([(other, other)])
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_tasks_count_alike() -> None:
    zero = {"a": {"1": 0.0}, "b": {str(i): 0.0 for i in range(9)}}
    mine = {"a": {"1": 1.0}, "b": {str(i): 0.0 for i in range(9)}}
    assert paired_difference([(mine, zero)]).value == pytest.approx(0.5)


def test_the_interval_of_a_paired_difference_is_one_of_95_percent() -> None:
    """Many items: the normal approximation, worked out apart."""
    rng = np.random.default_rng(1)
    mine = rng.normal(0.3, 1.0, 4000)
    ours = {"a": {str(i): float(v) for i, v in enumerate(mine)}}
    theirs = {"a": {str(i): 0.0 for i in range(4000)}}
    found = paired_difference([(ours, theirs)])
    half = 1.959964 * mine.std() / np.sqrt(4000)
    assert (found.low, found.high) == pytest.approx((mine.mean() - half, mine.mean() + half), abs=0.1 * half)


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
