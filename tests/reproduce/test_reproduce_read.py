"""A reproduction's folder, read by what reads studies: refused in one sentence, or diagnosed and measured as studies are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from autoselection.cli import app
from autoselection.cli._outcome import run
from autoselection.diagnose import Diagnosis
from autoselection.errors import ConfigError, StudyError
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.reproduce import (
    ReproductionConfig,
    diagnose_reproduction,
    load_reproduction,
    measure_reproduced_compute,
    run_reproduction,
    write_paper,
)
from autoselection.reproduce.rows import AUTOSELECTION
from autoselection.study import Study

BASE = "base"
TAKE_MANY_THINGS = ("diff", "explain")
"""Commands that take recipes and files too, and say so of a folder that is none of them."""


def _events(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / BASE / "journal.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def diagnosis(finished: Any) -> Diagnosis:
    return diagnose_reproduction(finished.out / BASE)


@pytest.mark.parametrize("below", ["", BASE])
@pytest.mark.parametrize(
    "words",
    [
        ["report", "HERE"],
        ["whatif", "HERE", "--weights", "addition=2"],
        ["watch", "HERE", "--terminal"],
        ["track", "HERE", "--to", "tensorboard"],
        ["handoff", "HERE", "--for", "trl", "--out", "OUT"],
        ["diff", "HERE", "HERE"],
        ["explain", "HERE", "0"],
        ["materialize", "high-ifd", "--pool", "HERE"],
        ["apply", "high-ifd", "--pool", "HERE", "--out", "OUT"],
        ["pool", "show", "HERE"],
        ["score", "HERE"],
    ],
    ids=lambda words: words[0],
)
def test_what_reads_studies_says_in_one_sentence_that_this_is_none(
    finished: Any, words: list[str], below: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = finished.out / below
    given = {"HERE": str(here), "OUT": str(tmp_path / "written")}
    code = run(app, [given.get(word, word) for word in words])
    said = capsys.readouterr()
    text = " ".join((said.out + said.err).replace("│", " ").split())
    assert code != 0 and "Traceback" not in text
    if below or words[0] not in TAKE_MANY_THINGS:
        assert code == 7 and text.count("holds a reproduction") == 1 and "name the directory of a study" in text
    assert not (tmp_path / "written").exists()


def test_the_models_of_a_reproduction_are_named(finished: Any) -> None:
    with pytest.raises(StudyError, match=r"holds a reproduction \(base\), no study.*diagnose"):
        Study(finished.out)


def test_what_was_planted_is_found_over_every_subset_that_was_trained(finished: Any, diagnosis: Diagnosis) -> None:
    on_dev = {e["subset_hash"] for e in _events(finished.out) if e["event"] == "evaluation" and e["split"] == "dev"}
    assert diagnosis.trials == len(on_dev) > 20
    lines = {line.name: line.correlation for line in diagnosis.lines}
    chatter, entropy = lines["source_share/chatter"], lines["mean ngram_entropy"]
    assert chatter.trials == entropy.trials == diagnosis.trials, "the rows of every one are known"
    assert chatter.spearman is not None and chatter.spearman.value < -0.9 and chatter.excludes_zero
    assert lines["test score"].trials < diagnosis.trials, "few were scored on test"
    assert lines["test score"].spearman is not None and lines["test score"].spearman.value > 0.5
    assert not any("rows" in note and "only their scores" in note for note in diagnosis.notes)


def test_the_search_metric_is_set_beside_right_answers(diagnosis: Diagnosis) -> None:
    found = {each.task: each for each in diagnosis.agreements}
    assert list(found) == ["addition", "boolean", "all tasks"]
    assert all(each.trials == diagnosis.trials for each in found.values())
    # Right answers are six items a training here: the score agrees with them where they are more than luck, and never opposes.
    assert {each.verdict for each in found.values()} <= {"agrees", "unknown"}
    assert all(each.correlation is not None and each.correlation.low < each.correlation.high for each in found.values())


def test_the_command_takes_the_folder_of_one_model_or_of_all(
    finished: Any, diagnosis: Diagnosis, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (finished.out, finished.out / BASE):
        assert run(app, ["diagnose", str(folder), "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(diagnosis.to_dict()))


def test_a_reproduction_that_has_not_ended_is_diagnosed_as_far_as_it_is(
    reproduction: ReproductionConfig, arithmetic: Any, finished: Any, tmp_path: Path
) -> None:
    arithmetic.lost = 30
    with pytest.raises(StudyError, match="lost to the machine"):
        run_reproduction(reproduction, tmp_path)
    before = (tmp_path / BASE / "journal.jsonl").read_bytes()
    found = diagnose_reproduction(tmp_path)
    assert 8 < found.trials <= 30
    lines = {line.name: line.correlation for line in found.lines}
    assert lines["source_share/chatter"].trials == found.trials and lines["test score"].trials == 0
    assert (tmp_path / BASE / "journal.jsonl").read_bytes() == before
    with pytest.raises(StudyError, match="the searches of the main table have not ended"):
        measure_reproduced_compute(tmp_path, [0.5, 1.0])


def test_a_folder_of_before_is_told_how_to_be_read(
    reproduction: ReproductionConfig, finished: Any, tmp_path: Path
) -> None:
    out = shutil.copytree(finished.out, tmp_path / "out")
    (out / "reproduction.yaml").unlink()
    with pytest.raises(StudyError, match="--report-only"):
        diagnose_reproduction(out)
    write_paper(reproduction, out)
    assert diagnose_reproduction(out).trials > 20


def test_rows_that_no_search_of_the_configuration_asks_for_are_counted(
    reproduction: ReproductionConfig, finished: Any, diagnosis: Diagnosis, tmp_path: Path
) -> None:
    out = shutil.copytree(finished.out, tmp_path / "out")
    write_paper(reproduction.model_copy(update={"sections": ("main",)}), out)
    found = diagnose_reproduction(out)
    assert found.trials == diagnosis.trials, "scores are known without the rows"
    lines = {line.name: line.correlation for line in found.lines}
    unknown = found.trials - lines["source_share/chatter"].trials
    assert unknown > 0 and any(note.startswith(f"Of {unknown} subset(s)") for note in found.notes)


def test_several_models_have_to_be_chosen_from(finished: Any, tmp_path: Path) -> None:
    out = shutil.copytree(finished.out, tmp_path / "out")
    shutil.copytree(out / BASE, out / "other")
    with pytest.raises(StudyError, match=r"several models: name one of .*base, .*other"):
        diagnose_reproduction(out)


class Halving:
    """An executor in which a replicate's winner needs half, in the second a quarter, of the tokens that other rows need."""

    def __init__(self, winners: Sequence[frozenset[int]]) -> None:
        self.winners, self.jobs = winners, list[EvaluationJob]()

    def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
        for index, job in enumerate(jobs):
            self.jobs.append(job)
            tokens = job.config.sft.max_tokens
            assert job.rows is not None and tokens is not None
            rows = frozenset(job.rows.tolist())
            faster = 2 * (1 + self.winners.index(rows)) if rows in self.winners else 1
            worth = -1.0 / (tokens * faster) - 1e-7 * job.seed
            seconds = {"train": 2.0 * tokens, "eval": 0.0, "total": 2.0 * tokens}
            scores = {task.name: worth for task in job.tasks}
            yield index, EvaluationResult(job.split, job.seed, worth, scores, train_tokens=tokens, seconds=seconds)

    def close(self) -> None:
        pass


