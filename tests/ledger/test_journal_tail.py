"""A journal is read on while a study adds to it: the same events, each once, without its lock."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from autoselection import files
from autoselection.ledger.journal import Journal, journal_tail, read_events


class Read:
    """What a tail handed on since the file began."""

    def __init__(self, path: Path) -> None:
        self.tail = journal_tail(path)
        self.events: list[dict[str, Any]] = []
        self.restarts = 0

    def on(self) -> int:
        """Read on; how many events came."""
        before = self.restarts, len(self.events)
        self.tail.follow(self._restart, lambda event: self.events.append(event))
        return len(self.events) - (before[1] if self.restarts == before[0] else 0)

    def _restart(self) -> None:
        self.events, self.restarts = [], self.restarts + 1


def test_each_event_comes_once_and_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.touch()
    read = Read(path)
    assert read.on() == 0
    with Journal(path) as journal:  # whose lock is held meanwhile
        for number in range(5):
            journal.append("trial", number=number, text="é\u2028" * number)
            assert read.on() == 1 and read.on() == 0
        assert read.events == journal.events
    assert read.tail.broken is None


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_a_file_that_comes_byte_by_byte_gives_the_same(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoselection.jsonl._BLOCK", block)
    with Journal(tmp_path / "whole" / "journal.jsonl") as journal:
        for number in range(3):
            journal.append("trial", number=number)
    content = journal.path.read_bytes()
    growing = tmp_path / "growing.jsonl"
    growing.write_bytes(b"")
    read = Read(growing)
    for end in range(1, len(content) + 1):
        with growing.open("ab") as file:
            file.write(content[end - 1 : end])
        read.on()
        assert len(read.events) == content[:end].count(b"\n") and read.tail.broken is None
    assert read.events == journal.events and read.restarts == 1


def test_only_what_is_new_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("trial", text="x" * 100_000)
        read = Read(path)
        read.on()
        parsed: list[int] = []
        parse = files.parse_json
        monkeypatch.setattr(files, "parse_json", lambda text: parsed.append(len(text)) or parse(text))
        assert read.on() == 0 and parsed == []
        journal.append("round")
        assert read.on() == 1 and len(parsed) == 1 and parsed[0] < 200


def test_a_journal_that_begins_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("study", rows=1)
        read = Read(path)
        read.on()
        journal.start_again()
        journal.append("study", rows=2)
        read.on()
    assert [event["rows"] for event in read.events] == [2] and read.restarts == 2


def test_a_torn_line_is_left_until_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("study")
    with path.open("ab") as file:
        file.write(b'{"seq": 1, "ti')
    read = Read(path)
    assert read.on() == 1 and read.tail.broken is None
    with Journal(path) as journal:  # cuts it off
        journal.append("trial", number=0)
    read.on()
    assert read.events == read_events(path) and len(read.events) == 2


def test_what_is_before_a_damaged_line_is_there_and_a_repair_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        for number in range(3):
            journal.append("trial", number=number)
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b'"number": 1', b'"number": 7'))
    read = Read(path)
    assert read.on() == 1
    assert read.tail.broken is not None and f"{path}:2: the journal is damaged" in read.tail.broken
    path.write_bytes(sound)
    os.utime(path, ns=(1, 1))
    assert read.on() == 3 and read.tail.broken is None


def test_lines_of_older_versions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("".join(json.dumps({"seq": n, "event": "trial"}) + "\n" for n in range(2)), encoding="utf-8")
    read = Read(path)
    assert read.on() == 2 and read.tail.broken is None
