"""A study's page: what is told of finished, unfinished and damaged ones, and how it stands in a browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from accessibility import faults
from journals import write_unchecked
from test_cli import document, run
from tests.report.drawn import figures_of

from autoselection.report import answer as answers
from autoselection.report import view_study, write_report
from autoselection.report.answer import study_answer
from autoselection.report.page import Page
from autoselection.report.sheet import Sheet
from autoselection.report.study_page import gain_figure, study_page
from autoselection.report.study_report import view_markdown
from autoselection.report.study_view import StudyView
from autoselection.study import Study, read_events
from autoselection.tracking.runs import study_run
from autoselection.watch.board import results_board
from autoselection.watch.record import record


@pytest.fixture(scope="module")
def view(finished_study: Study) -> StudyView:
    return view_study(finished_study, price=3600.0)


def _titles(page: Page) -> list[str]:
    return [section.title for section in page.sections]


def _copy(study: Study, path: Path, keep: Callable[[dict[str, Any]], bool] = lambda event: True) -> Study:
    """A copy whose journal ends before the first event that is not to be kept."""
    shutil.copytree(study.path, path)
    events = []
    for event in read_events(path / "journal.jsonl"):
        if not keep(dict(event)):
            break
        events.append({key: value for key, value in event.items() if key != "chain"})
    write_unchecked(path / "journal.jsonl", events)
    return Study(path)


def test_the_answer_comes_first_and_everything_after_it(view: StudyView) -> None:
    page = study_page(view)
    titles = _titles(page)
    assert titles[0] == "The answer" and titles[-1] == "To repeat it"
    assert {
        "The search",
        "From pool to subset",
        "What each step kept and dropped",
        "Signals, kept against dropped",
    } <= set(titles)
    assert {"State vectors of the trials", "Dev against test", "Costs", "Warnings and notes"} <= set(titles)
    assert view.answer.headline == page.sections[0].lead
    assert view.answer.recipe[-1][1] == view.answer.rows == view.selection.rows  # type: ignore[union-attr]


def test_every_figure_is_one_that_plotly_knows_and_has_its_numbers(view: StudyView) -> None:
    go = pytest.importorskip("plotly.graph_objects")
    drawn = list(figures_of(study_page(view)))
    assert len(drawn) > 15
    for figure in drawn:
        go.Figure(list(figure.traces), dict(figure.layout))
        assert figure.told and figure.numbers.rows, figure.title


def test_what_is_drawn_is_what_the_journal_says(view: StudyView, finished_study: Study) -> None:
    trials = finished_study.all_trials()
    assert [trial.score for trial in view.trials] == [trial.score for trial in trials]
    assert view.trials[-1].best == max(trial.score for trial in trials)  # type: ignore[type-var]
    assert view.trials[-1].spent == len(trials)
    costs = {stage.name: stage for stage in view.stages}
    assert costs["search"].seconds == pytest.approx(sum(trial.seconds for trial in trials))
    assert costs["search"].money == pytest.approx(costs["search"].seconds)  # 3600 an hour
    assert costs["search"].tokens == sum(result.train_tokens for trial in trials for result in trial.results.values())
    assert {entry.name for entry in view.dev_test} >= {"full pool"}


def _thick(page: Page) -> list[str]:
    (drawn,) = (figure for figure in figures_of(page) if figure.title == "State vectors of the trials")
    return [trace["name"] for trace in drawn.traces if trace["line"]["width"] > 2]


def test_scores_of_other_scales_are_no_part_of_what_is_compared(view: StudyView, finished_study: Study) -> None:
    best = finished_study.best()
    assert best is not None and _thick(study_page(view)) == [best.id]
    foreign = replace(
        view.trials[0], id="t900", kind="model small", fidelity=0.2, score=9.0, tasks={"addition": 9.0, "boolean": 9.0}
    )
    beside = study_page(replace(view, trials=(*view.trials, foreign)))
    assert _thick(beside) == [best.id]
    for title in ("State vectors of the trials", "Tasks by trial"):
        (drawn,) = (figure for figure in figures_of(beside) if figure.title == title)
        assert [row[0] for row in drawn.numbers.rows] == [trial.id for trial in view.trials]
    alone = study_page(replace(view, trials=(foreign,)))  # nothing to compare, and no failure
    assert "Tasks by trial" not in [figure.title for figure in figures_of(alone)]


def test_a_repeat_that_lowers_the_leader_lowers_the_best_so_far(finished_study: Study, tmp_path: Path) -> None:
    """t001 has 0.9, t002 0.8, and t003, which trains the rows of t001 again, 0.5: the best is t002 then."""
    shutil.copytree(finished_study.path, tmp_path / "study")
    events = [dict(event) for event in read_events(tmp_path / "study" / "journal.jsonl")]
    first = next(event["trial"] for event in events if event["event"] == "trial")
    values = {"t001": 0.9, "t002": 0.8, "t003": 0.5}
    kept = []
    for event in events:
        if event["event"] == "trial" and event["trial"]["id"] == "t003":
            event["trial"] |= {"subset_hash": first["subset_hash"], "origin": "repeat", "of": "t001"}
        if event["event"] == "evaluation":
            event["result"] |= {"score": values.get(event["trial"], 0.1)}
            event["seed"] = int(event["trial"] == "t003")
        if event["event"] in ("study", "trial", "evaluation", "round"):
            kept.append({key: value for key, value in event.items() if key != "chain"})
    write_unchecked(tmp_path / "study" / "journal.jsonl", kept)
    study = Study(tmp_path / "study")
    best = study.best()
    assert best is not None and (best.id, best.score) == ("t002", 0.8)
    expected = [0.9, 0.9, 0.8, 0.8, 0.8]
    assert [trial.best for trial in view_study(study).trials] == expected
    assert [point.numbers["best/score"] for point in study_run(study).points] == expected
    points = results_board(record(study)).points
    assert [point.best for point in points] == expected and [point.trial for point in points if point.leads] == ["t002"]


def test_markdown_and_page_have_the_same_tables_and_notes(view: StudyView) -> None:
    text = view_markdown(view)
    page = study_page(view)
    sheets = [part.title for section in page.sections for part in section.parts if isinstance(part, Sheet)]
    assert {sheet.title for sheet in view.sheets.values()} <= set(sheets)
    assert text.index("## Answer") < text.index("## Search")
    assert "Is it to be believed?" in text


def test_report_writes_the_page_and_json_says_where(finished_study: Study, tmp_path: Path) -> None:
    study = _copy(finished_study, tmp_path / "study")
    shown = document("report", study.path, "--price", "3600")["report"]
    assert Path(shown["page"]).read_text("utf-8").startswith("<!DOCTYPE html>")
    assert Path(shown["page"]).stat().st_size < 5_000_000
    assert shown["answer"]["trial"] == study.best().id  # type: ignore[union-attr]
    assert shown["costs"][-1]["money"] == pytest.approx(shown["costs"][-1]["seconds"])
    assert run("report", study.path, "--price", "-1")[0] == 2
    assert "money" in run("report", study.path, "--price", "3600")[1]  # on the screen too
    assert "floor" not in run("report", study.path)[1]  # no task has one


@pytest.mark.parametrize("last", ["study", "trial", "evaluation", "verdict"])
def test_an_unfinished_study_is_told_as_far_as_it_is(finished_study: Study, tmp_path: Path, last: str) -> None:
    seen: list[str] = []

    def keep(event: dict[str, Any]) -> bool:
        done = last in seen and event["event"] != last
        seen.append(event["event"])
        return not done

    study = _copy(finished_study, tmp_path / "study", keep)
    found = write_report(study)
    assert not found.finished and (study.path / "report.html").is_file()
    titles = _titles(study_page(found))
    assert ("From pool to subset" in titles) == (last in ("evaluation", "verdict"))
    assert found.answer.belief == {"study": "Not yet", "trial": "Not yet", "evaluation": "Not yet"}.get(
        last, found.answer.belief
    )
    assert found.missing[0].startswith("The study is not finished: ") and "Warnings and notes" in titles


def test_evaluations_that_are_made_are_counted_alike_everywhere(finished_study: Study, tmp_path: Path) -> None:
    """Two short trainings of a quarter each, and a trial that has none of its results yet."""
    shutil.copytree(finished_study.path, tmp_path / "study")
    short = {"t003", "t004"}
    events = [
        event
        for event in read_events(tmp_path / "study" / "journal.jsonl")
        if event["event"] in ("study", "trial", "evaluation") and event.get("trial") != "t005"
    ]
    for event in events:
        if event["event"] == "trial" and event["trial"]["id"] in short:
            event["trial"]["fidelity"] = 0.25
    write_unchecked(tmp_path / "study" / "journal.jsonl", events)
    study = Study(tmp_path / "study")
    assert view_study(study).missing[0].startswith("The study is not finished: 2.5 of 5 evaluations are made.")
    assert record(study).spent == study.spent == 2.5 and "2.5 of 5 evaluations" in repr(study)


def test_without_its_pool_a_study_says_what_is_missing(finished_study: Study, tmp_path: Path) -> None:
    study = _copy(finished_study, tmp_path / "study")
    file = study.path / "config.yaml"
    text = file.read_text()
    pool = str(study.config.pool.path)
    assert pool in text
    lines = text.replace(pool, str(tmp_path / "gone")).splitlines()[:-1]  # the last one is the checksum
    file.write_text("\n".join(lines) + "\n")
    found = write_report(Study(study.path))
    assert found.selection is None
    (said,) = found.missing
    assert said.startswith("Rows, sources and signals cannot be shown") and "gone" in said
    page = (study.path / "report.html").read_text("utf-8")
    assert "Scores over evaluations" in page and "cannot be shown" in page


# ---- whether to believe it


def _found(estimate: float, significant: bool, **more: Any) -> dict[str, Any]:
    interval = {"estimate": estimate, "low": estimate - 0.1, "high": estimate + 0.1}
    tasks = {"addition": estimate, "boolean": -0.02}
    found = {"baseline": "full pool", "difference": interval, "interval_seeds": None, "seeds": 2, "p_adjusted": 0.01}
    return {**found, "significant": significant, "tasks": tasks, **more}


def _evidence(*comparisons: dict[str, Any]) -> dict[str, Any]:
    return {"winner": "winner (t003)", "complete": True, "comparisons": list(comparisons)}


@pytest.mark.parametrize(
    ("outcome", "test", "belief"),
    [
        ("better", _found(0.2, True), "Yes"),
        ("better", _found(0.2, False), "Partly"),
        ("better", _found(-0.2, True), "No"),
        ("better", None, "Partly"),
        ("no difference", _found(0.2, True), "No"),
        ("worse", None, "No"),
    ],
)
def test_belief_follows_from_dev_and_test(
    finished_study: Study, monkeypatch: pytest.MonkeyPatch, outcome: str, test: dict[str, Any] | None, belief: str
) -> None:
    judged = {
        "winner": "t003",
        "incumbent": "full pool",
        "outcome": outcome,
        "exported": "found" if outcome == "better" else "incumbent",
        "sentences": ["A sentence."],
        "comparison": _found(0.1, outcome == "better"),
        "flattery": {"mean": 0.0125},
    }
    monkeypatch.setattr(answers, "current_verdict", lambda study: judged)
    monkeypatch.setattr(answers, "final_evidence", lambda study: None if test is None else _evidence(test))
    found = study_answer(finished_study)
    assert found.belief == belief
    assert found.headline.startswith(
        "Train on the rows of t003" if outcome == "better" else "Keep what is used today (full pool)"
    )
    assert found.gains[0].split == "dev" and found.gains[0].today
    caption = gain_figure(found).told
    assert ("0.0125 is taken off" in caption) != (outcome == "worse") == ("as they were measured" in caption)
    split = "dev" if test is None else "test"
    # On dev the 0.0125 are off each task as well; what is told is what was measured.
    shown = "-0.0075" if split == "dev" and outcome != "worse" else "-0.0200"
    assert found.hurts[0].startswith(f"Worse than with full pool on {split}: ") and f"boolean {shown}" in found.hurts[0]
    assert json.dumps(found.to_dict())


@pytest.mark.parametrize("left", [-0.0075, -0.0125004])
def test_a_task_that_was_measured_no_worse_is_not_called_worse(
    finished_study: Study, monkeypatch: pytest.MonkeyPatch, left: float
) -> None:
    """What choosing is expected to add is off the tasks of a verdict's comparison; what is left rounds to no difference."""
    comparison = {**_found(0.1, True), "tasks": {"addition": 0.2, "boolean": left}}
    judged = {
        "winner": "t003",
        "incumbent": "full pool",
        "outcome": "better",
        "exported": "found",
        "sentences": ["A sentence."],
        "comparison": comparison,
        "flattery": {"mean": 0.0125},
    }
    monkeypatch.setattr(answers, "current_verdict", lambda study: judged)
    monkeypatch.setattr(answers, "final_evidence", lambda study: None)
    assert study_answer(finished_study).hurts[0] == "No task is worse than with full pool on dev."


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        ("no difference", "is not shown to be better."),
        ("worse", "is worse on dev."),
        ("same rows", "selects the same rows."),
        ("winner failed", "could not be trained again."),
        ("not comparable", "could not be compared with it."),
    ],
)
def test_the_headline_says_why_todays_data_stays(
    finished_study: Study, monkeypatch: pytest.MonkeyPatch, outcome: str, why: str
) -> None:
    judged = {
        "winner": "t003",
        "incumbent": "full pool",
        "outcome": outcome,
        "exported": "incumbent",
        "sentences": [""],
    }
    monkeypatch.setattr(answers, "current_verdict", lambda study: judged)
    headline = study_answer(finished_study).headline
    assert headline.startswith("Keep what is used today (full pool): ") and headline.endswith(why)


