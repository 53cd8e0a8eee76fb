"""One client for OpenAI-compatible servers: asked by several threads, and told no more than it has to know."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from autoselection.server import Server


@dataclass
class Echo:
    """Answers with what it was asked; waits where it is asked to."""

    url: str
    headers: list[dict[str, str]] = field(default_factory=list)

    def server(self, **settings: Any) -> Server:
        given = {"key": "", "timeout": 20.0, "retries": 0, "longest": 1 << 20, "setting": "here", "purpose": "a test"}
        return Server(base_url=self.url, **{**given, **settings})


@pytest.fixture
def echo() -> Iterator[Echo]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.headers.append({name.lower(): value for name, value in self.headers.items()})
            asked = json.loads(body)
            time.sleep(asked.get("wait", 0.0))
            body = gzip.compress(body) if asked.get("zipped") else body
            try:
                if "moved" in asked:
                    self.send_response(302)
                    self.send_header("location", asked["moved"])
                    self.send_header("content-length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                if asked.get("zipped"):
                    self.send_header("content-encoding", "gzip")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:
                self.close_connection = True

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    found = Echo(f"http://127.0.0.1:{http.server_address[1]}/v1")
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    yield found
    http.shutdown()
    http.server_close()


def test_a_request_that_takes_too_long_ends_alone(echo: Echo) -> None:
    server = echo.server(timeout=3.0)
    bodies = [{"number": number, **({"wait": 60.0} if number == 2 else {"wait": 0.3})} for number in range(6)]
    with ThreadPoolExecutor(len(bodies)) as threads:
        replies = list(threads.map(lambda body: server.post("/x", body), bodies))
    late = replies.pop(2)
    assert (late.body, late.error, late.lost) == (None, "no answer within 3 s", 1)
    assert [json.loads(reply.body or b"")["number"] for reply in replies] == [0, 1, 3, 4, 5]


_ASKING = """
import sys
from autoselection.server import Server
settings = dict(key="", retries=0, longest=1 << 20, setting="here", purpose="a test")
server = Server(base_url=sys.argv[1], timeout=float(sys.argv[2]), **settings)
try:
    print(server.post("/x", {"wait": 100.0}).error)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(
    ("timeout", "said"),
    [
        pytest.param(
            100.0, "interrupted", marks=pytest.mark.skipif(os.name != "posix", reason="sends a signal of POSIX")
        ),
        (0.5, "no answer within 0.5 s"),
    ],
)
def test_a_program_that_ends_does_not_wait_for_the_server(echo: Echo, timeout: float, said: str) -> None:
    """Interrupted while it waits for an answer, or at its end after it waited long enough."""
    command = [sys.executable, "-c", _ASKING, echo.url, str(timeout)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        while not echo.headers and program.poll() is None:
            time.sleep(0.02)
        if said == "interrupted":
            program.send_signal(signal.SIGINT)
        try:
            assert program.communicate(timeout=50)[0].strip() == said
        finally:
            program.kill()


def test_no_part_of_the_key_is_told_where_an_address_is_cut(echo: Echo) -> None:
    key = "sk-0123456789-abcdefghij-klmnopqrst"
    for begun in range(60, 100, 7):
        moved = f"{'/'.ljust(begun, 'x')}{key}"
        error = echo.server(key=key).post("/x", {"moved": moved}).error or ""
        assert "it sends on to /x" in error and "sk-" not in error, error


def test_openais_customer_is_named_only_where_openais_key_goes(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai-own-key")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-mine")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-mine")
    for key in ("", "another-key", "sk-openai-own-key"):
        echo.server(key=key).post("/x", {})
    named = [("openai-organization" in headers, "openai-project" in headers) for headers in echo.headers]
    assert named == [(False, False), (False, False), (True, True)]
    assert [headers["authorization"] for headers in echo.headers] == [
        "Bearer none", "Bearer another-key", "Bearer sk-openai-own-key",
    ]  # fmt: skip


def test_answers_that_are_compressed_count_by_what_they_hold(echo: Echo) -> None:
    small, large = ({"zipped": True, "text": "x" * size} for size in (10, 1 << 21))
    assert json.loads(echo.server().post("/x", small).body or b"") == small
    assert echo.server().post("/x", large).error == "the answer is longer than 1 MiB"
