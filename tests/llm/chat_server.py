"""A real HTTP server that speaks the chat-completions protocol and behaves as a test wants it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-test-0123456789-very-secret"


@dataclass
class Behaviour:
    """How one request is answered."""

    content: str | None = "{}"
    status: int = 200
    delay: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    trickle: float = 0.0
    finish: str = "stop"
    refusal: str | None = None
    usage: Any = field(default_factory=lambda: {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150})
    drop: bool = False

    def encoded(self) -> bytes:
        if self.body is not None:
            return self.body
        if self.status >= 400:
            return json.dumps({"error": {"message": self.content or "no"}}).encode()
        message = {"role": "assistant", "content": self.content, "refusal": self.refusal}
        choice = {"index": 0, "message": message, "finish_reason": self.finish}
        document = {"id": "c", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
        return json.dumps({**document, "usage": self.usage}).encode()


class ChatServer:
    """Serves until it is closed; ``answer`` decides from the request and its number (from 0)."""

    def __init__(self, answer: Callable[[dict[str, Any], int], Behaviour | str]) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        self.models = ["tester"]
        self.listing: bytes | None = None  # in place of the list of these
        self._lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                data = [{"id": name, "object": "model", "created": 0, "owned_by": "t"} for name in owner.models]
                listed = json.dumps({"object": "list", "data": data}).encode()
                self._send(200, {}, listed if owner.listing is None else owner.listing, 0.0)

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with owner._lock:
                    number = len(owner.requests)
                    owner.requests.append(request)
                    owner.authorizations.append(self.headers.get("authorization"))
                    made = owner.answer(request, number)
                behaviour = Behaviour(made) if isinstance(made, str) else made
                time.sleep(behaviour.delay)
                if behaviour.drop:
                    self.close_connection = True
                    self.connection.close()
                    return
                self._send(behaviour.status, behaviour.headers, behaviour.encoded(), behaviour.trickle)

            def _send(self, status: int, headers: dict[str, str], body: bytes, trickle: float) -> None:
                try:
                    self.send_response(status)
                    for name, value in {"content-type": "application/json", **headers}.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    if not trickle:
                        self.wfile.write(body)
                        return
                    for place in range(len(body)):
                        self.wfile.write(body[place : place + 1])
                        self.wfile.flush()
                        time.sleep(trickle)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def role_of(request: dict[str, Any]) -> str:
    """Which role asks, told by its system prompt."""
    system = request["messages"][0]["content"]
    marks = {'{"recipes"': "proposer", '{"summary"': "summariser", '{"ranking"': "ranker"}
    return next(role for mark, role in marks.items() if mark in system)


def data_of(request: dict[str, Any]) -> dict[str, Any]:
    """The JSON document a role was shown."""
    return json.JSONDecoder().raw_decode(request["messages"][1]["content"])[0]


def sensible(request: dict[str, Any], number: int = 0) -> str:
    """A good answer of each role, different for each state of the search."""
    role, data = role_of(request), data_of(request)
    if role == "summariser":
        return json.dumps({"summary": f"{data['evaluations']['done']} done; smaller subsets do well."})
    if role == "ranker":
        order = [len(data["options"]), *range(1, len(data["options"]))]
        return json.dumps({"ranking": [{"option": n, "reason": f"option {n} teaches most"} for n in order]})
    share = 0.3 + 0.03 * data["evaluations"]["done"]
    steps = [{"operator": "ifd_filter", "params": {"fraction": share, "direction": "low"}}]
    more = [*steps, {"operator": "truncate_samples", "params": {"fraction": 0.6}}]
    return json.dumps({"recipes": [{"reason": "low IFD", "steps": steps}, {"reason": "shorter", "steps": more}]})


Serve = Callable[[Callable[[dict[str, Any], int], Behaviour | str]], ChatServer]
