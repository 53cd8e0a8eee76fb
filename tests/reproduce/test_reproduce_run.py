from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser import assert_sound
from tests.report.drawn import figures_of
from tests.reproduce.arithmetic import Arithmetic

from autoselection.errors import ConfigError, StudyError
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.recipes import Recipe, Step
from autoselection.report.paper_page import paper_page, write_paper_page
from autoselection.report.sheet import Sheet
from autoselection.reproduce import ReproductionConfig, load_reproduction, run_reproduction, write_paper
from autoselection.reproduce.rows import AUTOSELECTION, BASE, FULL, METHOD_NAMES, RANDOM_ROWS

SINGLES = ["truncate_samples", "ngram_entropy, high end", "ngram_entropy, low end"]
BEST, BEST_OF_ALL = METHOD_NAMES["single-operators"], METHOD_NAMES["single-operators:all"]
DEFAULT, READY = "fixed default: entropy-half", "fixed recipe: low-entropy"


def test_every_table_has_its_rows(finished: Any) -> None:
    assert finished.document["models"][0]["missing"] == []
    searched = ["random recipe search", "random top-k", BEST, BEST_OF_ALL]
    assert finished.methods("main") == [BASE, FULL, RANDOM_ROWS, *searched, *SINGLES, DEFAULT, READY, AUTOSELECTION]
    assert finished.methods("ood") == finished.methods("main") and finished.table("ood")["tasks"] == ["reversing"]
    assert finished.methods("ablation") == [AUTOSELECTION, "without GP", "without union"]
    assert finished.methods("transfer") == [BASE, FULL, "random recipe search", DEFAULT, AUTOSELECTION]


def test_every_figure_has_an_interval_and_every_row_a_difference(finished: Any) -> None:
    for table in finished.document["models"][0]["tables"]:
        for row in table["rows"]:
            for found in (row["average"], *row["tasks"].values()):
                assert found["ci95"][0] <= found["value"] <= found["ci95"][1]
            versus = row["autoselection_minus"]
            assert (versus is None) == (row["method"] == AUTOSELECTION)
            assert versus is None or versus["p"] <= versus["p_adjusted"] <= 1
            if versus is not None:
                low, high = versus["interval_all"]
                agree = not low < 0 < high if versus["significant"] else low <= 0 <= high
                assert agree, "an interval says what the p-value beside it says"
        named = table["section"] != "ablation"
        assert [sentence.startswith("With 2 replicates") for sentence in table["planning"]] == [True] * named
    assert finished.document["models"][0]["correlation"]["all"]["average"]["spearman"]["value"] > 0.5


def test_random_rows_are_as_many_as_the_winner_of_their_replicate_has_and_other_ones(finished: Any) -> None:
    events = [json.loads(line) for line in (finished.out / "base" / "journal.jsonl").read_text().splitlines()]
    (plan,) = [event for event in events if event["event"] == "test_plan" and event["section"] == "main"]
    by = {(entry["row"], entry["seed"]): entry for entry in plan["entries"]}
    for seed in (0, 1):
        ours, random = by[AUTOSELECTION, seed], by[RANDOM_ROWS, seed]
        assert random["rows"] == ours["rows"] < 300 and random["subset"] != ours["subset"] and random["dev"] is None
    assert by[RANDOM_ROWS, 0]["subset"] != by[RANDOM_ROWS, 1]["subset"]


def test_the_files_hold_the_document(finished: Any) -> None:
    document = json.loads((finished.out / "paper.json").read_text())
    assert document == json.loads(json.dumps(finished.document))
    assert list(document["rows"][0]) == ["model", "section", "method", "task", "seed", "split", "metric", "value"]
    assert {row["split"] for row in document["rows"]} == {"dev", "test"}
    text = (finished.out / "paper.md").read_text()
    assert str(finished.out.parent) not in text + json.dumps(document)
    assert "Structural ablation" in text and "No significant difference" in text and "Missing" not in text


