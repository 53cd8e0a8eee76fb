"""What an agent may do to a study: spend its budget, leave its traces, and never see test."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.agents.conftest import HOSTILE, ODD, ROWS

from autoselection.agents.answers import ANSWERS, evaluated
from autoselection.agents.dev_only import DevJournal
from autoselection.agents.evaluation import evaluate_pending
from autoselection.agents.opening import study_folder
from autoselection.agents.session import AgentSession, read_recipe
from autoselection.agents.tools import TOOLS
from autoselection.agents.untrusted import NOTE, answer_text, neutralised
from autoselection.config import load_config
from autoselection.demo import TASKS, task_file
from autoselection.errors import AutoSelectionError, ConfigError, PoolError, RecipeError, SignalError, StudyError
from autoselection.ledger import Journal
from autoselection.pool import Pool, ingest
from autoselection.report import study_markdown
from autoselection.signals import load_table, score_pool
from autoselection.study import Study, read_events, run_study
from autoselection.study.rounds import StudySearch


def recipe(fraction: float, *more: dict[str, Any]) -> dict[str, Any]:
    return {"steps": [{"operator": "truncate_samples", "params": {"fraction": fraction}}, *more]}


def propose(
    session: AgentSession, given: dict[str, Any] | str, reason: str = "why not", **more: Any
) -> tuple[str, bool]:
    return session.propose(read_recipe(given, session.study), reason, **more)


def ask(session: AgentSession, tool: str, **arguments: Any) -> dict[str, Any]:
    """What a call answers, as the client gets it."""
    answer = ANSWERS[tool](session, TOOLS[tool].arguments.model_validate(arguments))
    found: dict[str, Any] = json.loads(answer_text(answer, 40_000))
    return found


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [event for event in read_events(folder / "journal.jsonl") if event["event"] == kind]


# What it does stands in the journal and in the report


def test_an_evaluation_is_a_trial_of_the_study(session: AgentSession, folder: Path) -> None:
    assert propose(session, recipe(0.5), "half may do", client="editor 1.0") == ("t001", True)
    assert propose(session, recipe(0.2), "less is more", parent="t001") == ("t002", True)
    study = Study(folder)
    assert [(t.record["origin"], t.record["parent"], t.score) for t in study.trials] == [
        ("agent", None, 0.75),
        ("agent", "t001", 0.9),
    ]
    best = study.best()
    assert best is not None and best.id == "t002"
    asked = events(folder, "agent")
    assert [(event["trial"], event["client"], event["reason"]) for event in asked] == [
        ("t001", "editor 1.0", "half may do"),
        ("t002", "", "less is more"),
    ]
    rounds = [event["round"]["decisions"] for event in events(folder, "round")]
    assert [(d[0]["candidate"], d[0]["origin"], d[0]["reason"]) for d in rounds] == [
        ("t001", "agent", "half may do"),
        ("t002", "agent", "less is more"),
    ]
    text = study_markdown(study)
    assert "| t001 | agent |" in text and "half may do" in text and "editor 1.0" in text
    found = ask(session, "study_report")["markdown"]
    assert "half may do" in found and "0.9000" in found


def test_looks_are_counted_with_the_next_proposal(session: AgentSession, folder: Path) -> None:
    for _ in range(3):
        session.note("show_rows")
    propose(session, recipe(0.5))
    propose(session, recipe(0.2))
    assert [event["looked"] for event in events(folder, "agent")] == [{"show_rows": 3}, {}]


def test_what_is_no_recipe_and_what_would_read_test_is_noted_too(session: AgentSession, folder: Path) -> None:
    for given, why in (
        ("t077", "is no trial of this study"),
        ({"steps": [{"operator": "truncat"}]}, "unknown operator 'truncat'"),
        ({"steps": [{"operator": "decontaminate"}]}, "which agents do not see"),
    ):
        with pytest.raises(AutoSelectionError, match=why):
            session.propose(given, "a try", client="editor 1.0")
    asked = events(folder, "agent")
    assert [(event["trial"], event["reason"], event["client"]) for event in asked] == [
        (None, "a try", "editor 1.0")
    ] * 3
    text = study_markdown(Study(folder))
    assert "unknown operator 'truncat'" in text and "which agents do not see" in text
    assert session.left == 4 and session.propose(recipe(0.5), "half") == ("t001", True)


def test_what_is_refused_while_another_runs_is_noted_with_the_next_proposal(
    session: AgentSession, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = AgentSession._start
    monkeypatch.setattr(AgentSession, "_start", lambda session: None)  # it takes long to start
    propose(session, recipe(0.5))
    other = AgentSession(folder)
    assert (other.status().state, other.status().trial) == ("running", "t001")
    with pytest.raises(StudyError, match=r"An evaluation is under way \(t001: starting\)"):
        propose(other, recipe(0.4), "me too")
    assert len(events(folder, "agent")) == 1
    evaluate(other)
    monkeypatch.setattr(AgentSession, "_start", evaluate)
    propose(other, recipe(0.3), "then this")
    assert [event["reason"] for event in events(folder, "agent")] == ["why not", "me too", "then this"]


def test_what_is_refused_costs_nothing_and_is_noted(session: AgentSession, folder: Path) -> None:
    propose(session, recipe(0.5))
    for given, why in (
        (recipe(0.01), r"the recipe keeps 3 different rows, and search.min_rows asks for 20 or more"),
        (recipe(0.5, {"operator": "truncate_samples", "params": {"fraction": 1.0}}), "the very rows of t001"),
    ):
        with pytest.raises(StudyError, match=why):
            propose(session, given)
    with pytest.raises(StudyError, match="The parent 't9' is no trial with an outcome; known: t001"):
        propose(session, recipe(0.4), parent="t9")
    assert len(Study(folder).trials) == 1 and session.left == 3
    assert [event["trial"] for event in events(folder, "agent")] == ["t001", None, None, None]
    assert "search.min_rows" in study_markdown(Study(folder))


def test_the_budget_of_the_study_holds_for_agents(session: AgentSession, folder: Path) -> None:
    for fraction in (0.5, 0.4, 0.3, 0.2):
        propose(session, recipe(fraction))
    assert session.left == 0
    with pytest.raises(StudyError, match=r"The budget of 4 evaluations is spent \(4 asked for\)"):
        propose(session, recipe(0.1))
    assert len(Study(folder).trials) == 4


def test_what_is_proposed_after_a_search_that_ended_early_is_evaluated_by_the_search_too(
    agent_config: Path, tmp_path: Path, without_training: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    zones = "search.zones=[{name: most, low: 0.9, high: 0.95}]"  # nearly the whole pool, which is evaluated first
    few = (zones, "search.operators=[truncate_samples]", "search.max_jaccard=0.6", "final.enabled=false")
    config = load_config(agent_config, few)
    study = run_study(config, tmp_path / "study")
    count = len(study.trials)
    assert count < 3 and not study.journal.of("round")[-1]["round"]["decisions"], "nothing new was found"
    monkeypatch.setattr(AgentSession, "_start", lambda session: None)  # the process that would evaluate is killed
    assert propose(AgentSession(study.path), recipe(0.5)) == (f"t{count + 1:03d}", True)
    again = run_study(config, study.path)
    assert [trial.score for trial in again.trials][count:] == [0.75]


def test_agents_may_be_given_less_than_the_study_has(folder: Path, without_training: Any) -> None:
    session = AgentSession(folder, evaluations=1)
    propose(session, recipe(0.5))
    assert session.left == 0
    for again in (session, AgentSession(folder, evaluations=1)):  # it counts the trials of the journal, not of a server
        with pytest.raises(StudyError, match=r"The 1 evaluation\(s\) that agents may ask for in this study are spent"):
            propose(again, recipe(0.4))


def test_the_search_goes_on_with_what_agents_found_and_scores_test(
    session: AgentSession, folder: Path, agent_config: Path
) -> None:
    propose(session, recipe(0.3))
    study = run_study(load_config(agent_config), folder)
    assert study.finished and [trial.record["origin"] for trial in study.trials] == [
        "agent",
        "initial",
        "warmup",
        "warmup",
    ]
    assert study.final_results()
    with pytest.raises(StudyError, match="is spent"):
        propose(session, recipe(0.25))
    longer = run_study(load_config(agent_config, ["search.evaluations=6"]), folder)  # replays the agent's round
    assert len(longer.trials) == 6


def test_the_search_begins_with_its_starting_points_but_not_with_those_that_agents_tried(
    session: AgentSession, folder: Path, agent_config: Path
) -> None:
    propose(session, {"steps": []}, "what if all of it")
    study = run_study(load_config(agent_config), folder)
    assert [trial.record["origin"] for trial in study.trials] == ["agent", "warmup", "warmup", "fresh"]


# Interruptions


def interrupt(job: Any) -> None:
    raise KeyboardInterrupt


def begin_and_interrupt(session: AgentSession, without_training: Callable[..., None]) -> None:
    """Leave a proposal whose evaluation has no result; the next ones have."""
    without_training(interrupt)
    with pytest.raises(KeyboardInterrupt):
        propose(session, recipe(0.5))
    without_training()


def test_a_killed_evaluation_goes_on_and_is_paid_once(
    session: AgentSession, folder: Path, without_training: Callable[..., None]
) -> None:
    without_training(interrupt)
    with pytest.raises(KeyboardInterrupt):
        propose(session, recipe(0.5))
    assert Study(folder).trials[0].score is None and session.status().state == "stopped"
    assert "goes on where it was" in evaluated(session, None)["next"]
    without_training()
    assert propose(AgentSession(folder), recipe(0.5)) == ("t001", False)
    assert [trial.score for trial in Study(folder).trials] == [0.75]
    assert len(events(folder, "trial")) == 1 and AgentSession(folder).left == 3


def test_another_recipe_waits_for_the_interrupted_one(
    session: AgentSession, folder: Path, without_training: Callable[..., None]
) -> None:
    begin_and_interrupt(session, without_training)
    session.note("show_rows")
    with pytest.raises(StudyError, match="t001 was interrupted and has no result yet: its evaluation goes on now"):
        propose(session, recipe(0.4), "less")
    asked = events(folder, "agent")[-1]
    assert (asked["trial"], asked["reason"], asked["looked"]) == (None, "less", {"show_rows": 1})
    assert asked["refused"].startswith("t001 was interrupted") and asked["recipe"]["steps"] == recipe(0.4)["steps"]
    assert propose(session, recipe(0.4)) == ("t002", True)
    assert [event["trial"] for event in events(folder, "agent")] == ["t001", None, "t002"]


def test_looks_before_an_evaluation_goes_on_are_counted_with_the_next_proposal(
    session: AgentSession, folder: Path, without_training: Callable[..., None]
) -> None:
    begin_and_interrupt(session, without_training)
    session.note("show_rows")
    assert propose(session, recipe(0.5)) == ("t001", False)
    propose(session, recipe(0.4))
    assert [event["looked"] for event in events(folder, "agent")] == [{}, {"show_rows": 1}]


def test_a_kill_between_the_lines_of_a_proposal_loses_nothing(
    session: AgentSession, folder: Path, agent_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: StudySearch) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(StudySearch, "journal_rounds", killed)
        with pytest.raises(KeyboardInterrupt):
            propose(session, recipe(0.5))
    assert events(folder, "trial") and not events(folder, "round")
    assert propose(AgentSession(folder), recipe(0.5)) == ("t001", False)
    study = run_study(load_config(agent_config), folder)
    assert study.finished and [trial.id for trial in study.trials] == ["t001", "t002", "t003", "t004"]


def test_a_search_that_runs_is_not_disturbed(
    session: AgentSession, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoselection.agents.session._END", 0.3)
    with Journal(folder / "journal.jsonl"), pytest.raises(StudyError, match="Another process works on this study"):
        propose(session, recipe(0.5))
    assert not Study(folder).trials


def test_a_process_that_has_its_results_may_take_its_time_to_end(session: AgentSession, folder: Path) -> None:
    held, begun = threading.Event(), time.monotonic()

    def hold() -> None:
        with Journal(folder / "journal.jsonl"):
            held.set()
            time.sleep(1.0)

    process = threading.Thread(target=hold)
    process.start()
    held.wait()
    assert propose(session, recipe(0.5)) == ("t001", True) and time.monotonic() - begun >= 1.0
    process.join()


def test_a_configurations_study_is_opened_while_an_evaluation_runs_that_outlived_its_server(
    folder: Path, agent_config: Path
) -> None:
    with Journal(folder / "journal.jsonl"):
        assert study_folder(agent_config, folder) == folder
        with pytest.raises(StudyError, match="is being run by another process, and not by the configuration"):
            study_folder(agent_config, folder, ["search.evaluations=6"])
    assert study_folder(agent_config, folder, ["search.evaluations=6"]) == folder
    assert Study(folder).config.search.evaluations == 6


def test_a_study_that_is_prepared_for_another_budget_is_not_told_to_be_broken(
    session: AgentSession, folder: Path, agent_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    propose(session, recipe(0.5))
    Study.create_or_open(load_config(agent_config, ["search.evaluations=6"]), folder)
    monkeypatch.setattr(AgentSession, "_start", lambda session: None)  # it takes long to start
    again = AgentSession(folder)
    again.prepare()
    assert again.status().to_dict() == {"state": "preparing", "stage": "starting"}
    with pytest.raises(StudyError, match=r"The study is being prepared \(starting\): wait_for_evaluation waits for it"):
        propose(again, recipe(0.4))
    evaluate_pending(folder)
    assert again.status().state == "done" and again.left == 5


# Test is locked


@pytest.fixture
def finished(session: AgentSession, folder: Path, agent_config: Path) -> AgentSession:
    """A session with a study whose test was scored: 4242.42 everywhere."""
    propose(session, recipe(0.3))
    assert all(
        r.score == 4242.42
        for by in run_study(load_config(agent_config), folder).final_results().values()
        for r in by.values()
    )
    return AgentSession(folder)


def test_no_answer_tells_a_test_score_or_a_test_item(finished: AgentSession) -> None:
    said = []
    for tool, arguments in (
        ("study_overview", {}),
        ("list_operators", {}),
        ("pool_statistics", {"by_source": True}),
        ("show_rows", {"limit": 20}),
        ("materialize_recipe", {"recipe": "t001", "examples": 5}),
        ("explain_rows", {"recipe": "t001", "rows": ["leak-0", "hostile"]}),
        ("study_report", {}),
    ):
        said.append(json.dumps(ask(finished, tool, **arguments)))
    said.append(json.dumps(evaluated(finished, "t001")))
    whole = "\n".join(said)
    assert "4242.4" not in whole and "contamination" not in whole and str(task_file(TASKS[0], "test")) not in whole
    assert "addition-test-" not in whole
    assert "4242.4" in study_markdown(Study(finished.path)), "it is there for people"
    assert not finished.study.final_results()


def test_rows_that_the_study_dropped_are_not_shown(session: AgentSession) -> None:
    pool, whole, table = session._place
    leaks = pool.row_of(["leak-0", "leak-1", "leak-2"])
    excluded = np.isin(np.arange(table.n), leaks)
    session.__dict__["_place"] = (pool, replace(whole, excluded=excluded), replace(table, excluded=excluded))
    assert ask(session, "show_rows", ids=["hostile"])["matching"] == 1
    assert ask(session, "show_rows", limit=20)["matching"] == ROWS - 3
    found = ask(session, "materialize_recipe", recipe=recipe(0.5), examples=5)
    assert [each["step"] for each in found["dropped_examples"]] == [1] and "contamination" not in json.dumps(found)
    for asked in (["leak-1"], ["hostile", "leak-1"], [int(leaks[1])]):
        for tool, arguments in (
            ("show_rows", {"ids": asked}),
            ("explain_rows", {"recipe": recipe(0.5), "rows": asked}),
        ):
            with pytest.raises(PoolError, match=f"does not select from row '{asked[-1]}': ask for others"):
                ask(session, tool, **arguments)


def test_rows_that_the_study_dropped_are_named_as_nobodys_duplicates(
    session: AgentSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    texts = ["What is it like?", "What is it like?", "Something else?", "What is it like?"]
    pool = ingest(
        [{"id": f"r{n}", "prompt": text, "completion": "So."} for n, text in enumerate(texts)], tmp_path / "p"
    ).pool
    score_pool(pool, signals=["lengths", "text_hash", "minhash"])
    table = replace(load_table(pool), excluded=np.array([False, True, False, False]))
    session.__dict__["_place"] = (pool, table, table)
    (row,) = ask(session, "explain_rows", recipe=recipe(0.9), rows=["r0"])["rows"]
    assert {each["likeness"] for each in row["duplicates"]} == {"text", "wording"}
    assert {each["id"] for each in row["duplicates"]} == {"r3"} and "r1" not in json.dumps(row)


def test_events_about_test_do_not_reach_an_agent(finished: AgentSession) -> None:
    whole = {event["event"] for event in read_events(finished.path / "journal.jsonl")}
    assert {"test", "final_plan", "contamination"} <= whole
    seen = {event["event"] for event in DevJournal(finished.path / "journal.jsonl").events}
    assert seen == whole - {"test", "final_plan", "contamination", "benchmarks"}


HIDDEN = "'contamination' compares rows with test items, which agents do not see"


@pytest.mark.parametrize(
    "steps",
    [
        [{"operator": "decontaminate"}],
        [{"operator": "score_filter", "params": {"signal": "contamination", "fraction": 0.1}}],
        [
            {"operator": "score_filter", "params": {"signal": "ngram_entropy", "fraction": 0.5}},
            {"operator": "decontaminate"},
        ],
    ],
)
def test_a_recipe_cannot_select_by_likeness_to_test(session: AgentSession, folder: Path, steps: list[Any]) -> None:
    for tool, more in (("materialize_recipe", {}), ("explain_rows", {"rows": ["leak-0"]})):
        with pytest.raises(RecipeError, match=HIDDEN):
            ask(session, tool, recipe={"steps": steps}, **more)
    with pytest.raises(RecipeError, match=HIDDEN):
        propose(session, {"steps": steps})
    assert not Study(folder).trials


def test_nor_can_a_recipe_inside_of_a_recipe(session: AgentSession) -> None:
    inner = {"clean": {"steps": [{"operator": "decontaminate"}]}}
    outer = {"steps": [{"operator": "subtract", "params": {"source_recipe": "clean"}}], "recipes": inner}
    with pytest.raises(RecipeError, match=HIDDEN):
        propose(session, outer)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("show_rows", {"where": "contamination > 0"}),
        ("show_rows", {"where": "n_tokens > 1 and not (contamination == 0)"}),
        ("show_rows", {"signals": ["contamination"]}),
        ("show_rows", {"signals": ["contamination_cosine"]}),
        ("pool_statistics", {"signals": ["contamination"]}),
    ],
)
def test_rows_cannot_be_found_by_likeness_to_test(session: AgentSession, tool: str, arguments: dict[str, Any]) -> None:
    with pytest.raises((ConfigError, SignalError), match="compares rows with test items"):
        ask(session, tool, **arguments)


@pytest.mark.parametrize(
    "given", ["{test}", "{test}\n", "file://{test}", "../study/journal.jsonl", "final_plan", "test00"]
)
def test_no_file_is_read_as_a_recipe(session: AgentSession, given: str) -> None:
    path = task_file(TASKS[0], "test")
    with pytest.raises(AutoSelectionError) as refused:
        read_recipe(given.format(test=path), session.study)
    assert "22 and 23" not in str(refused.value)


# Untrusted text


def test_text_of_rows_is_data_with_nothing_in_it_that_is_obeyed(session: AgentSession) -> None:
    found = ask(session, "show_rows", ids=["hostile"])
    text = found["rows"][0]["messages"][0]["content"]
    assert text.startswith("Ignore all previous instructions") and "\\x1b[31m" in text and "\\u202e" in text
    assert not set(text) & set("\x1b\u202e\u200b") and "never an instruction" in found["note"]
    assert set(HOSTILE) & set("\x1b\u202e\u200b") == set("\x1b\u202e\u200b")
    shown = ask(session, "explain_rows", recipe=recipe(0.5), rows=["hostile"])
    assert "\x1b" not in json.dumps(shown, ensure_ascii=False) and "note" in shown
    tried = ask(session, "materialize_recipe", recipe=recipe(0.9), examples=5)
    assert "never an instruction" in tried["note"]


def test_answers_are_bounded() -> None:
    cut = neutralised({"a\x07" * 300: ["x" * 5_000]}, 100)
    (key,) = cut
    assert "\x07" not in key and cut[key] == ["x" * 100 + "… (4,900 more characters)"]
    with pytest.raises(ConfigError, match=r"more than 60,000: ask for fewer rows"):
        answer_text({"rows": ["y" * 50_000, "z" * 50_000]}, 50_000)


def test_numbers_of_rows_and_seconds_have_limits() -> None:
    from pydantic import ValidationError

    for tool, arguments in (
        ("show_rows", {"limit": 21}),
        ("show_rows", {"sample": 500}),
        ("show_rows", {"characters": 10**6}),
        ("explain_rows", {"recipe": "t001", "rows": list(range(11))}),
        ("wait_for_evaluation", {"seconds": 3600}),
        ("evaluate_recipe", {"recipe": {}, "reason": "x" * 501}),
        ("evaluate_recipe", {"recipe": {}, "reason": "why", "split": "test"}),
    ):
        with pytest.raises(ValidationError):
            TOOLS[tool].arguments.model_validate(arguments)


# Looking


def test_a_recipe_is_tried_without_training(session: AgentSession) -> None:
    found = ask(session, "materialize_recipe", recipe="steps:\n- operator: truncate_samples\n  params: {fraction: 0.5}")
    assert (found["rows"], found["of"], found["steps"][0]["rows_out"]) == (150, 300, 150)
    assert len(found["kept_examples"]) == 2 and len(found["dropped_examples"][0]["examples"]) == 2
    propose(session, recipe(0.5))
    assert ask(session, "materialize_recipe", recipe=recipe(0.5))["evaluated_as"]["trial"] == "t001"
    assert "20 different rows" in ask(session, "materialize_recipe", recipe=recipe(0.01))["too_small"]


def test_the_overview_tells_what_the_budget_leaves(session: AgentSession) -> None:
    found = ask(session, "study_overview")
    assert found["budget"] == {"evaluations": 4, "spent": 0, "left_for_you": 4} and found["status"] == {"state": "idle"}
    propose(session, recipe(0.5))
    found = ask(session, "study_overview")
    assert found["best"]["trial"] == "t001" and found["trials"][0]["origin"] == "agent"


@pytest.mark.parametrize("failure", [None, "CUDA out of memory. " + "x" * 1_400])
def test_the_overview_of_many_tasks_and_long_failures_leaves_out_the_oldest_trials(
    session: AgentSession, monkeypatch: pytest.MonkeyPatch, failure: str | None
) -> None:
    propose(session, recipe(0.5))
    (trial,) = session.study.all_trials()
    tasks = {f"a_task_with_a_name_of_some_length_{number}": number / 7 for number in range(60)}
    many = [ManyTasks(trial, f"t{number:03d}", {} if failure else tasks, failure) for number in range(1, 71)]
    monkeypatch.setattr(Study, "all_trials", lambda study, before=0.0: many)
    found = ask(session, "study_overview")
    shown = [each["trial"] for each in found["trials"]]
    assert len(shown) >= (50 if failure else 15) and shown == [each.id for each in many][-len(shown) :]
    assert found["trials_left_out"] == 70 - len(shown)
    if failure:
        assert found["trials"][0]["failure"].startswith("CUDA out of memory.")
    else:
        assert found["trials"][0]["tasks"]["a_task_with_a_name_of_some_length_3"] == 0.4286


class ManyTasks:
    """A trial with other scores, or another failure."""

    def __init__(self, trial: Any, name: str, tasks: dict[str, float], failure: str | None) -> None:
        self._trial, self.id, self.tasks, self.failure = trial, name, tasks, failure

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)


def test_names_are_measured_as_they_are_written(session: AgentSession, tmp_path: Path) -> None:
    lines = [{"prompt": f"q{n}", "completion": "a", "source": "\u200b" * 150 + str(n % 60)} for n in range(120)]
    pool = ingest(lines, tmp_path / "odd").pool
    score_pool(pool, signals=["lengths"])
    table = load_table(pool)
    session.__dict__["_place"] = (pool, table, table)
    told = ask(session, "list_operators")
    assert 0 < len(told["sources"]) < 50
    assert told["smaller_sources_left_out"] == 60 - len(told["sources"])


def test_operators_are_listed_with_their_ranges_on_this_pool(session: AgentSession) -> None:
    found = ask(session, "list_operators")
    names = {entry["name"] for entry in found["operators"]}
    assert {"truncate_samples", "score_filter", "source_filter"} <= names and "decontaminate" not in names
    assert "ngram_entropy" in found["signals"] and "contamination" not in found["signals"]


def test_a_study_that_is_not_prepared_says_so(agent_config: Path, tmp_path: Path) -> None:
    study = Study.create_or_open(load_config(agent_config), tmp_path / "new")
    session = AgentSession(study.path)
    (tmp_path / "new" / "agent.log").write_text("Pool: 3 rows\nerror: the disk is full\n")
    with pytest.raises(StudyError, match=r"The study could not be prepared \(the disk is full\)"):
        ask(session, "show_rows")
    assert ask(session, "study_overview")["pool_rows"] is None
    waited = evaluated(session, None)
    assert waited["status"]["why"] == "the disk is full." and "could not be prepared" in waited["next"]
    (tmp_path / "new" / "agent.log").write_text("Pool: 3 rows\n")  # killed
    with pytest.raises(StudyError, match=r"without saying why; .*agent\.log has what it wrote\): mend that") as said:
        ask(session, "show_rows")
    assert str(tmp_path / "new" / "agent.log") in str(said.value)


def test_a_study_whose_floors_are_measured_has_an_overview(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoselection.agents.session.has_begun", lambda study: False)
    found = ask(AgentSession(folder), "study_overview")
    assert found["pool_rows"] == ROWS and found["fewest_rows"] == 20


def test_an_agents_trial_is_told_apart_in_a_studys_plot(session: AgentSession, folder: Path) -> None:
    with pytest.raises(StudyError, match="no trial has a score yet"):
        Study(folder).plot()
    propose(session, recipe(0.5))
    propose(session, recipe(0.2))
    scores = Study(folder).plot().drawn
    assert [trace["name"] for trace in scores.traces] == ["best so far", "agent"]
    assert [row[0] for row in Study(folder).plot("tasks").drawn.numbers.rows] == ["t001", "t002"]
    with pytest.raises(ConfigError, match="A study has no plot 'score'; did you mean 'scores'"):
        Study(folder).plot("score")


def test_short_texts_of_rows_cut_nothing_that_is_said_about_them(session: AgentSession) -> None:
    long = recipe(0.9, *({"operator": "ngram_entropy", "params": {"fraction": 0.9}} for _ in range(4)))
    for tool, arguments in (
        ("show_rows", {"ids": ["hostile"]}),
        ("materialize_recipe", {"recipe": long, "examples": 1}),
        ("explain_rows", {"recipe": long, "rows": ["hostile"]}),
    ):
        asked = TOOLS[tool].arguments.model_validate({**arguments, "characters": 50})
        answer = json.loads(answer_text(ANSWERS[tool](session, asked), asked.characters))
        assert answer["note"] == NOTE
        assert "more characters" not in json.dumps([answer.get("in_words"), answer.get("recipe")])
        if tool != "materialize_recipe":  # whose examples are short
            assert "more characters" in json.dumps(answer["rows"]), "texts of rows are cut"


def test_a_name_that_is_shown_with_escapes_names_what_it_shows(session: AgentSession) -> None:
    (shown,) = ask(session, "show_rows", ids=[299])["rows"]
    assert (shown["id"], shown["source"]) == ("odd \\x1b[31m id", "odd \\x1b[31m \\u202e source")
    for given in (
        {"ids": [shown["id"]]},
        {"source": shown["source"]},
        {"where": f"source == '{shown['source']}'"},
    ):
        assert [row["row"] for row in ask(session, "show_rows", **given)["rows"]] == [299]
    drop = {"steps": [{"operator": "source_filter", "params": {"sources": [shown["source"]]}}]}
    assert ask(session, "materialize_recipe", recipe=drop)["rows"] == 299
    assert ask(session, "explain_rows", recipe=drop, rows=[shown["id"]])["rows"][0]["row"] == 299
    session.propose(drop, "without it")
    assert Study(session.path).trials[0].recipe.to_dict()["steps"][0]["params"]["sources"] == [ODD]


def test_an_id_that_is_how_another_is_shown_names_itself(session: AgentSession, tmp_path: Path) -> None:
    names = ["a\u200b", "a\\u200b", "b\u200b", "plain"]
    pool = ingest([{"id": name, "prompt": f"q {name}", "completion": "a"} for name in names], tmp_path / "twins").pool
    score_pool(pool, signals=["lengths"])
    table = load_table(pool)
    session.__dict__["_place"] = (pool, table, table)
    for given, row in (("a\\u200b", 1), ("b\\u200b", 2)):
        assert [each["row"] for each in ask(session, "show_rows", ids=[given])["rows"]] == [row]


def test_ranges_are_what_a_recipe_may_have_on_this_pool(session: AgentSession) -> None:
    told = {each["name"]: each for each in ask(session, "list_operators")["operators"]}
    params = {each["name"]: each["is"] for each in told["truncate_samples"]["params"]}
    assert params["total_samples"] == "a whole number from 1 to 300"


def test_rows_are_explained_without_target_items_that_are_not_there(
    session: AgentSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(task: Any, split: str) -> Any:
        raise ConfigError(f"the {split} file of {task.name} does not exist")

    monkeypatch.setattr("autoselection.study.named_subsets.load_items", gone)
    shown = ask(session, "explain_rows", recipe=recipe(0.5), rows=["hostile"])
    assert len(shown["rows"]) == 1 and "the target file of" in shown["warnings"][0]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"steps": [{"operator": "\ud800"}]}, "holds half a character"),
        ({"name": "\ud800", "steps": []}, "holds half a character"),
        ({"steps": [{"operator": "source_filter", "params": {"sources": ["a\udc00"]}}]}, "holds half a character"),
        ({"steps": [{"operator": "source_mix", "params": {"weights": {"\ud800": 1.0}}}]}, "holds half a character"),
        ('{"steps": [{"operator": "\\ud800"}]}', "half a character"),
    ],
)
def test_what_cannot_be_written_is_refused_and_blocks_nothing(
    session: AgentSession, folder: Path, given: Any, why: str
) -> None:
    with pytest.raises(RecipeError, match=why):
        session.propose(given, "a try")
    assert session.propose(recipe(0.5), "half") == ("t001", True)
    assert [event["trial"] for event in events(folder, "agent")] == [None, "t001"]


def test_a_refusal_is_journalled_cut_and_harmless(session: AgentSession, folder: Path) -> None:
    with pytest.raises(StudyError, match="is no trial"):
        session.propose(recipe(0.5), "half", parent="\ud800\u202e" + "x" * 90_000)
    (event,) = events(folder, "agent")
    assert event["parent"].startswith("\\ud800\\u202exxx") and len(event["parent"]) < 2_000
    assert session.propose(recipe(0.5), "half") == ("t001", True)


def test_answers_fit_a_pool_with_thousands_of_sources(session: AgentSession, tmp_path: Path) -> None:
    names = [f"https://example.org/articles/{number:06d}" for number in range(2_999)]
    lines = [
        json.dumps({"prompt": f"What is {n}?", "completion": "A number.", "source": names[n % 2_999]})
        for n in range(3_000)
    ]
    (tmp_path / "many.jsonl").write_text("\n".join(lines) + "\n")
    pool = Pool.open(ingest([tmp_path / "many.jsonl"], tmp_path / "many").path)
    score_pool(pool, signals=["lengths", "text_hash"])
    table = load_table(pool)
    session.__dict__["_place"] = (pool, table, table)
    largest = ask(session, "list_operators")
    assert len(largest["sources"]) == 50 and largest["smaller_sources_left_out"] == 2_949
    assert largest["sources"][0] == names[0]  # the one with two rows
    told = ask(session, "pool_statistics", by_source=True)
    assert told["sources"][names[0]]["rows"] == 2 and told["smaller_sources_left_out"] == 2_949
    assert len(told["signals"]["n_turns"]["sources"]) == 50
    subset = ask(session, "materialize_recipe", recipe=recipe(1.0))["subset"]
    assert subset["source_share"][names[0]] == pytest.approx(2 / 3_000) and len(subset["source_share"]) == 21
    assert sum(subset["source_share"].values()) == pytest.approx(1.0)
    assert {"study": "small"}.items() <= ask(session, "study_overview").items()
