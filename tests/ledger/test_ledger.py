"""An evaluation is made once, whoever asks for it, and what two names share is trained for both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoselection.config import StudyConfig, parse_config
from autoselection.errors import StudyError
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.ledger import Account, Journal, Ledger, Wanted, keyed_account
from autoselection.ledger.wanted import evaluation_job

ROWS = np.arange(9)


@pytest.fixture
def config(tmp_path: Path) -> StudyConfig:
    document = {
        "pool": {"path": "pool"},
        "model": {"path": "m"},
        "tasks": [{"name": "a", "dev": "d"}],
        "evaluation": {"sft": {"max_steps": 90}, "keep_model": True},
    }
    return parse_config(document, tmp_path)


class Steps:
    """Stands for a trainer: the score is the number of steps, or tokens, that the job asks for."""

    def __init__(self) -> None:
        self.jobs: list[EvaluationJob] = []
        self.loses: set[int] = set()
        self.device = "cpu"

    def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
        for index in reversed(range(len(jobs))):  # the order of completion is any
            job = jobs[index]
            self.jobs.append(job)
            if job.seed in self.loses:
                yield index, EvaluationResult.failed(job, "the disk is full", "infrastructure")
                continue
            budget = float(job.config.sft.max_steps or job.config.sft.max_tokens or 0)
            settings = {"device": self.device, "dtype": "float32"}
            yield index, EvaluationResult(job.split, job.seed, budget, {"a": budget}, settings=settings)

    def close(self) -> None:
        pass


def named(journal: Journal, folder: Path) -> Account:
    """Evaluations that a journal calls by names, as a study's trials."""

    def known() -> dict[Any, EvaluationResult]:
        return {(e["name"], e["seed"]): EvaluationResult.from_dict(e["result"]) for e in journal.of("scored")}

    return Account(
        "scored",
        known,
        lambda wanted: {"name": wanted.name, "seed": wanted.seed},
        lambda wanted: folder / wanted.name,
        keeps=lambda wanted: wanted.name == "kept",
    )


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.jsonl") as opened:
        yield opened


@pytest.fixture
def keyed(config: StudyConfig, journal: Journal, tmp_path: Path) -> Callable[[Steps], Ledger]:
    def opened(executor: Steps) -> Ledger:
        account = keyed_account(config, "f" * 32, journal, tmp_path)
        return Ledger(config, tmp_path / "pool", journal, executor, account)

    return opened


def test_whatever_makes_an_evaluation_another_one_is_evaluated_again(
    keyed: Any, config: StudyConfig, journal: Journal
) -> None:
    """A short training is never taken for a full one."""
    executor = Steps()
    ledger = keyed(executor)
    wanted = [
        Wanted(ROWS, 0, "dev"), Wanted(ROWS[:8], 0, "dev"), Wanted(None, 0, "dev"), Wanted(ROWS, 1, "dev"),
        Wanted(ROWS, 0, "test"), Wanted(ROWS, 0, "dev", 1 / 3), Wanted(ROWS, 0, "dev", 1 / 9),
    ]  # fmt: skip
    assert all(ledger.find(item) is None for item in wanted)
    for _ in range(2):
        found = ledger.evaluate([*wanted, wanted[0]])
        assert [result.score for result in found] == [90, 90, 90, 90, 90, 30, 10, 90]
        assert [(result.split, result.seed) for result in found[:5]] == [(w.split, w.seed) for w in wanted[:5]]
    assert len(executor.jobs) == ledger.made == len(wanted) == len({e["key"] for e in journal.of("evaluation")})
    assert len({job.work_dir for job in executor.jobs}) == len(wanted)
    assert [job.full_metrics for job in executor.jobs] == [job.split == "test" for job in executor.jobs]
    asked = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"exact_match": True})})
    assert evaluation_job(asked, Path("pool"), wanted[0], Path("work")).full_metrics
    assert not any(job.config.keep_model for job in executor.jobs)
    again = keyed(executor)
    assert [result.score for result in again.evaluate(wanted)] == [90, 90, 90, 90, 90, 30, 10] and again.made == 0


def test_other_settings_are_another_evaluation_in_the_same_journal(
    keyed: Any, config: StudyConfig, journal: Journal, tmp_path: Path
) -> None:
    executor = Steps()
    keyed(executor).evaluate([Wanted(ROWS, 0, "dev")])
    sft = config.evaluation.sft.model_copy(update={"max_steps": 7})
    other = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"sft": sft})})
    account = keyed_account(other, "f" * 32, journal, tmp_path)
    (found,) = Ledger(other, tmp_path, journal, executor, account).evaluate([Wanted(ROWS, 0, "dev")])
    assert found.score == 7 and len(journal.of("settings")) == 2