@pytest.mark.parametrize(
    ("last", "why"),
    [("evaluation", "The search has not ended."), ("incumbent_plan", "The comparison with full pool has not ended.")],
)
def test_what_has_not_ended_is_told(finished_study: Study, tmp_path: Path, last: str, why: str) -> None:
    seen: list[str] = []

    def keep(event: dict[str, Any]) -> bool:
        done = last in seen
        seen.append(event["event"])
        return not done

    assert study_answer(_copy(finished_study, tmp_path / "study", keep)).reasons[0].startswith(why)


def test_guard_tasks_are_named(finished_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "final_evidence", lambda study: _evidence(_found(0.2, True)))
    tasks = [
        task.model_copy(update={"weight": 0.0 if task.name == "boolean" else 1.0})
        for task in finished_study.config.tasks
    ]
    study = Study(finished_study.path)
    study.config = study.config.model_copy(update={"tasks": tasks})
    (worse,) = study_answer(study).hurts  # a guard that is worse is told of once
    assert "boolean (guard) -0.0200" in worse and "addition" not in worse
    better = {**_found(0.2, True), "tasks": {"addition": 0.4, "boolean": 0.01}}
    monkeypatch.setattr(answers, "final_evidence", lambda study: _evidence(better))
    none, guards = study_answer(study).hurts
    assert none.startswith("No task is worse than with")
    assert guards == "Guards, which are no part of the score, that are no worse: boolean +0.0100."


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ((3.0, 1.0), "the mean, by their weights, over addition (weight 3), boolean (weight 1) of minus"),
        ((2.0, 2.0), "the mean over tasks of minus"),
        ((0.0, 1.0), "minus"),
    ],
)
def test_the_answer_says_how_tasks_count(finished_study: Study, weights: tuple[float, float], said: str) -> None:
    study = Study(finished_study.path)
    tasks = [
        task.model_copy(update={"weight": weight}) for task, weight in zip(study.config.tasks, weights, strict=True)
    ]
    study.config = study.config.model_copy(update={"tasks": tasks})
    assert study_answer(study).measured[0].startswith(f"A score is {said} the loss")


