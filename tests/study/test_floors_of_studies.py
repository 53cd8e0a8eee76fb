"""A study with floors: what they are measured from, which trial wins, and that the verdict refuses what is below one."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.drawn import figures_of
from tests.study.conftest import ROWS
from tests.study.journals import write_unchecked
from tests.study.test_incumbent import config_of, exported, is_full, judged, scored

from autoselection.config import StudyConfig, load_config
from autoselection.diagnose import what_if
from autoselection.errors import ConfigError, StudyError
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.report import study_markdown
from autoselection.report.answer import study_answer
from autoselection.report.study_page import front_figure, study_page
from autoselection.report.study_view import view_study
from autoselection.report.whatif import whatif_sheets
from autoselection.study import Study, read_events, run_study, summary
from autoselection.study.references import watched_tasks
from autoselection.study.remaining import remaining
from autoselection.study.trade_offs import trade_offs
from autoselection.watch.board import results_board
from autoselection.watch.record import record

GUARD = "tasks.1.weight=0"


def two(job: EvaluationJob, addition: float, boolean: float) -> EvaluationResult:
    """A result with its own quality of each task."""
    result = scored(job, 0.0)
    items = {
        name: {**values, "nll": [value - quality for value in values["nll"]]}
        for (name, values), quality in zip(result.items.items(), (addition, boolean), strict=True)
    }
    scores = {name: -float(np.mean(values["nll"])) for name, values in items.items()}
    return replace(result, items=items, scores=scores, score=scores["addition"])


def share(job: EvaluationJob) -> float:
    return 1.0 if job.rows is None else len(job.rows) / ROWS


def forgetting(job: EvaluationJob) -> EvaluationResult:
    """The fewer rows the better on addition, and the more is forgotten of boolean, of which the base model knows all."""
    if job.rows is None:
        return two(job, -1.0, 1.0)
    return two(job, 1.0 - share(job), share(job))


def with_floor(study_config: Path, floor: str, *more: str) -> StudyConfig:
    return config_of(study_config, GUARD, f"tasks.1.floor={floor}", "search.evaluations=6", *more)


def references(study: Study) -> list[tuple[str, int]]:
    return [(event["label"], event["seed"]) for event in study.journal.of("reference")]


def test_the_best_is_chosen_among_what_keeps_the_floor(
    study_config: Path, tmp_path: Path, ends: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[EvaluationJob] = []

    def end(job: EvaluationJob) -> EvaluationResult:
        jobs.append(job)
        return forgetting(job)

    ends(end)
    config = with_floor(study_config, "base - 0.6", "incumbent.recipe=full")
    study = run_study(config, tmp_path / "study")
    assert references(study) == [("base model", 0)] and sum(job.rows is None for job in jobs) == 1
    base = study.journal.of("reference")[0]["result"]["scores"]["boolean"]
    assert study.floors == {"boolean": pytest.approx(base - 0.6)}
    best = study.best()
    assert best is not None
    keeping = [trial for trial in study.trials if trial.tasks["boolean"] >= study.floors["boolean"]]
    assert 0 < len(keeping) < len(study.trials), "the scene needs both kinds"
    assert best.id in [trial.id for trial in keeping] and best.score == max(trial.score for trial in keeping)
    assert best.score < max(trial.score for trial in study.trials)

    (row,) = watched_tasks(study)
    assert (row.task, row.guard, row.kept) == ("boolean", True, True)

    # What was not tried is valued within the floor.
    asked = what_if(study, {}, proposals=40)
    assert {item.trial for item in asked.trials} == {trial.id for trial in keeping}
    assert asked.untried and all(0 <= item.better <= (item.meets or 0.0) <= 1 for item in asked.untried)
    assert "is better than that and meets the floors with probability" in asked.sentences[1]
    assert "better, within the floors" in whatif_sheets(asked)[1].headings
    with monkeypatch.context() as changed:
        changed.setattr(Study, "floors", {})
        free = what_if(study, {}, proposals=40)
    assert all(item.meets is None for item in free.untried)
    assert [item.recipe for item in asked.untried] != [item.recipe for item in free.untried], (
        "floors decide what is named"
    )
    assert row.base == pytest.approx(base)
    # Beside the incumbent's mean of all trainings stands the winner's, not that of the search's seed alone.
    trained = [event["result"] for event in study.journal.of("incumbent_evaluation") if event["label"] == best.id]
    assert len(trained) == 1
    values = [best.tasks["boolean"], trained[0]["scores"]["boolean"]]
    assert row.winner == pytest.approx(np.mean(values)) and values[0] != values[1]
    assert row.incumbent == pytest.approx(1.0, abs=0.05)
    assert summary(study)["watched"] == [row.to_dict()]
    text = study_markdown(study)
    assert "* best of what meets the floors" in text and "floors are measured with the search's seeds alone" in text
    assert "What is forgotten: guards and floors" in text and "boolean (guard)" in text and "< floor" in text
    page = study_page(view_study(study))
    drawn = {figure.title: figure for figure in figures_of(page)}
    (thick,) = (trace["name"] for trace in drawn["State vectors of the trials"].traces if trace["line"]["width"] > 2)
    assert thick == best.id and "of those that meet the floors" in drawn["Scores over evaluations"].told
    assert "best of what meets the floors" in dict(results_board(record(study)).best)["Dev score"]
    assert f"boolean {row.winner - row.base:+.4f} (with today's data" in " ".join(study_answer(study).hurts)
    assert judged(study)["outcome"] == "better" and len(judged(study)["floors"]["winner"]) == 1
    assert not any(check["below"] for check in judged(study)["floors"]["winner"])

    count = len(jobs)
    again = run_study(config, tmp_path / "study")
    assert len(jobs) == count and again.best().id == best.id, "nothing is scored twice"


def test_a_training_that_serves_several_rows_costs_once(study_config: Path, tmp_path: Path, ends: Any) -> None:
    """The whole pool is trained before the search, for the floor; it is the first trial, and in the final table twice."""
    made: list[EvaluationResult] = []

    def end(job: EvaluationJob) -> EvaluationResult:
        took = {"train": 0.0 if job.rows is None else 2.0 + len(made), "eval": 1.0, "total": 4.0 + len(made)}
        made.append(replace(two(job, share(job), share(job)), seconds=took, steps=int(job.rows is not None)))
        return made[-1]

    ends(end)
    more = ("incumbent.recipe=full", "search.include_full=true", "final.enabled=true", "final.random=false")
    study = run_study(with_floor(study_config, "incumbent - 1", *more, "search.evaluations=3"), tmp_path / "study")
    copied = [
        (event["event"], event["seed"])
        for event in study.journal.events
        if "result" in event and event["result"]["seconds"] in [dict(result.seconds) for result in made]
    ]
    assert len(copied) > len(made), "the scene needs copies"
    stages = {stage.name: stage for stage in view_study(study).stages}
    trained = [stage for name, stage in stages.items() if name not in ("reading the pool", "signals")]
    assert sum(stage.seconds for stage in trained) == pytest.approx(sum(result.seconds["total"] for result in made))
    assert sum(stage.trainings for stage in trained) == sum(result.steps for result in made)
    assert stages["references"].trainings == 1 and stages["search"].trainings == len(study.trials) - 1


def test_a_winner_below_a_floor_is_refused(study_config: Path, scored_pool: Path, tmp_path: Path, ends: Any) -> None:
    ends(lambda job: two(job, -share(job), 1.0 if is_full(job) or job.rows is None else 0.0))
    study = run_study(with_floor(study_config, "incumbent - 0.01"), tmp_path / "study")
    assert [label.split("-")[0] for label, _ in references(study)] == ["base model", "incumbent"]
    found, best = judged(study), study.best()
    assert best is not None and not study.floors["boolean"] <= best.tasks["boolean"]
    assert (found["outcome"], found["on_score"], found["exported"]) == ("below a floor", "better", "incumbent")
    assert found["sentences"][0].startswith(
        f"{best.id} is below the floor of boolean, incumbent - 0.01, beyond noise: "
    )
    assert "beats the incumbent" in found["sentences"][0] and "So full pool stays" in found["sentences"][0]
    assert exported(study, "best", scored_pool) == list(range(ROWS))
    assert "is below a floor." in study_answer(study).headline
    assert f"{best.id} misses the floor of boolean, incumbent - 0.01" in study_markdown(study)
    meeting = [trial for trial in study.trials if trial.tasks["boolean"] >= study.floors["boolean"]]
    assert not meeting and "* misses the floors least: no trial meets them" in study_markdown(study)
    asked = what_if(study, {"addition": 2}, proposals=0)
    assert f"No trial meets the floors; {best.id} misses them least, so it comes first." in asked.sentences
    assert asked.trials[0].trial == best.id and {item.below for item in asked.trials} == {("boolean",)}
    missed = [item.tasks["boolean"] for item in asked.trials]
    scores = [item.score for item in asked.trials]
    assert missed == sorted(missed, reverse=True) and scores != sorted(scores, reverse=True)
    assert asked.to_dict()["trials"][0]["below"] == ("boolean",)
    assert f"{best.tasks['boolean']:.4f} < floor" in whatif_sheets(asked)[0].rows[0]
    # The incumbent was trained with the search's seed before the search, and needs the fresh one alone.
    after = {(event["label"].split("-")[0], event["seed"]) for event in study.journal.of("incumbent_evaluation")}
    assert after == {("incumbent", 1), (best.id, 1)}


def test_floors_measured_from_an_incumbent_stay_with_it(study_config: Path, tmp_path: Path, ends: Any) -> None:
    """The search chooses by the floors as they were measured, and the verdict compares with the incumbent's trainings."""
    ends(forgetting)
    config = with_floor(study_config, "incumbent - 0.5", "search.evaluations=2")
    study = run_study(config, tmp_path / "study")
    events = read_events(study.journal.path)
    kinds = [event["event"] for event in events]
    changed = with_floor(study_config, "incumbent - 0.5", "search.evaluations=2", "incumbent.recipe=longest-responses")
    with pytest.raises(
        StudyError, match=r"floors were measured from another incumbent .*restore that, or name another"
    ):
        run_study(changed, study.path)
    assert run_study(config, study.path).finished

    # Its training with the search's seed was made before the search: what is left is the fresh seed of both.
    write_unchecked(study.journal.path, events[: kinds.index("incumbent_plan")])
    assert remaining(config, ROWS, Study(study.path)).comparison == (None, ROWS)
    write_unchecked(study.journal.path, events[: kinds.index("reference")])
    assert remaining(config, ROWS, Study(study.path)).comparison == (None, ROWS, ROWS)


