"""A study in its first minutes tells how far it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_cli import document, run

from autoselection.config import load_config
from autoselection.pool import Pool
from autoselection.signals import SignalStore
from autoselection.signals.scored import finished_signals, unfinished_signals
from autoselection.signals.shard_plan import ShardPlan
from autoselection.signals.stored import Shard, SignalSpec
from autoselection.study import Study


def test_report_before_the_pool_is_there(study_config: Path, tmp_path: Path) -> None:
    config = load_config(study_config, [f"pool.path={tmp_path / 'nowhere'}"])
    Study.create_or_open(config, tmp_path / "study")
    code, shown, _ = run("report", tmp_path / "study")
    assert code == 0 and "reading its pool" in " ".join(shown.split())
    assert document("report", tmp_path / "study")["phase"]["name"] == "pool"


def test_report_in_the_signal_phase_says_how_far_it_is(study_config: Path, scored_pool: Path, tmp_path: Path) -> None:
    study = Study.create_or_open(load_config(study_config), tmp_path / "study")
    store = SignalStore.of(Pool.open(scored_pool))
    spec = SignalSpec("politeness", 1)

    def interrupted(rows: range, _wanted: frozenset[str]) -> dict[str, Shard]:
        if rows.start >= 48:
            raise KeyboardInterrupt
        return {"politeness": Shard({"politeness": np.zeros(len(rows), np.float32)})}

    with pytest.raises(KeyboardInterrupt):
        store.compute([spec], interrupted, shard_rows=512, description="x")
    assert unfinished_signals(store) == {"politeness": 48} and "politeness" not in finished_signals(store)
    code, shown, _ = run("report", study.path)
    said = " ".join(shown.split())
    assert (
        code == 0 and "computing the signals of its 400 rows" in said and "politeness at 48 of 400 rows (12%)" in said
    )
    assert "Search (dev" not in said and "ngram_entropy" in said
    phase = document("report", study.path)["phase"]
    assert phase["name"] == "signals" and phase["unfinished"] == {"politeness": 48} and "lm" in phase["finished"]
    assert "politeness at 48" in (study.path / "report.md").read_text()


def test_a_study_with_evaluations_is_in_no_such_phase(finished_study: Study) -> None:
    assert document("report", finished_study.path)["phase"] is None


@pytest.mark.parametrize("start", [0, 5, 399])
@pytest.mark.parametrize(
    "cut",
    [ShardPlan(512), ShardPlan(16_384), ShardPlan(10), ShardPlan(1), ShardPlan(400, at_once=True)],
    ids=lambda cut: cut.folder,
)
def test_shards_cover_all_rows_once_and_the_first_are_small(cut: ShardPlan, start: int) -> None:
    spans = cut.spans(start, 40_000)
    assert [row for span in spans for row in span] == list(range(start, 40_000))
    assert all(len(span) <= cut.rows for span in spans) and len(spans[0]) <= max(
        16, cut.rows // 32, cut.at_once * cut.rows
    )
    assert ShardPlan.of(cut.folder) is not None and ShardPlan.of(cut.folder).folder == cut.folder  # type: ignore[union-attr]
    assert cut.spans(7, 7) == []
