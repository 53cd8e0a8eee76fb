"""A study goes on with the pool it was started on when rows were appended to that pool since."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from autoselection.config import load_config
from autoselection.demo import pool_file
from autoselection.pool import Pool, ingest
from autoselection.study import Study, run_study
from autoselection.study.incumbent import current_verdict
from autoselection.study.prepare import prepare

MORE = 50


@pytest.mark.parametrize("source", ["path", "files"])
def test_an_old_study_resolves_its_rows(
    source: str, finished_study: Study, study_config: Path, scored_pool: Path, raw_pool: Path, tmp_path: Path
) -> None:
    study_dir = tmp_path / "study"
    pool_dir = tmp_path / "pool" if source == "path" else study_dir / "pool"
    shutil.copytree(finished_study.path, study_dir)
    shutil.copytree(scored_pool, pool_dir)
    raw = tmp_path / raw_pool.name
    shutil.copyfile(raw_pool, raw)
    place = {"path": str(pool_dir)} if source == "path" else {"files": [str(raw)]}
    document = {**yaml.safe_load(study_config.read_text()), "pool": place}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    config = load_config(tmp_path / "study.yaml")
    stored = yaml.safe_load((study_dir / "config.yaml").read_text())
    stored["pool"] = config.model_dump(mode="json")["pool"]
    (study_dir / "config.yaml").write_text(yaml.safe_dump(stored))

    rows = len(Pool.open(pool_dir))
    more = b"\n".join(pool_file().read_bytes().split(b"\n")[rows : rows + MORE]) + b"\n"
    if source == "path":
        (tmp_path / "more.jsonl").write_bytes(more)
        ingest([tmp_path / "more.jsonl"], pool_dir, append=True)
    else:
        raw.write_bytes(raw.read_bytes() + more)

    shutil.rmtree(study_dir / "best")
    events = len(finished_study.journal.events)
    study = run_study(config, study_dir)
    assert len(Pool.open(pool_dir)) == rows + MORE
    assert len(study.journal.events) == events, "nothing is evaluated again"
    ids = json.loads((study_dir / "best" / "ids.json").read_text())
    assert ids == json.loads((finished_study.path / "best" / "ids.json").read_text())
    best, outcome = study.best(), current_verdict(study)
    assert best is not None and outcome is not None
    winner = json.loads((study_dir / ("best" if outcome["exported"] == "found" else "found") / "ids.json").read_text())
    assert np.array_equal(Pool.open(pool_dir).row_of(winner), study.rows(best.id))


def test_signals_that_came_later_are_no_part_of_an_old_study(study_config: Path, tmp_path: Path) -> None:
    config = load_config(study_config)
    opening = {
        "pool": prepare(config, tmp_path).pool.fingerprint,
        "signal_report": {"signals": {"tokens": {}, "text_hash": {}}},
    }
    names = prepare(config, tmp_path, opening).table.names
    assert names == ("n_prompt_tokens", "n_response_tokens", "n_tokens", "text_hash")
