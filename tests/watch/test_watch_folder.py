"""Looking at a study's folder: the same numbers as the study itself, nothing written, no lock taken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from told_activities import tell

from autoselection.errors import StudyError
from autoselection.ledger import Journal
from autoselection.report.tables import study_sheets
from autoselection.study import Study, read_events
from autoselection.watch import StudyFolder, board
from autoselection.watch import activities as activities_module


def test_a_finished_study_looks_as_the_study_says(watched: Study) -> None:
    found = StudyFolder(watched.path).look()
    best = watched.best()
    assert best is not None and found.record.best is not None
    assert (found.record.best.trial, found.record.best.score) == (best.id, best.score)
    assert found.state == "finished" and found.record.spent == found.record.budget == 4
    assert [trial.id for trial in found.record.trials] == [trial.id for trial in watched.all_trials()]
    assert {row.name: row.done for row in found.record.tests} == {
        name: len(results) for name, results in watched.final_results().items()
    }
    assert found.record.pool_rows == 200 and found.record.verdict
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_study_that_grows_event_by_event_ends_as_one_that_is_read_at_once(copied: Path) -> None:
    whole = StudyFolder(copied).look().record
    lines = (copied / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (copied / "journal.jsonl").write_bytes(b"")
    folder = StudyFolder(copied)
    spent = []
    for line in lines:
        with (copied / "journal.jsonl").open("ab") as file:
            file.write(line)
        spent.append(folder.look().record.spent)
    assert folder.look().record == whole
    assert spent == sorted(spent) and set(spent) == {0, 1, 2, 3, 4}


def test_a_copy_without_pool_and_without_activities_is_shown(copied: Path) -> None:
    found = StudyFolder(copied).look()
    assert found.state == "finished" and found.record.best is not None and found.workers == ()


LOOK = """
import sys
from pathlib import Path
touched = []
def audit(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, Path)) and sys.argv[1] in str(arguments[0]):
        mode, flags = arguments[1], arguments[2] or 0
        if (mode and set(str(mode)) & set("wax+")) or flags & 3:
            touched.append((event, arguments))
    elif event in ("fcntl.flock", "fcntl.lockf", "os.mkdir", "os.rename", "os.remove", "os.truncate", "os.link"):
        if event.startswith("fcntl") or sys.argv[1] in str(arguments):
            touched.append((event, arguments))
from autoselection.watch import StudyFolder, board
sys.addaudithook(audit)
folder = StudyFolder(Path(sys.argv[1]))
for _ in range(3):
    board(folder.look())
