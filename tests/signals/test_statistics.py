"""``pool stats``: what signals say of each source, in Python and on the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.pool import Pool, ingest
from autoselection.signals import SignalsConfig, SignalTable, load_table, pool_stats, score_pool
from autoselection.signals.statistics import near_duplicate_rows


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    rows = [{"prompt": f"q{i}", "completion": "a " * (i + 1), "source": "xy[z]"[i % 2 * 2 :]} for i in range(9)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Pool.open(ingest([tmp_path / "rows.jsonl"], tmp_path / "pool").path)


def test_every_column_within_every_source(pool: Pool) -> None:
    values = np.array([1, np.nan, 3, 4, 5, np.nan, np.nan, 8, 9], np.float32)
    table = SignalTable.from_arrays(
        {"ifd": values, "none": np.full(9, np.nan)},
        source=pool.sources(),
        sae=np.array([[1.0, 2.0]] * 4 + [[0.0, 0.0]] * 5),
        embeddings=np.array([[1.0, 0.0]] * 8 + [[0.0, 0.0]]),
    )
    found = pool_stats(pool, table)
    assert set(found.signals) == {"ifd", "none", "sae", "embeddings"}
    whole = found.signals["ifd"].whole
    assert (whole.rows, whole.missing, whole.mean) == (9, 3, 5.0)
    for name in table.source_names:
        inside = values[np.asarray(pool.sources()) == name]
        source = found.signals["ifd"].sources[name]
        assert (source.rows, source.missing) == (len(inside), np.isnan(inside).sum())
        assert source.mean == pytest.approx(np.nanmean(inside))
        for share, value in source.quantiles.items():
            assert value == pytest.approx(np.nanquantile(inside, share))
    assert found.signals["none"].whole.mean is None
    assert found.signals["none"].sources["[z]"].mean is None
    assert (found.signals["sae"].whole.mean, found.signals["sae"].whole.missing) == (2.0, 5)
    assert (found.signals["embeddings"].whole.missing, found.near_duplicates) == (1, None)
    json.dumps(found.to_dict(), allow_nan=False)


@dataclass(frozen=True)
class Pairs:
    left: Any
    right: Any
    similarity: Any


def test_rows_with_a_near_duplicate() -> None:
    node = np.array([0, 1, 0, 3, 4, 3, 6], np.int32)  # 0 and 2, and 3 and 5, say the same
    edges = Pairs(np.array([0, 1]), np.array([4, 6]), np.array([0.9, 0.6], np.float32))
    assert near_duplicate_rows(node, edges, 0.5) == 7
    assert near_duplicate_rows(node, edges, 0.8) == 5
    assert near_duplicate_rows(node, edges, 0.95) == 4


def test_the_command_line_shows_tables_or_json(pool: Pool) -> None:
    score_pool(pool, SignalsConfig(), signals=["lengths", "repetition"])
    shown = CliRunner().invoke(app, ["pool", "stats", str(pool.path)])
    assert shown.exit_code == 0
    for text in ("Sources", "[z]", "n_response_words", "Mean by source", "repetition", "not computed"):
        assert text in shown.output
    printed = CliRunner().invoke(app, ["pool", "stats", str(pool.path), "--json"])
    document = json.loads(printed.stdout)
    assert document == json.loads(json.dumps(pool_stats(pool, load_table(pool)).to_dict()))
    assert document["signals"]["n_response_words"]["sources"]["[z]"]["rows"] == 4


def test_a_pool_without_signals_is_described_all_the_same(pool: Pool) -> None:
    shown = CliRunner().invoke(app, ["pool", "stats", str(pool.path)])
    assert shown.exit_code == 0
    assert "No signals are cached" in shown.output
