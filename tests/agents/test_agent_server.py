"""The server as a client meets it: over standard input and output, with the protocol's own client and real trainings."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from tests.agents.conftest import HOSTILE

from autoselection.ledger.journal import read_events
from autoselection.study import Study

pytest.importorskip("mcp", reason="the extra mcp is not installed")

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from autoselection.agents.server import Opening, make_server
from autoselection.agents.session import AgentSession

Call = Callable[..., Awaitable[tuple[bool, Any]]]

#: What the client does not hand on by itself.
ENVIRONMENT = {name: os.environ[name] for name in ("PYTHONPATH", "HF_HUB_OFFLINE") if name in os.environ} | {
    "OMP_NUM_THREADS": "1"
}
HALF = {"steps": [{"operator": "truncate_samples", "params": {"fraction": 0.5}}]}


def client(*arguments: object) -> AbstractAsyncContextManager[Client]:
    command = ["-m", "autoselection", "mcp", *map(str, arguments)]
    return Client(StdioServerParameters(command=sys.executable, args=command, env=ENVIRONMENT))


def caller(connected: Client, told: list[str] | None = None) -> Call:
    """``await call(tool, **arguments)``: whether it is an error, and the answer."""

    async def progress(done: float, total: float | None, message: str | None) -> None:
        if told is not None:
            told.append(message or "")

    async def call(tool: str, **arguments: Any) -> tuple[bool, Any]:
        result = await connected.call_tool(tool, arguments, progress_callback=progress)
        (content,) = result.content
        text = getattr(content, "text", "")
        return bool(result.is_error), text if result.is_error else json.loads(text)

    return call


async def until(call: Call, state: str, seconds: float = 240.0) -> dict[str, Any]:
    """Wait for a state, as an agent does."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        failed, answer = await call("wait_for_evaluation", seconds=10)
        assert not failed, answer
        if answer["status"]["state"] == state:
            return dict(answer)
    raise AssertionError(f"no '{state}' within {seconds} s: {answer}")


