"""What is used today is replaced only by something better beyond noise, and the study says which it exports and why."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tests.study.conftest import ROWS
from tests.study.journals import write_unchecked

from autoselection.config import StudyConfig, load_config
from autoselection.errors import RecipeError, StudyError
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.pool import Pool
from autoselection.recipes import Recipe, Step, materialize, subset_hash
from autoselection.report import study_markdown, write_report
from autoselection.report.answer import study_answer
from autoselection.report.tables import study_sheets
from autoselection.signals import load_table
from autoselection.statistics import chance_correlation, pooled_noise, selection_flattery, shared_chance
from autoselection.study import Study, read_events, run_study, summary
from autoselection.tasks import load_items

End = Callable[[EvaluationJob], EvaluationResult]


def scored(job: EvaluationJob, quality: float, luck: float = 0.0) -> EvaluationResult:
    """A result whose items scatter around ``quality``, differently for every subset and seed."""
    rows = np.arange(0) if job.rows is None else np.asarray(job.rows)
    rng = np.random.default_rng([zlib.crc32(np.sort(rows).tobytes()), job.seed])
    items = {}
    for task in job.tasks:
        ids = [item.id for item in load_items(task, job.split)]
        items[task.name] = {"ids": ids, "nll": (luck - quality + rng.normal(0, 0.05, len(ids))).round(5).tolist()}
    scores = {name: -float(np.mean(values["nll"])) for name, values in items.items()}
    return EvaluationResult(
        job.split,
        job.seed,
        float(np.mean(list(scores.values()))),
        scores=scores,
        metrics={name: {"items": 12.0, "nll": -score} for name, score in scores.items()},
        items=items,
        seconds={"train": 0.0, "eval": 0.0, "total": 0.0},
        settings={"order": "row keys"},
    )


def is_full(job: EvaluationJob) -> bool:
    return job.rows is not None and len(job.rows) == ROWS


def config_of(study_config: Path, *overrides: str) -> StudyConfig:
    short = ["final.enabled=false", "search.evaluations=4", "search.batch=1", "executor.workers=1"]
    return load_config(study_config, [*short, *overrides])


def judged(study: Study) -> dict[str, Any]:
    (found,) = study.journal.of("verdict")[-1:]
    assert summary(study)["incumbent"]["sentences"] == found["sentences"]
    assert found["sentences"][0] in study_markdown(study)
    return found


def exported(study: Study, folder: str, pool: Path) -> list[int]:
    ids = json.loads((study.path / folder / "ids.json").read_text())
    return [int(row) for row in Pool.open(pool).row_of(ids)]


def trained(study: Study) -> list[tuple[str, int]]:
    return [(event["label"], event["seed"]) for event in study.journal.of("incumbent_evaluation")]


def test_a_clear_winner_is_exported(study_config: Path, scored_pool: Path, tmp_path: Path, ends: Any) -> None:
    ends(lambda job: scored(job, 0.0 if is_full(job) else 1.0))
    study = run_study(config_of(study_config), tmp_path / "study")
    found, best = judged(study), study.best()
    assert best is not None
    assert (found["outcome"], found["exported"]) == ("better", "found")
    assert found["comparison"]["p_seeds"] < 0.05 and found["comparison"]["seeds"] == 2
    taken = found["flattery"]
    assert found["comparison"]["difference"]["estimate"] == pytest.approx(found["measured"] - taken["mean"], abs=1e-9)
    assert taken["mean"] == pytest.approx(taken["items"] + taken["training"] / 2) and taken["training_known"]
    assert f"{best.id} beats the incumbent, full pool, on dev beyond noise" in found["sentences"][0]
    assert exported(study, "best", scored_pool) == study.rows(best.id).tolist()
    assert not (study.path / "found").exists()
    assert found["sentences"][0] in (study.path / "best" / "verdict.txt").read_text()
    label = study.journal.of("incumbent_evaluation")[0]["label"]
    assert label.startswith("incumbent-")
    assert sorted(trained(study)) == sorted([(label, 0), (label, 1), (best.id, 1)]), "seed 0 of the winner is known"
    assert best.score == study.trials[[t.id for t in study.trials].index(best.id)].results[0].score


def test_a_lead_within_noise_leaves_the_incumbent(
    study_config: Path, scored_pool: Path, tmp_path: Path, ends: Any
) -> None:
    ends(lambda job: scored(job, 0.0))
    study = run_study(config_of(study_config, "search.include_full=true", "search.seed=4"), tmp_path / "study")
    found, best = judged(study), study.best()
    assert best is not None and best.id != "t001", "by chance another one leads"
    assert (found["outcome"], found["exported"]) == ("no difference", "incumbent")
    said = found["sentences"][0]
    assert said.startswith(f"No significant difference on dev between {best.id} and the incumbent, full pool")
    assert "best/ holds its rows, found/ those of" in said
    assert f"a true gap of {found['comparison']['detectable']:.4f} would be found with 80% power" in said
    assert 1.5 < found["noise"]["freedom"] < 2, "both were trained twice, with part of their chance in common"
    assert exported(study, "best", scored_pool) == list(range(ROWS))
    assert exported(study, "found", scored_pool) == study.rows(best.id).tolist()
    assert yaml.safe_load((study.path / "best" / "recipe.yaml").read_text())["steps"] == []
    for folder in ("best", "found"):
        assert "No significant difference on dev" in (study.path / folder / "hf_dataset" / "README.md").read_text()
    assert sorted(trained(study)) == [("t001", 1), (best.id, 1)], "the trial on all rows serves as the incumbent"


def test_luck_in_one_training_does_not_pass_for_better(study_config: Path, tmp_path: Path, ends: Any) -> None:
    """What the search saw of the winner was chance in its training; a fresh one shows it."""
    ends(lambda job: scored(job, 0.3 if job.seed == 0 and not is_full(job) else 0.0))
    study = run_study(config_of(study_config), tmp_path / "study")
    found = judged(study)
    assert found["measured"] > 0.1 and found["outcome"] == "no difference"
    assert "by the items alone it would be significant" in found["sentences"][0]


def test_no_difference_is_found_beside_an_interval_that_holds_none(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    """Four items: whatever their differences are, one flip of signs in eight is as extreme. Student's interval is clear of 0."""
    ends(lambda job: scored(job, 0.0 if is_full(job) else 1.0))
    few = ("tasks.0.dev_limit=2", "tasks.1.dev_limit=2")
    study = run_study(config_of(study_config, *few), tmp_path / "study")
    found = judged(study)
    assert (
        found["outcome"] == "no difference" and found["comparison"]["p_seeds"] < 0.05 < found["comparison"]["p_items"]
    )
    (gain,) = study_answer(study).gains
    cells = dict(zip(study_sheets(study)["verdict"].headings, study_sheets(study)["verdict"].rows[0], strict=True))
    shown = f"+0.0000 to {gain.high:+.4f}"
    assert gain.low == 0.0 and gain.high > 0.5
    assert f"95% interval {shown} over seeds and items" in found["sentences"][0] and shown in gain.sentence()
    assert cells["over seeds and items"] == shown and cells["95% over items"].startswith("+0.0000 to ")
    assert f"{found['winner']} is" in cells and cells[f"{found['winner']} is"] == "no significant difference"


