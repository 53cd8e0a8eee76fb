"""A study goes on with the pool it was started on when rows were appended to that pool's directory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import yaml

from autoselection.config import load_config
from autoselection.demo import pool_file
from autoselection.pool import Pool, ingest
from autoselection.study import Study, run_study


def test_an_old_study_resolves_its_rows(
    finished_study: Study, study_config: Path, scored_pool: Path, tmp_path: Path
) -> None:
    pool_dir, study_dir = tmp_path / "pool", tmp_path / "study"
    shutil.copytree(scored_pool, pool_dir)
    shutil.copytree(finished_study.path, study_dir)
    document = yaml.safe_load(study_config.read_text())
    document["pool"]["path"] = str(pool_dir)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    config = load_config(tmp_path / "study.yaml")
    stored = yaml.safe_load((study_dir / "config.yaml").read_text())
    stored["pool"]["path"] = str(pool_dir)
    (study_dir / "config.yaml").write_text(yaml.safe_dump(stored))

    rows = len(Pool.open(pool_dir))
    lines = pool_file().read_bytes().split(b"\n")[rows : rows + 50]
    (tmp_path / "more.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    ingest([tmp_path / "more.jsonl"], pool_dir, append=True)
    assert len(Pool.open(pool_dir)) == rows + 50

    shutil.rmtree(study_dir / "best")
    events = len(finished_study.journal.events)
    study = run_study(config, study_dir)
    assert len(study.journal.events) == events, "nothing is evaluated again"
    ids = json.loads((study_dir / "best" / "ids.json").read_text())
    best = study.best()
    assert best is not None
    assert np.array_equal(Pool.open(pool_dir).row_of(ids), study.rows(best.id))
    assert ids == json.loads((finished_study.path / "best" / "ids.json").read_text())
