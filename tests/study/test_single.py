"""One training outside of a study: the rows of a file, in its order, on the split that is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoselection.config import load_config
from autoselection.errors import ConfigError, PoolError
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.pool import Pool
from autoselection.study import single


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[EvaluationJob]:
    asked: list[EvaluationJob] = []

    def record(job: EvaluationJob) -> EvaluationResult:
        asked.append(job)
        return EvaluationResult.failed(job, "nothing is trained here")

    monkeypatch.setattr("autoselection.ledger.ledger.evaluate", record)
    return asked


@pytest.mark.parametrize("split", ["dev", "test"])
def test_rows_keep_the_order_of_the_file_and_the_split_is_the_one_asked_for(
    split: single.Split, study_config: Path, scored_pool: Path, tmp_path: Path, jobs: list[EvaluationJob]
) -> None:
    order = [31, 5, 200, 17, 0]
    ids = Pool.open(scored_pool).row_ids(order)
    (tmp_path / "ids.json").write_text(json.dumps(list(ids)))
    single.evaluate_subset(load_config(study_config), tmp_path / "ids.json", split, 11)
    (job,) = jobs
    assert job.rows is not None and job.rows.tolist() == order
    assert (job.split, job.seed, job.full_metrics) == (split, 11, True)


def test_a_row_twice_is_refused(
    study_config: Path, scored_pool: Path, tmp_path: Path, jobs: list[EvaluationJob]
) -> None:
    ids = Pool.open(scored_pool).row_ids([1, 2, 1])
    (tmp_path / "ids.json").write_text(json.dumps(list(ids)))
    with pytest.raises(PoolError, match=r"ids\.json: 1 id\(s\) stand twice, the first is '"):
        single.evaluate_subset(load_config(study_config), tmp_path / "ids.json", "dev", 0)
    assert not jobs


def test_an_unknown_id_is_told_with_the_users_own_files(
    study_config: Path, raw_pool: Path, tmp_path: Path, jobs: list[EvaluationJob]
) -> None:
    (tmp_path / "ids.txt").write_text("nobody\n")
    config = load_config(study_config, ["pool.path=null", f"pool.files=[{raw_pool}]"])
    with pytest.raises(PoolError, match=r"ids\.txt: 1 of 1 ids .*pool\.jsonl\), the first is 'nobody'") as told:
        single.evaluate_subset(config, tmp_path / "ids.txt", "dev", 0)
    assert "autoselection-" not in str(told.value) and not jobs
    assert "'autoselection materialize RECIPE --pool POOL --ids FILE' gives" in str(told.value)


def test_a_folder_with_other_things_of_the_user_is_not_worked_in(
    study_config: Path, scored_pool: Path, tmp_path: Path, jobs: list[EvaluationJob]
) -> None:
    (tmp_path / "ids.json").write_text(json.dumps(list(Pool.open(scored_pool).row_ids([1, 2]))))
    (tmp_path / "adapter").mkdir()
    config = load_config(study_config)
    with pytest.raises(ConfigError, match=r"holds adapter/, which no evaluation wrote .*choose another --work-dir"):
        single.evaluate_subset(config, tmp_path / "ids.json", "dev", 0, tmp_path)
    assert not jobs
    (tmp_path / "activity.json").touch()  # an evaluation's that was killed
    single.evaluate_subset(config, tmp_path / "ids.json", "dev", 0, tmp_path)
    assert [job.work_dir for job in jobs] == [tmp_path]