def test_searches_see_dev_only_and_test_is_planned_before(finished: Any) -> None:
    events = [json.loads(line) for line in (finished.out / "base" / "journal.jsonl").read_text().splitlines()]
    kinds = [event["split"] if event["event"] == "evaluation" else event["event"] for event in events]
    assert "test" not in kinds[: kinds.index("test_plan")]
    planned = {entry["subset"] for event in events if event["event"] == "test_plan" for entry in event["entries"]}
    assert {event["subset_hash"] for event in events if event.get("split") == "test"} == planned
    seeds = {split: {job.seed for job in finished.jobs if job.split == split} for split in ("dev", "test")}
    assert seeds == {"dev": {0, 1}, "test": {0, 100, 101}}  # 0 on test: the base model's one pass
    assert all(len(job.tasks) == (3 if job.split == "test" else 2) for job in finished.jobs)


def test_the_winner_is_the_best_on_dev_of_its_own_replicate(finished: Any) -> None:
    dev = {
        (row["method"], row["seed"], row["task"]): row["value"]
        for row in finished.document["rows"]
        if row["split"] == "dev"
    }
    for seed in (0, 1):
        names = (BEST_OF_ALL, BEST, *SINGLES)
        best = [sum(dev[name, seed, task] for task in ("addition", "boolean")) for name in names]
        assert best[0] == max(best), (
            "the default strength at either end of the whole pool is among all single operators"
        )
        (chosen,) = [
            item
            for item in finished.document["models"][0]["chosen"]
            if (item["method"], item["seed"]) == (BEST_OF_ALL, seed)
        ]
        assert chosen["recipe"] in (finished.out / "paper.md").read_text()


def test_the_learning_rate_is_chosen_for_full_data_before_anything_else_is_trained(
    reproduction: ReproductionConfig, arithmetic: Any, tmp_path: Path
) -> None:
    def result(job: Any) -> Any:
        found = plain(job)
        worse = abs(job.config.sft.learning_rate - 3e-4) if job.split == "dev" else 0.0
        scores = {task: score - 1000 * worse for task, score in found.scores.items()}
        return replace(found, score=found.score - 1000 * worse, scores=scores)

    plain, arithmetic.result = arithmetic.result, result
    config = reproduction.model_copy(
        update={"learning_rates": (1e-3, 3e-4, 1e-5), "methods": ("random", "ours"), "budget": 2}
    )
    arithmetic.lost = 4  # of the six trainings that the choice needs
    with pytest.raises(StudyError, match="run the same command again"):
        run_reproduction(config, tmp_path, ["main", "transfer"])
    arithmetic.lost = None
    document = run_reproduction(config, tmp_path, ["main", "transfer"])
    first, rest = arithmetic.jobs[:6], arithmetic.jobs[6:]
    rates = [job.config.sft.learning_rate for job in first]
    assert rates == [1e-3, 1e-3, 3e-4, 3e-4, 1e-5, 1e-5]
    assert {(job.seed, len(job.rows), job.split) for job in first} == {(seed, 300, "dev") for seed in (0, 1)}
    assert {job.config.sft.learning_rate for job in rest} == {3e-4}, "larger models too, that set none of their own"
    assert not any(len(job.rows) == 300 and job.split == "dev" for job in rest if job.rows is not None)
    choice = document["models"][0]["learning_rate"]
    assert choice["chosen"] == 3e-4 and not choice["at_the_end"]
    assert [item["rate"] for item in choice["tried"]] == [1e-3, 3e-4, 1e-5]
    assert "**Learning rate 0.0003** in all trainings" in (tmp_path / "paper.md").read_text()
    assert all("transfer" not in sentence for sentence in document["models"][0]["missing"])
    made = len(arithmetic.jobs)
    assert run_reproduction(config, tmp_path, ["main"])["rows"] == document["rows"] and len(arithmetic.jobs) == made


def test_rates_at_which_every_training_fails_are_one_sentence(
    reproduction: ReproductionConfig, arithmetic: Any, tmp_path: Path
) -> None:
    arithmetic.result = lambda job: EvaluationResult.failed(job, "the loss is not a number", "training")
    config = reproduction.model_copy(update={"learning_rates": (1.0, 10.0)})
    with pytest.raises(StudyError, match=r"failed at every learning rate \(1, 10\): try lower ones\."):
        run_reproduction(config, tmp_path, ["main"])


def test_nothing_is_trained_twice(finished: Any) -> None:
    keys = [(j.split, j.seed, j.config.sft.max_steps, None if j.rows is None else tuple(j.rows)) for j in finished.jobs]
    assert len(set(keys)) == len(keys)


