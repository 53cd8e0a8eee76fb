"""``search --dry-run``: what a study will take, measured on a sample, with nothing begun."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from test_cli import document, run

from autoselection.config import StudyConfig, load_config
from autoselection.evaluation import SFTConfig, evaluate
from autoselection.pool import Pool, ingest
from autoselection.signals import ScoreReport, score_pool, stored_signals
from autoselection.study import Journal, Study
from autoselection.study import estimate as module
from autoselection.study.estimate import estimate_study, memory_sentence, training_tokens
from autoselection.study.opening import prepare_journalled


@pytest.fixture(scope="module", autouse=True)
def short() -> object:
    """Samples that take a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_SECONDS", 0.2)
        yield


@pytest.fixture(scope="module")
def told(study_config: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The estimate of the small study, as JSON, and what was evaluated for it."""
    splits = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "evaluate", lambda job: splits.append(job.split) or evaluate(job))
        patch.chdir(tmp_path_factory.mktemp("dry"))
        found = document("search", study_config, "--dry-run", "--price", "3.6", "--set", "executor.workers=2")
        assert list(Path.cwd().iterdir()) == []
    return {**found, "splits": splits}


def stage(told: dict, name: str) -> dict:
    return next(each for each in told["stages"] if each["name"] == name)


def test_every_training_of_the_study_is_counted(told: dict, study_config: Path):
    assert told["rows"] == 400 and told["splits"] == ["dev"] * 4  # test is not touched
    search, final = stage(told, "search"), stage(told, "final table")
    assert search["runs"] == 5
    assert stage(told, "comparison with the incumbent")["runs"] == 3
    assert final["runs"] == 5  # winner, random, one operator, full pool, and the base model untrained
    step = 8 * min(told["row_tokens"], 128)
    assert search["tokens"] == pytest.approx(5 * 4 * step)  # max_steps: 4
    assert 0 < told["share"] <= 1 and 0 < search["rows"] <= 400
    assert search["wall"] == pytest.approx(search["seconds"] / 2)
    assert all(each["seconds"] >= 0 for each in told["stages"]) and search["memory"] > 10**7


def test_workers_are_told_to_take_memory_each(told: dict):
    (said,) = [each for each in told["assumptions"] if each.startswith("Each worker takes")]
    one = stage(told, "search")["memory"] / 2**30
    assert f"at least the sample's {one:.1f} GiB: 2 side by side {2 * one:.1f} GiB of the " in said


def test_workers_that_do_not_fit_are_told_of():
    gib = 2**30
    assert memory_sentence(2, 9 * gib, 24 * gib, "this machine") == (
        "Each worker takes the memory of a whole evaluation, at least the sample's 9.0 GiB: 2 side by side 18.0 GiB of the 24.0 GiB of "
        "this machine."
    )
    assert "27.0 GiB of the 24.0 GiB of a GPU, which is too much: lower executor.workers" in (
        memory_sentence(3, 9 * gib, 24 * gib, "a GPU")
    )


def test_evaluations_with_another_model_are_measured_and_counted(study_config: Path, smaller: Path, tmp_path: Path):
    settings = yaml.safe_load(study_config.read_text())
    settings["search"]["fidelity"] = {"models": [{"path": str(smaller), "cost": 0.5, "items": 0.5}], "share": 0.4}
    settings |= {"final": {"enabled": False}, "incumbent": {"recipe": "none"}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(settings))
    found = estimate_study(load_config(tmp_path / "study.yaml"))
    stages = {each.name: each for each in found.stages}
    below, full = stages["search, model smaller, 50% of the items"], stages["search"]
    assert (full.runs, below.runs) == (3, 4)  # of five evaluations two go below, at half of the cost
    # Each is measured by a training of its own; which is the faster is not asserted, as a busy machine decides that.
    assert min(below.seconds, full.seconds) > 0 and below.seconds / below.runs != full.seconds / full.runs
    (said,) = [each for each in found.assumptions if "level 'model smaller, 50% of the items'" in each]
    assert "counted as 0.5 of a full one; by the sample it takes 0." in said


def test_what_is_there_costs_nothing(told: dict):
    assert not [each["name"] for each in told["stages"] if each["name"].startswith("signals: ")]
    assert any("Signals that the pool has already: " in said and "mona/" in said for said in told["assumptions"])


def test_costs_are_hours_times_the_price(told: dict):
    assert told["seconds"] == pytest.approx(sum(each["seconds"] for each in told["stages"]))
    assert told["cost"] == pytest.approx(told["seconds"] * 0.001)


def test_signals_that_are_lacking_are_scaled_by_the_text(raw_pool: Path, study_config: Path, tmp_path: Path):
    given = [f"pool.files=[{raw_pool}]", "pool.path=null", "final.enabled=false", "incumbent.recipe=none"]
    found = estimate_study(load_config(study_config, given))
    names = [each.name for each in found.stages]
    assert "signals: lm, sae" in names or "signals: sae, lm" in names  # one pass, counted once
    assert "reading the pool" in names and next(each for each in found.stages if each.name == "search").runs == 5
    assert found.cost(3600) is None and "final table" not in names


def test_what_is_loaded_once_is_not_taken_for_the_pace_of_signals(
    raw_pool: Path, study_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pools: list[Pool] = []

    def timed(pool: Pool, *given, **options) -> ScoreReport:
        """A millisecond a character, and a minute for what the first call of a process loads."""
        report = score_pool(pool, *given, **options)
        assert not any(signal.cached for signal in report.signals)
        pools.append(pool)
        seconds = 60.0 * (len(pools) == 1) + 0.001 * sum(map(len, pool.texts()))
        return replace(report, signals=tuple(replace(signal, seconds=seconds) for signal in report.signals))

    monkeypatch.setattr(module, "score_pool", timed)
    given = [f"pool.files=[{raw_pool}]", "pool.path=null", "signals.signals=[text_hash]", "sae=null"]
    config = load_config(study_config, [*given, "final.enabled=false", "incumbent.recipe=none"])
    (signals,) = [each for each in estimate_study(config).stages if each.name.startswith("signals: ")]
    texts = list(ingest([raw_pool], tmp_path / "whole").pool.texts())
    assert signals.seconds == pytest.approx(0.001 * sum(map(len, texts)))
    longest = [max(map(len, pool.texts())) for pool in pools]  # long rows would hide what the number of rows costs
    assert longest[-1] == max(map(len, texts)) > max(longest[:-1])


def test_a_table_for_people(study_config: Path):
    code, out, _ = run("search", study_config, "--dry-run", "--price", "2")
    assert code == 0 and "final table" in out and "cost" in out and "Not in it:" in out


def test_what_is_stored_is_known_without_computing(scored_pool: Path, study_config: Path, tmp_path: Path):
    config, pool = load_config(study_config), Pool.open(scored_pool)
    options = {"model": config.model.path, "sae": config.sae, "tasks": config.tasks}
    report = score_pool(pool, config.signals, **options)
    assert stored_signals(pool, config.signals, **options) == {signal.name for signal in report.signals}
    bare = shutil.copytree(scored_pool, tmp_path / "bare", ignore=shutil.ignore_patterns("signals"))
    assert stored_signals(Pool.open(bare), config.signals, **options) == frozenset()


def test_tokens_of_a_training_follow_its_budget():
    def tokens(**options) -> float:
        return training_tokens(SFTConfig(**{"epochs": None, **options}), 1000, 300.0)

    assert tokens(epochs=2.0, max_length=200) == 2 * 1000 * 200
    assert tokens(max_steps=10, batch_size=4, max_length=512) == 10 * 4 * 300
    assert tokens(max_tokens=5000) == 5000


def left_of(config: StudyConfig, folder: Path) -> dict[str, int]:
    """What the estimate says is left of the study in a folder: runs by stage."""
    return {each.name: each.runs for each in estimate_study(config, out=folder).stages}


def cut(study: Study, folder: Path, before: str) -> Path:
    """The study as it was before the first event of a kind."""
    copy = Path(shutil.copytree(study.path, folder))
    events = [event["event"] for event in study.journal.events]
    lines = (copy / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "journal.jsonl").write_bytes(b"".join(lines[: events.index(before)]))
    return copy


def test_nothing_is_left_of_a_finished_study(finished_study: Study, tmp_path: Path):
    assert left_of(finished_study.config, finished_study.path) == {"reading the pool": 1}
    more = finished_study.config.search.model_copy(update={"evaluations": 7})
    left = left_of(finished_study.config.model_copy(update={"search": more}), finished_study.path)
    spent = sum(trial.fidelity for trial in finished_study.all_trials())
    assert left["search"] == 7 - spent and "final table" not in left  # its plan stands
    assert left["comparison with the incumbent"] == 1  # of another winner with a fresh seed; the incumbent's are there


@pytest.mark.slow
def test_what_a_killed_study_lacks_is_left(finished_study: Study, tmp_path: Path):
    config, events = finished_study.config, finished_study.journal
    assert left_of(config, cut(finished_study, tmp_path / "1", "test")) == {"reading the pool": 1, "final table": 5}
    left = left_of(config, cut(finished_study, tmp_path / "2", "final_plan"))
    assert left == {"reading the pool": 1, "final table": 5}
    left = left_of(config, cut(finished_study, tmp_path / "3", "incumbent_evaluation"))
    assert left["comparison with the incumbent"] == len(events.of("incumbent_evaluation")) and "search" not in left
    left = left_of(config, cut(finished_study, tmp_path / "4", "evaluation"))  # a trial was asked
    assert (left["search"], left["comparison with the incumbent"], left["final table"]) == (5, 3, 5)


def test_pool_and_signals_of_a_study_of_files_are_there(raw_pool: Path, study_config: Path, tmp_path: Path):
    given = [f"pool.files=[{raw_pool}]", "pool.path=null", "signals.signals=[ngram_entropy, text_hash]", "sae=null"]
    config = load_config(study_config, [*given, "final.enabled=false", "incumbent.recipe=none"])
    with Journal(tmp_path / "study" / "journal.jsonl") as journal:
        study = Study.create_or_open(config, tmp_path / "study", journal)
        prepare_journalled(config, study.path, journal, "study")
    found = {each.name: each for each in estimate_study(config, out=study.path).stages}
    assert set(found) == {"reading the pool", "search"} and found["reading the pool"].seconds == 0
    (study.path / "journal.jsonl").write_bytes(b"")  # killed while it computed them: the files are read again
    found = {each.name: each for each in estimate_study(config, out=study.path).stages}
    assert set(found) == {"reading the pool", "search"} and found["reading the pool"].seconds > 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Name the study directory with --out, or estimate what it will take with --dry-run."),
        (["--price", "2", "--out", "x"], "--price is for --dry-run"),
    ],
)
def test_a_fault_is_one_sentence(study_config: Path, options: list[str], said: str):
    code, _, error = run("search", study_config, *options)
    assert code == 2 and said in error


def test_a_training_that_fails_in_the_sample_is_said(study_config: Path, monkeypatch: pytest.MonkeyPatch):
    from autoselection.evaluation import EvaluationResult

    monkeypatch.setattr(module, "evaluate", lambda job: EvaluationResult.failed(job, "it diverged"))
    code, _, error = run("search", study_config, "--dry-run")
    assert code == 6 and "The sample of a training failed, as the study's would: it diverged" in error
