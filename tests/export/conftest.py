from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoselection.pool import Pool, ingest


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """Five rows of two sources: single turn, system and several turns, tool use, and two that do not alternate."""

    def turns(*pairs: tuple[str, str]) -> list[dict[str, str]]:
        return [{"role": role, "content": content} for role, content in pairs]

    rows = [
        {"id": "one", "source": "web", "messages": turns(("user", "q\u2028\u2029\u0085é"), ("assistant", "a"))},
        {
            "id": "multi",
            "source": "web",
            "messages": turns(
                ("system", "s"), ("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")
            ),
        },
        {
            "id": "tool",
            "source": "tools | # x",
            "messages": turns(("user", "q"), ("assistant", "call"), ("tool", "result"), ("assistant", "a")),
        },
        {"id": "open", "source": "web", "messages": turns(("user", "q"), ("assistant", "a"), ("user", "bye"))},
        {"id": "twice", "source": "web", "messages": turns(("user", "q"), ("user", "r"), ("assistant", "a"))},
    ]
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest([file], tmp_path / "pool")
    return Pool.open(tmp_path / "pool")
