"""Pools of older layouts are opened, grow and keep what was computed of them; pools of newer ones are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from autoselection.errors import PoolError
from autoselection.files import seal
from autoselection.pool import Pool, describe_pool, ingest
from autoselection.pool.rows import SCHEMA
from autoselection.signals import SignalsConfig, load_table, score_pool

#: What the last version with layout 1 made of rows.jsonl there, with the signal ``lengths``.
OLD = Path(__file__).parent / "data" / "pool-layout-1"
PLAIN = [
    [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Q <|im_end|>"},
        {"role": "assistant", "content": "Ä"},
    ],
    [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
        {"role": "tool", "content": "42"},
        {"role": "assistant", "content": "b"},
    ],
]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "old"))


def test_a_pool_of_layout_1_says_what_it_always_said(old: Path) -> None:
    pool = Pool.open(old)
    pool.verify()
    assert pool.table.schema.equals(SCHEMA)
    assert pool.messages() == PLAIN
    assert pool.messages([1, 0, 1]) == [PLAIN[1], PLAIN[0], PLAIN[1]]
    assert [(row.messages, row.tools) for row in pool.conversations()] == [(row, None) for row in PLAIN]
    assert pool.texts() == ["Be short.\nQ <|im_end|>\nÄ", "q\na\n42\nb"]
    assert pool.parts("response") == ["Ä", "a\nb"]
    assert pool.row_ids()[0] == "one"
    assert pool.metas() == [{"level": "hard"}, {}]
    assert dict(describe_pool(pool).roles) == {"assistant": 3, "user": 2, "system": 1, "tool": 1}


def test_its_rows_have_the_same_ids_and_fingerprint_now(old: Path, tmp_path: Path) -> None:
    new = ingest([OLD / "rows.jsonl"], tmp_path / "new")
    assert new.fingerprint == Pool.open(old).fingerprint
    assert Pool.open(tmp_path / "new").row_ids() == Pool.open(old).row_ids()
    assert Pool.open(tmp_path / "new").manifest.format_version == 2


def test_its_signals_are_still_right(old: Path, tmp_path: Path) -> None:
    assert score_pool(Pool.open(old), SignalsConfig(signals=("lengths",))).cached
    ingest([OLD / "rows.jsonl"], tmp_path / "new")
    assert not score_pool(Pool.open(tmp_path / "new"), SignalsConfig(signals=("lengths",))).cached
    tables = [load_table(Pool.open(path)) for path in (old, tmp_path / "new")]
    assert tables[0].column("n_response_characters").tolist() == tables[1].column("n_response_characters").tolist()


def test_it_grows_by_rows_of_today(old: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.jsonl"
    more.write_text('{"prompt": "q", "completion": "a"}\n')
    before = Pool.open(old).fingerprint
    ingest([more], old, append=True)
    both = Pool.open(old)
    both.verify()
    assert both.messages([0, 2, 1]) == [
        PLAIN[0],
        [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
        PLAIN[1],
    ]
    assert Pool.open(old, fingerprint=before).messages() == PLAIN
    assert both.fingerprint == ingest([OLD / "rows.jsonl", more], tmp_path / "whole").fingerprint


@pytest.mark.parametrize("version", [0, 3])
def test_a_pool_of_another_layout_is_refused_by_its_number(old: Path, version: int) -> None:
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["checksum"]
    (old / "manifest.json").write_text(json.dumps(seal({**manifest, "format_version": version, "novelty": 1})))
    with pytest.raises(PoolError, match=f"layout version {version}, this program reads 1 to 2"):
        Pool.open(old)


def test_it_grows_by_rows_with_calls_and_tools(old: Path, tmp_path: Path) -> None:
    call = {"id": "c", "name": "f", "arguments": "{}"}
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    row = {"id": "typed", "messages": turns, "tools": [{"name": "f"}]}
    more = tmp_path / "more.jsonl"
    more.write_text(json.dumps(row) + "\n")
    ingest([more], old, append=True)
    pool = Pool.open(old)
    pool.verify()
    assert pool.messages() == [*PLAIN, turns]
    assert pool.tools() == [None, None, '[{"type": "function", "function": {"name": "f"}}]']
    assert pool.texts([2, 0])[0] == "q\nf {}"
    others = [{**row, "tools": [{"name": "g"}]}, row]  # the same id: with other tools another row, else the same again
    more.write_text("".join(json.dumps(other) + "\n" for other in others))
    report = ingest([more], old, append=True)
    assert [bad.kind for bad in report.bad] == ["same row twice"]
    assert Pool.open(old).row_ids()[2:] == ["typed", "typed-2"]
