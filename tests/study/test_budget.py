"""A study goes on with another number of evaluations: every decision stays, and test stays guarded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.study.journals import write_unchecked
from tests.study.test_incumbent import scored

from autoselection.config import StudyConfig, load_config
from autoselection.errors import StudyError
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.report import study_markdown
from autoselection.report.answer import study_answer
from autoselection.report.study_page import gain_figure
from autoselection.study import Study, read_events, run_study, summary


def number_of(job: EvaluationJob) -> int:
    label = next((part for part in Path(job.work_dir).parts[::-1] if part[:1] == "t" and part[1:4].isdigit()), "t000")
    return int(label[1:4])


def later_is_better(job: EvaluationJob) -> EvaluationResult:
    return scored(job, 0.2 * number_of(job) if job.split == "dev" else 0.0)


def by_rows(job: EvaluationJob) -> EvaluationResult:
    return scored(job, 0.0)


def config_of(study_config: Path, evaluations: int, *more: str) -> StudyConfig:
    quick = ["final.full=false", "final.single_operators=0", "final.random=false", "incumbent.recipe=none"]
    quick += ["executor.workers=1", "export.hf_dataset=false", "export.sharegpt=false"]
    return load_config(study_config, [*quick, f"search.evaluations={evaluations}", *more])


DEPENDENT = ("search.fidelity.level=0.3", "search.fidelity.warmup=2", "final.enabled=false")
"""Settings by which a decision depends on what is left to spend."""


def told(study: Study, *kinds: str) -> list[str]:
    """Events of the search without times, as text."""
    found = []
    for event in study.journal.events:
        if event["event"] in kinds:
            plain = {key: value for key, value in event.items() if key not in ("seq", "time", "chain", "sum", "line")}
            found.append(json.dumps(plain, sort_keys=True))
    return found


@pytest.mark.parametrize("more", [("final.enabled=false",), pytest.param(DEPENDENT, marks=pytest.mark.slow)])
def test_a_finished_study_goes_on_and_keeps_every_decision(
    more: tuple[str, ...], study_config: Path, tmp_path: Path, ends: Any
) -> None:
    ends(by_rows)
    out = tmp_path / "study"
    run_study(config_of(study_config, 5, *more), out)
    before = (out / "journal.jsonl").read_bytes()
    shutil.copytree(out, tmp_path / "killed")
    longer = run_study(config_of(study_config, 8, *more), out)
    assert (out / "journal.jsonl").read_bytes().startswith(before)
    assert sum(trial.fidelity for trial in longer.all_trials()) > 7 and longer.finished
    assert longer.journal.of("budget")[0]["before"] == 5
    count = len(longer.journal.events)
    assert len(run_study(config_of(study_config, 8, *more), out).journal.events) == count

    # Killed in the middle of what it went on with, twice: the same study.
    for stop in (len(longer.all_trials()) - 2, len(longer.all_trials()) - 1):

        def killed(job: EvaluationJob, stop: int = stop) -> EvaluationResult:
            if number_of(job) == stop:
                raise KeyboardInterrupt
            return by_rows(job)

        ends(killed)
        with pytest.raises(KeyboardInterrupt):
            run_study(config_of(study_config, 8, *more), tmp_path / "killed")
    ends(by_rows)
    again = run_study(config_of(study_config, 8, *more), tmp_path / "killed")
    kinds = ("trial", "round", "evaluation", "budget")
    assert sorted(told(again, *kinds)) == sorted(told(longer, *kinds))


def test_a_study_goes_on_step_by_step(study_config: Path, tmp_path: Path, ends: Any) -> None:
    ends(by_rows)
    for evaluations in (3, 4, 6, 7):
        study = run_study(config_of(study_config, evaluations, "final.enabled=false"), tmp_path / "s")
        assert len(study.trials) == evaluations
        assert [event["round"]["number"] for event in study.journal.of("round")] == list(
            range(1, len(study.journal.of("round")) + 1)
        )
    assert [event["evaluations"] for event in study.journal.of("budget")] == [4, 6, 7]


def test_a_smaller_number_than_spent_is_refused_and_one_not_yet_spent_ends_it_earlier(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    def killed(job: EvaluationJob) -> EvaluationResult:
        if number_of(job) == 4:
            raise KeyboardInterrupt
        return by_rows(job)

    ends(killed)
    with pytest.raises(KeyboardInterrupt):
        run_study(config_of(study_config, 9, "search.batch=1", "final.enabled=false"), tmp_path / "s")
    ends(by_rows)
    with pytest.raises(StudyError, match=r"has spent 4 of 9 evaluations already.*cannot be 3: give 4 or more"):
        run_study(config_of(study_config, 3, "search.batch=1", "final.enabled=false"), tmp_path / "s")
    study = run_study(config_of(study_config, 5, "search.batch=1", "final.enabled=false"), tmp_path / "s")
    assert len(study.trials) == 5 and study.finished
    with pytest.raises(StudyError, match=r"spent 5 of 5 evaluations already.*cannot be 4"):
        run_study(config_of(study_config, 4, "search.batch=1", "final.enabled=false"), tmp_path / "s")
    assert Study(tmp_path / "s").config.search.evaluations == 5, "what is refused changes nothing"


def test_a_study_of_an_older_version_whose_journal_does_not_tell_its_budget_goes_on(
    study_config: Path, tmp_path: Path, ends: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from autoselection.ledger.journal import Journal

    append = Journal.append

    def older(self: Journal, event: str, **fields: Any) -> dict[str, Any]:
        if event == "study":
            del fields["evaluations"]
        return append(self, event, **fields)

    ends(by_rows)
    monkeypatch.setattr(Journal, "append", older)
    run_study(config_of(study_config, 3, *DEPENDENT), tmp_path / "s")
    monkeypatch.setattr(Journal, "append", append)
    longer = run_study(config_of(study_config, 5, *DEPENDENT), tmp_path / "s")
    assert longer.journal.of("budget")[0]["before"] == 3 and longer.finished


def test_test_stays_with_the_winner_it_was_scored_for_until_a_reason_is_given(
    study_config: Path, tmp_path: Path, ends: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(later_is_better)
    out = tmp_path / "s"
    first = run_study(config_of(study_config, 3), out)
    best = first.best()
    assert best is not None and best.id == "t003" and "went on" not in study_markdown(first)
    flattery = summary(first)["statistics"]["shrinkage"]

    longer = run_study(config_of(study_config, 5), out)
    best = longer.best()
    assert best is not None and best.id == "t005"
    assert len(longer.journal.of("final_plan")) == 1 and longer.journal.of("test") == first.journal.of("test")
    said = "on dev t005 ("
    assert said in capsys.readouterr().err.replace("\n", " ") and said in study_markdown(longer)
    assert "on test t003 was scored, the best before, and t005 was not" in study_markdown(longer)
    statistics = summary(longer)["statistics"]
    assert statistics["winner"] == "winner (t003)" and len(statistics["test_touched"]) == 1
    assert statistics["shrinkage"] == flattery, "it was chosen among three trials, not five"

    reason = "final.rescore=a longer search"
    again = run_study(config_of(study_config, 5, reason), out)
    assert [plan["winner"] for plan in again.journal.of("final_plan")] == ["t003", "t005"]
    assert again.journal.of("final_plan")[1]["reason"] == "a longer search"
    scored_rows = {event["plan"]: event["name"] for event in again.journal.of("test")}
    assert scored_rows[2] == "winner (t005)"
    text = study_markdown(again)
    assert "winner (t005)" in text and "Test was touched 2 times" in text and "went on" not in text

    events = len(run_study(config_of(study_config, 5, reason), out).journal.events)
    assert events == len(again.journal.events)
    longest = run_study(config_of(study_config, 6, reason), out)  # a reason speaks for one winner
    assert [plan["winner"] for plan in longest.journal.of("final_plan")] == ["t003", "t005"]
    assert "on test t005 was scored, the best before, and t006 was not" in study_markdown(longest)


def test_what_test_said_of_the_best_before_is_not_said_of_the_best_now(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    known: dict[bytes, float] = {}

    def later_is_better_everywhere(job: EvaluationJob) -> EvaluationResult:
        rows = b"" if job.rows is None else np.sort(np.asarray(job.rows)).tobytes()
        if job.rows is not None and len(job.rows) < 400:
            known.setdefault(rows, 0.2 * number_of(job))
        return scored(job, known.get(rows, 0.0))

    ends(later_is_better_everywhere)
    out, asked = tmp_path / "s", ("incumbent.recipe=full", "incumbent.fresh_seeds=1", "final.full=true")
    first = study_answer(run_study(config_of(study_config, 3, *asked), out))
    assert (first.trial, first.belief) == ("t003", "Yes") and {gain.winner for gain in first.gains} == {"t003"}

    longer = run_study(config_of(study_config, 5, *asked), out)
    answer = study_answer(longer)
    assert answer.trial == "t005" and answer.headline.startswith("Train on the rows of t005")
    assert answer.belief == "Partly" and "on test it was not scored" in answer.reasons[0]
    assert "on test t003 was scored, the best before, and t005 was not" in " ".join(answer.reasons)
    assert {(gain.split, gain.winner) for gain in answer.gains} == {("dev", "t005"), ("test", "t003")}
    said = [*answer.measured, *answer.hurts]
    assert not [sentence for sentence in said if "on test" in sentence], "t005 was not scored there"
    drawn = [row[0] for row in gain_figure(answer).numbers.rows]
    assert [name for name in drawn if name.endswith(", test")] == [name for name in drawn if name.startswith("t003 ")]

    events = read_events(out / "journal.jsonl")
    planned = [place for place, event in enumerate(events) if event["event"] == "incumbent_plan"]
    shutil.copytree(out, tmp_path / "cut")
    write_unchecked(tmp_path / "cut" / "journal.jsonl", events[: planned[1]])
    halfway = study_answer(Study(tmp_path / "cut"))
    assert halfway.headline.startswith("The best recipe so far is t005") and halfway.belief == "Not yet"
    assert halfway.reasons[0].startswith("t005 was not compared with full pool yet")
    assert {gain.winner for gain in halfway.gains} == {"t003"}


def test_a_search_that_found_nothing_new_and_is_given_more_ends_again(
    study_config: Path, tmp_path: Path, ends: Any
) -> None:
    ends(by_rows)
    few = ('search.operators=["semantic_dedup"]', "final.enabled=false", "search.min_rows=398")
    study = run_study(config_of(study_config, 9, *few), tmp_path / "s")
    rounds = len(study.journal.of("round"))
    assert len(study.trials) < 9 and study.journal.of("round")[-1]["round"]["stopped"]
    longer = run_study(config_of(study_config, 12, *few), tmp_path / "s")
    assert longer.finished and len(longer.trials) == len(study.trials)
    assert len(longer.journal.of("round")) == rounds


def test_a_pool_too_small_for_a_search_is_refused_before_signals(study_config: Path, tmp_path: Path) -> None:
    from autoselection.errors import ConfigError

    row = {"messages": [{"role": "user", "content": "One?"}, {"role": "assistant", "content": "One."}]}
    (tmp_path / "pool.jsonl").write_text(json.dumps(row) + "\n")
    config = load_config(study_config, [f"pool={{files: [{tmp_path / 'pool.jsonl'}]}}", "search.min_rows=null"])
    with pytest.raises(
        ConfigError, match="The pool has 1 row to select from, too few for a search: it needs at least 64"
    ):
        run_study(config, tmp_path / "s")
    assert not list((tmp_path / "s").rglob("signals/*"))


def test_a_number_counts_from_where_it_was_given() -> None:
    from types import SimpleNamespace

    from autoselection.study.budget import Budget

    given = Budget(9, trials=4, rounds=2)  # in the middle of a batch
    for trials, rounds, reached in ((3, 2, False), (4, 1, False), (4, 2, True), (6, 3, True)):
        controller: Any = SimpleNamespace(candidates=range(trials), rounds=range(rounds - 1), recorded_rounds=1)
        assert given.reached_by(controller) == reached


def test_settings_of_time_and_memory_change_in_a_begun_study_and_the_journal_tells_when(
    study_config: Path, tmp_path: Path, ends: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    ends(by_rows)
    out = tmp_path / "study"
    run_study(config_of(study_config, 4, "final.enabled=false"), out)
    smaller = ["evaluation.sft.micro_batch_tokens=512", "evaluation.sft.gradient_checkpointing=true"]
    also = ["evaluation.sft.micro_batch_size=2", "evaluation.batch_tokens=99", "evaluation.batch_size=3"]
    capsys.readouterr()
    longer = run_study(config_of(study_config, 5, "final.enabled=false", *smaller, *also, "evaluation.threads=2"), out)
    assert len(longer.trials) == 5 and longer.config.evaluation.sft.micro_batch_tokens == 512
    told_so = " ".join(capsys.readouterr().err.split())
    assert "goes on with" in told_so and "evaluation.sft.micro_batch_tokens: 512 instead of null" in told_so
    [event] = longer.journal.of("speed")
    assert event["now"]["evaluation.sft.micro_batch_tokens"] == 512 and len(event["now"]) == len(event["before"]) == 6
    assert event["before"]["evaluation.sft.gradient_checkpointing"] is False
    kinds = [event["event"] for event in longer.journal.events]
    assert 4 == kinds[: kinds.index("speed")].count("evaluation") < kinds.count("evaluation"), kinds
    # The same again is no change, also where the configuration is lost; back is one.
    (out / "config.yaml").unlink()
    again = run_study(config_of(study_config, 5, "final.enabled=false", *smaller, *also, "evaluation.threads=1"), out)
    [_, back] = again.journal.of("speed")
    assert (back["before"], back["now"]) == ({"evaluation.threads": 2}, {"evaluation.threads": 1})
    with pytest.raises(StudyError, match=r"other settings \(evaluation\.sft\.max_length\)"):
        run_study(config_of(study_config, 5, "final.enabled=false", "evaluation.sft.max_length=99"), out)
