"""The journal: what is on disk survives, what is torn is cut off, what is damaged is named and can be cut off."""

from __future__ import annotations

import errno
import fcntl
import json
import multiprocessing
import random
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.study.test_cli import run

from autoselection.agents.dev_only import DevJournal
from autoselection.errors import StudyError
from autoselection.llm.exchanges import ExchangeLog
from autoselection.study import Journal, decisions, read_events
from autoselection.study.study import check_folder
from autoselection.watch.journal import FollowedJournal


def written(path: Path, events: int = 6) -> list[bytes]:
    """A journal of some events; its lines."""
    with Journal(path) as journal:
        for number in range(events):
            journal.append("trial", trial={"id": f"t{number:03d}", "edit": "line\u2028break", "score": number / 7})
    return path.read_bytes().splitlines(keepends=True)


def test_events_are_read_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("study", rows=3)
        journal.append("trial", trial={"id": "t001", "edit": "line\u2028break"})
    events = read_events(path)
    assert [event["seq"] for event in events] == [0, 1]
    assert events[1]["trial"]["edit"] == "line\u2028break"
    assert Journal(path).of("trial") == [events[1]] == journal.of("trial")


@pytest.mark.parametrize(
    "tail", [b'{"seq": 1, "event": "eval', b"\0" * 64, b"{", b'{"seq": 1, "event": "trial", "chain": "00"}']
)
def test_a_torn_last_line_is_ignored_by_readers_and_cut_off_by_the_writer(tail: bytes, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("study", rows=3)
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    assert len(read_events(path)) == 1
    with Journal(path) as journal:
        assert journal.cut_bytes == len(tail)
        journal.append("trial")
    assert [event["event"] for event in read_events(path)] == ["study", "trial"]


@pytest.mark.parametrize("room", [0, 0.3, 0.7])
@pytest.mark.parametrize("length", [2_000, 100_000])
def test_a_line_that_the_disk_has_no_room_for_leaves_nothing(room: float, length: int, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("study", rows=3)
        whole, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + int(room * length), limits[1]))
            with pytest.raises(OSError, match="too large"):
                journal.append("trial", text="x" * length)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert path.read_bytes() == whole
        journal.append("trial", text="x" * length)
    assert [event["event"] for event in read_events(path)] == ["study", "trial"]