def test_a_run_that_lost_the_machine_goes_on_and_ends_alike(
    reproduction: ReproductionConfig, finished: Any, arithmetic: Any, tmp_path: Path
) -> None:
    made = sum(job.config.sft.max_steps is None for job in finished.jobs)  # without the transfer
    arithmetic.lost = made // 2
    with pytest.raises(StudyError, match="run the same command again"):
        run_reproduction(reproduction, tmp_path, ["main", "ablation"])
    assert "main: its searches have not ended" in write_paper(reproduction, tmp_path)["models"][0]["missing"][0]
    arithmetic.lost = None
    run_reproduction(reproduction, tmp_path, ["main"])
    again = run_reproduction(reproduction, tmp_path, ["ablation"])
    assert len(arithmetic.jobs) == made
    assert again["rows"] == [row for row in finished.document["rows"] if not row["section"].startswith("transfer")]


def test_what_is_finished_is_not_run_again(reproduction: ReproductionConfig, finished: Any, arithmetic: Any) -> None:
    assert run_reproduction(reproduction, finished.out)["rows"] == finished.document["rows"]
    assert arithmetic.jobs == []


def test_test_is_not_scored_again_by_other_settings(
    reproduction: ReproductionConfig, finished: Any, arithmetic: Any
) -> None:
    for section, change in (
        ("main", {"budget": 4}),
        ("main", {"methods": ("ours",)}),
        ("main", {"recipes": ()}),
        ("ablation", {"ablations": ()}),
    ):
        with pytest.raises(StudyError, match=f"'{section}' by other settings"):
            run_reproduction(reproduction.model_copy(update=change), finished.out, [section])


class Opposed(Arithmetic):
    """The better a subset is for the task that is searched, the worse it is for the guarded one."""

    def result(self, job: EvaluationJob) -> EvaluationResult:
        found = super().result(job)
        guarded = -4.0 - found.scores["boolean"]
        scores = {**found.scores, "addition": guarded}
        metrics = {**found.metrics, "addition": {"nll": -guarded}}
        items = {**found.items, "addition": {**found.items["addition"], "nll": [-guarded] * 6}}
        return replace(found, score=found.scores["boolean"], scores=scores, metrics=metrics, items=items)


def test_what_searches_pick_keeps_the_floors_and_the_document_says_so(
    reproduction_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = yaml.safe_load((reproduction_file.parent / "study.yaml").read_text())
    study["tasks"][0] |= {"weight": 0}
    document = yaml.safe_load(reproduction_file.read_text())
    document |= {"methods": ["random", "ours"], "single_operators": [], "recipes": [], "seeds": [0], "budget": 6}
    document["models"][0] |= {"study": "study.yaml", "transfer": []}
    document["paths"] = {}
    for name in ("default.yaml", "paper.yaml"):
        (tmp_path / name).write_text((reproduction_file.parent / name).read_text())
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump(document))
    picked: dict[str, list[float]] = {}
    for floor in (None, "-2.8"):
        study["tasks"][0]["floor"] = floor
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
        executor = Opposed()
        monkeypatch.setattr("autoselection.reproduce.run.make_executor", lambda config, made=executor: made)
        found = run_reproduction(load_reproduction(str(tmp_path / "paper.yaml")), tmp_path / f"out{floor}", ["main"])
        picked[str(floor)] = [
            row["value"]
            for row in found["rows"]
            if (row["task"], row["split"], row["metric"]) == ("addition", "dev", "score")
            and row["method"] in (AUTOSELECTION, METHOD_NAMES["random"])
        ]
        text = (tmp_path / f"out{floor}" / "paper.md").read_text()
        assert ("addition at least -2.8" in text) == (floor is not None)
    assert len(picked["None"]) == len(picked["-2.8"]) == 2
    assert all(value < -2.8 for value in picked["None"]), "without a floor the guarded task is lost"
    assert all(value >= -2.8 for value in picked["-2.8"])
    with pytest.raises(StudyError, match="by other settings"):
        study["tasks"][0]["floor"] = "-2.7"
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
        run_reproduction(load_reproduction(str(tmp_path / "paper.yaml")), tmp_path / "out-2.8", ["main"])


