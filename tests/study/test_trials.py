"""The trials of a study as a sequence and as a data frame, and what a notebook shows of them."""

from __future__ import annotations

from typing import Any

import pytest

from autoselection.errors import StudyError
from autoselection.evaluation import EvaluationResult
from autoselection.study import Trial, Trials


def trial(number: int, *scores: float, failure: str | None = None, **more: Any) -> Trial:
    """A trial with a result for each training seed."""
    steps = [{"operator": "ifd_filter", "params": {"fraction": number / 10}}]
    record = {"id": f"t{number:03d}", "recipe": {"version": 1, "steps": steps}, "rows": 100 * number, "origin": "edit"}
    record |= {"parent": "t001", "subset_hash": f"{number:016x}", "edit": "changed <b>step 1</b>", **more}
    results = {
        seed: EvaluationResult("dev", seed, score, {"sums": score, "<i>words": score - 1}, seconds={"total": 2.0})
        for seed, score in enumerate(scores)
    }
    if failure is not None:
        failed = EvaluationResult(
            "dev", 0, float("nan"), failure=failure, failure_kind="training", seconds={"total": 1.0}
        )
        results[0] = failed
    return Trial(str(record["id"]), record, results)


TRIALS = Trials([trial(1, 0.5, 0.7), trial(2, failure="<script>it diverged\x1b"), trial(3), trial(4, 0.9)])


def test_trials_by_place_id_and_slice():
    assert len(TRIALS) == 4 and TRIALS[0].id == "t001" and TRIALS[-1].score == 0.9
    assert TRIALS["t004"] is TRIALS[3] and [one.id for one in TRIALS[1:3]] == ["t002", "t003"]
    assert "t002" in TRIALS and TRIALS[1] in TRIALS and "t009" not in TRIALS
    with pytest.raises(StudyError, match="There is no trial 't0004'; did you mean 't004'"):
        TRIALS["t0004"]
    with pytest.raises(StudyError, match="there is none yet"):
        Trials()["t001"]


def test_trials_as_a_data_frame():
    frame = TRIALS.to_polars()
    assert frame["trial"].to_list() == ["t001", "t002", "t003", "t004"]
    assert frame["score"].to_list() == [pytest.approx(0.6), None, None, 0.9]
    assert frame["score/sums"].to_list() == [pytest.approx(0.6), None, None, 0.9]
    assert frame["failure"].to_list()[1] == "<script>it diverged\x1b" and frame["seeds"].to_list() == [2, 1, 0, 1]
    assert frame["recipe"][3] == "ifd_filter(highest 40%)" and frame["rows"].sum() == 1000
    assert Trials().to_polars().columns[:3] == ["trial", "score", "rows"]


def test_what_is_shown():
    assert repr(TRIALS) == "<Trials 4 trials>"
    assert repr(TRIALS[3]) == "<Trial t004: 0.9000, 400 rows, ifd_filter(highest 40%)>"
    assert repr(TRIALS[1]).startswith("<Trial t002: failed, ") and "pending" in repr(TRIALS[2])
    for shown in (TRIALS, *TRIALS):
        page = shown._repr_html_()
        assert not any(mark in page for mark in ("<script", "<b>", "<i>", "\x1b"))
    assert "it diverged" in TRIALS[1]._repr_html_() and "ifd_filter(highest 40%)" in TRIALS._repr_html_()