@pytest.fixture
def measured(finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Halving]:
    """A finished reproduction whose trainings took 1,000 tokens, and an executor for its curves."""
    out = shutil.copytree(finished.out, tmp_path / "out")
    events = _events(out)
    for event in events:
        if event["event"] == "evaluation":
            event["result"]["train_tokens"] = 1000
    lines = [json.dumps({key: value for key, value in event.items() if key != "chain"}) for event in events]
    (out / BASE / "journal.jsonl").write_text("\n".join(lines) + "\n")
    winners = []
    (plan,) = [e for e in events if e["event"] == "test_plan" and e["section"] == "main"]
    for entry in plan["entries"]:
        if entry["row"] == AUTOSELECTION:
            winners.append(frozenset(np.load(out / BASE / "subsets" / f"{entry['subset']}.npy").tolist()))
    executor = Halving(winners)
    monkeypatch.setattr("autoselection.reproduce.compute.make_executor", lambda config: executor)
    return out, executor


def test_the_multiplier_of_a_reproduction_is_over_its_searches(measured: tuple[Path, Halving]) -> None:
    out, executor = measured
    assert len(set(executor.winners)) == 2
    budgets, asked = (0.5, 1.0, 2.0, 4.0), [500, 1000, 2000, 4000]
    found = measure_reproduced_compute(out, budgets, [100, 200])
    assert found["budgets"] == asked and found["units"] == "searches" and found["replicates"] == [0, 1]
    winner, full = (found["curves"][arm]["scores"] for arm in ("winner", "full"))
    for replicate, faster in enumerate((2, 4)):
        # The mean over both seeds, each raised by the replicate.
        assert winner[replicate] == pytest.approx([-1 / (faster * t) - 1e-7 * (150 + replicate) for t in asked])
        assert full[replicate] == pytest.approx([-1 / t - 1e-7 * (150 + replicate) for t in asked])
    low, high = found["multipliers"]["full"]["interval"]
    assert low == pytest.approx(2.0, rel=0.01) and high == pytest.approx(4.0, rel=0.01), (
        "one search draws 2, the other 4"
    )
    assert any(said.startswith("Over searches (95%)") for said in found["sentences"])
    assert any(said.startswith("2 searches: the intervals") for said in found["sentences"])
    seeds = {
        (frozenset(job.rows.tolist()) == executor.winners[0], job.seed) for job in executor.jobs if job.rows is not None
    }
    assert {seed for is_first, seed in seeds if is_first} == {100, 200}
    opening = _events(out)[0]
    assert found["costs"]["search_s"] == pytest.approx(3 * 1.5), "three evaluations of a second and a half"
    assert found["multipliers"]["full"]["payback"]["overhead_s"] == pytest.approx(
        opening["signal_report"]["seconds"] + 4.5
    )
    made = len(executor.jobs)
    again = measure_reproduced_compute(out, budgets, [100, 200])
    assert len(executor.jobs) == made and again == found, "nothing is trained twice"
    assert json.loads((out / BASE / "compute" / "compute.json").read_text()) == found


