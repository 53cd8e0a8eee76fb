"""A study with language-model roles: killed and resumed, it asks nothing twice and ends as the undisturbed one."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent.parent / "llm"))
from chat_server import KEY, Behaviour, ChatServer, role_of, sensible

from autoselection.cli import app
from autoselection.config import load_config
from autoselection.errors import ConfigError, StudyError
from autoselection.report import write_report
from autoselection.study import Study, decisions, read_events, run_study


class Pausing:
    """Good answers; one request, when wanted, is held up so that the study can be killed while it waits."""

    def __init__(self) -> None:
        self.hold = -1
        self.holding = threading.Event()

    def __call__(self, request: dict[str, Any], number: int) -> Behaviour | str:
        if number == self.hold:
            self.holding.set()
            return Behaviour(sensible(request), delay=4.0)
        return sensible(request)


@pytest.fixture
def pausing() -> Pausing:
    return Pausing()


@pytest.fixture
def server(pausing: Pausing, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("TEST_LLM_KEY", KEY)
    server = ChatServer(pausing)
    yield server
    server.close()


@pytest.fixture
def config_file(study_config: Path, server: ChatServer, tmp_path: Path) -> Path:
    document = yaml.safe_load(study_config.read_text())
    document["search"] |= {"evaluations": 4, "batch": 1}
    llm = {"model": "tester", "base_url": server.url, "api_key_env": "TEST_LLM_KEY", "include_examples": 1}
    document["search"]["llm"] = llm
    document["executor"] = {"workers": 1}
    document["final"] = {"enabled": False}
    path = tmp_path / "llm-study.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


@pytest.mark.slow
def test_a_killed_study_asks_nothing_twice(
    server: ChatServer, pausing: Pausing, config_file: Path, tmp_path: Path
) -> None:
    whole = run_study(load_config(config_file), tmp_path / "whole")
    undisturbed = list(server.requests)
    assert [role_of(request) for request in undisturbed] == ["summariser", "proposer", "ranker"] * 2
    server.requests.clear()

    out = tmp_path / "killed"
    command = [sys.executable, "-m", "autoselection", "search", str(config_file), "--out", str(out), "--json"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not any(event["event"] == "trial" and event["trial"]["id"] == "t003" for event in _events(out)):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    first.kill()  # answered and decided, not evaluated
    first.wait()
    assert len(server.requests) == 3

    pausing.hold = 4  # the proposer's question for t004
    second = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert pausing.holding.wait(120)
    second.kill()  # asked, not answered
    second.wait()
    pausing.hold = -1

    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["finished"]
    assert server.requests[:4] == undisturbed[:4]
    assert server.requests[4] == server.requests[5] == undisturbed[4], "only the question without an answer comes again"
    assert server.requests[6:] == undisturbed[5:]
    again, kept = _lines(out / "llm.jsonl"), _lines(whole.path / "llm.jsonl")
    assert [(r["trial"], r["role"], r["key"], r["answer"]) for r in again] == [
        (r["trial"], r["role"], r["key"], r["answer"]) for r in kept
    ]
    assert _settled(out) == _settled(whole.path)
    asked = len(server.requests)
    run_study(load_config(config_file), out)
    assert len(server.requests) == asked, "a finished study asks nothing"
    write_report(whole)
    report = (whole.path / "report.md").read_text(encoding="utf-8")
    assert "6 answers usable at once, 0 after a repair, 0 left to the rules; 900 tokens" in report
    for path in (*out.rglob("*.jsonl"), *out.rglob("*.yaml"), *out.rglob("*.md")):
        assert KEY not in path.read_text(encoding="utf-8"), path
    rounds = [event["round"] for event in _events(out) if event["event"] == "round"]
    said = [
        decision["notes"]
        for record in rounds
        for decision in record["decisions"]
        if decision["origin"] in ("edit", "fresh")
    ]
    assert said and all({"llm summariser", "llm proposer", "llm ranker"} <= set(item) for item in said)


def _events(out: Path) -> list[dict[str, Any]]:
    return list(read_events(out / "journal.jsonl"))


def _settled(out: Path) -> str:
    events = decisions([event for event in _events(out) if event["event"] != "interruption"])
    return json.dumps([{k: v for k, v in e.items() if k != "seq"} for e in events]).replace(str(out), "OUT")


def test_settings_that_reach_the_endpoint_may_change_and_others_not(
    server: ChatServer, config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(config_file)
    with Study.create_or_open(config, tmp_path / "study").journal as journal:
        journal.append("study")
    moved = ["search.llm.base_url=http://127.0.0.1:1/v1", "search.llm.max_total_tokens=5", "search.llm.timeout=1"]
    Study.create_or_open(load_config(config_file, moved), tmp_path / "study")
    with pytest.raises(StudyError, match=r"search\.llm\.model"):
        Study.create_or_open(load_config(config_file, ["search.llm.model=other"]), tmp_path / "study")
    monkeypatch.delenv("OPENAI_MODEL", raising=False)
    with pytest.raises(ConfigError, match="OPENAI_MODEL"):
        run_study(load_config(config_file, ["search.llm.model=null"]), tmp_path / "another")


def test_the_doctor_tells_whether_the_endpoint_answers(server: ChatServer, config_file: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", str(config_file), "--json"])
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert "answers and has the model 'tester'" in found["language_model"]
