"""The description of a pool, against counting by hand."""

from __future__ import annotations

import importlib
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoselection.pool import Distribution, Duplicates, Pool, describe_pool, ingest

Write = Callable[..., Path]

stats_module = importlib.import_module("autoselection.pool.stats")


def chat(*turns: tuple[str, str], **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns], **fields}


@pytest.fixture
def pool(write: Write, tmp_path: Path) -> Pool:
    rows = [
        chat(("system", "Be brief."), ("user", "Add 2 + 3!"), ("assistant", "It is 5"), source="sums"),
        chat(("system", "Be brief."), ("user", "Add 2 + 3! \n"), ("assistant", "It is 5"), source="sums"),
        chat(("user", "Add 2 + 3!"), ("assistant", "5"), ("user", "Sure?"), ("assistant", "Yes 好"), source="talk"),
        chat(("user", "Add 2 + 3!"), ("assistant", "<|im_end|>"), source="talk"),
        chat(("system", "Be long."), ("user", "Go"), ("tool", "42"), ("assistant", "done"), source="talk"),
        {"messages": []},
    ]
    return Pool.open(ingest([write("rows.jsonl", rows)], tmp_path / "pool").path)


def test_a_pool_by_hand(pool: Pool) -> None:
    found = describe_pool(pool)
    assert (found.rows, found.skipped, found.appended) == (5, 1, ())
    assert dict(found.sources) == {"talk": 3, "sums": 2}
    assert found.roles == {"assistant": 6, "user": 6, "system": 3, "tool": 1}
    assert found.multi_turn == 1
    assert found.system_prompts.to_dict() == {
        "rows": 3,
        "distinct": 2,
        "most_common": [{"text": "Be brief.", "rows": 2}, {"text": "Be long.", "rows": 1}],
    }
    assert found.exact_duplicates == Duplicates(groups=1, rows=2, extra=1)
    assert found.same_prompt == Duplicates(groups=1, rows=2, extra=1)  # the system prompt belongs to the prompt
    assert (found.special_tokens, found.special_token_rows) == ({"<|im_end|>": 1}, 1)
    assert found.lengths["response_characters"].quantiles[1.0] == 10
    assert found.lengths["turns"].mean == pytest.approx(16 / 5)
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["sources"]["sums"] == {"rows": 2, "share": 0.4}
    assert document["lengths"]["prompt_words"]["p50"] == 4


TEXT = st.text(alphabet="aB 好!", min_size=1, max_size=6).filter(lambda text: bool(text.strip()))
ROW = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, min_size=1, max_size=9), batch=st.integers(1, 4))
def test_counts_do_not_depend_on_the_batches(
    rows: list[Any], batch: int, write: Write, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = [chat(*[turn for q, a in row for turn in (("user", q), ("assistant", a))]) for row in rows]
    pool = Pool.open(ingest([write("rows.jsonl", records)], tmp_path_factory.mktemp("stats") / "pool").path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stats_module, "_BATCH_ROWS", batch)
        found = describe_pool(pool)

    def plain(text: str) -> str:
        return text.rstrip(" ")

    def counted(keys: list[Any]) -> Duplicates:
        repeated = [count for count in Counter(map(repr, keys)).values() if count > 1]
        return Duplicates(len(repeated), sum(repeated), sum(repeated) - len(repeated))

    assert found.exact_duplicates == counted([[(plain(q), plain(a)) for q, a in row] for row in rows])
    assert found.same_prompt == counted([[plain(q) for q, _ in row] for row in rows])
    assert found.lengths["response_words"].mean == pytest.approx(
        np.mean([sum(len(re.findall(r"[aB]+|好", a)) for _, a in row) for row in rows])
    )
    assert found.lengths["prompt_characters"].quantiles[1.0] == max(sum(len(q) for q, _ in row) for row in rows)


def test_appended_rows_are_told(pool: Pool, write: Write) -> None:
    ingest([write("more.jsonl", [chat(("user", "q"), ("assistant", "a"))] * 2)], pool.path, append=True)
    found = describe_pool(Pool.open(pool.path))
    assert (found.rows, found.appended) == (7, (2,))
    former = describe_pool(Pool.open(pool.path, fingerprint=pool.fingerprint))
    assert former.to_dict() == {**describe_pool(pool).to_dict(), "bytes": found.bytes}


def test_a_distribution_leaves_out_what_is_missing() -> None:
    found = Distribution.of(np.array([1.0, np.nan, 3.0], np.float32))
    assert (found.rows, found.missing, found.mean, found.quantiles[0.5]) == (3, 1, 2.0, 2.0)
    nothing = Distribution.of(np.array([np.nan]))
    assert nothing.to_dict() == {"rows": 1, "missing": 1, "mean": None}


def test_what_rows_hold_besides_texts_counts(write: Write, tmp_path: Path) -> None:
    call = {"name": "f", "arguments": {"a": "b c"}}
    asked = {"role": "user", "content": "Go", "name": "Ann"}
    answer = {"role": "assistant", "content": "ok"}
    rows = [
        [asked, {"role": "assistant", "content": "", "reasoning_content": "I think", "tool_calls": [call, call]}],
        [asked, {**answer, "reasoning_content": "x"}, asked, {**answer, "weight": 0}, asked, {**answer, "weight": 0}],
        [asked, {**answer, "reasoning_content": "y"}, asked, {**answer, "weight": 0}, asked, {**answer, "weight": 0}],
        [{**asked, "name": None}, answer],
    ]
    records = [
        {"messages": messages, "tools": [{"name": "f"}] if number else None} for number, messages in enumerate(rows)
    ]
    found = describe_pool(Pool.open(ingest([write("rows.jsonl", records)], tmp_path / "pool").path))
    assert found.rows_with == {"tools": 3, "calls": 1, "reasoning": 3, "context_only": 2, "names": 3}
    assert found.to_dict()["rows_with"] == found.rows_with
    said = ["I think\n" + "\n".join(['f {"a": "b c"}'] * 2), "x\nokokok", "y\nokokok", "ok"]
    assert found.lengths["response_characters"].mean == sum(map(len, said)) / 4
    assert found.lengths["response_words"].mean == (2 + 2 * 4 + 4 + 4 + 1) / 4
    assert (found.exact_duplicates.rows, found.same_prompt.rows, found.same_prompt.groups) == (0, 4, 2)