def test_every_cut_keeps_the_whole_lines_before_it(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    lines = written(path, 3)
    content = b"".join(lines)
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        # A line that lacks nothing but its line feed is whole.
        whole = sum(
            content[:cut].count(b"\n", 0, cut) > n or content[:cut].endswith(line[:-1]) for n, line in enumerate(lines)
        )
        assert len(read_events(path)) == whole
        with Journal(path) as journal:
            journal.append("next")
        assert [event["seq"] for event in read_events(path)] == list(range(whole + 1))


def test_a_blank_line_and_foreign_line_ends_are_harmless(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    lines = written(path)
    events = read_events(path)
    for content in (b"\n".join(lines), b"".join(lines).replace(b"\n", b"\r\n"), b"\n\n" + b"".join(lines) + b" \n\r\n"):
        path.write_bytes(content)
        assert read_events(path) == events
        with Journal(path) as journal:
            journal.append("trial")
        assert len(read_events(path)) == len(events) + 1


def broken(path: Path, content: bytes) -> int | None:
    """The number of the line that reading complains about; None if it does not."""
    path.write_bytes(content)
    try:
        read_events(path)
    except StudyError as error:
        assert f"{path}:" in str(error) and "damaged" in str(error), error
        return int(str(error).split(":")[1])
    return None


def test_a_line_that_was_doubled_removed_or_moved_is_named(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    lines = written(path)
    for at in range(len(lines)):
        doubled = lines[: at + 1] + lines[at:]
        assert broken(path, b"".join(doubled)) == at + 2
        if at + 1 < len(lines):  # without its last line it is the journal of a study that was stopped before
            assert broken(path, b"".join(lines[:at] + lines[at + 1 :])) == at + 1
            swapped = [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]
            assert broken(path, b"".join(swapped)) == at + 1
    other = tmp_path / "other" / "journal.jsonl"
    theirs = written(other)
    assert broken(path, b"".join([*lines[:3], *theirs[3:]])) == 4, "lines of another journal"


def test_no_flipped_bit_is_read_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    content = b"".join(written(path))
    events, draw = read_events(path), random.Random(5)
    for at in [*draw.sample(range(len(content)), 300), len(content) - 1, content.index(b"\n")]:
        flipped = bytearray(content)
        flipped[at] ^= 1 << draw.randrange(8)
        line = content.count(b"\n", 0, at) + 1
        found = broken(path, bytes(flipped))
        if found is None:  # only the last line feed says nothing: the line before it is whole
            assert at == len(content) - 1 and read_events(path) == events
        else:
            assert found in (line, line + 1)


def test_a_damaged_line_in_the_middle_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text('{"seq": 0, "event": "study"}\nnot json\n{"seq": 2, "event": "trial"}\n')
    with pytest.raises(StudyError, match=r"journal\.jsonl:2"):
        Journal(path)


@pytest.mark.parametrize(
    "line",
    ["[]", "3", "null", "{}", '{"seq": 0}', '{"seq": "0", "event": "a"}', '{"seq": true, "event": "a"}',
     '{"seq": 0, "event": 3}', '{"seq": 0, "event": "a", "x": ' + "9" * 5000 + "}", "[" * 100_000, "\ud800", '"\\', "\0"],
)  # fmt: skip
def test_a_line_of_a_wrong_shape_is_one_sentence(line: str, tmp_path: Path) -> None:
    assert broken(tmp_path / "journal.jsonl", line.encode("utf-8", "surrogatepass") + b"\n") == 1
    (tmp_path / "llm.jsonl").write_bytes(line.encode("utf-8", "surrogatepass") + b"\n")
    with pytest.raises(StudyError, match=r"llm\.jsonl:1: .* is damaged"):
        ExchangeLog(tmp_path / "llm.jsonl")


def old(lines: list[bytes]) -> list[bytes]:
    """The lines as older versions wrote them, without checksums."""
    records = [json.loads(line) for line in lines]
    return [json.dumps({k: v for k, v in r.items() if k != "chain"}).encode() + b"\n" for r in records]


def test_an_old_journal_opens_says_that_it_is_unchecked_and_is_vouched_for_from_then_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "journal.jsonl"
    lines = old(written(path))
    path.write_bytes(b"".join(lines))
    assert len(Journal(path).events) == 6
    assert "its 6 lines are not checked" in capsys.readouterr().err
    assert broken(path, b"".join(lines[:2] + lines[3:])) == 3, "their numbers tell that one is missing"
    path.write_bytes(b"".join(lines))
    with Journal(path) as journal:
        journal.append("trial", trial={"id": "t006"})
    assert len(read_events(path)) == 7
    content = path.read_bytes()
    assert broken(path, content.replace(b"t002", b"t003", 1)) == 7, "the line that vouches for those before it"


def test_the_sound_part_of_a_damaged_journal_is_kept_by_a_command(tmp_path: Path) -> None:
    path = tmp_path / "study" / "journal.jsonl"
    lines = written(path)
    damaged = b"".join([*lines[:4], lines[4].replace(b"t004", b"t005"), *lines[5:]])
    assert broken(path, damaged) == 5
    with pytest.raises(
        StudyError, match=r"the 4 lines before it are sound, and `autoselection repair .*journal\.jsonl`"
    ):
        Journal(path)
    code, text, _ = run("repair", path, "--json")
    assert code == 0 and json.loads(text)["lines"] == 4
    copy = Path(json.loads(text)["damaged"])
    assert copy.read_bytes() == damaged and path.read_bytes() == b"".join(lines[:4])
    with Journal(path) as journal:
        journal.append("trial", trial={"id": "t004"})
    code, text, _ = run("repair", path, "--json")
    assert code == 0 and json.loads(text) == {"file": str(path), "lines": 5, "damaged": None}
    path.write_bytes(b"x\n")
    code, _, message = run("repair", path)
    assert code == 7 and "nothing before it can be kept" in message and path.read_bytes() == b"x\n"
    assert run("repair", tmp_path / "nothing.jsonl")[0] == 7


def test_two_writers_without_a_lock_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal(path) as journal:
        journal.append("study")
        with path.open("ab") as other:
            other.write(b'{"seq": 1, "event": "theirs"}\n')
        with pytest.raises(StudyError, match="another process wrote"):
            journal.append("trial")


def test_not_a_number_never_reaches_the_file(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl") as journal, pytest.raises(ValueError):
        journal.append("evaluation", score=float("nan"))
    assert read_events(tmp_path / "journal.jsonl") == []


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
        assert ready.wait(60)
        with pytest.raises(StudyError, match="another process"), Journal(tmp_path / "journal.jsonl"):
            pass
    finally:
        done.set()
        process.join()
    with Journal(tmp_path / "journal.jsonl"):
        pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EINVAL])
def test_a_file_system_without_locks_is_named_as_such(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.append("study")
    said = capsys.readouterr().err
    assert "Locking failed" in said and "No locks available" in said and "another process" not in said
    assert len(read_events(tmp_path / "journal.jsonl")) == 1


@pytest.mark.parametrize("opened", [DevJournal, FollowedJournal])
def test_a_journal_that_is_read_without_its_lock_cannot_be_written(opened: type[Journal], tmp_path: Path) -> None:
    """It keeps fewer events than the file has: the next one would get a number that is there already."""
    path = tmp_path / "journal.jsonl"
    written(path)
    with Journal(path) as journal:
        journal.append("test", name="winner")
    before, found = path.read_bytes(), opened(path)
    with pytest.raises(RuntimeError, match="for reading only"), found:
        found.append("trial")
    with pytest.raises(RuntimeError, match="needs the lock"):
        found.append("trial")
    assert path.read_bytes() == before


def test_decisions_leave_out_times_and_costs() -> None:
    first = [{"seq": 0, "time": 1.0, "event": "evaluation", "result": {"score": 1.0, "seconds": {"total": 3.0}}}]
    second = json.loads(json.dumps(first))
    second[0]["time"] = 2.0
    second[0]["result"]["seconds"] = {"total": 4.0}
    assert decisions(first) == decisions(second)
    second[0]["result"]["score"] = 2.0
    assert decisions(first) != decisions(second)


@pytest.mark.parametrize("left", [b"", b'{"seq": 0, "ev', b"\n"])
def test_a_journal_that_lost_all_its_lines_is_not_a_new_study(left: bytes, tmp_path: Path) -> None:
    (tmp_path / "subsets").mkdir()
    (tmp_path / "subsets" / "t001.npy").write_bytes(b"x")
    with Journal(tmp_path / "journal.jsonl"):  # moved away, to start again
        pass
    (tmp_path / "journal.jsonl").write_bytes(left)
    with pytest.raises(
        StudyError,
        match=r"journal.jsonl: the journal is damaged: it holds no event, and subsets/.*another folder \(--out",
    ):
        Journal(tmp_path / "journal.jsonl")
    (tmp_path / "journal.jsonl").rename(tmp_path.parent / "away.jsonl")
    with pytest.raises(StudyError, match="choose another --out"):  # as it was told
        check_folder(tmp_path, "study")
    (tmp_path.parent / "away.jsonl").rename(tmp_path / "journal.jsonl")
    (tmp_path / "subsets" / "t001.npy").unlink()
    Journal(tmp_path / "journal.jsonl")
