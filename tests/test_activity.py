"""What a process is at can be read from a file, and writing it never hinders the work."""

from __future__ import annotations

import errno
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from autoselection import activity as module
from autoselection.activity import FILE, POINTS, activity, counted, tell_loss, tell_losses, tell_stage
from autoselection.progress import progress
from autoselection.watch.activities import Activities


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.01)


def read(path: Path, until: Any = lambda found: True) -> dict[str, Any]:
    """What stands in the file as soon as it is what is waited for."""
    found: dict[str, Any] = {}
    for _ in range(500):
        if path.exists():
            found = json.loads(path.read_text())
            if until(found):
                return found
        time.sleep(0.01)
    raise AssertionError(f"never came: {found}")


def test_the_file_tells_stage_losses_and_work_and_how_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "activity.json"
    with activity(path, lambda: {"resident": 5}, seed=3):
        assert not path.exists()  # nothing before the first stage
        tell_stage("training", steps=4)
        tell_loss(2.0)
        tell_loss(1.0)
        tell_loss(float("nan"))
        with progress("Items", 10) as advance:
            advance(3, found=True)
            advance(2)
            during = read(path, lambda found: found["counted"] and found["counted"][0]["done"] == 5)
    assert during["stage"] == "training" and during["ended"] is None and during["about"] == {"seed": 3}
    assert during["steps"] == {"done": 2, "total": 4} and during["losses"] == {"every": 1, "points": [2.0, 1.0]}
    assert during["counted"][0] | {"since": 0, "latest": 0} == {
        "what": "Items",
        "total": 10,
        "done": 5,
        "found": 3,
        "since": 0,
        "latest": 0,
    }
    assert during["memory"] == {"resident": 5}
    after = json.loads(path.read_text())
    assert after["ended"] == "done" and after["counted"] == []


def test_an_error_passes_and_is_told_as_an_end(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two"), activity(tmp_path / "a", dict):
        tell_stage("one")
        raise ValueError("one\ntwo " + 600 * "x")
    told = json.loads((tmp_path / "a").read_text())
    assert told["ended"] == "failed" and told["error"] == "one two " + 491 * "x" + "…"


@pytest.mark.parametrize("steps", [1, POINTS, POINTS + 1, 2 * POINTS + 3, 5 * POINTS])
def test_a_long_curve_keeps_its_mean_in_bounded_room(steps: int, tmp_path: Path) -> None:
    with activity(tmp_path / "a", dict):
        tell_stage("training", steps=steps)
        for step in range(steps):
            tell_loss(float(step))
    found = json.loads((tmp_path / "a").read_text())["losses"]
    every, points = found["every"], found["points"]
    assert len(points) <= POINTS and len(points) == -(-steps // every)
    bins = [range(steps)[first : first + every] for first in range(0, steps, every)]
    assert points == pytest.approx([sum(part) / len(part) for part in bins], rel=1e-5)
    assert (tmp_path / "a").stat().st_size < 8_000


def test_losses_that_were_told_at_the_end_do_not_double_those_told_before(tmp_path: Path) -> None:
    with activity(tmp_path / "a", dict):
        tell_stage("training", steps=2)
        tell_losses([3.0, 2.0])
        tell_losses([3.0, 2.0])
    assert json.loads((tmp_path / "a").read_text())["losses"]["points"] == [3.0, 2.0]


def test_a_full_disk_ends_no_work_and_a_later_write_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full, tried, write = threading.Event(), threading.Event(), Path.write_text
    full.set()

    def refused(path: Path, *given: Any, **named: Any) -> int:
        if full.is_set() and path.name.endswith(".part"):
            path.touch()
            tried.set()
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, *given, **named)

    monkeypatch.setattr(Path, "write_text", refused)
    with activity(tmp_path / "a", dict):
        tell_stage("training")
        assert tried.wait(5)
        full.clear()
        assert read(tmp_path / "a")["stage"] == "training"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("broken", [RuntimeError, ValueError, OSError])
def test_memory_that_cannot_be_measured_ends_no_work(broken: type[Exception], tmp_path: Path) -> None:
    def measured() -> dict[str, int]:
        raise broken

    with activity(tmp_path / "a", measured):
        tell_stage("training")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_hangs_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    monkeypatch.setattr(Path, "write_text", lambda *_, **__: free.wait(20) and 0)
    started = time.monotonic()
    with activity(tmp_path / "a", dict):
        tell_stage("training")
        tell_loss(1.0)
    assert time.monotonic() - started < 5
    free.set()


def test_a_folder_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    with activity(tmp_path / "gone" / "a", dict):
        tell_stage("training")
        time.sleep(0.05)
    assert not (tmp_path / "gone").exists()


def test_threads_with_activities_of_their_own_do_not_mix(tmp_path: Path) -> None:
    ready = threading.Barrier(2)

    def work(name: str) -> None:
        with activity(tmp_path / name, dict):
            ready.wait(5)
            tell_stage(name, steps=1)
            ready.wait(5)
            tell_loss(float(len(name)))

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "bb")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    found = {name: json.loads((tmp_path / name).read_text()) for name in ("a", "bb")}
    assert {name: (entry["stage"], entry["losses"]["points"]) for name, entry in found.items()} == {
        "a": ("a", [1.0]),
        "bb": ("bb", [2.0]),
    }


def test_telling_without_an_activity_does_nothing() -> None:
    tell_stage("training")
    tell_loss(1.0)
    tell_losses([1.0])
    with counted("work", 3) as told:
        told(1, False)


def test_whoever_watches_can_read_what_names_of_files_and_long_works_make_of_it(tmp_path: Path) -> None:
    file = tmp_path / FILE
    with pytest.raises(ValueError, match="no file"), activity(file, dict, split="dev\udcff"):
        tell_stage("reading \udcff")
        with counted("reading " + "x" * 600, 10):
            read(file, lambda found: bool(found.get("counted")))
            (at_work,) = Activities(tmp_path).look(time.time())
            raise ValueError("no file \udcff.jsonl " + "y" * 600)
    (found,) = Activities(tmp_path).look(time.time())
    assert found.told.ended == "failed" and found.told.error.startswith(r"no file \udcff.jsonl yyy")
    assert found.told.stage == r"reading \udcff" and len(found.told.error) == 500
    assert at_work.told.counted[0].what.startswith("reading xxx") and len(at_work.told.counted[0].what) == 500
