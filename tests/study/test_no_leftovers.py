"""Commands that refuse before anything began leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoselection import files
from autoselection.errors import StudyError
from autoselection.ledger.journal import Journal, repair


@pytest.mark.parametrize("name", ["good.yaml", "chats.jsonl", "journal.jsonl", "study.json"])
def test_repairing_something_else_leaves_no_lock(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text("model: {path: x}\nmore: 1\n")
    with pytest.raises(StudyError, match=r"no journal; name|nothing before it can be kept: restore the file"):
        repair(file)
    assert list(tmp_path.iterdir()) == [file]


def test_repairing_a_copy_of_a_journal_leaves_no_lock(tmp_path: Path) -> None:
    with Journal(tmp_path / "s" / "journal.jsonl") as journal:
        journal.append("study")
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((tmp_path / "s" / "journal.jsonl").read_bytes() + b"x\n")
    assert repair(copy)[0] == 1 and not (tmp_path / ".lock").exists()
    assert repair(tmp_path / "s" / "journal.jsonl") == (1, None) and (tmp_path / "s" / ".lock").exists()


@pytest.mark.parametrize("there", [True, False])
def test_a_study_that_fails_before_its_first_event_leaves_nothing(there: bool, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    if there:
        folder.mkdir()
        (folder / "mine.txt").write_text("mine")
    with pytest.raises(RuntimeError), Journal(folder / "journal.jsonl"):
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == (["study", "mine.txt"] if there else [])
    with pytest.raises(RuntimeError), Journal(folder / "journal.jsonl") as journal:
        journal.append("study")
        raise RuntimeError
    assert (folder / "journal.jsonl").exists() and (folder / ".lock").exists()


def test_a_lock_whose_file_was_removed_while_it_was_waited_for_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock, calls = tmp_path / ".lock", files._lock, []

    def removed_once(handle: int, *, wait: bool) -> OSError | None:
        if not calls:
            path.unlink()
        calls.append(handle)
        return lock(handle, wait=wait)

    monkeypatch.setattr(files, "_lock", removed_once)
    with files.locked(path, wait=True):
        assert path.exists() and len(calls) == 2
        with pytest.raises(files.InUse), files.locked(path, wait=False):
            pass
