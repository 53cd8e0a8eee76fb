"""The page of a study: the answer first, then how it was found, and what is needed to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autoselection.diagnose import MIN_TRIALS
from autoselection.report.answer import DEV, Answer, Gain, gain_sheet
from autoselection.report.figures import Interval, Series, bars, heat, intervals, lines, parallel, points
from autoselection.report.page import Code, Facts, Figure, Page, Part, Section, Sentences, write_page
from autoselection.report.palette import GREY
from autoselection.report.selection_page import selection_sections
from autoselection.report.sheet import Sheet
from autoselection.report.study_view import KINDS, SHORT, DevTest, Stage, StudyView, TrialView
from autoselection.report.tables import agreement_sheet, diagnosis_sheet, objective_label
from autoselection.wording import duration

#: Proxies, pairs of operators, axes of state vectors that are drawn.
_DRAWN = 30


def write_study_page(view: StudyView, path: Path) -> Path:
    """Write the page of a study as one HTML file."""
    return write_page(study_page(view), path)


def study_page(view: StudyView) -> Page:
    """The page of a study; what a study does not have yet has no section, and the last notes say why."""
    sections = [_answer_section(view)]
    if view.trials:
        sections.append(_search_section(view))
    if view.selection is not None:
        sections += selection_sections(view.selection)
    sections += [section for section in (make(view) for make in _MORE) if section is not None]
    state = "finished" if view.finished else "not finished"
    return Page(f"Study {view.name}", tuple(sections), f"{view.path}, {state}.")


# ---- the answer


def _answer_section(view: StudyView) -> Section:
    answer = view.answer
    parts: list[Part] = [Facts(_facts(view))]
    if answer.recipe:
        parts.append(_recipe_sheet(answer))
    if answer.gains:
        parts += [gain_figure(answer), gain_sheet(answer.gains)]
    parts += _sheets(view, "watched")
    said = [*answer.measured, *answer.hurts, f"Is it to be believed? {answer.belief}. {' '.join(answer.reasons)}"]
    parts.append(Sentences(tuple(said)))
    return Section("The answer", tuple(parts), answer.headline)


def _recipe_sheet(answer: Answer) -> Sheet:
    rows = [(f"{place}. {told}", f"{left:,}") for place, (told, left) in enumerate(answer.recipe, 1)]
    return Sheet.of(f"The recipe, {answer.trial}", ("step", "rows after it"), rows, numbers=True)


def _facts(view: StudyView) -> tuple[tuple[str, str], ...]:
    answer = view.answer
    found = [("to be believed?", answer.belief)]
    if answer.trial is not None:
        found.append(
            ("rows", f"{answer.rows:,} of {answer.pool_rows:,} ({answer.rows / max(1, answer.pool_rows):.0%})")
        )
    for gain in answer.gains:
        if gain.today:
            named = f"{_named(gain, answer)}, {gain.split}{'' if gain.significant is not None else ', so far'}"
            found.append((named, f"{gain.estimate:+.4f} ({gain.low:+.4f} to {gain.high:+.4f})"))
    full = sum(1 for trial in view.trials if trial.score is not None and trial.fidelity == 1.0)
    found.append(("full evaluations", f"{full:,}"))
    if view.stages:
        found.append(("worker time", duration(sum(stage.seconds for stage in view.stages))))
    money = [stage.money for stage in view.stages if stage.money is not None]
    if money:
        found.append(("at the given price", f"{sum(money):,.2f}"))
    return tuple(found)


def _named(gain: Gain, answer: Answer) -> str:
    """What is compared, with the winner where it is another one than the answer is of."""
    return f"{'' if gain.winner == answer.trial else f'{gain.winner} '}against {gain.against}"


def gain_figure(answer: Answer) -> Figure:
    """The winner against everything that it was compared with."""
    shown = [
        Interval(
            f"{_named(gain, answer).removeprefix('against ')}{' (today)' if gain.today else ''}, {gain.split}",
            gain.estimate,
            gain.low,
            gain.high,
            gain.split,
        )
        for gain in answer.gains
    ]
    dev = [gain for gain in answer.gains if gain.split == DEV]
    less = " On dev {:.4f} is taken off, which being chosen is expected to add."
    taken = "".join(less.format(gain.flattery) for gain in dev if gain.flattery)
    if dev and not taken:
        taken = " On dev nothing is taken off for being chosen: the scores are as they were measured."
    said = {gain.scope for gain in answer.gains if gain.scope}
    scope = f" (on test {', '.join(sorted(said))})" if said else ""
    if any(gain.significant is None for gain in answer.gains):
        scope = " (on test of each comparison alone: not all is scored, and nothing is found yet)"
    told = (
        f"Score of the winner minus score of what it is compared with, and 95% interval{scope}: right of 0 the winner is "
        f"better.{taken}"
    )
    return intervals("What it gains", told, shown, x="difference of scores", headings=("against", "95% interval"))


def _sheets(view: StudyView, *names: str) -> list[Sheet]:
    return [view.sheets[name] for name in names if name in view.sheets]


# ---- the search


def _search_section(view: StudyView) -> Section:
    parts: list[Part] = []
    if any(trial.score is not None for trial in view.trials):
        parts.append(progress_figure(view.trials, view.best_rule))
        if full_evaluations(view.trials):
            parts.append(task_figure(view.trials, view.today))
    if view.trade_offs:
        parts.append(front_figure(view))
    parts += _sheets(view, "front", "search", "agents")
    return Section("The search", tuple(parts))


def front_figure(view: StudyView) -> Figure:
    """The first two objectives that are traded off."""
    series = [
        Series(
            name,
            [found.values[0] for found in own],
            [found.values[1] for found in own],
            words=[f"{found.trial.id}, {found.trial.size:,} rows: {found.trial.recipe.describe()}" for found in own],
        )
        for name, leads in (("not beaten", True), ("beaten by another", False))
        if (own := [found for found in view.trade_offs if found.leads == leads])
    ]
    x, y = (objective_label(name) for name in view.objectives[:2])
    told = "Every scored subset; one is not beaten if no other is at least as good in all objectives and better in one."
    return points("Trade-offs", told, series, x=x, y=y)


def progress_figure(trials: Sequence[TrialView], best_rule: str = "best") -> Figure:
    """Scores over evaluations by kind, and the best so far.

    Args:
        best_rule: what the best is, see ``Study.best_rule``.
    """
    kinds = list(dict.fromkeys([*KINDS.values(), SHORT, *(trial.kind for trial in trials)]))
    known = [trial for trial in trials if trial.score is not None]
    series = [
        Series(
            kind,
            [trial.spent for trial in own],
            [trial.score for trial in own],
            words=[f"{trial.id}, {trial.rows:,} rows: {trial.recipe}" for trial in own],
        )
        for kind in kinds
        if (own := [trial for trial in known if trial.kind == kind])
    ]
    led = [trial for trial in known if trial.best is not None]
    best = {
        "type": "scatter",
        "mode": "lines",
        "name": "best so far",
        "x": [trial.spent for trial in led],
        "y": [trial.best for trial in led],
        "line": {"shape": "hv", "color": GREY, "width": 2, "dash": "dot"},
        "hovertemplate": "best so far %{y:.4g}<extra></extra>",
    }
    failed = sum(1 for trial in trials if trial.failure)
    rule = (
        "" if best_rule == "best" else " of those that meet the floors (before one does, of those that miss them least)"
    )
    told = (
        f"Every scored trial over the evaluations spent, and the best full evaluation so far{rule}"
        f"{f'; {failed} failed' if failed else ''}."
    )
    drawn = points("Scores over evaluations", told, series, x="evaluations spent", y="dev score (higher is better)")
    rows = [
        (
            trial.id,
            f"{trial.spent:g}",
            trial.kind,
            f"{trial.score:.4f}",
            "" if trial.best is None else f"{trial.best:.4f}",
        )
        for trial in known
    ]
    numbers = Sheet.of(drawn.title, ("trial", "spent", "kind", "dev score", "best so far"), rows)
    return replace(drawn, traces=(best, *drawn.traces), numbers=numbers)


def task_figure(trials: Sequence[TrialView], today: Mapping[str, float]) -> Figure:
    """Scores of every task and full evaluation (there is one), coloured by what they are above today's data, where its
    scores are known."""
    known = full_evaluations(trials)
    tasks = list(known[0].tasks)
    middle = today or {task: sum(trial.tasks[task] for trial in known) / len(known) for task in tasks}
    against = "what is used today" if today else "the mean of the trials"
    return heat(
        "Tasks by trial",
        f"Dev score of each task, full evaluations; the colour shows the difference to {against}.",
        [trial.id for trial in known],
        tasks,
        [[trial.tasks[task] - middle[task] for task in tasks] for trial in known],
        [[f"{trial.tasks[task]:.3f}" for task in tasks] for trial in known],
        by=f"above {against}",
        heading="trial",
        middle=0.0,
    )


# ---- what the search learnt


def full_evaluations(trials: Sequence[TrialView]) -> list[TrialView]:
    """Trials with a score on the scale of full evaluations: those of other models and short trainings have others."""
    return [trial for trial in trials if trial.score is not None and trial.fidelity == 1.0]


def _state_section(view: StudyView) -> Section | None:
    known = full_evaluations(view.trials)
    if len(known) < 2:
        return None
    names = _axes(known)
    rule = "the best one" if view.best_rule == "best" else f"{view.answer.trial} ({view.best_rule})"
    figure = parallel(
        "State vectors of the trials",
        f"A line for each full evaluation; {rule} is thick and blue, the others are the stronger coloured the better they "
        "scored.",
        names,
        {trial.id: [trial.state.get(name) for name in names] for trial in known},
        {trial.id: trial.score for trial in known},
        best=view.answer.trial,
        by="dev score",
    )
    return Section(
        "State vectors of the trials", (figure,), "What the subsets of the trials look like beside the pool."
    )


def _axes(trials: Sequence[TrialView]) -> list[str]:
    """Fields in which the trials differ: of those by source, which may be hundreds, the ones that vary most."""
    fields = dict.fromkeys(name for trial in trials for name in trial.state if name != "cumulative_cost_ratio")
    spread = {}
    for name in fields:
        known = [value for trial in trials if (value := trial.state.get(name)) is not None]
        spread[name] = max(known) - min(known) if known else 0.0
    varied = [name for name in fields if spread[name] > 0]
    whole = [name for name in varied if not name.startswith("source_")][:_DRAWN]
    by_source = sorted((name for name in varied if name not in whole), key=lambda name: -spread[name])
    chosen = {*whole, *by_source[: _DRAWN - len(whole)]}
    return [name for name in fields if name in chosen]


def _credit_section(view: StudyView) -> Section | None:
    if not view.credit:
        return None
    parts: list[Part] = []
    for title, found in (("Operators", view.credit), ("Pairs of operators", view.pairs)):
        if found:
            shown = sorted(found, key=lambda entry: -abs(entry.total))[:_DRAWN]
            values = {
                "credit": {
                    f"{entry.name} ({entry.changes})": entry.total for entry in sorted(shown, key=lambda e: -e.total)
                }
            }
            told = "Sum of the score changes that edits of each brought, with the number of changes; to the right it helped."
            parts.append(bars(title, told, values, x="credit (score)", name="operator (changes)"))
    return Section("Operator credit", tuple(parts))


def _surrogate_section(view: StudyView) -> Section | None:
    known = [trial for trial in view.trials if trial.expected is not None and trial.score is not None]
    parts: list[Part] = []
    if known:
        pairs = [(trial, trial.expected) for trial in known if trial.expected is not None]
        series = Series(
            "trial",
            [mean for _, (mean, _) in pairs],
            [trial.score for trial, _ in pairs],
            low=[mean - 1.28 * spread for _, (mean, spread) in pairs],
            high=[mean + 1.28 * spread for _, (mean, spread) in pairs],
            words=[trial.id for trial, _ in pairs],
        )
        told = "Each trial's expected score before its evaluation, with an 80% interval, and what it scored: on the line both agree."
        parts.append(points("Expected and scored", told, [series], x="expected", y="scored", diagonal=True))
    if len(view.rounds) > 1:
        numbers = [entry.number for entry in view.rounds]
        series_of = {
            "rank correlation": [entry.correlation for entry in view.rounds],
            "share in 80% intervals": [entry.within_80 for entry in view.rounds],
            "standardised error": [entry.rms_error for entry in view.rounds],
        }
        told = "Each trial predicted from the others. Calibrated: a share of 0.8 and an error of 1."
        parts.append(
            lines(
                "Calibration by round",
                told,
                [Series(name, numbers, values) for name, values in series_of.items()],
                x="round",
                y="",
            )
        )
    parts += _sheets(view, "surrogate")
    return Section("The surrogate", tuple(parts)) if parts else None


def _proxy_section(view: StudyView) -> Section | None:
    diagnosis = view.diagnosis
    if diagnosis.trials < MIN_TRIALS:
        return None
    found = [(line, line.correlation.spearman) for line in diagnosis.lines]
    known = [(line, value) for line, value in found if value is not None]
    shown = sorted(known, key=lambda entry: -abs(entry[1].value))[:_DRAWN]
    parts: list[Part] = []
    if shown:
        drawn = [Interval(line.name, value.value, value.low, value.high, line.kind) for line, value in shown]
        told = (
            "Rank correlation of cheap numbers with the dev score, and 95% interval over trials; the strongest first."
        )
        parts.append(
            intervals(
                "Cheap numbers beside the full evaluation",
                told,
                drawn,
                x="Spearman",
                headings=("proxy", "95% interval"),
            )
        )
    parts += [diagnosis_sheet(diagnosis), Sentences((*diagnosis.findings(), *diagnosis.notes), listed=True)]
    return Section("Proxies", tuple(parts))


def _right_section(view: StudyView) -> Section | None:
    found = view.diagnosis.agreements
    if view.diagnosis.trials < MIN_TRIALS or not found:
        return None
    parts: list[Part] = []
    drawn = [
        Interval(f"{each.task}: {each.metric} and {each.right}", known.value, known.low, known.high, each.verdict)
        for each in found
        if (known := each.correlation) is not None
    ]
    if drawn:
        told = "Rank correlation of the search metric with right answers over the trials, and 95% interval: right of 0 they agree."
        parts.append(
            intervals(
                "Does the score mean right answers?",
                told,
                drawn,
                x="rank correlation",
                headings=("task", "95% interval"),
            )
        )
    parts += [agreement_sheet(found), Sentences(view.diagnosis.right_answers(), listed=True)]
    return Section("Score and right answers", tuple(parts))


def _test_section(view: StudyView) -> Section | None:
    parts: list[Part] = []
    if len(view.dev_test) > 1:
        parts.append(dev_test_figure(view.dev_test))
    parts += _sheets(view, "verdict", "final", "comparison", "variance")
    return Section("Dev against test", tuple(parts)) if parts else None


def dev_test_figure(found: Sequence[DevTest]) -> Figure:
    """Mean scores on both splits."""
    kinds = list(dict.fromkeys(entry.kind for entry in found))
    series = [
        Series(
            kind,
            [entry.dev for entry in found if entry.kind == kind],
            [entry.test for entry in found if entry.kind == kind],
            words=[entry.name for entry in found if entry.kind == kind],
        )
        for kind in kinds
    ]
    told = "Mean score on dev, which guided the search, and on test, two sets of items: below the line test is the lower one."
    return points("Dev against test", told, series, x="dev score", y="test score", diagonal=True)


# ---- costs, notes, and what repeats it


def _cost_section(view: StudyView) -> Section | None:
    return Section("Costs", (cost_figure(view.stages), cost_sheet(view.stages))) if view.stages else None


def cost_figure(stages: Sequence[Stage]) -> Figure:
    """Seconds of every stage."""
    parts = {
        "training": {stage.name: stage.train for stage in stages},
        "scoring": {stage.name: stage.score for stage in stages},
        "other": {stage.name: stage.other for stage in stages},
    }
    told = "Seconds of all workers together, by what they were spent on; what came from a cache cost nothing here."
    return bars("Where the time went", told, parts, x="seconds", name="stage")


def cost_sheet(stages: Sequence[Stage]) -> Sheet:
    """Trainings, tokens, seconds, money."""
    rows = [
        (
            stage.name,
            f"{stage.trainings:,}",
            f"{stage.tokens:,}",
            f"{stage.seconds:,.0f}",
            "" if stage.money is None else f"{stage.money:,.2f}",
        )
        for stage in (*stages, total(stages))
    ]
    return Sheet.of("Costs", ("stage", "trainings", "trained tokens", "seconds", "money"), rows, numbers=True).filled()


def total(stages: Sequence[Stage]) -> Stage:
    """All stages as one."""
    money = [stage.money for stage in stages if stage.money is not None]
    return Stage(
        "in all",
        sum(stage.trainings for stage in stages),
        sum(stage.tokens for stage in stages),
        sum(stage.train for stage in stages),
        sum(stage.score for stage in stages),
        sum(stage.other for stage in stages),
        sum(money) if money else None,
    )


def _note_section(view: StudyView) -> Section | None:
    said = (*view.notes, *view.missing)
    return Section("Warnings and notes", (Sentences(said, listed=True),)) if said else None


def _repeat_section(view: StudyView) -> Section:
    return Section(
        "To repeat it",
        (
            Code("Commands", "\n".join(view.commands)),
            Sheet.of("Seeds", ("for", "seeds"), view.seeds),
            Sheet.of("Versions and fingerprints", ("what", "version"), view.versions),
            Code("The configuration, with every default", view.config, folded=True),
        ),
    )


_MORE = (
    _state_section,
    _credit_section,
    _right_section,
    _proxy_section,
    _surrogate_section,
    _test_section,
    _cost_section,
    _note_section,
    _repeat_section,
)
