"""Work is seen at once on a terminal, and in few lines in a log."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time

import pytest

from autoselection import progress as progress_module
from autoselection.progress import SHOW_AFTER_SECONDS, progress
from autoselection.progress_bar import Bar

SLOW = """
import time
import autoselection.progress_bar  # loaded before the clock starts
from autoselection.progress import console, progress
print("ready", flush=True)
with progress("Outer [/x] work", 4) as advance:
    input()
    for _ in range(4):
        with progress("Inner", 2) as inner:
            inner(); time.sleep(0.2); inner()
        advance()
console.say("over")
"""


def test_a_terminal_shows_at_once_what_is_done_and_how_far_it_is() -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=follower,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(follower)
    assert process.stdin is not None and process.stdout is not None and process.stdout.readline() == b"ready\n"
    started, seen, first = time.monotonic(), b"", None
    try:
        while select.select([leader], [], [], 30)[0]:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            seen += part
            if first is None and b"0/4" in seen:
                first = time.monotonic() - started
                process.stdin.write(b"seen\n")  # the first unit begins when the bar was seen
                process.stdin.flush()
        assert first is not None and first < SHOW_AFTER_SECONDS  # in a log nothing would be there yet
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
    text = seen.decode()
    assert "Outer [/x] work" in text and "Inner" in text and "2/4" in text and "over" in text
    assert re.search(r"\d:\d\d:\d\d", text.replace("-:--:--", "")) is not None or "0:00:0" in text
    os.close(leader)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_quick_work_says_nothing_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("Quick", 3) as advance:
        advance(3)
    assert lines(capsys) == []


def test_a_log_has_a_line_although_nothing_is_finished_yet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "SHOW_AFTER_SECONDS", 0.05)
    with progress("Slow", 1000) as advance:
        time.sleep(0.3)
        assert lines(capsys) == ["Slow: 0 of 1,000"]
        advance(10)
        (line,) = lines(capsys)
        assert re.fullmatch(r"Slow: 10 of 1,000, about \d+ s to go", line)
    assert re.fullmatch(r"Slow: 10 in 0\.\d s", lines(capsys)[0])


def test_the_number_of_lines_grows_with_the_logarithm_of_the_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: clock[0])
    with progress("Long", 100_000) as advance:
        for _ in range(100_000):  # a day
            clock[0] += 0.864
            advance()
    said = lines(capsys)
    assert 5 < len(said) < 15 and said[-1] == "Long: 100,000 in 86,400.0 s"
    assert said[0] == "Long: 3 of 100,000, about 24 h to go"
    assert re.search(r"about \d+ h \d+ min to go$", said[-2])


def test_a_failure_takes_the_lines_away(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "SHOW_AFTER_SECONDS", 0.05)
    with pytest.raises(ValueError, match="broken"), progress("Doomed", None):
        raise ValueError("broken")
    time.sleep(0.15)
    assert lines(capsys) == []


def test_units_that_were_done_before_do_not_count_in_the_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six evaluations are replayed in three seconds; the seventh and eighth take forty each."""
    clock = [1000.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: clock[0])
    with progress("Search", 10) as advance:
        for _ in range(6):
            clock[0] += 0.5
            advance(found=True)
        clock[0] += 40
        advance()
        clock[0] += 40
        advance()
    said = lines(capsys)
    assert said[0] == "Search: 5 of 10", "a rate of nothing new is none"
    assert said[1] == "Search: 7 of 10, about 2 min to go"  # 3 times 40 s
    assert said[-1] == "Search: 2 in 83.0 s"


def test_the_bar_of_work_that_goes_on_begins_its_rate_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module.sys.stderr, "isatty", lambda: True, raising=False)
    with progress("Search", 10) as advance:
        for _ in range(6):
            advance(found=True)
        (task,) = Bar._display.tasks  # type: ignore[union-attr]
        assert task.completed == 6 and task.speed is None
        advance()
        assert task.completed == 7