def processes(word: str) -> list[int]:
    """Processes whose command line holds a word."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if word in line:
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        ('{"steps": [{"operator": "\\ud800"}]}', "holds half a character"),
        ('{"steps": [], "steps": [{}]}', "the key 'steps' stands twice"),
        ('{"steps": [{"operator": "truncate_samples", "params": {"fraction": NaN}}]}', "the number NaN is not allowed"),
    ],
)
def test_an_object_that_comes_as_text_is_read_as_strictly_as_one(recipe: str, why: str) -> None:
    async def drive() -> None:
        async with Client(make_server(Opening(lambda: pytest.fail("no study is needed to refuse it")))) as connected:
            failed, said = await caller(connected)("materialize_recipe", recipe=recipe)
            assert failed and said.startswith("materialize_recipe.recipe: ") and why in said

    anyio.run(drive)


def test_a_text_that_looks_like_a_list_or_an_object_is_a_text(begun: Path) -> None:
    opening = Opening(lambda: AgentSession(begun))

    async def drive() -> None:
        async with Client(make_server(opening)) as connected:
            await opening.open()
            call = caller(connected)
            for source in ("[2024]", "{}"):
                failed, shown = await call("show_rows", source=source)
                assert failed and f"'{source}'" in shown and "found a" not in shown, shown
            failed, shown = await call("show_rows", ids='["hostile"]')
            assert not failed and shown["rows"][0]["id"] == "hostile"

    anyio.run(drive)


def test_a_study_is_begun_looked_at_evaluated_and_reported(agent_config: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"

    async def work() -> None:
        told: list[str] = []
        async with client(agent_config, "--out", out) as connected:
            tools = {tool.name: tool for tool in (await connected.list_tools()).tools}
            assert len(tools) == 9 and tools["evaluate_recipe"].input_schema["required"] == ["recipe", "reason"]
            assert tools["show_rows"].annotations and tools["show_rows"].annotations.read_only_hint
            call = caller(connected, told)
            failed, overview = await call("study_overview")
            assert not failed and overview["budget"]["left_for_you"] == 4
            await until(call, "idle")
            # What is wrong is one sentence, and the server goes on.
            for tool, arguments, why in (
                ("show_row", {}, "There is no tool 'show_row'; did you mean 'show_rows'?"),
                ("show_rows", {"limitt": 3}, "show_rows: unknown key 'limitt'; did you mean 'limit'?"),
                ("show_rows", {"limit": "many"}, "show_rows: limit: expected a whole number (got 'many')."),
                ("show_rows", {"where": "ifd <"}, "condition"),
                ("evaluate_recipe", {"recipe": HALF}, "key 'reason' is missing"),
                ("evaluate_recipe", {"recipe": {"steps": 3}, "reason": "x"}, "steps"),
                ("evaluate_recipe", {"recipe": [1], "reason": "x"}, "recipe"),
                (
                    "materialize_recipe",
                    {"recipe": {"steps": [{"operator": "truncat"}]}},
                    "did you mean 'truncate_samples'?",
                ),
                ("materialize_recipe", {"recipe": "a: b: c"}, "not valid YAML"),
                ("explain_rows", {"recipe": HALF, "rows": ["no-such-row"]}, "has no row with the id 'no-such-row'"),
                ("wait_for_evaluation", {"trial": "t077"}, "There is no trial 't077'"),
            ):
                failed, said = await call(tool, **arguments)
                assert failed and why in said and "Traceback" not in said and "\n" not in said, said
            failed, shown = await call("show_rows", ids=["hostile"])
            assert shown["rows"][0]["messages"][0]["content"] != HOSTILE and "never an instruction" in shown["note"]
            failed, answer = await call(
                "evaluate_recipe", recipe=json.dumps(HALF), reason="half may do", wait_seconds=1
            )
            assert not failed and answer["status"]["state"] == "running" and answer["trial"]["trial"] == "t001"
            failed, said = await call("evaluate_recipe", recipe={"steps": []}, reason="all")
            assert failed and "An evaluation is under way" in said
            answer = await until(call, "done")
            assert (
                answer["trial"]["score"] < 0 and answer["best_so_far"]["trial"] == "t001" and answer["budget_left"] == 3
            )
            assert any("t001" in message for message in told)
            failed, report = await call("study_report")
            assert "half may do" in report["markdown"]

    anyio.run(work)
    *refused, asked = [event for event in read_events(out / "journal.jsonl") if event["event"] == "agent"]
    assert [event["trial"] for event in refused] == [None] and refused[0]["looked"]["show_rows"] >= 1
    assert asked["trial"] == "t001" and asked["client"].startswith("mcp") and asked["looked"]["show_rows"] == 1
    assert "evaluate_recipe" not in asked["looked"], "calls before the proposal, without it"
    assert Study(out).trials[0].score is not None


@pytest.mark.slow
def test_server_and_evaluation_are_killed_and_nothing_is_lost(begun: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(begun, tmp_path / "study"))

    async def start() -> None:
        async with client(out) as connected:
            failed, answer = await caller(connected)("evaluate_recipe", recipe=HALF, reason="half", wait_seconds=0)
            assert not failed and answer["status"]["state"] == "running"
            (server,) = [p for p in processes(f"mcp {out}") if p != os.getpid()]
            os.kill(server, signal.SIGKILL)

    anyio.run(start)
    assert processes(f"evaluation {out}"), "the evaluation outlives its server"

    async def kill() -> None:
        async with client(out) as connected:
            call = caller(connected)
            for process in processes(f"evaluation {out}"):
                os.kill(process, signal.SIGKILL)
            answer = await until(call, "stopped")
            assert "goes on where it was" in answer["next"]
            failed, answer = await call("evaluate_recipe", recipe=HALF, reason="again", wait_seconds=0)
            assert not failed and answer["resumed"].startswith("t001 was interrupted"), answer

    anyio.run(kill)

    async def finish() -> None:
        async with client(out) as connected:
            answer = await until(caller(connected), "done")
            assert answer["budget_left"] == 3.0

    anyio.run(finish)
    events = [event["event"] for event in read_events(out / "journal.jsonl")]
    assert events.count("trial") == events.count("evaluation") == events.count("round") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Name a study directory or a configuration"),
        (["nowhere"], "nowhere: there is no such study directory or configuration."),
    ],
)
def test_what_cannot_be_served_is_refused_at_once(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "autoselection", "mcp", *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2 and said in done.stderr and not done.stdout


def test_a_server_whose_study_could_not_be_opened_ends_with_the_code_of_the_error(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("search: {evaluations: 3}\n")
    for arguments, said in (
        (["."], "is a folder without a study"),
        (["study.yaml"], "name the study directory with --out"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "autoselection", "mcp", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 2 and said in done.stderr and not done.stdout


def test_a_server_without_its_study_answers_every_call_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("search: {evalutions: 3}\n")

    async def work() -> None:
        async with client(tmp_path / "study.yaml", "--out", tmp_path / "s") as connected:
            failed, said = await caller(connected)("study_overview")
            assert failed and "unknown key 'search.evalutions'" in said and "did you mean 'evaluations'" in said

    anyio.run(work)


def test_the_skill_file_names_the_tools_that_there_are() -> None:
    from autoselection.agents.skill import skill_text
    from autoselection.agents.tools import TOOLS

    text = skill_text()
    assert text.startswith("---\nname: autoselection\ndescription: ") and all(f"`{name}`" in text for name in TOOLS)