def test_the_answer_says_what_a_score_is_and_how_many_answers_are_right(finished_study: Study) -> None:
    score, right = study_answer(finished_study).measured
    assert (
        score
        == "A score is the mean over tasks of minus the loss of the right answer, in nats a token: higher is better."
    )
    results = finished_study.final_results()
    (winner,) = next(found for name, found in results.items() if name.startswith("winner")).values()
    (today,) = results["full pool"].values()
    assert right.startswith("Right answers on test (in brackets with full pool): ")
    for task, metric in (("addition", "exact_match"), ("boolean", "accuracy")):
        shares = [found.metrics[task][metric] for found in (winner, today)]
        assert f"{task} {shares[0]:.0%} ({shares[1]:.0%})" in right


def test_an_interval_in_the_answer_holds_zero_where_no_difference_is_found(view: StudyView) -> None:
    study_gains = view.answer.gains
    assert {gain.split for gain in study_gains} == {"dev", "test"}
    for gain in study_gains:
        assert gain.significant == (gain.low > 0 or gain.high < 0), gain
    tested = {gain.against: gain for gain in study_gains if gain.split == "test"}
    assert {gain.scope for gain in tested.values()} == {"with all comparisons"}
    assert "over items, with all comparisons, p" in tested["full pool"].sentence()


