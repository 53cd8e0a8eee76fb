"""Compute curves of a study, recipes on other pools, and searches that begin with what earlier ones found."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from browser import assert_sound
from tests.report.drawn import figures_of
from tests.study.journals import write_unchecked
from tests.study.test_cli import document, run

from autoselection.config import load_config
from autoselection.demo import pool_file
from autoselection.errors import ConfigError, SignalError, StudyError
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.pool import Pool, ingest
from autoselection.recipes import Recipe, ScoredPool, Step, transfer
from autoselection.report import study_markdown
from autoselection.report.compute_page import compute_page, write_compute_page
from autoselection.signals import SignalTable, load_table, score_pool
from autoselection.study import Study, decisions, read_events, run_study
from autoselection.study.compute import measure_compute
from autoselection.study.earlier_scores import warm_start_scores
from autoselection.study.levels import told_by_levels
from autoselection.study.named_pools import open_scored_pool
from autoselection.study.reuse import warm_start
from autoselection.study.run import summary

pytestmark = pytest.mark.usefixtures("inline_module")


@pytest.fixture(scope="module")
def measured(finished_study: Study, tmp_path_factory: pytest.TempPathFactory, inline_module: None) -> Path:
    path = tmp_path_factory.mktemp("measured") / "study"
    shutil.copytree(finished_study.path, path)
    measure_compute(path, [0.5, 2.0], [0])
    return path


def test_the_page_of_curves_in_a_browser(measured: Path, opened: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    shown = json.loads((measured / "compute" / "compute.json").read_text())
    assert_sound(opened, write_compute_page(shown, tmp_path / "curves.html"))


def test_curves_are_of_the_winner_of_today(measured: Path, tmp_path: Path) -> None:
    """A search that went on and found another winner gets curves of its own, at the same budgets."""
    path = shutil.copytree(measured, tmp_path / "study")
    runs = path / "compute" / "journal.jsonl"
    events = [json.loads(line) for line in runs.read_text().splitlines()]
    for event in events:
        event.pop("chain", None)
        event["subset_hash"] = "0" * 16 if event["arm"] == "winner" else event["subset_hash"]
        event["result"]["scores"] = dict.fromkeys(event["result"]["scores"], -123.0)
    runs.write_text("".join(json.dumps(event) + "\n" for event in events))
    curves = measure_compute(path, [0.5, 2.0], [0])["curves"]
    assert -123.0 not in np.ravel(curves["winner"]["scores"]) and len(runs.read_text().splitlines()) == 8
    assert np.ravel(curves["full"]["scores"]).tolist() == 2 * [-123.0], "what is known is not trained again"


def test_curves_are_trained_once_and_more_seeds_add_to_them(measured: Path) -> None:
    first = json.loads((measured / "compute" / "compute.json").read_text())
    runs = Study(measured).journal.path.parent / "compute" / "journal.jsonl"
    before = runs.read_text().splitlines()
    assert len(before) == 6 and set(first["curves"]) == {"winner", "full", "random"}
    unit = Study(measured).best().results[0].train_tokens  # type: ignore[union-attr]
    assert first["budgets"] == [round(0.5 * unit), round(2 * unit)]
    for event in map(json.loads, before):
        assert event["split"] == "dev" and event["result"]["train_tokens"] >= event["tokens"]
    for arm in ("full", "random"):
        found = first["multipliers"][arm]
        assert found["interval"] is None and found["low"] >= 0 and found["sentence"] in first["sentences"]
    assert first["costs"]["search_s"] > 0 and first["costs"]["token_s"] > 0
    assert any("which chose the winner" in sentence for sentence in first["sentences"])

    shown = document("compute", measured, "--budgets", "0.5,2", "--seeds", "0,1")
    assert runs.read_text().splitlines()[:6] == before, "what was trained is not trained again"
    assert len(runs.read_text().splitlines()) == 12 and shown["seeds"] == [0, 1]
    assert [row[0] for row in np.array(shown["curves"]["full"]["scores"]).T] == [
        row[0] for row in np.array(first["curves"]["full"]["scores"]).T
    ]
    assert "Score over training tokens" in (measured / "compute" / "curves.html").read_text()
    (curves,) = figures_of(compute_page(shown))
    assert {trace["name"] for trace in curves.traces} == set(shown["curves"])
    assert curves.traces[0]["error_y"]["array"] == pytest.approx(
        np.std(shown["curves"]["winner"]["scores"], axis=0, ddof=1)
    )
    assert shown["multipliers"]["full"]["interval"] is not None and shown["multipliers"]["full"]["reached"] is not None
    assert any(sentence.startswith("2 training seeds: the intervals") for sentence in shown["sentences"])


def test_test_is_only_scored_for_a_reason(measured: Path) -> None:
    for nothing in (None, "", " "):
        with pytest.raises(ConfigError, match="--rescore-test REASON"):
            measure_compute(measured, [0.5, 2.0], [0], split="test", rescore=nothing)
    assert not Study(measured).journal.of("test_access")
    measure_compute(measured, [0.5, 2.0], [0], split="test", rescore="curves on items that chose nothing")
    assert "for the compute curves: curves on items that chose nothing" in study_markdown(Study(measured))
    measure_compute(measured, [0.5, 2.0], [0], split="test", rescore="once more")
    assert len(Study(measured).journal.of("test_access")) == 1, "what is scored already is no further touch"


@pytest.mark.parametrize("budgets", [[], [1.0], [1.0, 1.0], [1.0, -1.0], [1.0, float("nan")]])
def test_budgets_that_make_no_curve_are_refused(budgets: list[float], finished_study: Study) -> None:
    with pytest.raises(ConfigError, match="at least two positive budgets"):
        measure_compute(finished_study.path, budgets)


@pytest.fixture(scope="module")
def grown(scored_pool: Path, study_config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scored pool with 60 rows more."""
    folder = tmp_path_factory.mktemp("grown")
    shutil.copytree(scored_pool, folder / "pool")
    rows = len(Pool.open(scored_pool))
    (folder / "more.jsonl").write_bytes(b"\n".join(pool_file().read_bytes().split(b"\n")[rows : rows + 60]) + b"\n")
    ingest([folder / "more.jsonl"], folder / "pool", append=True)
    config = load_config(study_config)
    names = ["tokens", "ngram_entropy", "text_hash"]
    score_pool(Pool.open(folder / "pool"), config.signals, model=config.model.path, signals=names)
    return folder / "pool"


