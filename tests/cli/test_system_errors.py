"""Whatever the system refuses, in whatever command: one sentence with the name, an exit code, nothing half-made."""

from __future__ import annotations

import errno
import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_line import Outcome
from refused_writes import refusing

from autoselection.errors import MissingExtraError, PoolError
from autoselection.system import naming, told

Command = Callable[..., Outcome]

KINDS = {
    errno.ENOSPC: "no space is left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "the operation is not permitted",
    errno.EROFS: "the file system is read-only",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENODEV: "there is no such device",
    errno.EISDIR: "this is a folder, not a file",
    errno.EEXIST: "this exists already",
    errno.EMFILE: "too many files are open",
    errno.ESTALE: "stale handle",
    errno.EIO: "the device failed to read or write",
    errno.ENOTCONN: "the connection to the file system is lost",
    errno.EXDEV: os.strerror(errno.EXDEV).lower(),  # one that we have no words for
}


def arguments(name: str, target: Path, rows: Path, pool: Path, study_file: Path) -> tuple[list[str | Path], int]:
    """A command that writes into ``target``, and the exit code of what it is about."""
    return {
        "ingest": (["ingest", rows, "--out", target / "pool"], 3),
        "materialize": (["materialize", "longest", "--pool", pool, "--ids", target / "ids.json"], 5),
        "apply": (["apply", "longest", "--pool", pool, "--out", target / "o.jsonl"], 5),
        "apply sharegpt": (["apply", "longest", "--pool", pool, "--format", "sharegpt", "--out", target / "o"], 5),
        "apply hf": (["apply", "longest", "--pool", pool, "--format", "hf", "--out", target / "o"], 5),
        "init": (["init", target / "study.yaml"], 2),
        "search": (["search", study_file, "--out", target / "study"], 7),
        "compare": (["compare", study_file, "--methods", "random", "--budget", "1", "--out", target / "study"], 7),
        "benchmark": (["benchmark", "gsm8k", *_gsm8k(rows), "--target", "20", "--out", target / "t"], 6),
    }[name]


NAMES = (
    "ingest",
    "materialize",
    "apply",
    "apply sharegpt",
    "apply hf",
    "init",
    "search",
    "compare",
    "benchmark",
)


