"""Proxies beside full evaluations: on a study with planted scores, so that what is to be found is known."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from autoselection import cli
from autoselection.diagnose import Diagnosis, Line, diagnose_study, write_table
from autoselection.errors import ConfigError
from autoselection.evaluation import EvaluationResult
from autoselection.pool import Pool
from autoselection.recipes import materialize, state_vector
from autoselection.report import study_markdown
from autoselection.search import Candidate, random_recipes
from autoselection.signals import load_table
from autoselection.study import Study

TRIALS = 14
NOISE = 0.01


def _result(score: float) -> dict[str, Any]:
    seconds = {"train": 1.0, "eval": 1.0, "total": 2.0}
    return EvaluationResult("dev", 0, score, {"addition": score, "boolean": score}, seconds=seconds).to_dict()


@pytest.fixture(scope="module")
def planted(finished_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose scores rise with the share of rows kept, with predictions that knew and a cheap run that did not."""
    folder = tmp_path_factory.mktemp("planted") / "study"
    folder.mkdir()
    shutil.copy(finished_study.path / "config.yaml", folder)
    opening = finished_study.journal.of("study")[0]
    pool = Pool.open(finished_study.config.pool.path or Path())
    keys = {name: entry["key"] for name, entry in opening["signal_report"]["signals"].items()}
    table = load_table(pool, keys=keys)
    rng = np.random.default_rng(0)
    events: list[dict[str, Any]] = [opening, finished_study.journal.of("contamination")[0]]
    study_rows = folder / "subsets"
    study_rows.mkdir()
    for number, recipe in enumerate(random_recipes(table, TRIALS + 1), start=1):
        made = materialize(recipe, table)
        score = len(made.rows) / table.n + NOISE * float(rng.normal())
        expected = {"mu": score + NOISE * float(rng.normal()), "sigma": NOISE, "ucb": score + 0.1}
        candidate = Candidate(
            f"t{number:03d}", number, made.recipe, made.rows, made.subset_hash, made.ordered_hash, made.lineage,
            state_vector(made.rows, table), "warmup", None, "", 0,
        )  # fmt: skip
        np.save(study_rows / f"{candidate.id}.npy", made.rows)
        prediction = None if number <= 3 else expected
        events.append({"event": "trial", "trial": {**candidate.to_dict(), "prediction": prediction}})
        if number <= TRIALS:
            short = {**candidate.to_dict(), "id": f"s{number:03d}", "fidelity": 1 / 3}
            events.append({"event": "trial", "trial": short})
            for name, seen in ((short["id"], float(rng.normal())), (candidate.id, score)):
                events.append({"event": "evaluation", "trial": name, "seed": 0, "result": _result(seen)})
    failed = EvaluationResult("dev", 0, float("nan"), failure="it diverged", failure_kind="training")
    events.append({"event": "evaluation", "trial": candidate.id, "seed": 0, "result": failed.to_dict()})
    lines = [json.dumps({"seq": place, "time": 0.0, **event}) for place, event in enumerate(events)]
    (folder / "journal.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def diagnosis(planted: Path) -> Diagnosis:
    return diagnose_study(Study(planted))


def _line(diagnosis: Diagnosis, name: str) -> Line:
    return next(line for line in diagnosis.lines if line.name == name)


def test_what_was_planted_is_found(diagnosis: Diagnosis) -> None:
    assert diagnosis.trials == TRIALS
    for name in ("retain_ratio", "rows", "tokens", "surrogate before the evaluation: mu"):
        found = _line(diagnosis, name).correlation
        assert found.excludes_zero and found.spearman is not None and found.spearman.value > 0.7, name
    assert _line(diagnosis, "rows").correlation == _line(diagnosis, "retain_ratio").correlation
    left_out = _line(diagnosis, "surrogate, trial left out: mu").correlation
    assert left_out.trials == TRIALS and left_out.excludes_zero  # sizes are in its state features
    assert {"score_per_task/addition", "mean_ifd", "distribution_drift"} <= {line.name for line in diagnosis.lines}
    assert "cumulative_cost_ratio" not in {line.name for line in diagnosis.lines}


def test_predictions_count_only_where_there_was_one(diagnosis: Diagnosis) -> None:
    assert _line(diagnosis, "surrogate before the evaluation: ucb").correlation.trials == TRIALS - 3
    before = diagnosis.calibrations[0]
    assert before.trials == TRIALS - 3 and before.spread is not None and 0.4 < before.spread.value < 2.0


def test_cheap_runs_are_a_proxy_and_no_full_evaluation(diagnosis: Diagnosis, planted: Path) -> None:
    cheap = _line(diagnosis, "dev score at fidelity 0.333")
    assert cheap.kind == "fidelity" and cheap.correlation.trials == TRIALS and not cheap.correlation.excludes_zero
    scores = [trial.score for trial in Study(planted).trials if trial.score is not None]
    assert all(0 < score < 1.1 for score in scores)


def test_it_says_what_excludes_zero_and_what_cannot_be_said(diagnosis: Diagnosis) -> None:
    text = " ".join((*diagnosis.findings(), *diagnosis.notes))
    assert "Spearman's interval excludes 0 for" in text and "by chance" in text and "rows +" in text
    assert "too few trials: 0, at least 8 are needed): test score" in text
    assert "1 failed trial(s) have no score" in text


def test_without_its_pool_the_rest_is_still_shown(planted: Path, tmp_path: Path) -> None:
    copy = tmp_path / "study"
    shutil.copytree(planted, copy)
    text = (copy / "config.yaml").read_text().rpartition("# checksum")[0]  # changed on purpose
    path = Study(planted).config.pool.path
    (copy / "config.yaml").write_text(text.replace(str(path), str(tmp_path / "gone")))
    found = diagnose_study(Study(copy))
    names = {line.name for line in found.lines}
    assert "rows" in names and "tokens" not in names and "surrogate, trial left out: mu" not in names
    assert any("cannot be read" in note for note in found.notes)


def test_a_short_study_gets_no_numbers(finished_study: Study) -> None:
    found = diagnose_study(finished_study)
    assert found.trials == 5 and all(line.correlation.spearman is None for line in found.lines)
    (sentence,) = found.findings()
    assert sentence.startswith("Too few trials: 5")
    shown = CliRunner().invoke(cli.app, ["diagnose", str(finished_study.path)])
    assert shown.exit_code == 0 and "Too few trials: 5" in shown.stdout and "Spearman" not in shown.stdout


def test_the_command_and_its_table(planted: Path, tmp_path: Path) -> None:
    table = tmp_path / "proxies.csv"
    result = CliRunner().invoke(cli.app, ["diagnose", str(planted), "--json", "--table", str(table), "--seed", "1"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["trials"] == TRIALS and document["seed"] == 1 and document["findings"]
    lines = list(csv.DictReader(table.open()))
    assert [line["proxy"] for line in lines] == [line["proxy"] for line in document["proxies"]]
    rows = next(line for line in document["proxies"] if line["proxy"] == "rows")
    stored = next(line for line in lines if line["proxy"] == "rows")
    assert float(stored["spearman_low"]) == rows["spearman"]["ci95"][0] and stored["excludes_zero"] == "True"


def test_a_table_of_another_kind_is_refused(diagnosis: Diagnosis, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"written as \.md or \.csv"):
        write_table(diagnosis, tmp_path / "table.xlsx")
    with pytest.raises(ConfigError, match="does not exist"):
        write_table(diagnosis, tmp_path / "nowhere" / "table.md")
    write_table(diagnosis, tmp_path / "table.md")
    assert "| rows | size | 14 |" in (tmp_path / "table.md").read_text()


def test_the_report_has_the_same_table(planted: Path, finished_study: Study) -> None:
    assert "proxies beside the dev score" in study_markdown(Study(planted))
    assert "proxies beside" not in study_markdown(finished_study)


def test_too_few_trials_are_said_once_and_not_for_every_task(finished_study: Study) -> None:
    found = diagnose_study(finished_study)
    assert len(found.agreements) > 1
    (said,) = [sentence for sentence in found.right_answers() if "cannot be told" in sentence]
    assert said.endswith("on no task: at least 8 are needed.")