def test_a_recipe_on_a_grown_pool_tells_what_changed(
    grown: Path, scored_pool: Path, finished_study: Study, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    steps = [{"operator": "ngram_entropy", "params": {"fraction": 0.5}}]
    recipe.write_text(yaml.safe_dump({"version": 1, "steps": steps}))
    report = tmp_path / "changes.json"
    shown = document(
        "apply", recipe, "--pool", grown, "--out", tmp_path / "rows.jsonl", "--against", finished_study.path, "--report", report
    )  # fmt: skip
    written = json.loads(report.read_text())
    old, new = Pool.open(scored_pool), Pool.open(grown)
    before = set(old.row_ids(open_scored_pool(scored_pool).table.selectable))
    lines = [json.loads(line)["id"] for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert shown["rows"] == len(lines) == 230 and shown["changes"]["shared_rows"] == len(old) == 400
    assert set(written["kept"]) | set(written["gained"]) | set(written["added"]) == set(lines)
    assert not set(written["added"]) & before and set(written["gained"]) <= before
    assert len(written["kept"]) + len(written["lost"]) == 200 and written["gone"] == []
    assert written["steps"][0]["rows_in"] == [400, len(new)] and written["steps"][0]["rows_out"] == [200, 230]
    assert written["state"]["retain_ratio"] == [0.5, 0.5]
    assert written["state"]["distribution_drift"][0] is not None and written["state"]["distribution_drift"][1] is None
    assert shown["changes"]["lost"] == len(written["lost"]) and "mona/addition" in " ".join(written["other_signals"])
    again = tmp_path / "again.jsonl"
    code, text, _ = run("apply", recipe, "--pool", grown, "--out", again, "--against", scored_pool)
    assert code == 0 and "State vector" in text and "newly dropped" in text
    code, _, message = run("apply", recipe, "--pool", grown, "--out", tmp_path / "r.jsonl", "--report", report)
    assert code == 2 and "--against" in message


def test_another_models_signals_on_the_same_pool(scored_pool: Path) -> None:
    pool = Pool.open(scored_pool)
    table = load_table(pool)
    rng = np.random.default_rng(0)
    other = SignalTable(
        n=table.n,
        source=table.source,
        source_names=table.source_names,
        columns={**table.columns, "ifd": rng.random(table.n).astype(np.float32)},
        texts=table.texts,
        keys={**table.keys, "lm": "another"},
        folder=table.folder,
    )
    recipe = Recipe((Step("ifd_filter", {"fraction": 0.3}),))
    found = transfer(recipe, ScoredPool("tiny", pool, table), ScoredPool("large", pool, other))
    assert found.shared == 400 and found.added == found.gone == () and "lm" in found.other_signals
    assert len(found.gained) == len(found.lost) > 0
    ids = set(pool.row_ids(found.after.rows))
    assert set(found.kept) | set(found.gained) == ids and not set(found.lost) & ids
    assert "newly selected" in " ".join(found.sentences())


def test_rows_are_matched_by_the_whole_of_their_ids(tmp_path: Path) -> None:
    """Ids that differ by a NUL at their end alone, which arrays of fixed width cut."""
    places = []
    for name, ids in (("old", ("a", "a\0", "b", "gone")), ("new", ("a\0", "b", "c", "c\0"))):
        pool = ingest([{"id": row, "prompt": f"q {row}", "response": "r"} for row in ids], tmp_path / name).pool
        places.append(ScoredPool(name, pool, load_table(pool)))
    found = transfer(Recipe(()), *places)
    assert (found.shared, found.kept, found.gained, found.lost) == (2, ("a\0", "b"), (), ())
    assert (found.added, found.gone) == (("c", "c\0"), ("a", "gone"))


def test_a_place_that_lacks_a_signal_is_named(grown: Path, scored_pool: Path) -> None:
    recipe = Recipe((Step("ifd_filter", {"fraction": 0.3}),))
    with pytest.raises(SignalError, match=f"{grown}: .*ifd"):
        transfer(recipe, open_scored_pool(scored_pool), open_scored_pool(grown))


def test_a_search_begins_with_the_best_recipes_of_an_earlier_one(
    finished_study: Study, study_config: Path, tmp_path: Path
) -> None:
    document = {**yaml.safe_load(study_config.read_text())}
    document["search"] |= {
        "evaluations": 3,
        "warm_start": [str(finished_study.path)],
        "warm_start_probes": 2,
        "seed": 5,
    }
    document |= {"final": {"enabled": False}, "incumbent": {"recipe": "none"}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(document))
    config = load_config(tmp_path / "study.yaml")
    table = open_scored_pool(finished_study.path).table
    chosen = warm_start(table, config.search)
    assert chosen == warm_start(table, config.search) and len(chosen["recipes"]) == 2
    ranked = sorted(finished_study.trials, key=lambda trial: (-(trial.score or 0.0), trial.id))
    taken = [entry["trial"] for entry in chosen["recipes"]]
    assert taken == [trial.id for trial in ranked if trial.id in taken] and taken[0] == ranked[0].id
    study = run_study(config, tmp_path / "study")
    (event,) = study.journal.of("warm_start")
    assert event["recipes"] == chosen["recipes"]
    kinds = [e["event"] for e in study.journal.events]
    assert kinds.index("warm_start") < kinds.index("trial")
    first = study.trials[:2]
    assert [trial.record["origin"] for trial in first] == ["initial", "initial"]
    assert [trial.record["rows"] for trial in first] == [entry["rows"] for entry in chosen["recipes"]]
    assert f"{taken[0]} of {finished_study.path}" in study_markdown(study)
    events = len(study.journal.events)
    assert len(run_study(config, study.path).journal.events) == events


def test_studies_take_turns_and_no_rows_are_tried_twice(
    finished_study: Study, study_config: Path, tmp_path: Path
) -> None:
    """The other study is the same with its scores turned round, so that its best is the first one's worst."""
    other = tmp_path / "other"
    shutil.copytree(finished_study.path, other)
    events = read_events(other / "journal.jsonl")
    for event in events:
        if event["event"] == "evaluation":
            event["result"]["score"] *= -1
    write_unchecked(other / "journal.jsonl", events)
    search = load_config(study_config).search.model_copy(
        update={"warm_start": (finished_study.path, other), "warm_start_probes": 99}
    )
    chosen = warm_start(open_scored_pool(finished_study.path).table, search)
    ranked = [
        trial.id for trial in sorted(finished_study.subsets(), key=lambda trial: (-(trial.score or 0.0), trial.id))
    ]
    assert len(ranked) == 5
    taken = [(entry["study"], entry["trial"]) for entry in chosen["recipes"]]
    one, two = str(finished_study.path), str(other)
    assert taken == [(one, ranked[0]), (two, ranked[4]), (one, ranked[1]), (two, ranked[3]), (one, ranked[2])]
    assert chosen["passed_over"] == {"same subset as one before": 5}


def test_the_trainings_of_a_curve_and_what_it_says_is_saved(finished_study: Study, tmp_path: Path, ends: Any) -> None:
    """Planted: the score is -1/tokens for all rows, and the found ones need half the tokens. A token takes 2 s."""
    jobs: dict[tuple[str, int], EvaluationJob] = {}

    def end(job: EvaluationJob) -> EvaluationResult:
        name, seed = job.work_dir.name.removeprefix("compute-").rsplit("-seed", 1)
        arm, tokens, _ = name.split("-")  # and the rows' hash
        jobs[arm, int(seed)] = job
        worth = -1.0 / (int(tokens) * (2 if arm == "winner" else 1))
        return EvaluationResult(
            job.split, job.seed, worth, {"a": worth}, train_tokens=int(tokens),
            seconds={"train": 2.0 * int(tokens), "eval": 0.0, "total": 0.0},
        )  # fmt: skip

    ends(end)
    path = tmp_path / "study"
    shutil.copytree(finished_study.path, path)
    text = (path / "config.yaml").read_text().rpartition("# checksum")[0]
    document = yaml.safe_load(text)
    document["evaluation"]["sft"] |= {"max_steps": None, "max_tokens": 99, "budget_counts": "response"}
    (path / "config.yaml").write_text(yaml.safe_dump(document))
    found = measure_compute(path, [1.0, 2.0, 4.0], [0, 1])
    unit = found["budgets"][0]
    assert found["budgets"] == [unit, 2 * unit, 4 * unit]
    for job in jobs.values():
        assert (job.config.sft.budget_counts, job.config.sft.max_steps) == ("all", None), (
            "a budget is of trained tokens"
        )
    rows = {name: sorted(job.rows.tolist()) for name, job in jobs.items() if job.rows is not None}
    assert rows["winner", 0] == rows["winner", 1] and rows["full", 0] == rows["full", 1] == list(range(400))
    assert rows["random", 0] != rows["random", 1], "random rows are drawn anew for each seed"
    assert len(rows["random", 0]) == len(rows["random", 1]) == len(rows["winner", 0])
    against = found["multipliers"]["full"]
    assert against["value"] == pytest.approx(2.0) and against["interval"] == pytest.approx([2.0, 2.0])
    opening = finished_study.journal.of("study")[0]
    overhead = opening["signal_report"]["seconds"] + sum(trial.seconds for trial in finished_study.all_trials())
    saved = against["payback"]
    assert saved["overhead_s"] == pytest.approx(overhead)
    assert saved["saving_s"] == pytest.approx(2.0 * (4 * unit - 2 * unit))
    assert saved["trainings"] == max(1, math.ceil(overhead / (4.0 * unit)))


def test_recipes_that_are_not_valid_here_are_passed_over_and_counted(finished_study: Study, study_config: Path) -> None:
    search = load_config(study_config).search.model_copy(
        update={"warm_start": (finished_study.path, finished_study.path), "warm_start_probes": 99, "min_rows": 1}
    )
    n = 50
    bare = SignalTable.from_arrays({"n_tokens": np.arange(1.0, n + 1)}, source=np.zeros(n, np.int32))
    chosen = warm_start(bare, search)
    assert len(chosen["recipes"]) + sum(chosen["passed_over"].values()) == 10
    assert chosen["passed_over"]
    short = warm_start(bare, search.model_copy(update={"min_rows": n + 1}))
    assert short["recipes"] == []


def test_a_folder_without_a_study_is_named(study_config: Path, finished_study: Study, tmp_path: Path) -> None:
    search = load_config(study_config).search.model_copy(update={"warm_start": (tmp_path,)})
    with pytest.raises(StudyError, match="holds no study"):
        warm_start(open_scored_pool(finished_study.path).table, search)


def test_doctor_and_search_check_the_benchmarks_first(study_config: Path, tmp_path: Path) -> None:
    code, text, _ = run("doctor", study_config, "--json")
    assert code == 0 and json.loads(text)["benchmarks"] == [] and json.loads(text)["problems"] == []
    document = yaml.safe_load(study_config.read_text())
    document["tasks"][0]["test"] = document["tasks"][0]["dev"]
    document["search"]["evaluations"], document["search"]["warmup"] = 1, 1
    document["final"] = {"full": False, "random": False, "base": False, "single_operators": 0}
    document["incumbent"] = {"recipe": "none"}
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(document))
    code, text, _ = run("doctor", path, "--json")
    assert code == 2 and "share 12 items" in json.loads(text)["benchmarks"][0] and json.loads(text)["problems"]
    code, _, message = run("search", path, "--out", tmp_path / "study", "--json")
    assert (
        code == 2 and "addition/dev and addition/test share 12 items" in message and "benchmarks_check: warn" in message
    )
    code, text, _ = run("search", path, "--out", tmp_path / "study", "--set", "benchmarks_check=warn", "--json")
    assert code == 0 and "share 12 items" in json.loads(text)["benchmarks"][0]
    assert "Benchmarks: addition/dev and addition/test share 12 items" in study_markdown(Study(tmp_path / "study"))
    assert run("search", path, "--out", tmp_path / "study", "--json")[0] == 0, "an accepted study goes on"


def _end(job: EvaluationJob) -> EvaluationResult:
    """Best are about 150 rows, and of these the first ones of the pool."""
    assert job.rows is not None
    worth = -abs(len(job.rows) - 150) / 100 - float(np.mean(job.rows)) / 1000
    return EvaluationResult(
        job.split, job.seed, worth, {"a": worth}, train_tokens=1, seconds={"train": 0.1, "eval": 0.0, "total": 0.1}
    )


def _warm_config(study_config: Path, place: Path, pool: Path | None, *studies: Path, **search: Any) -> Path:
    document = yaml.safe_load(study_config.read_text())
    document["search"] |= {"warm_start": [*map(str, studies)], "batch": 1, "seed": 5, **search}
    document |= {"final": {"enabled": False}, "incumbent": {"recipe": "none"}}
    if pool is not None:
        document["pool"] = {"path": str(pool)}
        document["signals"]["signals"] = ["tokens", "ngram_entropy", "text_hash"]
    place.write_text(yaml.safe_dump(document))
    return place


def _kill_at_the_fourth(config: Path, out: Path, ends: Any) -> None:
    """Run a study until its fourth evaluation."""
    made: list[EvaluationJob] = []

    def until(job: EvaluationJob) -> EvaluationResult:
        made.append(job)
        if len(made) == 4:
            raise KeyboardInterrupt
        return _end(job)

    ends(until)
    with pytest.raises(KeyboardInterrupt):
        run_study(config, out)


def _killed_and_gone_on(config: Path, out: Path, ends: Any, lost: Path) -> Study:
    """A study that is killed at its fourth evaluation, after which the earlier study is lost."""
    _kill_at_the_fourth(config, out, ends)
    shutil.rmtree(lost)
    ends(_end)
    return run_study(config, out)


def _decided(study: Study) -> list[dict[str, Any]]:
    return decisions([event for event in study.journal.events if event["event"] in ("warm_start", "trial", "round")])


def test_scores_of_an_earlier_study_of_this_pool_are_learnt_from_and_outlive_it(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    ends(_end)
    first = run_study(_warm_config(study_config, tmp_path / "first.yaml", None, evaluations=6), tmp_path / "first")
    config = _warm_config(study_config, tmp_path / "next.yaml", None, first.path, evaluations=6, warm_start_probes=1)
    whole = run_study(config, tmp_path / "whole")
    (event,) = whole.journal.of("warm_start")
    assert {entry["trial"] for entry in event["scores"]} == {trial.id for trial in first.trials}
    assert event["effects"] is None and event["unused"] == {}
    assert whole.trials[0].score == first.best().score, "it begins at the earlier winner's level"  # type: ignore[union-attr]
    assert f"It also learnt from 6 scores of {first.path}" in study_markdown(whole)
    alone = run_study(_warm_config(study_config, tmp_path / "alone.yaml", None, evaluations=6), tmp_path / "alone")
    seen = [event["round"]["decisions"][0]["ranked"][0]["prediction"] for event in whole.journal.of("round")][4:]
    assert seen != [e["round"]["decisions"][0]["ranked"][0]["prediction"] for e in alone.journal.of("round")][4:]
    again = _killed_and_gone_on(config, tmp_path / "again", ends, first.path)
    assert _decided(again) == _decided(whole)


def test_a_study_of_this_pool_with_another_model_is_a_lower_level(
    study_config: Path, smaller: Path, tmp_path: Path, ends: Any
) -> None:
    """All of its recipes may be promoted, its scores count for as much as they agree, and the report counts both."""
    ends(_end)
    small = yaml.safe_load(_warm_config(study_config, tmp_path / "first.yaml", None, evaluations=7).read_text())
    small["model"]["path"] = str(smaller)
    del small["sae"]
    small["signals"]["signals"] = ["tokens", "ngram_entropy", "text_hash"]
    (tmp_path / "first.yaml").write_text(yaml.safe_dump(small))
    first = run_study(load_config(tmp_path / "first.yaml"), tmp_path / "first")
    config = _warm_config(
        study_config, tmp_path / "next.yaml", None, first.path, evaluations=6, warm_start_probes=1, warmup=0
    )
    whole = run_study(config, tmp_path / "whole")
    (event,) = whole.journal.of("warm_start")
    assert [entry["model"] for entry in event["scores"]] == ["smaller"] * 7
    (told,) = told_by_levels(whole)
    theirs = {trial.record["subset_hash"] for trial in first.trials}
    promoted = theirs & {trial.record["subset_hash"] for trial in whole.trials}
    assert (told.cost, told.tried, told.promoted) == (0.0, 7, len(promoted)) and len(promoted) >= 1
    assert summary(whole)["levels"] == [told.to_dict()]
    said = study_markdown(whole)
    assert f"It took {first.path}, a study of this pool with the model smaller, for a lower level: 7 recipes" in said
    again = _killed_and_gone_on(config, tmp_path / "again", ends, first.path)
    assert _decided(again) == _decided(whole)


def test_scores_on_another_pool_change_the_effects_that_a_search_begins_with(
    study_config: Path, grown: Path, tmp_path: Path, ends: Any
) -> None:
    ends(_end)
    first = run_study(_warm_config(study_config, tmp_path / "first.yaml", None, evaluations=6), tmp_path / "first")
    config = _warm_config(study_config, tmp_path / "next.yaml", grown, first.path, evaluations=5, warm_start_probes=1)
    whole = run_study(config, tmp_path / "whole")
    (event,) = whole.journal.of("warm_start")
    assert event["scores"] == [] and event["effects_from"] == [str(first.path)]
    assert event["effects"]["learnt_from"][-1] == str(first.path)
    assert "usual effects as the scores of other pools changed them" in study_markdown(whole)
    again = _killed_and_gone_on(config, tmp_path / "again", ends, first.path)
    assert _decided(again) == _decided(whole)


def test_scores_that_cannot_be_used_are_said_in_a_sentence(
    finished_study: Study, study_config: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(finished_study.path, broken)
    shutil.rmtree(broken / "subsets")
    search = load_config(study_config).search.model_copy(update={"warm_start": (broken, finished_study.path)})
    table = open_scored_pool(finished_study.path).table
    found = warm_start_scores(table, search, "another pool")
    assert "cannot be read" in found["unused"][str(broken)] and found["effects_from"] == [str(finished_study.path)]
    bare = SignalTable.from_arrays({"n_tokens": np.arange(1.0, 401)}, source=np.zeros(400, np.int32))
    pool = finished_study.journal.of("study")[0]["pool"]
    assert "other signals now" in warm_start_scores(bare, search, pool)["unused"][str(broken)]


def test_a_study_goes_on_under_a_version_that_would_have_decided_otherwise(
    study_config: Path, tmp_path: Path, ends: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _warm_config(study_config, tmp_path / "study.yaml", None, evaluations=6)
    _kill_at_the_fourth(config, tmp_path / "study", ends)
    before = decisions(Study(tmp_path / "study").journal.of("trial"))
    lost = tmp_path / "study" / "subsets" / "t002.npy"
    lost.unlink()
    with monkeypatch.context() as patch:
        patch.setattr("autoselection.search.random_streams.WARMUP", 977)
        patch.setattr("autoselection.search.policy.WARMUP", 977)
        patch.setattr("autoselection.search.policy.EDIT", 978)
        ends(_end)
        otherwise = run_study(config, tmp_path / "otherwise")
        assert decisions(otherwise.journal.of("trial"))[:4] != before
        study = run_study(config, tmp_path / "study")
    assert len(study.trials) == 6 and decisions(study.journal.of("trial"))[:4] == before and lost.is_file()
    numbers = [event["round"]["number"] for event in study.journal.of("round")]
    assert numbers == list(range(1, len(numbers) + 1))
    events = len(study.journal.events)
    assert len(run_study(config, study.path).journal.events) == events