def test_final_seeds_are_the_default_and_test_needs_a_reason(measured: tuple[Path, Halving]) -> None:
    out, executor = measured
    with pytest.raises(ConfigError, match="--rescore-test REASON"):
        measure_reproduced_compute(out, [1.0, 2.0], split="test")
    found = measure_reproduced_compute(out, [1.0, 2.0], split="test", rescore="curves")
    assert found["seeds"] == [100] and {job.split for job in executor.jobs} == {"test"}
    assert {job.seed for job in executor.jobs} == {100, 101}
    measure_reproduced_compute(out, [1.0, 2.0], split="test", rescore="curves")
    measure_reproduced_compute(out, [1.0, 4.0], split="test", rescore="curves")
    noted = [event for event in _events(out) if event["event"] == "test_access"]
    assert [(each["reason"], each["tokens"]) for each in noted] == [("curves", [1000, 2000]), ("curves", [1000, 4000])]
    config = load_reproduction(str(out / "reproduction.yaml"))
    touched = write_paper(config, out)["models"][0]["test_touched"]
    assert touched == 2 * [{"what": "compute curves", "reason": "curves"}]
    said = "Besides these tables, test was scored for compute curves: curves; for compute curves: curves."
    assert said in (out / "paper.md").read_text()


def test_a_search_that_found_nothing_is_said_and_not_waited_for(measured: tuple[Path, Halving]) -> None:
    out, _ = measured

    def without(*replicates: int) -> None:
        events = _events(out)
        for event in events:
            for entry in event["entries"] if event["event"] == "test_plan" else ():
                if entry["row"] == AUTOSELECTION and entry["seed"] in replicates:
                    entry["subset"] = None
        lines = [json.dumps({key: value for key, value in event.items() if key != "chain"}) for event in events]
        (out / BASE / "journal.jsonl").write_text("\n".join(lines) + "\n")

    without(1)
    found = measure_reproduced_compute(out, [1.0, 2.0])
    assert found["replicates"] == [0]
    assert any(said.startswith("Every training of the search failed in replicate 1:") for said in found["sentences"])
    without(0, 1)
    with pytest.raises(StudyError, match="no search of AutoSelection found anything"):
        measure_reproduced_compute(out, [1.0, 2.0])


def test_budgets_that_come_to_the_same_tokens_are_refused_before_training(measured: tuple[Path, Halving]) -> None:
    out, executor = measured
    with pytest.raises(
        ConfigError, match=r"0\.0001, 0\.0002 all come to 1 token.* a training of the winner took 1,000"
    ):
        measure_reproduced_compute(out, [0.0001, 0.0002])
    assert not executor.jobs


def test_a_folder_keeps_the_configuration_of_what_is_there(
    reproduction: ReproductionConfig, finished: Any, tmp_path: Path
) -> None:
    """Other settings are refused before anything is written over."""
    out = shutil.copytree(finished.out, tmp_path / "out")
    before = {name: (out / name).read_bytes() for name in ("reproduction.yaml", "paper.md", f"{BASE}/config.yaml")}
    other = reproduction.model_copy(update={"budget": 2})
    for again in (lambda: run_reproduction(other, out, ["ablation"]), lambda: write_paper(other, out)):
        with pytest.raises(StudyError, match="already scored for 'main' by other settings"):
            again()
    assert {name: (out / name).read_bytes() for name in before} == before


def test_the_command_writes_the_page_beside_the_model(
    measured: tuple[Path, Halving], capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = measured
    assert run(app, ["compute", str(out), "--budgets", "1,2"]) == 0
    assert "searches" in capsys.readouterr().out
    page = (out / BASE / "compute" / "curves.html").read_text()
    assert "Scored on dev, 2 replicates, 1 training seed." in page
    assert not (out / "compute").exists()


def test_curves_are_of_the_settings_that_were_searched_with(measured: tuple[Path, Halving]) -> None:
    out, executor = measured
    config = out / BASE / "config.yaml"
    document = yaml.safe_load(config.read_text())
    document["evaluation"]["sft"]["learning_rate"] = 0.5
    config.write_text(yaml.safe_dump(document))
    with pytest.raises(StudyError, match="by other settings"):
        measure_reproduced_compute(out, [1.0, 2.0])
    assert not executor.jobs