def test_within_noise_of_a_floor_is_not_below_it(study_config: Path, tmp_path: Path, ends: Any) -> None:
    def end(job: EvaluationJob) -> EvaluationResult:
        if job.rows is None or is_full(job):
            return two(job, -1.0, 0.5)
        return two(job, 0.0, 0.505)  # items scatter by 0.05, so that the mean of twelve does by 0.014

    ends(end)
    study = run_study(with_floor(study_config, "0.52"), tmp_path / "study")
    (check,) = judged(study)["floors"]["winner"]
    assert check["difference"] < 0 < check["high"] and not check["below"]
    assert judged(study)["outcome"] == "better"


def test_a_winner_above_the_floors_replaces_an_incumbent_below_one(
    study_config: Path, scored_pool: Path, tmp_path: Path, ends: Any
) -> None:
    """At a cost of the score, which the sentence tells."""
    ends(lambda job: two(job, 0.5, 0.0) if is_full(job) else two(job, 0.0, 1.0))
    study = run_study(with_floor(study_config, "base - 0.2"), tmp_path / "study")
    found, best = judged(study), study.best()
    assert best is not None
    assert (found["outcome"], found["on_score"], found["exported"]) == ("above the floors", "worse", "found")
    said = found["sentences"][0]
    assert (
        f"{best.id} is not below a floor beyond noise, and the incumbent is: full pool is below the floor of boolean"
        in said
    )
    assert f"{best.id} is worse on dev than the incumbent" in said and said.endswith(
        "is exported: best/ holds its rows."
    )
    assert exported(study, "best", scored_pool) == study.rows(best.id).tolist()
    assert not (study.path / "found").exists()
    assert study_answer(study).belief == "Partly"


