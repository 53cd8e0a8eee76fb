"""A server, a pool of known worth and searches with language-model roles over it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import KEY, Behaviour, ChatServer, Serve

sys.path.insert(0, str(Path(__file__).parent.parent / "search"))
from synthetic_pool import KnownPool, make_pool


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoselection.server.FIRST_PAUSE", 0.01)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts servers; the key is in the environment."""
    monkeypatch.setenv("TEST_LLM_KEY", KEY)
    started: list[ChatServer] = []

    def start(answer: Callable[[dict[str, Any], int], Behaviour | str]) -> ChatServer:
        started.append(ChatServer(answer))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="session")
def known_pool() -> KnownPool:
    return make_pool(0, n=400)
