"""How commands end: usage, our errors, interrupts, SIGTERM, closed pipes, full disks behind standard output, and bugs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import Outcome

from autoselection.errors import MissingExtraError, PoolError

Command = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Handlers of signals and exceptions belong to the test run."""
    before, hook = signal.getsignal(signal.SIGINT), sys.excepthook
    yield
    signal.signal(signal.SIGINT, before)
    sys.excepthook = hook


@pytest.mark.parametrize(
    ("given", "words", "command_path"),
    [
        (["nonsense"], "nonsense", "autoselection"),
        (["ingest"], "files", "autoselection ingest"),
        (["ingest", "x", "--out", "p", "--no-such-option"], "--no-such-option", "autoselection ingest"),
        (["ingest", "x", "--out", "p", "--on-bad-row", "maybe"], "maybe", ""),
        (["ingest", "x", "--out", "p", "--parse", "no"], "'--parse': 'no' is not one of", "autoselection ingest"),
        (["ingest", "x", "--out", "p", "--from", "no"], "'--from': 'no' is not one of", "autoselection ingest"),
        (["pool", "nonsense"], "nonsense", "autoselection pool"),
        (["compute", "s", "--budgets", "1", "--split", "train"], "train", "autoselection compute"),
        (
            ["sae", "train", "p", "--model", "m", "--out", "s", "--features", "many"],
            "--features",
            "autoselection sae train",
        ),
        (["materialize", "r", "--seed", "1e999", "--pool", "p"], "--seed", "autoselection materialize"),
    ],
)
def test_wrong_usage_is_a_sentence_and_a_document(
    given: list[str], words: str, command_path: str, command: Command
) -> None:
    outcome = command(*given)
    assert outcome.code == 2 and outcome.out == ""
    assert (outcome.err.startswith("error: ") and words in outcome.err and f"{command_path} --help" in outcome.err) or (
        command_path == "" and words in outcome.err
    )
    error = command(*given, "--json").error
    assert error["code"] == 2 and words in error["message"]
    if command_path:
        assert error["hint"] == f"'{command_path} --help' lists what may be given."


def test_help_and_version_still_work(command: Command) -> None:
    assert command("--version").out.startswith("autoselection ")
    for given in (["--help"], ["ingest", "--help"], ["pool", "--help"], ["reproduce", "paper", "--help"]):
        outcome = command(*given)
        assert outcome.code == 0 and "Usage" in outcome.out
    assert command().code == 2  # no command: the help, and an exit code that scripts notice


