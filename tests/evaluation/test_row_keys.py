"""Rows are trained on in the order of keys of their ids: whatever else is selected, and wherever they stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from test_sft import write_jsonl

from autoselection.evaluation import EvaluationResult, evaluate
from autoselection.evaluation.remarks import remark_notes
from autoselection.evaluation.row_keys import ORDER, identities, training_keys
from autoselection.pool import Pool, ingest


def _pool(folder: Path, names: list[str]) -> Pool:
    rows = [
        {"id": name, "messages": [{"role": "user", "content": name}, {"role": "assistant", "content": f"I am {name}"}]}
        for name in names
    ]
    ingest([write_jsonl(folder / "rows.jsonl", rows)], folder / "pool")
    return Pool.open(folder / "pool")


def test_a_row_has_the_same_key_in_every_pool_that_holds_it(tmp_path: Path) -> None:
    names = [f"row-{number}" for number in range(9)]
    (tmp_path / "other").mkdir()
    first, second = _pool(tmp_path, names), _pool(tmp_path / "other", ["new", *names[::-1]])
    of_first = identities(first, np.arange(9))
    of_second = identities(second, np.arange(10))
    assert of_first.tolist() == of_second[1:][::-1].tolist()
    assert len(set(of_second.tolist())) == 10
    # Another number would train studies that go on in another order.
    assert of_first[:2].tolist() == [3784231604949303718, 12036479631364071292]
    assert training_keys(of_first[:2], 3, 1).tolist() == [8135725548552438662, 16686807782075940995]


def test_a_row_that_stands_twice_has_two_numbers_and_the_first_is_that_of_the_row_alone(tmp_path: Path) -> None:
    pool = _pool(tmp_path, [f"row-{number}" for number in range(4)])
    alone = identities(pool, np.arange(4))
    found = identities(pool, np.array([2, 0, 2, 2, 1]))
    assert len(set(found.tolist())) == 5
    assert [found[1], found[4], found[0]] == [alone[0], alone[1], alone[2]]
    assert identities(pool, np.zeros(0, np.int64)).shape == (0,)


def test_the_order_in_which_rows_are_selected_does_not_change_a_score(make_job) -> None:
    rows = np.random.default_rng(0).permutation(20)
    scores = {
        evaluate(make_job(rows=selected, sft={"max_steps": 3})).score for selected in (rows, rows[::-1], np.sort(rows))
    }
    assert len(scores) == 1
    assert evaluate(make_job(rows=rows, sft={"max_steps": 3}, seed=1)).score not in scores


def test_trainings_of_an_earlier_version_are_told_apart() -> None:
    def result(**settings: object) -> EvaluationResult:
        return EvaluationResult("dev", 0, 0.5, settings={"device": "cpu", **settings})

    former, now = result(trainable_parameters=1), result(trainable_parameters=1, order=ORDER)
    untrained = result()
    assert remark_notes([("a", former), ("b", untrained)]) == []
    assert remark_notes([("a", now), ("b", untrained)]) == []
    (note,) = remark_notes([("a", former), ("b", now), ("c", now), ("d", untrained)])
    assert note.startswith("1 of 3 trainings are of an earlier version")


def test_one_pass_trains_a_row_as_often_as_it_counts_whatever_the_order(make_job) -> None:
    rows = np.array([3, 3, 3, 5, 7, 7])
    counted = evaluate(make_job(rows=rows, sft={"epochs": 1.0, "batch_size": 2}))
    assert (counted.train_rows, counted.steps) == (6, 3)
    mixed = evaluate(make_job(rows=rows[[5, 0, 3, 1, 4, 2]], sft={"epochs": 1.0, "batch_size": 2}))
    once = evaluate(make_job(rows=np.array([3, 5, 7]), sft={"epochs": 2.0, "batch_size": 2}))
    assert counted.score == mixed.score != once.score
