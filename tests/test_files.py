"""Files that are whole or not there, leftovers of killed runs, locks, and which earlier checks are believed."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refused_writes import read_only

from autoselection import files

KILLED = """
import os, sys, time
from pathlib import Path
from autoselection import files
with getattr(files, sys.argv[1])(Path(sys.argv[2])) as opened:
    if sys.argv[1] == "whole_file":
        opened.write("half"); opened.flush()
    else:
        (opened / "half").write_text("half")
    print("writing", flush=True)
    time.sleep(float(sys.argv[3]))
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Any]:
    """``writer(what, name)``: a process that is in the middle of writing ``tmp_path / name``."""
    started = []

    def start(what: str, name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", KILLED, what, str(tmp_path / name), "60"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize("what", ["whole_file", "whole_folder"])
def test_what_a_killed_run_left_is_removed_and_what_a_living_one_writes_is_not(
    what: str, tmp_path: Path, writer: Any
) -> None:
    killed, living = writer(what, "killed"), writer(what, "living")
    killed.kill()
    killed.wait()
    assert len(names(tmp_path)) == 2
    files.write_text(tmp_path / "another.txt", "whole")  # whatever is written next to it
    assert [name.split(".")[1] for name in names(tmp_path) if name.endswith(".part")] == ["living"]
    living.kill()
    living.wait()
    files.write_text(tmp_path / "another.txt", "whole")
    assert names(tmp_path) == ["another.txt"]


def test_a_folder_that_was_being_replaced_gets_its_place_back(tmp_path: Path) -> None:
    old, part = tmp_path / f".data.{'a' * 12}.old", tmp_path / f".data.{'b' * 12}.part"
    for folder in (old, part):
        folder.mkdir()
        (folder / "rows").write_text(folder.name)
    files.remove_leftovers(tmp_path)
    assert names(tmp_path) == ["data"] and (tmp_path / "data" / "rows").read_text() == old.name
    (tmp_path / "data").rename(old)
    (tmp_path / "data").mkdir()  # the new one is in place: the old one is done with
    files.remove_leftovers(tmp_path)
    assert names(tmp_path) == ["data"] and names(tmp_path / "data") == []


@pytest.mark.parametrize(
    "name", [".data.part", ".data.old", "data.aaaaaaaaaaaa.part", ".data.AAAAAAAAAAAA.part", ".x.aaaaaaaaaaaa.tmp"]
)
def test_files_of_others_are_left_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("dear")
    files.write_text(tmp_path / "mine", "x")
    assert names(tmp_path) == sorted([name, "mine"])


def test_where_locks_do_not_tell_only_what_is_old_is_a_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    part = tmp_path / f".data.{'a' * 12}.part"
    part.write_text("half")
    files.write_text(tmp_path / "mine", "x")
    assert part.exists()
    os.utime(part, (time.time() - 2 * 86_400,) * 2)
    files.write_text(tmp_path / "mine", "y")
    assert names(tmp_path) == ["mine"] and (tmp_path / "mine").read_text() == "y"


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    files.write_text(tmp_path / "data", "old")
    with pytest.raises(RuntimeError), files.whole_file(tmp_path / "data") as stream:
        stream.write("half")
        raise RuntimeError
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("old")
    with pytest.raises(RuntimeError), files.whole_folder(tmp_path / "folder") as folder:
        (folder / "half").write_text("half")
        raise RuntimeError
    assert names(tmp_path) == ["data", "folder"] and names(tmp_path / "folder") == ["old"]
    assert (tmp_path / "data").read_text() == "old"


@pytest.mark.parametrize("code", [errno.EWOULDBLOCK, errno.EACCES])
def test_a_lock_that_is_held_is_told_from_one_that_cannot_be_had(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, "held")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(files.InUse), files.locked(tmp_path / "lock", wait=False):
        pass


def test_a_check_is_believed_only_of_a_file_that_had_rested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, stamps = tmp_path / "data", tmp_path / files.STAMPS_FILE
    path.write_text("content")
    digest, now = files.checksum(path), path.stat().st_ctime
    read: list[Path] = []
    checksum = files.checksum
    monkeypatch.setattr(files, "checksum", lambda path: read.append(path) or checksum(path))
    for after, known, reads in ((0.5, False, 1), (1.9, False, 2), (-5.0, False, 3), (2.5, True, 4), (2.6, True, 4)):
        monkeypatch.setattr(files.time, "time", lambda after=after: now + after)
        assert files.is_sound(path, digest, stamps)
        assert (len(read), stamps.exists()) == (reads, known), after
    files._good.clear()  # another process
    assert files.is_sound(path, digest, stamps) and len(read) == 4
    assert not files.is_sound(path, "0" * 32, stamps), "good for one checksum only"


def test_a_stamp_that_cannot_be_written_costs_a_check_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    path.write_text("content")
    monkeypatch.setattr(files.time, "time", lambda: path.stat().st_ctime + 10)
    digest = files.checksum(path)
    assert files.is_sound(path, digest, tmp_path / "nowhere" / files.STAMPS_FILE)
    files._good.clear()
    with read_only(tmp_path):
        assert files.is_sound(path, digest, tmp_path / files.STAMPS_FILE)
    assert names(tmp_path) == ["data"]


def test_sealed_documents_are_read_back_as_json(tmp_path: Path) -> None:
    document = {"b": (1, 2.5, None), "a": {10: "ten", 2: "zwei – ü", "x": float("nan")}}
    files.write_sealed(tmp_path / "data.json", document)
    found, sealed = files.read_sealed(tmp_path / "data.json")
    assert sealed and found["b"] == [1, 2.5, None] and found["a"]["10"] == "ten" and np.isnan(found["a"]["x"])


@pytest.mark.parametrize(
    "content", [b"", b"\x93NUMPY", b"x" * 200, b"\x93NUMPY\x01\x00v\x00{'descr': (((", b"PK\x03\x04"]
)
def test_arrays_that_are_none_are_one_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "rows.npy").write_bytes(content)
    with pytest.raises(ValueError):
        files.read_rows(tmp_path / "rows.npy")
    for array in (np.zeros((2, 2), np.int64), np.zeros(3), np.array(["a"])):
        files.write_array(tmp_path / "rows.npy", array)
        with pytest.raises(ValueError, match="no list of row numbers"):
            files.read_rows(tmp_path / "rows.npy")


@pytest.mark.parametrize("before", ["full", "empty", "missing"])
def test_a_folder_is_written_where_its_link_leads(before: str, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk/out")
    if before != "missing":
        (tmp_path / "disk" / "out").mkdir()
    if before == "full":
        (tmp_path / "disk" / "out" / "old").write_text("old")
    with files.whole_folder(tmp_path / "out") as folder:
        (folder / "new").write_text("new")
    assert names(tmp_path) == ["disk", "out"] and (tmp_path / "out").is_symlink()
    assert names(tmp_path / "disk") == ["out"] and names(tmp_path / "disk" / "out") == ["new"]


def test_a_link_that_leads_in_a_circle_gives_way_to_the_file(tmp_path: Path) -> None:
    """Path.resolve raises an exception of its own for it, on some versions of Python."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    files.write_text(tmp_path / "a", "whole")
    assert (tmp_path / "b").read_text() == "whole" and not (tmp_path / "a").is_symlink()