def test_every_command_is_in_a_group_and_has_an_example(command: Command) -> None:
    listed = command("--help").out
    for panel in ("Data", "Recipes", "Search", "Evidence"):
        assert f"─ {panel} ─" in listed
    assert "─ Commands ─" not in listed
    import typer

    from autoselection.cli import app

    def leaves(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        for name, found in group.commands.items():
            if hasattr(found, "commands"):
                yield from leaves(found, (*path, name))
            else:
                yield (*path, name), found

    for path, found in leaves(typer.main.get_command(app), ("autoselection",)):
        assert (found.epilog or "").startswith(f"Example: {' '.join(path)}"), path


def test_an_error_of_ours_is_a_document_with_its_hint(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    error = command("pool", "stats", "nowhere", "--json").error
    assert error["code"] == 3 and "nowhere" in error["message"]

    def missing(*_: object, **__: object) -> None:
        raise MissingExtraError("ray", "ray", "This")

    monkeypatch.setattr("autoselection.pool.ingest", missing)
    outcome = command("ingest", "x", "--out", "p", "--json")
    assert outcome.error == {
        "code": 8,
        "message": "This needs the package 'ray': install it with pip install 'autoselection[ray]'.",
        "hint": "pip install 'autoselection[ray]'",
    }
    assert outcome.err.count("pip install") == 1  # what the sentence says is not said twice


def test_a_message_that_quotes_a_megabyte_is_cut(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(*_: object, **__: object) -> None:
        raise PoolError("first line\nno row with the id '" + "x" * 1_000_000 + "'")

    monkeypatch.setattr("autoselection.pool.ingest", failed)
    outcome = command("ingest", "x", "--out", "p")
    assert outcome.code == 3 and "first line\nno row with the id 'xxx" in outcome.err and len(outcome.err) < 2100
    assert len(command("ingest", "x", "--out", "p", "--json").error["message"]) < 2100


def test_an_interrupt_that_a_library_made_an_error_of_is_one(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def loading(*_: object, **__: object) -> None:
        raise ImportError("initialization failed") from KeyboardInterrupt()

    monkeypatch.setattr("autoselection.pool.ingest", loading)
    outcome = command("ingest", "x", "--out", "p")
    assert (outcome.code, outcome.err) == (130, "interrupted: run the same command again to go on\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("can't start new thread"), "error: p: the system starts no more threads or processes. Close"),
        (
            ImportError("libx.so: failed to map segment from shared object"),
            "error: p: there is not enough memory. Close",
        ),
        (
            RuntimeError("Symlink loop from '/a/b'"),
            "error: /a/b: the symbolic links of this path lead in a circle. Fix",
        ),
    ],
)
def test_errors_of_the_system_under_other_names_are_sentences(
    error: Exception, said: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoselection.pool.ingest", lambda *_, **__: (_ for _ in ()).throw(error))
    outcome = command("ingest", "x", "--out", "p")
    assert outcome.code == 3 and outcome.err.startswith(said)


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_an_interrupt_says_how_to_go_on(
    number: signal.Signals, code: int, word: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned: list[bool] = []

    def interrupted(*_: object, **__: object) -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        finally:
            cleaned.append(True)

    monkeypatch.setattr("autoselection.pool.ingest", interrupted)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background, shells have it ignored
    before = signal.getsignal(signal.SIGTERM)
    outcome = command("ingest", "x", "--out", "p")
    assert outcome.code == code and outcome.err == f"{word}: run the same command again to go on\n"
    assert cleaned == [True] and signal.getsignal(signal.SIGTERM) == before
    signal.signal(signal.SIGINT, signal.default_int_handler)
    error = command("ingest", "x", "--out", "p", "--json").error
    assert error == {"code": code, "message": word, "hint": "run the same command again to go on"}


def test_a_bug_keeps_its_traceback_and_is_a_document(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def bug(*_: object, **__: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr("autoselection.pool.ingest", bug)
    with pytest.raises(KeyError, match="ours") as caught:
        command("ingest", "x", "--out", "p", "--json")
    sys.excepthook(caught.type, caught.value, caught.tb)
    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["code"] == 1 and "report it" in captured.out
    assert "Traceback" in captured.err
    with pytest.raises(KeyError):
        command("ingest", "x", "--out", "p")


def shell(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    """A command in a process of its own."""
    script = [sys.executable, "-c", "from autoselection.cli import main; main()", *map(str, arguments)]
    return subprocess.Popen(script, stderr=subprocess.PIPE, text=True, errors="replace", **options)


@pytest.mark.parametrize("given", [["recipes"], ["recipes", "--json"], ["recipes", "high-ifd"], ["--help"]])
def test_a_reader_that_goes_away_is_no_error(given: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    process = shell(*given, stdout=write)
    os.close(write)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, "")


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_an_interrupt_while_the_command_is_loaded(number: int, code: int, word: str) -> None:
    script = (
        "import os, signal, sys; sys.argv = ['/bin/autoselection', '--version']\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"        name == 'typer' and os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from autoselection.cli import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        code,
        "",
        f"{word}: run the same command again to go on\n",
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_full_disk_behind_standard_output(flags: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        process = shell("recipes", *flags, stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 5
    assert err == (
        "error: standard output: no space is left on the device. Free some space, or choose another place, and run the "
        "same command again.\n"
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_that_cannot_show_a_name(encoding: str, tmp_path: Path) -> None:
    rows = tmp_path / "数据.jsonl"
    rows.write_text('{"prompt": "q", "completion": "a"}\n')
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    process = shell("ingest", rows, "--out", tmp_path / "pool", "--json", stdout=subprocess.PIPE, env=environment)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["rows"] == 1
    process = shell("pool", "stats", tmp_path / "pool", stdout=subprocess.PIPE, env=environment)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "\\u6570\\u636e" in out and "+--" in out, err


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code", "whole_group"), [(signal.SIGINT, 130, True), (signal.SIGTERM, 143, False)])
def test_an_interrupted_search_is_quiet_ends_its_workers_and_goes_on(
    number: signal.Signals, code: int, whole_group: bool, study_file: Path, tmp_path: Path
) -> None:
    journal = tmp_path / "study" / "journal.jsonl"
    given = [
        "search",
        study_file,
        "--out",
        journal.parent,
        "--set",
        "search.evaluations=3",
        "--set",
        "search.min_rows=5",
    ]
    process = shell(
        *given,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 240
    while not (journal.exists() and b'"evaluation"' in journal.read_bytes()):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    (os.killpg if whole_group else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and "run the same command again to go on" in err
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):  # no worker of the group is left
        for _ in range(100):
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    process = shell(*given, "--json", stdout=subprocess.PIPE)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0 and json.loads(out)["finished"] is True, err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["ingest", "x", "--out", "y", "--on-bad-row"], "autoselection ingest"),
        (["pool", "stats", "--no-such"], "autoselection pool stats"),
        (["search", "x.yaml", "--out"], "autoselection search"),
        (["nothing"], "autoselection"),
    ],
)
def test_a_wrong_option_points_to_the_help_of_its_command(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from autoselection.cli import app
    from autoselection.cli._outcome import run

    assert run(app, words) == 2
    assert f"'{named} --help' lists" in " ".join(capsys.readouterr().err.split())


def test_an_address_is_no_file_and_is_shown_as_it_was_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from autoselection.cli import app
    from autoselection.cli._outcome import run

    assert run(app, ["ingest", "memory://x.y/rows.jsonl", "--out", str(tmp_path / "pool")]) == 3
    assert "There is no memory://x.y/rows.jsonl." in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["config", "--keys", "--schema"], "--keys goes without --schema"),
        (["config", "study.yaml", "--keys"], "--keys goes without CONFIG"),
        (["config", "--schema", "--set", "name=x"], "--schema goes without --set"),
        (["recipes", "high-ifd", "--schema"], "--schema goes without NAME"),
        (["mcp", "study", "--skill"], "--skill goes without STUDY"),
        (["mcp", "--evaluations", "0", "--skill"], "--skill goes without --evaluations"),
        (["whatif", "study", "--weights", "a=1", "--sure", "0.5"], "--sure has no effect"),
        (["whatif", "study", "--better", "a,b", "--proposals", "3"], "--proposals has no effect"),
        (["doctor", "--quick"], "--quick has no effect"),
    ],
)
def test_what_has_no_effect_is_refused(command: Command, words: list[str], said: str) -> None:
    found = command(*words)
    assert found.code == 2 and not found.out and said in " ".join(found.err.split())