def test_a_worse_winner_is_called_worse(study_config: Path, tmp_path: Path, ends: Any) -> None:
    ends(lambda job: scored(job, 1.0 if is_full(job) else 0.0))
    study = run_study(config_of(study_config), tmp_path / "study")
    found = judged(study)
    assert (found["outcome"], found["exported"]) == ("worse", "incumbent")
    assert found["measured"] == pytest.approx(found["comparison"]["difference"]["estimate"])


def test_the_incumbent_may_be_the_best_trial(study_config: Path, scored_pool: Path, tmp_path: Path, ends: Any) -> None:
    ends(lambda job: scored(job, 1.0 if is_full(job) else 0.0))
    study = run_study(config_of(study_config, "search.include_full=true"), tmp_path / "study")
    found = judged(study)
    assert (found["outcome"], found["winner"], trained(study)) == ("same rows", "t001", [])
    assert exported(study, "best", scored_pool) == list(range(ROWS)) and not (study.path / "found").exists()


def test_without_fresh_seeds_chance_in_training_is_said_to_be_unknown(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    ends(lambda job: scored(job, 0.0 if is_full(job) else 1.0))
    study = run_study(config_of(study_config, "incumbent.fresh_seeds=0"), tmp_path / "study")
    found = judged(study)
    assert found["outcome"] == "better" and not found["flattery"]["training_known"]
    assert [seed for _, seed in trained(study)] == [0]
    assert "chance in training is not counted: one seed everywhere" in found["sentences"][0]


def test_no_incumbent_exports_the_winner_unasked(study_config: Path, tmp_path: Path, ends: Any) -> None:
    ends(lambda job: scored(job, 0.0))
    study = run_study(config_of(study_config, "incumbent.recipe=none"), tmp_path / "study")
    kinds = {event["event"] for event in study.journal.events}
    assert not kinds & {"incumbent_plan", "incumbent_evaluation", "verdict"} and summary(study)["incumbent"] is None
    assert not (study.path / "best" / "verdict.txt").exists() and (study.path / "best" / "ids.json").exists()


def test_a_recipe_as_incumbent_gets_a_row_of_the_final_table(study_config: Path, tmp_path: Path, ends: Any) -> None:
    recipe = tmp_path / "ours.yaml"
    recipe.write_text("steps:\n- {operator: truncate_samples, params: {fraction: 0.4}}\n")
    ends(lambda job: scored(job, 0.0))
    study = run_study(config_of(study_config, f"incumbent.recipe={recipe}", "final.enabled=true"), tmp_path / "study")
    assert judged(study)["incumbent"] == "ours"
    assert study.journal.of("incumbent_plan")[0]["rows"] == 160
    assert "incumbent (ours)" in study.final_results()
    with pytest.raises(StudyError, match=r"incumbent\.recipe.*--rescore-test REASON"):
        run_study(config_of(study_config, "final.enabled=true"), study.path)


def test_a_bad_incumbent_stops_before_the_search(study_config: Path, tmp_path: Path, ends: Any) -> None:
    ends(lambda job: scored(job, 0.0))
    foreign = tmp_path / "foreign.yaml"
    foreign.write_text("steps:\n- {operator: source_filter, params: {sources: [elsewhere]}}\n")
    with pytest.raises(RecipeError, match=r"incumbent\.recipe: foreign cannot be run on this pool: .*elsewhere"):
        run_study(config_of(study_config, f"incumbent.recipe={foreign}"), tmp_path / "study")
    with pytest.raises(RecipeError, match=r"missing\.yaml"):
        run_study(config_of(study_config, "incumbent.recipe=missing.yaml"), tmp_path / "study")
    assert not Study(tmp_path / "study").trials


@pytest.mark.parametrize("key", ["search.initial", "final.recipes"])
def test_a_recipe_that_does_not_fit_the_pool_stops_before_any_training(
    study_config: Path, tmp_path: Path, ends: Any, key: str
) -> None:
    ends(lambda job: scored(job, 0.0))
    foreign = tmp_path / "foreign.yaml"
    foreign.write_text("steps:\n- {operator: source_filter, params: {sources: [elsewhere]}}\n")
    with pytest.raises(RecipeError, match=rf"{key}: .*foreign\.yaml: step 1: operator 'source_filter': .*elsewhere"):
        run_study(
            config_of(study_config, f"{key}=[{foreign}]", "tasks.0.floor=base - 1", "final.enabled=true"),
            tmp_path / "study",
        )
    kinds = {event["event"] for event in Study(tmp_path / "study").journal.events}
    assert not kinds & {"floors", "evaluation", "final_plan"}


def test_an_incumbent_that_cannot_be_trained_is_replaced_without_a_comparison(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    ends(lambda job: EvaluationResult.failed(job, "Training diverged.") if is_full(job) else scored(job, 0.0))
    study = run_study(config_of(study_config), tmp_path / "study")
    found = judged(study)
    assert (found["outcome"], found["exported"]) == ("incumbent failed", "found") and "comparison" not in found
    assert "full pool, could not be trained with seed 0 (Training diverged)" in found["sentences"][0]
    known = run_study(config_of(study_config, "search.include_full=true"), tmp_path / "known")
    assert judged(known)["outcome"] == "incumbent failed" and trained(known) == [], "the search knew it"


def test_a_winner_that_fails_with_another_seed_does_not_replace_the_incumbent(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    def end(job: EvaluationJob) -> EvaluationResult:
        unlucky = job.seed == 1 and not is_full(job)
        return (
            EvaluationResult.failed(job, "Training diverged.") if unlucky else scored(job, 0.0 if is_full(job) else 1.0)
        )

    ends(end)
    study = run_study(config_of(study_config), tmp_path / "study")
    found = judged(study)
    assert (found["outcome"], found["exported"]) == ("winner failed", "incumbent")
    assert "could not be trained with seed 1 (Training diverged). So full pool stays" in found["sentences"][0]


def test_where_every_trial_failed_the_incumbent_stays(
    study_config: Path, scored_pool: Path, tmp_path: Path, ends: Any
) -> None:
    ends(lambda job: EvaluationResult.failed(job, "Training diverged."))
    one = "search.evaluations=1"  # where two fail from the start, the study stops
    study = run_study(config_of(study_config, one), tmp_path / "study")
    assert judged(study)["outcome"] == "nothing found" and trained(study) == []
    assert exported(study, "best", scored_pool) == list(range(ROWS)) and not (study.path / "found").exists()
    with pytest.raises(StudyError, match="every evaluation of the search failed"):
        run_study(config_of(study_config, one, "final.enabled=true"), study.path)


@pytest.mark.slow
def test_a_study_stopped_anywhere_comes_to_the_same_verdict(study_config: Path, tmp_path: Path, ends: Any) -> None:
    ends(lambda job: scored(job, 0.0 if is_full(job) else 0.1))
    config = config_of(study_config)
    whole = run_study(config, tmp_path / "whole")
    lines = (whole.path / "journal.jsonl").read_text().splitlines(keepends=True)
    kinds = [json.loads(line)["event"] for line in lines]
    for cut in range(kinds.index("incumbent_plan"), len(lines)):
        copy = tmp_path / f"cut{cut}"
        shutil.copytree(whole.path, copy)
        shutil.rmtree(copy / "best")
        (copy / "journal.jsonl").write_text("".join(lines[:cut]) + lines[cut][: len(lines[cut]) // 2])
        write_report(Study(copy))
        again = run_study(config, copy)
        assert [event["event"] for event in again.journal.events] == kinds
        assert judged(again)["sentences"] == judged(whole)["sentences"]
        assert (copy / "best" / "ids.json").read_bytes() == (whole.path / "best" / "ids.json").read_bytes()


def test_more_seeds_make_a_second_verdict_that_says_so(study_config: Path, tmp_path: Path, ends: Any) -> None:
    ends(lambda job: scored(job, 0.0))
    study = run_study(config_of(study_config), tmp_path / "study")
    before = len(trained(study))
    again = run_study(config_of(study_config, "incumbent.fresh_seeds=3"), study.path)
    found = judged(again)
    assert found["plan"] == 2 and found["seeds"] == [0, 1, 2, 3] and len(trained(again)) == before + 4
    assert "verdict number 2 of this study" in found["sentences"][1]


def test_what_choosing_adds_in_training_is_taken_off_the_searchs_trainings_alone(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    """Two seeds of the search and one more: two thirds of it, and each trial's score is the mean of two trainings."""
    ends(lambda job: scored(job, 0.2 * (job.seed % 2) + 0.05 * (job.rows is not None and len(job.rows) % 3)))
    study = run_study(config_of(study_config, "evaluation.seeds=[0, 1]", "incumbent.fresh_seeds=1"), tmp_path / "study")
    found, trials = judged(study), [trial for trial in study.subsets() if trial.score is not None]
    assert found["seeds"] == [0, 1, 2]
    trained_again: dict[str, dict[int, float]] = {}
    for event in study.journal.of("incumbent_evaluation"):
        trained_again.setdefault(event["subset_hash"], {})[event["seed"]] = event["result"]["score"]
    best = study.best()
    assert best is not None
    incumbent, winner = study.journal.of("incumbent_plan")[0]["incumbent_hash"], best.record["subset_hash"]
    subsets = [trial.record["subset_hash"] for trial in trials] + [incumbent]
    assert incumbent not in subsets[:-1]
    scores = [{seed: result.score for seed, result in trial.results.items()} for trial in trials]
    scores[subsets.index(winner)] |= trained_again[winner]
    scores.append(trained_again[incumbent])
    rows = [set(study.rows(trial.id).tolist()) for trial in trials] + [set(range(ROWS))]
    alike = np.array([[len(one & other) / len(one | other) for other in rows] for one in rows])
    shared = shared_chance(scores, alike)
    noise = pooled_noise(scores, alike, shared)
    correlation = chance_correlation([[0, 1]] * len(rows), alike, shared)
    tables = [
        [
            -np.array([result.items[task]["nll"] for result in trial.results.values()])
            for task in ("addition", "boolean")
        ]
        for trial in trials
    ]
    deviation, seed = float(np.sqrt(noise.variance / 2)), study.config.search.seed
    expected = selection_flattery(tables, deviation, correlation=correlation, rival=len(trials), seed=seed)
    taken = found["flattery"]
    assert found["noise"] == {"variance": pytest.approx(noise.variance), "freedom": pytest.approx(noise.freedom)}
    common = alike[subsets.index(winner), -1]
    assert found["overlap"] == {"rows": pytest.approx(common), "chance": pytest.approx(shared * common)}
    assert f"{common:.0%} of their rows are the same" in found["sentences"][0]
    assert found["comparison"]["detectable"] > 0
    assert (taken["items"], taken["training"]) == pytest.approx((expected.items, expected.training))
    assert taken["training"] > 0 and taken["mean"] == pytest.approx(taken["items"] + taken["training"] * 2 / 3)


def test_the_incumbent_is_drawn_by_the_seed_of_the_search(
    study_config: Path, scored_pool: Path, tmp_path: Path, ends: Any
) -> None:
    recipe = Recipe((Step("truncate_samples", {"fraction": 0.4}),))
    recipe.dump(tmp_path / "ours.yaml")
    ends(lambda job: scored(job, 0.0 if job.rows is not None and len(job.rows) != 160 else 1.0))
    study = run_study(
        config_of(study_config, f"incumbent.recipe={tmp_path / 'ours.yaml'}", "search.seed=7"), tmp_path / "study"
    )
    table = load_table(Pool.open(scored_pool))
    rows = [materialize(recipe, table, seed=seed).rows.tolist() for seed in (7, 0)]
    assert rows[0] != rows[1]
    assert judged(study)["exported"] == "incumbent" and exported(study, "best", scored_pool) == rows[0]


def test_trainings_scored_on_other_dev_items_are_not_compared(study_config: Path, tmp_path: Path, ends: Any) -> None:
    ends(lambda job: scored(job, 0.0))
    study = run_study(config_of(study_config), tmp_path / "study")
    events = read_events(study.path / "journal.jsonl")
    kinds = [event["event"] for event in events]
    last = max(place for place, kind in enumerate(kinds) if kind == "incumbent_evaluation")
    events[last]["result"]["items"]["addition"]["ids"][0] = "another"
    write_unchecked(study.path / "journal.jsonl", [event for event in events if event["event"] != "verdict"])
    with pytest.raises(StudyError, match="other dev items of task 'addition'"):
        run_study(config_of(study_config), study.path)


def test_an_earlier_verdicts_folder_goes_with_it(study_config: Path, tmp_path: Path, ends: Any) -> None:
    """First nothing is shown; six more seeds show that the winner is better."""
    ends(lambda job: scored(job, 0.0))
    study = run_study(config_of(study_config, "incumbent.fresh_seeds=0"), tmp_path / "study")
    assert judged(study)["exported"] == "incumbent" and (study.path / "found").is_dir()
    ends(lambda job: scored(job, 0.0 if is_full(job) else 5.0))
    again = run_study(config_of(study_config, "incumbent.fresh_seeds=6"), study.path)
    assert judged(again)["exported"] == "found" and not (again.path / "found").exists()


def test_a_study_of_an_older_version_still_reports(finished_study: Study, tmp_path: Path) -> None:
    copy = tmp_path / "old"
    shutil.copytree(finished_study.path, copy)
    document = yaml.safe_load((copy / "config.yaml").read_text())
    del document["incumbent"]
    (copy / "config.yaml").write_text(yaml.safe_dump(document))
    new = ("incumbent_plan", "incumbent_evaluation", "verdict")
    events = [event for event in read_events(copy / "journal.jsonl") if event["event"] not in new]
    write_unchecked(copy / "journal.jsonl", events)
    old = Study(copy)
    assert summary(old)["incumbent"] is None and "what is used today" not in study_markdown(old)
    assert "what is used today" in study_markdown(finished_study)


def test_more_evaluations_renew_the_verdict_although_the_winner_stays(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    """What being the best of the trials adds is counted over all of them, in the verdict and in the final table."""
    first = scored_first_best()
    ends(first)
    config = config_of(study_config, "final.enabled=true", "search.batch=1")
    study = run_study(config, tmp_path / "study")
    before = judged(study)
    assert "the best of 4 trials" in before["sentences"][0]
    ends(lambda job: first(job))
    again = run_study(
        config_of(study_config, "final.enabled=true", "search.batch=1", "search.evaluations=7"), study.path
    )
    found = judged(again)
    assert found["winner"] == before["winner"] and found["plan"] == before["plan"]
    assert "the best of 7 trials" in found["sentences"][0]
    assert "the best of 4 trials before" in found["sentences"][1]
    assert len(again.journal.of("verdict")) == 2 and len(trained(again)) == len(trained(study))
    text = study_markdown(again)
    assert "Being the best of 7 trials" in text and "eing the best of 4 trials" not in text
    third = run_study(
        config_of(study_config, "final.enabled=true", "search.batch=1", "search.evaluations=7"), study.path
    )
    assert len(third.journal.of("verdict")) == 2, "nothing is new"
    events = read_events(study.path / "journal.jsonl")
    last = max(place for place, event in enumerate(events) if event["event"] == "verdict")
    write_unchecked(study.path / "journal.jsonl", events[:last])
    assert "went on after this verdict, from 4 trials to 7" in study_markdown(Study(study.path))


def test_a_later_verdict_knows_the_trainings_of_the_first(study_config: Path, tmp_path: Path, ends: Any) -> None:
    """Chance in training is pooled over every subset that was trained twice, the first verdict's winner too."""

    def shuffled(quality: Callable[[EvaluationJob], float]) -> End:
        return lambda job: replace(scored(job, quality(job), 0.1 * job.seed), settings={})

    ends(shuffled(lambda job: 0.0))
    study = run_study(config_of(study_config), tmp_path / "study")
    before = judged(study)
    known = {trial.record["subset_hash"] for trial in study.subsets()}

    def later(job: EvaluationJob) -> float:
        return 0.5 if job.rows is not None and subset_hash(np.sort(job.rows)) not in known and not is_full(job) else 0.0

    ends(shuffled(later))
    found = judged(run_study(config_of(study_config, "search.evaluations=7"), study.path))
    assert found["winner"] != before["winner"] and found["plan"] == 2
    assert (before["noise"]["freedom"], found["noise"]["freedom"]) == (2, 3)


def scored_first_best() -> End:
    """Every subset scores 0 but the first that is trained, which is better."""
    leader: list[bytes] = []

    def end(job: EvaluationJob) -> EvaluationResult:
        rows = b"" if job.rows is None else np.sort(np.asarray(job.rows)).tobytes()
        leader.extend([rows] * (not leader))
        return scored(job, 0.5 if rows == leader[0] else 0.0)

    return end


def test_trainings_that_shuffled_each_subset_by_itself_have_no_chance_in_common(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    ends(lambda job: replace(scored(job, 0.1 * job.seed), settings={}))
    found = judged(run_study(config_of(study_config, "incumbent.fresh_seeds=1"), tmp_path / "study"))
    assert found["noise"]["freedom"] == 2 and found["overlap"]["chance"] == 0 < found["overlap"]["rows"]
    assert "of their rows are the same" not in found["sentences"][0]
