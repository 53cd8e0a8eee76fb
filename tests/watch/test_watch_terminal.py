"""The board in a terminal: everything is there, nothing is obeyed, it is refreshed until Ctrl-C."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from told_activities import tell

from autoselection.study import Study
from autoselection.terminal import Terminal
from autoselection.watch import StudyFolder, board
from autoselection.watch.board import size
from autoselection.watch.terminal import picture, sparkline, watch_terminal
from autoselection.wording import duration


def printed(folder: StudyFolder, *, width: int = 160, height: int | None = None) -> str:
    stream = io.StringIO()
    console = Terminal(file=stream, width=width)
    console.print(picture(board(folder.look()), console, height=height))
    return stream.getvalue()


def test_all_is_there(copied: Path) -> None:
    tell(copied, "", process=40, stage="searching", counted=[
        {"what": "Search", "total": 4, "done": 2, "found": 0, "since": time.time() - 20, "latest": time.time()}
    ])  # fmt: skip
    tell(copied, "t001-seed0")
    said = printed(StudyFolder(copied))
    for word in (
        "small", "searching", "Evaluations: 4 of 4", "Search", "2 of 4, 6 a minute", "to go", "Best so far: Trial t0", "Workers",
        "t001, seed 0", "4 of 8", "2.25", "1.0 GiB", "Loss of t001, seed 0", "Trials, the newest first", "t003", "Final table",
        "base model", "Remaining: Search: about",
    ):  # fmt: skip
        assert word in said, word


def test_where_there_is_no_terminal_it_is_shown_once(watched: Study) -> None:
    stream = io.StringIO()
    watch_terminal(StudyFolder(watched.path), Terminal(file=stream))
    assert "Finished." in stream.getvalue() and "\x1b" not in stream.getvalue()


def test_no_more_trials_than_fit(copied: Path) -> None:
    assert len(printed(StudyFolder(copied), height=12).splitlines()) < len(printed(StudyFolder(copied)).splitlines())


def test_hostile_names_are_not_obeyed(copied: Path) -> None:
    tell(copied, "", stage="[red]\x1b[2Jsearching\u202e")
    tell(copied, "[bold]x\x1b]0;title\x07-seed0", process=42, about={"split": "dev"}, stage="\x1b[31mtraining")
    said = printed(StudyFolder(copied))
    assert "\x1b" not in said and "\x07" not in said and "\u202e" not in said
    assert "[red]\\x1b[2Jsearching\\u202e" in said and "[bold]x\\x1b]0;title" in said


def test_a_sparkline_shows_a_curve_in_its_width() -> None:
    assert sparkline([0.0, 1.0, 2.0, 3.0], "0123") == "0123"
    assert sparkline([5.0, 5.0], "0123") == "00"
    assert len(sparkline([float(n) for n in range(1000)], "0123", width=40)) == 40
    assert sparkline([float(n) for n in range(80)], "01", width=40) == "0" * 20 + "1" * 20


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (89, "89 s"),
        (91, "2 min"),
        (5000, "83 min"),
        (7260, "2 h 1 min"),
        (4e5, "4.6 days"),
    ],
)
def test_durations_have_the_units_that_matter(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_sizes() -> None:
    assert (size(5 << 20), size(3 << 29)) == ("5 MiB", "1.5 GiB")


def test_it_is_refreshed_until_an_interrupt_ends_it(copied: Path) -> None:
    (copied / "journal.jsonl").write_bytes(
        b"".join((copied / "journal.jsonl").read_bytes().splitlines(keepends=True)[:-1])
    )
    tell(copied, "", stage="first stage")
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "autoselection", "watch", str(copied), "--terminal"],
        stdout=follower,
        stderr=subprocess.STDOUT,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what a shell starts behind & ignores it
    )
    os.close(follower)
    seen = b""
    step = 0
    try:
        while select.select([leader], [], [], 60)[0]:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            seen += part
            if step == 0 and b"first stage" in seen:
                tell(copied, "", stage="second stage")
                step = 1
            elif step == 1 and b"second stage" in seen:
                process.send_signal(signal.SIGINT)
                step = 2
        assert process.wait(timeout=30) == 0 and step == 2
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    assert b"Traceback" not in seen and seen.rstrip().splitlines()[-1].strip()  # what was seen last stays