@pytest.mark.parametrize(("significant", "low", "high"), [(True, 0.1, 0.3), (False, -0.1, 0.3)])
def test_an_interval_alone_is_not_shown_for_what_is_found_together(
    finished_study: Study, monkeypatch: pytest.MonkeyPatch, significant: bool, low: float, high: float
) -> None:
    """Alone the difference is clear of 0 at 0.15 to 0.25, with all comparisons it is not."""
    found = _found(0.2, significant, interval_seeds=[0.15, 0.25], interval_all=[low, high])
    monkeypatch.setattr(answers, "final_evidence", lambda study: _evidence(found))
    (gain,) = (gain for gain in study_answer(finished_study).gains if gain.split == "test")
    assert (gain.low, gain.high) == (low, high) and gain.scope


# ---- in a browser


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), pytest.param("dark", 400, marks=pytest.mark.slow)])
def test_the_page_in_a_browser(
    opened: Callable[..., Any], view: StudyView, finished_study: Study, tmp_path: Path, scheme: str, width: int
) -> None:
    pytest.importorskip("plotly")
    study = _copy(finished_study, tmp_path / "study")
    write_report(study)
    found = opened(study.path / "report.html", scheme=scheme, width=width)
    page = found.page
    choices = page.locator(".choices option").evaluate_all("all => all.map(option => option.value)")
    for name in choices if scheme == "light" else ():
        page.select_option(".choices > select", name)
        page.wait_for_selector(f"#{name}-plot[data-drawn=yes] .main-svg")
    hidden = 0 if scheme == "light" else len(choices) - 1
    assert page.locator(".plot[data-drawn=yes]").count() == page.locator(".plot").count() - hidden
    assert page.locator(".problem").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert faults(page) == []
    assert (found.problems, found.requests) == ([], [])