def test_what_is_compared_first_is_fixed_before_test_is_scored(
    reproduction: ReproductionConfig, arithmetic: Any, tmp_path: Path
) -> None:
    """Full data and random rows first: they are not held up by the comparison with another search."""
    named = {"methods": ("random", "ours"), "budget": 2, "first": ("full", "random-rows"), "single_operators": ()}
    plan = reproduction.model_copy(update=named)
    document = run_reproduction(plan, tmp_path, ["main"])
    table = document["models"][0]["tables"][0]
    versus = {row["method"]: row["autoselection_minus"] for row in table["rows"]}
    assert table["first"] == [FULL, RANDOM_ROWS] and len(table["planning"]) == 2
    assert versus[FULL]["family"] == versus[RANDOM_ROWS]["family"] == 1 < versus[METHOD_NAMES["random"]]["family"]
    assert versus[FULL]["gate"] is None and versus[FULL]["p"] == versus[FULL]["p_adjusted"]
    closed = None if versus[FULL]["significant"] else FULL
    assert versus[RANDOM_ROWS]["gate"] == closed
    said = f"Named before, and made first, one after the other: {FULL}, then {RANDOM_ROWS}."
    assert said in (tmp_path / "paper.md").read_text()
    with pytest.raises(StudyError, match="by other settings"):
        run_reproduction(plan.model_copy(update={"first": ("random", "full")}), tmp_path, ["main"])


def test_a_row_whose_signals_are_missing_is_named(
    reproduction: ReproductionConfig, arithmetic: Any, tmp_path: Path
) -> None:
    fewer = {"single_operators": ("ngram_entropy", "ifd_filter"), "methods": ("ours",), "budget": 1}
    document = run_reproduction(reproduction.model_copy(update=fewer), tmp_path, ["main"])
    assert "main has no row 'ifd_filter, low end': the pool has no ifd." in document["models"][0]["missing"]


def test_signals_of_recipes_that_a_union_names_are_missing_too(
    reproduction: ReproductionConfig, arithmetic: Any, tmp_path: Path
) -> None:
    named = Recipe((Step("ifd_filter"),))
    steps = (Step("ngram_entropy", {"fraction": 0.5}), Step("union", {"source_recipe": "hard"}))
    (tmp_path / "both.yaml").write_text(yaml.safe_dump(Recipe(steps, "both", library={"hard": named}).to_dict()))
    fewer = {"recipes": (str(tmp_path / "both.yaml"),), "single_operators": (), "methods": ("ours",), "budget": 1}
    document = run_reproduction(reproduction.model_copy(update=fewer), tmp_path / "out", ["main"])
    assert "main has no row 'fixed recipe: both': the pool has no ifd." in document["models"][0]["missing"]


def test_transfer_needs_the_main_table_and_its_model(
    reproduction: ReproductionConfig, arithmetic: Any, tmp_path: Path
) -> None:
    with pytest.raises(StudyError, match="run the section main first"):
        run_reproduction(reproduction, tmp_path, ["transfer"])
    model = reproduction.models[0]
    gone = model.transfer[0].model_copy(update={"model": str(tmp_path / "none"), "hint": "make it with: make models"})
    changed = model.model_copy(update={"transfer": (gone,)})
    absent = reproduction.model_copy(update={"models": (changed,)})
    with pytest.raises(
        ConfigError, match=r"Transfer to larger: There is no model folder .* Make it with: make models\."
    ):
        run_reproduction(absent, tmp_path, ["main", "transfer"])
    assert arithmetic.jobs == []


def test_overrides_that_do_not_suit_a_larger_model_are_refused_before_anything_is_trained(
    reproduction: ReproductionConfig, arithmetic: Any, tmp_path: Path
) -> None:
    model = reproduction.models[0].model_copy(update={"set": ("evaluation.sft.epochs=3",)})
    with pytest.raises(ConfigError, match="give exactly one budget"):
        run_reproduction(reproduction.model_copy(update={"models": (model,)}), tmp_path, ["main"])
    assert arithmetic.jobs == []


def test_an_optional_target_without_its_model_is_left_out(
    reproduction: ReproductionConfig, arithmetic: Any, tmp_path: Path
) -> None:
    model = reproduction.models[0]
    gone = model.transfer[0].model_copy(update={"model": str(tmp_path / "none"), "optional": True})
    config = reproduction.model_copy(update={"models": (model.model_copy(update={"transfer": (gone,)}),)})
    document = run_reproduction(config, tmp_path, ["transfer"])
    assert document["models"][0]["missing"][-1] == "transfer to larger: nothing was trained."


