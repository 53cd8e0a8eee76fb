"""Who may look at a study, and what every answer carries."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.study.test_cli import run
from told_activities import tell

from autoselection.errors import ConfigError
from autoselection.watch import StudyFolder
from autoselection.watch.access import Access, check_token, own_names, shown_address

pytest.importorskip("starlette", reason="The extra 'watch' is not installed.")
pytest.importorskip("uvicorn", reason="The extra 'watch' is not installed.")

from autoselection.watch import web

TOKEN = "abcdefghijklmnop-_123"


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def ask(
    app: Any, path: str = "/", headers: Mapping[str, str] | None = None, *, method: str = "GET", query: str = ""
) -> Answer:
    """One request to the application, until it is answered."""
    answer = Answer()
    given = {"host": "localhost:8760", **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in given.items() if value is not None],
        "server": ("127.0.0.1", 8760),
        "client": ("127.0.0.1", 1),
    }

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(3600 if answer.status else 0)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    asyncio.run(app(scope, receive, send))
    return answer


@pytest.fixture
def app(copied: Path) -> Any:
    return web.application(StudyFolder(copied), Access())


@pytest.fixture
def guarded(copied: Path) -> Any:
    return web.application(StudyFolder(copied), Access(TOKEN, frozenset({"box.example"})), lambda: True)


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:80", "LocalHost.", "127.0.0.1:8760", "[::1]:8760", "::1", "10.0.0.3", "a.localhost"],
)
def test_own_names_and_addresses_are_hosts(host: str, app: Any) -> None:
    assert ask(app, headers={"host": host}).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8760", "127.0.0.1.evil.example", "localhost.evil.example", "", "box.example", "0x7f.1",
     "127.0.0.1@evil.example"],
)  # fmt: skip
def test_a_name_that_a_stranger_may_have_made_point_here_is_refused(host: str, app: Any) -> None:
    for path in ("/", "/events", "/other"):
        answer = ask(app, path, {"host": host})
        assert answer.status == 421 and b"small" not in answer.body


def test_a_request_without_a_host_is_refused(app: Any) -> None:
    assert ask(app, headers={"host": None}).status == 421  # type: ignore[dict-item]


def test_every_answer_carries_the_policy(app: Any, guarded: Any) -> None:
    answers = [ask(app), ask(app, "/other"), ask(app, method="POST"), ask(app, headers={"host": "x"}), ask(guarded)]
    assert [answer.status for answer in answers] == [200, 404, 405, 421, 401]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["referrer-policy"] == "no-referrer" and answer.headers["cache-control"] == "no-store"
        assert (
            answer.headers["x-content-type-options"] == "nosniff"
            and "access-control-allow-origin" not in answer.headers
        )


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_but_reading_is_answered(method: str, app: Any) -> None:
    assert {ask(app, path, method=method).status for path in ("/", "/events")} == {405}


def test_the_token_opens_by_address_cookie_and_header_and_leaves_the_address(guarded: Any) -> None:
    moved = ask(guarded, query=f"token={TOKEN}")
    assert moved.status == 303 and moved.headers["location"] == "/"
    cookie = moved.headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=lax" in cookie.lower()
    assert ask(guarded, headers={"cookie": cookie.partition(";")[0]}).status == 200
    assert ask(guarded, headers={"authorization": f"Bearer {TOKEN}", "host": "box.example"}).status == 200


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, ""),
        ({}, "token="),
        ({}, f"token={TOKEN[:-1]}"),
        ({}, f"token={TOKEN}x"),
        ({}, "token=%ff%00"),
        ({"cookie": f"autoselection_watch_1={TOKEN}"}, ""),
        ({"cookie": "autoselection_watch_8760=x"}, ""),
        ({"cookie": ";;=,\x01"}, ""),
        ({"authorization": f"Basic {TOKEN}"}, ""),
        ({"authorization": "Bearer"}, ""),
    ],
)
def test_without_the_token_nothing_is_shown(headers: dict[str, str], query: str, guarded: Any) -> None:
    for path in ("/", "/events"):
        answer = ask(guarded, path, headers, query=query)
        assert answer.status == 401 and b"small" not in answer.body and b"event:" not in answer.body


def test_beyond_this_machine_a_token_is_asked_for() -> None:
    for address in ("0.0.0.0", "::", "192.168.1.5"):
        with pytest.raises(ConfigError, match="shows the study to other machines: add --token new"):
            check_token(None, address, address)
        check_token(TOKEN, address, address)
    for address in ("127.0.0.1", "127.9.9.9", "::1"):
        check_token(None, address, address)
    for token in ("пароль-очень-длинный", "sixteen letters\nand a line", "x" * 16 + "é"):
        with pytest.raises(ConfigError, match="of ASCII alone"):
            check_token(token, "127.0.0.1", "localhost")
    with pytest.raises(ConfigError, match="too short"):
        check_token("short", "127.0.0.1", "localhost")


def test_names_of_this_machine_count_where_others_reach_it() -> None:
    assert own_names("127.0.0.1", "Box.") == {"box"}
    assert socket.gethostname().lower() in own_names("0.0.0.0", "0.0.0.0")


def test_the_address_that_is_shown_can_be_opened() -> None:
    assert shown_address("127.0.0.1", 80, None) == "http://127.0.0.1:80/"
    assert shown_address("::1", 80, "a b&c") == "http://[::1]:80/?token=a%20b%26c"
    assert shown_address("0.0.0.0", 80, None) == f"http://{socket.gethostname()}:80/"


def test_events_tell_what_changed_and_no_more(copied: Path) -> None:
    tell(copied, "", stage="searching")
    web_looks = web.Looks(StudyFolder(copied))

    async def first(count: int) -> list[str]:
        found = []
        stream = web.events(web_looks, lambda: False)
        async for text in stream:
            found.append(text)
            if len(found) == count:
                break
            if len(found) == 2:
                tell(copied, "", stage="scoring on test")
        await stream.aclose()
        return found

    retry, everything, change = asyncio.run(first(3))
    assert retry.startswith("retry:")
    kinds = [line for line in everything.splitlines() if line.startswith("event:")]
    assert kinds == ["event: results", "event: now"]
    assert "event: results" not in change and "scoring on test" in change
    for line in everything.splitlines():
        if line.startswith("data:"):
            json.loads(line[5:])


def test_a_problem_is_an_event_and_what_follows_it_is_whole(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "INTERVAL", 0.02)
    looks = web.Looks(StudyFolder(copied))

    async def told() -> list[str]:
        found = []
        async for text in web.events(looks, lambda: len(found) >= 4):
            found.append(text)
            if len(found) == 2:
                copied.rename(copied.with_name("away"))
            elif len(found) == 3:
                copied.with_name("away").rename(copied)
        return found

    _, first, problem, again = asyncio.run(told())
    assert "event: problem" in problem and "cannot be read" in problem
    assert "event: results" in first and "event: results" in again


def test_open_connections_end_with_the_server(guarded: Any) -> None:
    answer = ask(guarded, "/events", {"authorization": f"Bearer {TOKEN}"})
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/event-stream")


def test_more_pages_than_many_are_refused(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "MOST", 0)
    assert ask(web.application(StudyFolder(copied), Access(), lambda: True), "/events").status == 503


def sentence(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-m", "autoselection", "watch", *arguments], capture_output=True, text=True)
    assert "Traceback" not in done.stderr and done.stdout == ""
    return done.returncode, done.stderr


def test_a_port_in_use_is_one_sentence(copied: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said = sentence(str(copied), "--port", str(taken.getsockname()[1]))
    assert code == 2 and "is in use: name another one with --port" in said and said.count("\n") == 1


def test_a_port_that_was_just_left_can_be_had_and_no_others() -> None:
    with web.bound_socket("127.0.0.1", 0) as bound:
        reused = bound.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) != 0
    assert reused == (os.name == "posix"), "on Windows it would take a port that another program has"


def test_commands_that_cannot_be_followed_are_one_sentence(copied: Path, tmp_path: Path) -> None:
    for arguments, code, said in (
        ([str(tmp_path / "nowhere")], 7, "no such folder"),
        ([str(tmp_path)], 7, "no study there; 'autoselection search"),
        ([str(copied), "--host", "0.0.0.0", "--port", "0"], 2, "shows the study to other machines"),
        ([str(copied), "--host", "no.such.host.invalid", "--port", "0"], 2, "no such address"),
        ([str(copied), "--host", "my..host", "--port", "0"], 2, "--host my..host: no such address"),
        ([str(copied), "--token", "short", "--port", "0"], 2, "too short"),
        ([str(copied), "--terminal", "--json"], 2, "choose one"),
    ):
        found, out, error = run("watch", *arguments)
        assert (found, out) == (code, "") and said in error, arguments
