"""Tables from stored evaluations, against figures worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autoselection.evaluation import EvaluationResult
from autoselection.reproduce import ReproductionConfig
from autoselection.reproduce.config import study_of
from autoselection.reproduce.markdown import _cell
from autoselection.reproduce.results import Stored
from autoselection.reproduce.rows import AUTOSELECTION, BASE, FULL, Entry
from autoselection.reproduce.tables import _compared, _interval, _planned, _with_interval, make_table


def _evaluation(stored: Stored, subset: str, seed: int, values: dict[str, list[float]], **extra: Any) -> dict[str, Any]:
    items = {
        task: {"ids": list(range(len(nll))), "nll": nll, "exact_match": [float(v < 1) for v in nll]}
        for task, nll in values.items()
    }
    scores = {task: -sum(nll) / len(nll) for task, nll in values.items()}
    result = EvaluationResult("test", seed, 0.0, scores, items=items, **extra)
    key = f"{subset}/test/{seed}/{stored.digest(stored.study)}"
    return {"event": "evaluation", "key": key, "result": result.to_dict()}


@pytest.fixture
def stored(reproduction: ReproductionConfig) -> Stored:
    study = study_of(reproduction, reproduction.models[0])
    empty = Stored(reproduction, study, [{"event": "study", "pool": "p"}])
    events = [
        *empty.events,
        _evaluation(empty, "a", 100, {"addition": [0.5, 1.5], "boolean": [0.0, 1.0]}),
        _evaluation(empty, "b", 101, {"addition": [0.5, 0.5], "boolean": [0.0, 0.0]}),
        _evaluation(empty, "full", 100, {"addition": [1.0, 2.0], "boolean": [1.0, 1.5]}),
        _evaluation(empty, "full", 101, {"addition": [1.0, 1.5], "boolean": [0.5, 1.0]}),
        _evaluation(empty, "untrained", 0, {"addition": [3.0, 3.0], "boolean": [2.0, 2.0]}),
        _evaluation(empty, "bad", 100, {}, failure="the loss is not a number", failure_kind="training"),
    ]
    return Stored(reproduction, study, events)


def _entries() -> list[Entry]:
    return [
        Entry(BASE, "base", 0, "untrained", 0),
        Entry(BASE, "base", 1, "untrained", 0),
        Entry(FULL, "full", 0, "full", 300, -1.0),
        Entry(FULL, "full", 1, "full", 300, -1.2),
        Entry("worn", "search", 0, "bad", 40),
        Entry("worn", "search", 1, "late", 40),
        Entry(AUTOSELECTION, "search", 0, "a", 100, -0.7),
        Entry(AUTOSELECTION, "search", 1, "b", 200, -0.6),
    ]


def test_means_differences_and_gaps(stored: Stored) -> None:
    table = make_table("Main", "score", stored.study.tasks, _entries(), stored, stored.digest(stored.study))
    base, full, worn, ours = table.rows
    assert ours.average is not None and full.average is not None and base.average is not None
    assert ours.tasks["addition"].estimate == pytest.approx(-0.75)
    assert ours.average.estimate == pytest.approx((-0.75 - 0.25) / 2) and ours.average.over == "items and seeds"
    assert (ours.size, ours.dev, ours.replicates) == (150.0, pytest.approx(-0.65), (0, 1))
    assert base.average.estimate == pytest.approx(-2.5) and base.average.over == "items"
    assert full.versus is not None and full.versus.difference.estimate == pytest.approx(-0.5 + 1.1875)
    assert base.versus is not None and base.versus.seeds == 2
    scores, theirs = np.array([-0.75, -0.25]), np.array([-1.375, -1.0])
    interval = scores.mean() + np.array([-1, 1]) * 12.706205 * scores.std(ddof=1) / np.sqrt(2)
    assert (ours.average.low, ours.average.high) == pytest.approx(tuple(interval)), "two replicates: Student's t"
    assert full.versus.spread is not None and full.versus.spread.seeds == pytest.approx(
        (scores.var(ddof=1), theirs.var(ddof=1))
    ), "a search and a row without one are no pairs"
    assert ours.versus is None
    assert worn.failed == {0: "the loss is not a number"} and worn.missing == (1,)
    assert worn.average is None and worn.versus is None


def test_right_answers(stored: Stored) -> None:
    table = make_table("Main", "right", stored.study.tasks, _entries(), stored, stored.digest(stored.study))
    rows = {row.name: row for row in table.rows}
    ours = rows[AUTOSELECTION]
    assert ours.tasks["addition"].estimate == pytest.approx(0.75)
    assert ours.tasks["boolean"].estimate == pytest.approx(0.75)
    bounds = [(found.low, found.high) for row in table.rows for found in row.tasks.values()]
    assert all(low >= 0 and high <= 1 for low, high in bounds), "a share lies between none and all"


def test_a_row_whose_other_replicates_failed_is_no_surer_than_the_searches_differ() -> None:
    """By items alone a chance difference of the one replicate that is left was called better in six of ten tables."""
    rng = np.random.default_rng(0)
    base, row = rng.normal(0, 0.3, 60), "random recipe search"

    def replicates(count: int) -> dict[int, dict[str, np.ndarray]]:
        return {seed: {"a": base + rng.normal(0, 0.2, 60) + rng.normal(0, 0.1)} for seed in range(count)}

    kinds = {AUTOSELECTION: "search", row: "search"}
    found = [
        _compared({AUTOSELECTION: replicates(5), row: replicates(1)}, kinds, {"a": 1.0}, (row,))[row] for _ in range(25)
    ]
    assert np.mean([one.significant for one in found]) < 0.15
    assert all(one.p_seeds is not None and one.seeds == 1 for one in found)
    said = _planned(found[0])
    assert said.startswith("With one replicate of one of the two a difference of 0.") and "80% power" in said


def test_a_score_of_one_replicate_and_one_item_has_no_interval() -> None:
    row = "random recipe search"
    one = {"a": np.array([[0.25]])}
    found = _interval(_with_interval(list(one.values()), "score"))
    assert found["ci95"] is None and _cell(found, right=False) == "0.250"
    share = _interval(_with_interval(list(one.values()), "right"))
    assert share["ci95"] == [0.0, 1.0] and _cell(share, right=True) == "25.0 [0.0, 100.0]"
    kinds, both = {AUTOSELECTION: "search", row: "search"}, {0: {"a": np.array([0.25])}}
    (versus,) = _compared({AUTOSELECTION: both, row: both}, kinds, {"a": 1.0}, (row,)).values()
    assert versus.detectable is None and "cannot be said" in _planned(versus)