def test_the_incumbent_among_the_trials_is_trained_once(study_config: Path, tmp_path: Path, ends: Any) -> None:
    jobs: list[EvaluationJob] = []

    def end(job: EvaluationJob) -> EvaluationResult:
        jobs.append(job)
        return forgetting(job)

    ends(end)
    config = with_floor(study_config, "incumbent - 0.5", "search.include_full=true", "search.evaluations=3")
    study = run_study(config, tmp_path / "study")
    assert len(study.trials) == 3 and study.trials["t001"].score is not None
    assert sum(is_full(job) and job.seed == 0 for job in jobs) == 1


def test_a_reference_that_cannot_be_scored_ends_the_study(study_config: Path, tmp_path: Path, ends: Any) -> None:
    def end(job: EvaluationJob) -> EvaluationResult:
        if is_full(job):
            return EvaluationResult("dev", job.seed, math.nan, failure="diverged.", failure_kind="training")
        return forgetting(job)

    ends(end)
    with pytest.raises(
        StudyError, match=r"'boolean' is measured from incumbent, which could not be scored \(diverged\)"
    ):
        run_study(with_floor(study_config, "incumbent"), tmp_path / "study")


def test_without_guards_and_floors_nothing_is_scored_before_the_search(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    ends(forgetting)
    study = run_study(config_of(study_config), tmp_path / "study")
    assert not references(study) and not study.journal.of("floors") and summary(study)["watched"] == []
    assert "What is forgotten" not in study_markdown(study)


def test_a_guard_without_a_floor_is_reported_beside_the_base_model(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    ends(forgetting)
    study = run_study(config_of(study_config, GUARD), tmp_path / "study")
    assert references(study) == [("base model", 0)] and study.floors == {}
    best = study.best()
    assert best is not None and best.score == max(trial.score for trial in study.trials)
    (row,) = watched_tasks(study)
    assert row.kept is None and row.base == pytest.approx(1.0, abs=0.05)
    assert "What is forgotten" in study_markdown(study)


def test_trade_offs_are_reported_and_the_winner_has_the_best_score(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    ends(forgetting)
    config = config_of(study_config, GUARD, "search.pareto=[score,boolean]", "search.evaluations=6")
    study = run_study(config, tmp_path / "study")
    found, best = trade_offs(study), study.best()
    assert best is not None and best.score == max(trial.score for trial in study.trials)
    assert {entry.trial.id for entry in found} == {trial.id for trial in study.trials}
    for entry in found:
        assert entry.values == (entry.trial.score, entry.trial.tasks["boolean"])
        better = [other for other in found if other.values[0] > entry.values[0] and other.values[1] > entry.values[1]]
        assert entry.leads == (not better)
    leading = [entry for entry in found if entry.leads]
    assert leading == found[: len(leading)] and [e.values[0] for e in leading] == sorted(
        (e.values[0] for e in leading), reverse=True
    )
    assert "Trade-offs that no other trial beats" in study_markdown(study)
    figure = front_figure(view_study(study))
    assert sum(len(trace["x"]) for trace in figure.traces) == len(found)


def test_a_wrong_objective_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(
        "pool: {path: pool}\nmodel: {path: model}\ntasks: [{name: a, dev: a.jsonl}]\nsearch:\n  pareto: [a, token]\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path}:5: search.pareto.1: there is no task 'token'; did you mean 'tokens'?"