def test_the_page_holds_every_table_and_its_differences(finished: Any) -> None:
    go = pytest.importorskip("plotly.graph_objects")
    page = paper_page(finished.document)
    tables = [found for model in finished.document["models"] for found in model["tables"]]
    sheets = [part for section in page.sections for part in section.parts if isinstance(part, Sheet)]
    assert [len(sheet.rows) for sheet in sheets] == [len(found["rows"]) for found in tables]
    drawn = list(figures_of(page))
    assert {figure.title for figure in drawn} >= {"Differences", "Dev against test"}
    for figure in drawn:
        go.Figure(list(figure.traces), dict(figure.layout))


def test_the_page_in_a_browser(finished: Any, opened: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    assert_sound(opened, write_paper_page(finished.document, tmp_path / "paper.html"))


def test_an_unknown_section_is_one_sentence(reproduction: ReproductionConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'ablation'"):
        run_reproduction(reproduction, tmp_path, ["ablations"])


def test_nothing_yet_is_said(reproduction: ReproductionConfig, tmp_path: Path) -> None:
    document = write_paper(reproduction, tmp_path)
    assert document["rows"] == [] and len(document["models"][0]["missing"]) == 3
    assert "have not ended" in (tmp_path / "paper.md").read_text()
    main_only = reproduction.model_copy(update={"sections": ("main",), "ood": ()})
    (missing,) = write_paper(main_only, tmp_path)["models"][0]["missing"]
    assert missing.startswith("main:"), "sections that the configuration leaves out are not missing"


@pytest.mark.slow
def test_real_trainings_at_equal_epochs_and_a_chosen_rate(reproduction_file: Path, tmp_path: Path) -> None:
    small = ["evaluation.sft.max_steps=null", "evaluation.sft.epochs=0.2", "evaluation.threads=1"]
    small += [f"tasks.{number}.{split}_limit=8" for number in (0, 1) for split in ("dev", "test")]
    overrides = ["seeds=[0]", "budget=2", "learning_rates=[1.0e-2,1.0e-4]", "methods=[ours]", "single_operators=[]"]
    overrides += [f"models.0.set={json.dumps(small)}", "models.0.transfer=[]", "ood.0.test_limit=8"]
    config = load_reproduction(str(reproduction_file), overrides)
    document = run_reproduction(config, tmp_path, ["main"])
    choice = document["models"][0]["learning_rate"]
    assert choice["at_the_end"] and choice["chosen"] in (1e-2, 1e-4)
    events = [json.loads(line) for line in (tmp_path / "base" / "journal.jsonl").read_text().splitlines()]
    results = [event for event in events if event["event"] == "evaluation"]
    assert [event["rows"] for event in results[:2]] == [300, 300], "the rates come first"
    steps = {event["rows"]: event["result"]["steps"] for event in results if event["rows"]}
    assert len(set(steps.values())) > 1 and max(steps, key=lambda rows: steps[rows]) == 300, "more rows, more steps"


@pytest.mark.slow
def test_real_trainings_of_the_tiny_model(reproduction_file: Path, tmp_path: Path) -> None:
    small = ["evaluation.sft.max_steps=3", "evaluation.threads=1", *(f"tasks.{n}.dev_limit=8" for n in (0, 1))]
    small += [f"tasks.{number}.test_limit=8" for number in (0, 1)]
    overrides = ["seeds=[0]", "budget=2", "ablations=[no-gp]", f"models.0.set={json.dumps(small)}"]
    config = load_reproduction(str(reproduction_file), [*overrides, "ood.0.test_limit=8"])
    document = run_reproduction(config, tmp_path)
    assert document["models"][0]["missing"] == []
    metrics = {(row["task"], row["metric"]) for row in document["rows"] if row["split"] == "test"}
    assert {("addition", "exact_match"), ("boolean", "accuracy"), ("reversing", "exact_match")} <= metrics
    scores = {row["value"] for row in document["rows"] if (row["task"], row["metric"]) == ("addition", "nll")}
    assert len(scores) > 5
