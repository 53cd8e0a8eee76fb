"""What is fixed before test is touched, and what is trained afresh: plans, the rows they name, seeds that are new."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.study.journals import write_unchecked
from tests.study.test_incumbent import config_of, scored

from autoselection.config import StudyConfig, load_config
from autoselection.errors import StudyError
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.recipes import Recipe, Step, materialize, subset_hash
from autoselection.study import Study, read_events, run_study
from autoselection.study.final import changed_request, final_entries, final_request, rows_of_entry
from autoselection.study.incumbent import Incumbent, verdict_plan
from autoselection.study.named_pools import open_scored_pool
from autoselection.study.prepare import Prepared, prepare


@pytest.fixture
def study(finished_study: Study, tmp_path: Path) -> Study:
    """A copy of the small study, to be changed."""
    shutil.copytree(finished_study.path, tmp_path / "study")
    return Study(tmp_path / "study")


@pytest.fixture(scope="module")
def prepared(finished_study: Study, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(finished_study.config, tmp_path_factory.mktemp("prepared"), finished_study.journal.of("study")[0])


def changed_events(study: Study, events: list[dict[str, Any]]) -> Study:
    write_unchecked(study.path / "journal.jsonl", events)
    return Study(study.path)


def write_recipe(path: Path, fraction: float) -> Path:
    path.parent.mkdir(exist_ok=True)
    step = {"operator": "ngram_entropy", "params": {"fraction": fraction, "direction": "high"}}
    path.write_text(yaml.safe_dump({"version": 1, "steps": [step]}))
    return path


def test_recipes_of_the_final_table_count_by_what_they_say(study_config: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path / "a" / "mine.yaml", 0.5)
    config = load_config(study_config, [f"final.recipes=[{json.dumps(str(path))}]"])
    plan = {"entries": [], "seeds": [0], "request": json.loads(json.dumps(final_request(config)))}
    assert changed_request(plan, config) == []
    write_recipe(path, 0.4)
    assert changed_request(plan, config) == ["final.recipes"], "another recipe of the same name"
    write_recipe(path, 0.5)
    assert changed_request(plan, config) == []
    same = load_config(study_config, [f"incumbent.recipe={json.dumps(str(path))}"])
    told = {**plan, "request": final_request(same)}
    write_recipe(path, 0.4)
    assert changed_request(told, same) == ["incumbent.recipe"]


def test_recipe_files_of_one_name_are_two_rows_of_the_final_table(
    study: Study, prepared: Prepared, study_config: Path, tmp_path: Path
) -> None:
    one, two = (write_recipe(tmp_path / name / "mine.yaml", share) for name, share in (("a", 0.5), ("b", 0.4)))
    other = write_recipe(tmp_path / "a" / "other.yaml", 0.3)
    named = json.dumps([str(path) for path in (one, two, other, one)])
    study.config = load_config(study_config, [f"final.recipes={named}"])
    found = {entry.name: entry for entry in final_entries(study, prepared, study.best()) if entry.kind == "recipe"}
    assert list(found) == list(final_request(study.config)["recipes"]) == [str(one), str(two), "other"]
    assert len({entry.subset_hash for entry in found.values()}) == 3


def test_a_recipe_file_called_as_another_row_is_a_row_of_its_own(
    study: Study, prepared: Prepared, study_config: Path, tmp_path: Path
) -> None:
    own = [entry["name"] for entry in study.journal.of("final_plan")[-1]["entries"]]
    incumbent = write_recipe(tmp_path / "mine.yaml", 0.3)
    paths = [
        write_recipe(tmp_path / f"{name}.yaml", 0.4 + 0.01 * number)
        for number, name in enumerate([*own[:-1], "incumbent (mine)", "full pool (recipe)"])
    ]
    given = [f"final.recipes={json.dumps([*map(str, paths)])}", f"incumbent.recipe={json.dumps(str(incumbent))}"]
    study.config = load_config(study_config, [*given, "final.single_operators=1"])
    entries = final_entries(study, prepared, study.best())
    names = [entry.name for entry in entries]
    assert len({*names}) == len(names) == 2 * len(own[:-1]) + 4 and [name for name in own if name not in names] == []
    kinds = {entry.name: entry.kind for entry in entries}
    assert kinds["full pool"] == "full" and kinds["full pool (recipe)"] == "recipe"
    assert kinds["incumbent (mine)"] == "recipe" and kinds["incumbent (mine) (incumbent)"] == "incumbent"


@pytest.mark.parametrize("kind", ["winner", "full", "random", "single"])
def test_other_rows_than_planned_are_never_scored_on_test(kind: str, study: Study, prepared: Prepared) -> None:
    (plan,) = study.journal.of("final_plan")
    entry = next(entry for entry in plan["entries"] if entry["kind"] == kind)
    rows = rows_of_entry(entry, study, prepared)
    assert rows is not None and subset_hash(rows) == entry["subset_hash"] and len(rows) == entry["rows"]
    other = {**entry, "subset_hash": "0" * 16}
    with pytest.raises(StudyError, match="selects other rows than when it was planned"):
        rows_of_entry(other, study, prepared)


def test_the_winner_is_that_of_the_plan_in_force(study: Study, prepared: Prepared) -> None:
    events = read_events(study.journal.path)
    plan = next(event for event in events if event["event"] == "final_plan")
    other = next(trial for trial in study.trials if trial.score is not None and trial.id != plan["winner"])
    entry = {**plan["entries"][0], "name": f"winner ({other.id})", "subset_hash": other.record["subset_hash"]}
    entry["rows"] = other.record["rows"]
    second = {**plan, "winner": other.id, "entries": [entry], "reason": "another one"}
    study = changed_events(study, [*events, second])
    rows = rows_of_entry(entry, study, prepared)
    assert rows is not None and rows.tolist() == study.rows(other.id).tolist()


def test_results_of_an_earlier_plan_count_only_for_the_same_rows_and_seeds(study: Study) -> None:
    events = [event for event in read_events(study.journal.path) if event["event"] not in ("final_plan", "test")]
    result = next(e for e in read_events(study.journal.path) if e["event"] == "test")["result"]

    def plan(seeds: list[int], **hashes: str | None) -> dict[str, Any]:
        entries = [{"name": name, "kind": "recipe", "rows": 1, "subset_hash": value} for name, value in hashes.items()]
        return {"event": "final_plan", "winner": "t001", "seeds": seeds, "entries": entries}

    def scored_test(name: str, seed: int, number: int) -> dict[str, Any]:
        return {"event": "test", "name": name, "seed": seed, "plan": number, "result": result}

    first = [plan([0, 1], same="a", other="b", gone="c", base=None)]
    first += [scored_test(name, seed, 1) for name in ("same", "other", "gone") for seed in (0, 1)]
    first += [scored_test("base", 1, 1)]
    found = changed_events(study, [*events, *first]).final_results()
    assert {name: sorted(results) for name, results in found.items()} == {
        "same": [0, 1], "other": [0, 1], "gone": [0, 1], "base": [1],
    }  # fmt: skip
    second = [plan([1, 2], same="a", other="x", base=None), scored_test("other", 2, 2)]
    found = changed_events(study, [*events, *first, *second]).final_results()
    assert {name: sorted(results) for name, results in found.items()} == {"same": [1], "other": [2], "base": [1]}


def test_a_replay_that_selects_other_rows_stops(study: Study, study_config: Path, ends: Any) -> None:
    ends(lambda job: pytest.fail("nothing may be evaluated"))
    events = read_events(study.journal.path)
    trials = [event for event in events if event["event"] == "trial"]
    trials[2]["trial"]["ordered_hash"] = "0" * 16
    changed_events(study, events)
    with pytest.raises(StudyError, match=f"another subset for {trials[2]['trial']['id']} than the one evaluated"):
        run_study(load_config(study_config), study.path)


def config_with(study_config: Path, fresh: int) -> StudyConfig:
    return config_of(study_config, f"incumbent.fresh_seeds={fresh}", "incumbent.recipe=none")


def test_fresh_seeds_are_those_that_no_trial_of_the_search_used(
    study_config: Path, scored_pool: Path, tmp_path: Path, ends: Any
) -> None:
    ends(lambda job: scored(job, 0.0))
    study = run_study(config_with(study_config, 3), tmp_path / "study")
    full = Incumbent("full pool", materialize(Recipe(name="full"), open_scored_pool(scored_pool).table))
    best = study.best()
    assert best is not None
    assert verdict_plan(study, full)["fresh_seeds"] == [1, 2, 3]
    events = read_events(study.journal.path)
    made = next(event for event in events if event["event"] == "evaluation" and event["trial"] != best.id)
    # A repeat of another trial, and one that failed: neither seed is fresh any more, although the winner was not there.
    failed = {**made["result"], "failure": "it diverged", "score": None}
    more = [{**made, "seed": 2}, {**made, "seed": 5, "result": failed}]
    study = changed_events(study, [*events, *more])
    plan = verdict_plan(study, full)
    assert plan["seeds"] == [0] and plan["fresh_seeds"] == [1, 3, 4]
    assert verdict_plan(study, full) == plan


def test_rows_of_the_final_table_that_are_alike_are_trained_once_and_both_have_their_line(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    same = tmp_path / "everything.yaml"
    same.write_text(yaml.safe_dump({"version": 1, "steps": []}))
    jobs: list[str] = []

    def end(job: EvaluationJob) -> EvaluationResult:
        if job.split == "test":
            jobs.append(job.work_dir.name)
        return scored(job, 0.0)

    ends(end)
    more = ["final.enabled=true", f"final.recipes=[{json.dumps(str(same))}]", "final.single_operators=0"]
    study = run_study(config_of(study_config, "incumbent.recipe=none", *more), tmp_path / "study")
    names = [entry["name"] for entry in study.journal.of("final_plan")[0]["entries"]]
    assert {"full pool", "everything"} <= set(names) == set(study.final_results())
    assert len(jobs) == len(names) - 1
    found = study.final_results()
    assert found["everything"] == found["full pool"]
    study = run_study(study.config, study.path)
    assert len(jobs) == len(names) - 1, "and not again"


def test_a_recipe_is_hashed_by_its_steps_alone() -> None:
    one, two = (Recipe((Step("ngram_entropy", {"fraction": 0.5}),), name=name) for name in ("a", "b"))
    assert one.hash == two.hash != Recipe((Step("ngram_entropy", {"fraction": 0.4}),), name="a").hash