def _gsm8k(rows: Path) -> list[str]:
    path = rows.with_name("gsm8k.jsonl")
    if not path.exists():
        items = [{"question": f"How many is {n} + 1?", "answer": f"It is so.\n#### {n + 1}"} for n in range(100)]
        path.write_text("".join(json.dumps(item) + "\n" for item in items))
        items = [{"question": f"How many is {n} + 2?", "answer": f"It is so.\n#### {n + 2}"} for n in range(50)]
        path.with_name("gsm8k-test.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return ["--source", f"train={path}", "--source", f"test={path.with_name('gsm8k-test.jsonl')}"]


@pytest.fixture(autouse=True)
def _recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "longest").write_text("steps: [{operator: truncate_samples, params: {fraction: 0.5}}]\n")
    monkeypatch.chdir(folder)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_every_command_tells_it_in_a_sentence_and_leaves_nothing(
    name: str, number: int, command: Command, tmp_path: Path, rows: Path, pool: Path, study_file: Path
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    given, code = arguments(name, target, rows, pool, study_file)
    with refusing(target, number) as tried:
        outcome = command(*given)
    assert tried, "the command wrote elsewhere"
    assert outcome.code == code, outcome.err
    last = outcome.err.strip().splitlines()[-1]
    assert last.startswith("error: ") and KINDS[number] in last and str(target) in last
    assert "Traceback" not in outcome.err and ".part" not in last and ".ingest-" not in last
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("number", KINDS)
def test_every_kind_has_its_words_and_a_document(number: int, command: Command, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with refusing(target, number):
        outcome = command("init", target / "study.yaml")
    assert outcome.code == 2 and KINDS[number] in outcome.err and str(target / "study.yaml") in outcome.err
    with refusing(target, number):
        outcome = command("ingest", "longest", "--out", target / "pool", "--json")
    assert outcome.error["code"] == outcome.code != 0


@contextmanager
def small_files(size: int) -> Iterator[None]:
    """A full disk of a kind: no file may become larger (bytes). Python ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("search", "compare")])
def test_a_disk_that_fills_up_while_writing_leaves_nothing(
    name: str, command: Command, tmp_path: Path, rows: Path, pool: Path, study_file: Path
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    given, code = arguments(name, target, rows, pool, study_file)
    with small_files(150):
        outcome = command(*given)
    assert outcome.code == code, outcome.err
    assert "the file would be larger than the system allows" in outcome.err and str(target) in outcome.err
    assert [path for path in target.rglob("*") if not path.is_dir()] == []
    assert list(target.iterdir()) == [] or name == "apply sharegpt"


@pytest.mark.parametrize("name", ["materialize", "init"])
def test_what_was_there_before_stays_whole(
    name: str, command: Command, tmp_path: Path, rows: Path, pool: Path, study_file: Path
) -> None:
    given, _ = arguments(name, tmp_path, rows, pool, study_file)
    path = next(part for part in given if isinstance(part, Path) and part.parent == tmp_path and part != pool)
    path.write_text("what was there\n")
    with small_files(150):
        outcome = command(*given, *(["--force"] if name == "init" else []))
    assert outcome.code != 0 and path.read_text() == "what was there\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_too_long(
    name: str, command: Command, tmp_path: Path, rows: Path, pool: Path, study_file: Path
) -> None:
    given, code = arguments(name, tmp_path / ("x" * 300), rows, pool, study_file)
    outcome = command(*given)
    assert outcome.code == code and "the name is too long" in outcome.err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["work"]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_that_is_a_file(
    name: str, command: Command, tmp_path: Path, rows: Path, pool: Path, study_file: Path
) -> None:
    (tmp_path / "file").write_text("x")
    given, _ = arguments(name, tmp_path / "file", rows, pool, study_file)
    outcome = command(*given)
    assert outcome.code in range(2, 8) and "Traceback" not in outcome.err and str(tmp_path / "file") in outcome.err
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize(
    "given",
    [
        ("ingest", "{bad}", "--out", "x"),
        ("score", "{bad}"),
        ("pool", "stats", "{bad}"),
        ("materialize", "{bad}", "--pool", "x"),
        ("materialize", "longest", "--pool", "{bad}"),
        ("apply", "longest", "--pool", "{bad}", "--out", "x"),
        ("config", "{bad}"),
        ("search", "{bad}", "--out", "x"),
        ("report", "{bad}"),
        ("doctor", "{bad}"),
        ("evaluate", "{bad}", "--subset", "x"),
        ("compute", "{bad}", "--budgets", "1"),
        ("diagnose", "{bad}"),
        ("compare", "{bad}", "--out", "x"),
        ("reproduce", "paper", "{bad}", "--dry-run"),
        ("sae", "train", "{bad}", "--model", "m", "--out", "x"),
        ("benchmark", "gsm8k", "--source", "{bad}"),
    ],
)
@pytest.mark.parametrize("bad", ["x" * 300, "nobody/here", "longest/below", "/proc/self/mem", "\udcff"])
def test_what_cannot_be_read_is_a_sentence_too(given: tuple[str, ...], bad: str, command: Command) -> None:
    outcome = command(*(part.format(bad=bad) for part in given))
    assert outcome.code in range(2, 9), outcome.err
    assert "error: " in outcome.err and "Traceback" not in outcome.err
    outcome = command(*(part.format(bad=bad) for part in given), *(["--json"] if given[0] != "config" else []))
    if given[0] != "config":
        assert outcome.error["message"]


def test_the_name_of_a_temporary_file_is_not_what_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ids.json"
    part = tmp_path / ".ids.json.0123456789ab.part"
    assert told(OSError(errno.ENOSPC, "full", str(part)))[0].startswith(f"{path}: ")
    with pytest.raises(OSError, match="full") as caught, naming(path):
        raise OSError(errno.ENOSPC, "full")
    assert caught.value.filename == str(path)
    with pytest.raises(OSError, match="full") as caught, naming(path):
        raise OSError(errno.ENOSPC, "full", "another")
    assert caught.value.filename == "another"


def test_libraries_that_wrap_a_system_error_are_understood() -> None:
    wrapped = type("SafetensorError", (Exception,), {})
    text = 'Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })'
    assert told(wrapped(text), "model") == (
        "model: no space is left on the device",
        "Free some space, or choose another place, and run the same command again",
    )
    assert told(OSError("[Errno 13] Error writing"), "x")[0] == "x: permission denied"
    assert told(MemoryError())[0] == "There is not enough memory"
    strange = type("ArrowInvalid", (ValueError,), {})("Not a Feather file")
    assert told(strange) == ("pyarrow could not read or write this (Not a Feather file)", told(strange)[1])


def test_special_files_are_written_to_and_not_replaced(command: Command, pool: Path, tmp_path: Path) -> None:
    link, real = tmp_path / "link.json", tmp_path / "real.json"
    real.write_text("old")
    link.symlink_to(real)
    assert command("materialize", "longest", "--pool", pool, "--ids", link).code == 0
    assert link.is_symlink() and len(json.loads(real.read_text())) == 30
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert command("materialize", "longest", "--pool", pool, "--ids", pipe).code == 0
        assert len(json.loads(os.read(reader, 100_000))) == 30
    finally:
        os.close(reader)


def test_errors_carry_hints_and_travel_between_processes() -> None:
    import pickle

    error = PoolError("What.", hint="A command.")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.hint) == ("What.", "A command.")
    missing = pickle.loads(pickle.dumps(MissingExtraError("ray", "ray", "This")))
    assert isinstance(missing, MissingExtraError) and missing.hint == "pip install 'autoselection[ray]'"
