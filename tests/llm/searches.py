"""Settings and searches that the tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chat_server import ChatServer
from synthetic_pool import KnownPool

from autoselection.llm import build_roles
from autoselection.search import LLMConfig, SearchConfig, SearchController


def settings(server: ChatServer, **changes: Any) -> LLMConfig:
    """Quick settings for a test server."""
    values: dict[str, Any] = {"model": "tester", "base_url": server.url, "api_key_env": "TEST_LLM_KEY", "timeout": 5.0}
    return LLMConfig(**{**values, "retries": 2, **changes})


def search_config(llm: LLMConfig | None, **changes: Any) -> SearchConfig:
    return SearchConfig(**{"evaluations": 6, "warmup": 3, "proposals": 8, "min_rows": 20, "llm": llm, **changes})


def search(pool: KnownPool, llm: LLMConfig, log: Path | None = None, **changes: Any) -> SearchController:
    """A whole search on the known pool."""
    config = search_config(llm, **changes)
    controller = SearchController(pool.signals, config, roles=build_roles(llm, pool.signals, log))
    controller.run(lambda candidate: pool.score(candidate.rows))
    return controller


def notes(controller: SearchController) -> list[dict[str, Any]]:
    """Notes of the decisions on edits."""
    decided = [decision for record in controller.rounds for decision in record.decisions]
    return [dict(decision.notes) for decision in decided if decision.origin in ("edit", "fresh", "reseed")]