print(touched)
"""


def test_looking_takes_no_lock_and_writes_nothing(copied: Path) -> None:
    tell(copied, "t000-seed0")
    with Journal(copied / "journal.jsonl"):  # as a running study holds it
        before = {path: path.stat().st_mtime_ns for path in (copied, *copied.rglob("*"))}
        done = subprocess.run([sys.executable, "-c", LOOK, str(copied)], capture_output=True, text=True, check=True)
        assert {path: path.stat().st_mtime_ns for path in (copied, *copied.rglob("*"))} == before
    assert done.stdout.strip() == "[]", done.stdout


def test_a_study_can_be_run_on_while_it_is_looked_at(copied: Path) -> None:
    folder = StudyFolder(copied)
    folder.look()
    with Journal(copied / "journal.jsonl") as journal:
        journal.append("budget", before=4, evaluations=9, trials=4, rounds=1)
    found = folder.look()
    assert not found.record.finished and found.state == "unknown"


def test_nothing_is_made_again_while_nothing_changes(copied: Path) -> None:
    folder = StudyFolder(copied)
    first, second = folder.look(), folder.look()
    assert second.record is first.record and second.version == first.version
    assert folder.look(at_most_every=60) is second


def test_what_a_running_study_and_its_workers_say(copied: Path) -> None:
    tell(copied, "", process=40, stage="searching", counted=[
        {"what": "Search", "total": 4, "done": 2, "found": 0, "since": time.time() - 20, "latest": time.time()}
    ])  # fmt: skip
    tell(copied, "t001-seed0", process=41)
    tell(copied, "t002-seed1", process=42, ended="done", updated=time.time() - 5)
    found = StudyFolder(copied).look()
    assert found.state == "running" and found.stage == "searching"
    main, training, idle = found.workers
    assert (main.evaluation, training.evaluation, idle.evaluation) == ("", "t001, seed 0", "t002, seed 1")
    assert training.alive and training.loss == 2.25 and training.remaining == pytest.approx(20, abs=1)
    assert not idle.alive and idle.ended == "done"
    rate = found.work[0].rate
    assert rate is not None and rate.each == pytest.approx(10, abs=1) and rate.remaining == pytest.approx(20, abs=2)
    assert [curve.evaluation for curve in found.curves] == ["t001, seed 0", "t002, seed 1"]
    assert found.curves[0].points == ((1, 4.0), (2, 3.0), (3, 2.5), (4, 2.25)) and found.curves[0].running


def test_rows_of_the_final_table_are_called_by_their_names(copied: Path) -> None:
    tell(copied, "test01-seed0")
    tell(copied, "incumbent-0123abcd-seed2", process=42)
    tell(copied, "odd name", process=43)
    names = {curve.evaluation for curve in StudyFolder(copied).look().curves}
    assert names == {"base model, seed 0", "today's data, seed 2", "odd name"}


def test_a_killed_study_is_not_taken_for_a_running_one(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (copied / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (copied / "journal.jsonl").write_bytes(b"".join(lines[:-1]))  # without "finished"
    tell(copied, "", stage="searching", updated=time.time() - 60)
    tell(copied, "t001-seed0", updated=time.time() - 60)
    folder = StudyFolder(copied)
    found = folder.look()
    assert found.state == "silent" and found.workers == () and not found.curves[0].running
    tell(copied, "", stage="searching")  # the same command goes on
    assert folder.look().state == "running"
    tell(copied, "", stage="searching", ended="interrupted")
    assert folder.look().state == "stopped"
    tell(copied, "", stage="searching", ended="failed", error="data/dev.jsonl is gone.")
    assert folder.look().state == "failed"
    headline = board(folder.look()).now.headline
    assert "data/dev.jsonl is gone. Mended, the same search command" in headline


def test_a_worker_of_a_machine_whose_clock_is_off_lives_while_its_file_changes(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(copied, "", updated=time.time())
    tell(copied, "t001-seed0", process=77, updated=time.time() - 7200)
    folder = StudyFolder(copied)
    assert [worker.evaluation for worker in folder.look().workers] == [""]
    tell(copied, "t001-seed0", process=77, updated=time.time() - 7199, stage="scoring")
    assert [worker.stage for worker in folder.look().workers if worker.evaluation] == ["scoring"]
    monkeypatch.setattr(activities_module, "SILENT", 0.0)
    assert folder.look().workers == ()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"process": 1e999}',
        "x" * 100_000,
        json.dumps({"process": -1}),
        json.dumps({"losses": {"points": ["a"]}}),
    ],
    ids=range(8),
)
def test_a_file_that_is_no_activity_is_left_out(content: str, copied: Path) -> None:
    path = tell(copied, "t001-seed0")
    path.write_text(content)
    assert StudyFolder(copied).look().curves == ()


def test_pipes_links_and_too_long_curves_are_left_out(copied: Path, tmp_path: Path) -> None:
    os.mkfifo(tell(copied, "a-seed0").with_name("pipe"))
    (copied / "work" / "a-seed0" / "pipe").replace(copied / "work" / "a-seed0" / "activity.json")
    link = tell(copied, "b-seed0")
    shutil.move(link, tmp_path / "elsewhere.json")
    link.symlink_to(tmp_path / "elsewhere.json")
    tell(copied, "c-seed0", losses={"every": 1, "points": [1.0] * 2000})
    assert StudyFolder(copied).look().curves == ()


def test_a_damaged_journal_is_shown_as_far_as_it_is_sound(copied: Path) -> None:
    content = (copied / "journal.jsonl").read_bytes()
    (copied / "journal.jsonl").write_bytes(content.replace(b'"event": "verdict"', b'"event": "vordict"'))
    found = StudyFolder(copied).look()
    assert len(found.record.trials) == 4 and found.record.verdict is None
    assert "the journal is damaged" in found.record.notes[-1]


def test_events_of_an_unknown_form_are_one_sentence(copied: Path) -> None:
    (copied / "journal.jsonl").write_text('{"seq": 0, "event": "trial", "trial": {"id": "t000"}}\n')
    with pytest.raises(StudyError, match="what this version of the package does not know"):
        StudyFolder(copied).look()


def test_an_operator_that_is_not_installed_here_is_one_sentence_that_says_how_to_mend_it(copied: Path) -> None:
    events = [dict(event) for event in read_events(copied / "journal.jsonl")]
    trial = next(event["trial"] for event in events if event["event"] == "trial")
    trial["recipe"] = {"steps": [{"operator": "keep_my_rows", "params": {}}]}
    lines = [json.dumps({key: value for key, value in event.items() if key != "chain"}) + "\n" for event in events]
    (copied / "journal.jsonl").write_text("".join(lines))
    said = rf"the recipe of {trial['id']}: .*'keep_my_rows'.*install the package .* or use the version"
    with pytest.raises(StudyError, match=said):
        StudyFolder(copied).look()
    with pytest.raises(StudyError, match=said):
        study_sheets(Study(copied))


def test_what_is_no_study_is_refused_in_one_sentence(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"nowhere: no such folder"):
        StudyFolder(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyError, match="no study there; 'autoselection search"):
        StudyFolder(tmp_path / "empty")
    (copied / "journal.jsonl").write_text('{"seq": 0, "event": "study", "kind": "comparison"}\n')
    with pytest.raises(StudyError, match=r"holds a comparison, no study: name the directory of a study\."):
        StudyFolder(copied)
    (copied / "config.yaml").unlink()
    with pytest.raises(StudyError, match="cannot be read"):
        StudyFolder(copied)


def test_a_study_that_goes_away_is_a_sentence_and_is_seen_when_it_is_back(copied: Path) -> None:
    folder = StudyFolder(copied)
    first = folder.look()
    copied.rename(copied.with_name("moved"))
    with pytest.raises(StudyError, match="cannot be read"):
        folder.look()
    copied.with_name("moved").rename(copied)
    assert folder.look().record == first.record
