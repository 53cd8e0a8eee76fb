"""Everything on docs/tutorial.md runs as it is written, from top to bottom, in one empty folder."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from pages import ROOT

from autoselection.cli import app
from autoselection.cli._outcome import run

PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_SEARCH = "## 6. Let a search decide"


def plain(text: str) -> str:
    """Words alone, without the frames of tables."""
    return " ".join(re.sub(r"[│┃┏━┓┡╇┩└┴┘─┌┬┐├┼┤]", " ", text).split())


class Reader:
    """Who does what the page says."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys, self.names, self.printed, self.commands = capsys, {}, "", 0

    def follow(self, part: str) -> None:
        for language, title, body in _BLOCK.findall(part):
            if title:
                Path(title).write_text(body, encoding="utf-8")
            elif language == "python":
                exec(compile(body, "docs/tutorial.md", "exec"), self.names)
            elif language == "sh":
                self._type(body)
            else:
                assert language == "text", f"nothing says what to do with a block of {language}"
                assert [line for line in body.splitlines() if plain(line) not in self.printed] == []

    def _type(self, body: str) -> None:
        self.printed = ""
        for line in body.splitlines():
            words = shlex.split(line, comments=True)
            if words[0] == "pip":
                continue  # it is installed
            assert words[0] == "autoselection"
            status = run(app, words[1:])
            shown = self.capsys.readouterr()
            assert status == 0, f"{line}\n{shown.out}\n{shown.err}"
            self.printed += plain(shown.out + shown.err)
            self.commands += 1


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Reader:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOSELECTION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")  # tables as wide as they are, so that no word is cut in two
    return Reader(capsys)


def rows(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(name).read_text(encoding="utf-8").splitlines()]


def test_the_part_without_training_runs(reader: Reader):
    first, found, _ = PAGE.partition(_SEARCH)
    assert found
    reader.follow(first)
    assert reader.commands >= 8
    kept, dropped, mine = rows("subset.jsonl"), rows("dropped.jsonl"), rows("mine.jsonl")
    assert len(kept) + len(dropped) == 430
    assert "Please wait" in json.dumps(kept)  # as the page says of text-only
    assert "Please wait" not in json.dumps(mine) and len(mine) > 250


@pytest.mark.slow
def test_the_search_runs_too(reader: Reader):
    pytest.importorskip("torch")
    reader.follow(PAGE)
    assert Path("study/report.html").is_file() and Path("study/best/verdict.txt").is_file()
    assert any(Path("train-set").iterdir())
