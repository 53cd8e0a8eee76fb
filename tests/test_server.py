"""One client for OpenAI-compatible servers: asked by several threads, and told no more than it has to know."""

from __future__ import annotations

import gzip
import json
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
