"""The journal: what is on disk survives, what is torn is cut off, what is damaged is named."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from autoselection.errors import StudyError
from autoselection.study import Journal, decisions, read_events


def test_events_are_read_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("study", rows=3)
        journal.append("trial", trial={"id": "t001", "edit": "line\u2028break"})
    events = list(read_events(path))
    assert [event["seq"] for event in events] == [0, 1]
    assert events[1]["trial"]["edit"] == "line\u2028break"
    assert Journal(path).of("trial") == [events[1]]


def test_a_torn_last_line_is_ignored_by_readers_and_cut_off_by_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("study", rows=3)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"seq": 1, "event": "eval')
    assert len(list(read_events(path))) == 1
    with Journal(path) as journal:
        assert journal.cut_bytes == 25
        journal.append("trial")
    assert [event["event"] for event in read_events(path)] == ["study", "trial"]


def test_a_damaged_line_in_the_middle_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"seq": 0, "event": "study"}\nnot json\n{"seq": 2, "event": "trial"}\n')
    with pytest.raises(StudyError, match=r"journal\.jsonl:2"):
        Journal(path)


def test_not_a_number_never_reaches_the_file(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal, pytest.raises(ValueError):
        journal.append("evaluation", score=float("nan"))
    assert list(read_events(tmp_path / "journal.jsonl")) == []


def _hold(path: str, ready: multiprocessing.synchronize.Event, done: multiprocessing.synchronize.Event) -> None:
    with Journal(Path(path)):
        ready.set()
        done.wait(30)


def test_a_study_in_use_by_another_process_is_refused(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path / "journal.jsonl"), ready, done))
    process.start()
    try:
        assert ready.wait(30)
        with pytest.raises(StudyError, match="another process"), Journal(tmp_path / "journal.jsonl"):
            pass
    finally:
        done.set()
        process.join()
    with Journal(tmp_path / "journal.jsonl"):
        pass


def test_decisions_leave_out_times_and_costs() -> None:
    first = [{"seq": 0, "time": 1.0, "event": "evaluation", "result": {"score": 1.0, "seconds": {"total": 3.0}}}]
    second = json.loads(json.dumps(first))
    second[0]["time"] = 2.0
    second[0]["result"]["seconds"] = {"total": 4.0}
    assert decisions(first) == decisions(second)
    second[0]["result"]["score"] = 2.0
    assert decisions(first) != decisions(second)