def test_tokens_take_the_place_of_the_configured_budget(config: StudyConfig, journal: Journal, tmp_path: Path) -> None:
    executor = Steps()
    ledger = Ledger(config, tmp_path, journal, executor, named(journal, tmp_path))
    found = ledger.evaluate([Wanted(ROWS, 0, "dev", tokens=tokens, name=str(tokens)) for tokens in (50, 60)])
    assert [result.score for result in found] == [50, 60]
    assert {job.config.sft.budget_counts for job in executor.jobs} == {"all"}


def test_two_names_of_the_same_rows_are_trained_once(config: StudyConfig, journal: Journal, tmp_path: Path) -> None:
    executor = Steps()
    ledger = Ledger(config, tmp_path, journal, executor, named(journal, tmp_path))
    wanted = [Wanted(ROWS, 0, "test", name="kept"), Wanted(ROWS, 0, "test", name="alike")]
    backwards = Wanted(ROWS[::-1], 0, "test", name="backwards")
    fewer = Wanted(ROWS[1:], 0, "test", name="fewer")
    ledger.evaluate([*wanted, backwards, fewer])
    jobs = {job.work_dir.name: job for job in executor.jobs}
    assert set(jobs) == {"kept", "fewer"}, "training has an order of its own"
    assert jobs["kept"].config.keep_model and not jobs["fewer"].config.keep_model
    assert sorted(event["name"] for event in journal.of("scored")) == ["alike", "backwards", "fewer", "kept"]
    later = Wanted(ROWS, 0, "test", name="later")
    assert ledger.evaluate([wanted[0], later])[1].score == 90
    assert len(executor.jobs) == 2 and journal.of("scored")[-1]["name"] == "later"


def test_what_the_machine_lost_is_journalled_said_and_made_when_the_journal_is_opened_again(
    keyed: Any, journal: Journal
) -> None:
    executor = Steps()
    executor.loses = {1}
    ledger = keyed(executor)
    wanted = [Wanted(ROWS, seed, "dev") for seed in (0, 1, 2)]
    with pytest.raises(
        StudyError, match=r"^1 evaluation\(s\) were lost to the machine.*9 rows \(seed 1\): the disk is full"
    ):
        ledger.evaluate(wanted)
    assert len(journal.of("evaluation")) == 2, "the others are done"
    assert [event["reason"] for event in journal.of("interruption")] == ["the disk is full"]
    executor.loses = set()
    ledger.attempt(wanted)
    assert ledger.find(wanted[1]) is None and "the disk is full" in (ledger.why_lost(wanted[1]) or "")
    assert ledger.evaluate([wanted[0]])[0].score == 90, "what is not lost can be had"
    assert len(keyed(executor).evaluate(wanted)) == 3


def test_results_of_several_arithmetics_are_warned_of_once(keyed: Any, capfd: Any) -> None:
    executor = Steps()
    ledger = keyed(executor)
    ledger.evaluate([Wanted(ROWS, 0, "dev")])
    executor.device = "cuda:0"
    for seed in (1, 2):
        ledger.evaluate([Wanted(ROWS, seed, "dev")])
    assert "".join(capfd.readouterr()).count("different arithmetics") == 1
    assert ledger.arithmetics == ["cpu float32", "cuda float32"]


def test_after_is_called_when_a_result_is_in_the_journal(config: StudyConfig, journal: Journal, tmp_path: Path) -> None:
    counts: list[int] = []
    account = named(journal, tmp_path)
    ledger = Ledger(config, tmp_path, journal, Steps(), account, lambda: counts.append(len(account.known())))
    ledger.evaluate([Wanted(ROWS, seed, "dev", name="t001") for seed in (0, 1)])
    assert counts == [1, 2]


def test_remarks_name_the_rows_of_the_subset_and_not_those_trained_with_repetitions(keyed: Any) -> None:
    class Repeats(Steps):
        def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
            for index, result in super().run(jobs):
                yield index, replace(result, train_rows=240, remarks=("it ends early.",))

    ledger = keyed(Repeats())
    ledger.evaluate([Wanted(ROWS, 0, "dev")])
    assert ledger.remarks == ["9 rows: it ends early."]
