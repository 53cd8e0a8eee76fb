"""Whatever a server sends, there is an answer or a sentence, within the time that the configuration gives it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from autoselection.errors import EvaluationError
from autoselection.evaluation.engines import openai as engine
from autoselection.evaluation.engines.openai import CompletionsEndpoint, EndpointOptions
from autoselection.evaluation.generation import Generation

SETTINGS = Generation(max_gen_toks=8)
ASK = [{"role": "user", "content": "x"}]
WHOLE = b'{"choices": [{"message": {"content": "yes"}}]}'

Reply = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def endpoint(reply: Reply, timeout: float = 20.0) -> Iterator[CompletionsEndpoint]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.close_connection = True
            with suppress(ConnectionError):
                reply(self)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        yield CompletionsEndpoint(EndpointOptions(base_url=url, model="m", retries=0, timeout=timeout))
    finally:
        server.shutdown()


def sending(body: bytes, *, head: bytes = b"HTTP/1.1 200 OK\r\n", length: int | None = None) -> Reply:
    size = len(body) if length is None else length

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(head + f"Content-Length: {size}\r\n\r\n".encode() + body)

    return reply


def trickle(head: bytes, piece: bytes) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(head)
        for _ in range(100):
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(0.2)

    return reply


@pytest.mark.parametrize(
    "reply",
    [
        trickle(b"HTTP/1.1 200 OK\r\n\r\n" + WHOLE, b" "),
        trickle(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
        trickle(b"HTTP/1.1 500 No\r\n\r\n", b"e"),
    ],
)
def test_a_trickle_is_waited_for_no_longer_than_an_answer(reply: Reply) -> None:
    started = time.monotonic()
    with endpoint(reply, timeout=1.0) as asked, pytest.raises(EvaluationError, match="is the server up"):
        asked.chat(ASK, SETTINGS)
    assert time.monotonic() - started < 12  # it would take 20 s


def test_an_answer_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LONGEST", 1 << 20)

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            handler.wfile.write(b"x" * (1 << 16))

    with endpoint(reply) as asked, pytest.raises(EvaluationError, match="the answer is longer than 1 MiB"):
        asked.chat(ASK, SETTINGS)


def test_half_an_answer_is_none() -> None:
    with endpoint(sending(WHOLE, length=9999)) as asked, pytest.raises(EvaluationError, match="peer closed connection"):
        asked.chat(ASK, SETTINGS)
    with endpoint(sending(WHOLE)) as asked:
        assert asked.chat(ASK, SETTINGS) == ("yes", False)


def content(value: Any) -> bytes:
    return json.dumps({"choices": [{"message": {"content": value}}]}).encode()


def test_answers_are_text_that_can_be_written() -> None:
    parts = sending(content([{"type": "text", "text": "yes"}]))
    with endpoint(parts) as asked, pytest.raises(EvaluationError, match="answers with something else than text"):
        asked.chat(ASK, SETTINGS)
    with endpoint(sending(content("a\ud800b\U0001f600"))) as asked:
        assert asked.chat(ASK, SETTINGS)[0] == "a\ufffdb\U0001f600"
    with endpoint(sending(content(None))) as asked:
        assert asked.chat(ASK, SETTINGS)[0] == ""


@pytest.mark.parametrize(
    ("values", "tops"),
    [
        ("[null, NaN, -1]", '[null, {"a": -1}, {"a": -1}]'),
        ("[null, 1e999, -1]", '[null, {"a": -1}, {"a": -1}]'),
        ("[null, -1e999, -1]", '[null, {"a": -1}, {"a": -1}]'),
        ("[null, 5, -1]", '[null, {"a": 5}, {"a": -1}]'),
        ('[null, "x", -1]', '[null, {"a": -1}, {"a": -1}]'),
        ("[null, true, -1]", '[null, {"a": -1}, {"a": -1}]'),
        ("[null, [1], -1]", '[null, {"a": -1}, {"a": -1}]'),
        ("[null, -1, -1]", '[null, {"a": NaN}, {"a": -1}]'),
        ("[null, -1, -1]", "[null, [1], [2]]"),
        ("[null, -1, -1]", "[null, {}, {}]"),
    ],
)
def test_what_is_no_log_probability_is_never_a_score(values: str, tops: str) -> None:
    body = f'{{"choices": [{{"logprobs": {{"token_logprobs": {values}, "top_logprobs": {tops}}}}}]}}'.encode()
    with endpoint(sending(body)) as asked, pytest.raises(EvaluationError, match="log-probabilit"):
        asked.likelihoods([1, 2])
