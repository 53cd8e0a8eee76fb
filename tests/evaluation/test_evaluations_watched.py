"""An evaluation leaves what it was at, step losses too, in a small file of its work folder."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from autoselection.activity import FILE
from autoselection.evaluation import evaluate


def test_a_training_tells_its_steps_losses_and_memory(make_job):
    job = make_job()
    result = evaluate(job)
    found = json.loads((job.work_dir / FILE).read_text())
    assert found["stage"] == "scoring" and found["ended"] == "done"
    assert found["about"] == {"split": "dev", "seed": job.seed, "rows": len(job.rows)}
    assert found["steps"] == {"done": result.steps, "total": result.steps} and result.steps > 1
    points = found["losses"]["points"]
    assert len(points) == result.steps and points[0] == pytest.approx(result.train_loss[0], rel=1e-4)
    assert 0 < found["memory"]["resident"] < found["memory"]["total"]


def test_scores_are_the_same_where_nothing_can_be_written(make_job, monkeypatch):
    plain = evaluate(make_job())
    monkeypatch.setattr(sys.modules["autoselection.evaluation.evaluate"], "ACTIVITY", "no/such/folder")
    unwatched = evaluate(make_job())
    assert unwatched.failure is None and unwatched.score == plain.score
    assert np.allclose(unwatched.train_loss, plain.train_loss, rtol=0)
