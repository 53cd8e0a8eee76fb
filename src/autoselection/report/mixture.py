"""What a table of runs says, as tables and plots: on the screen, and as a page."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from autoselection.mixture.analysis import APART, distance
from autoselection.mixture.findings import Analysis, Effect, Foretold, Interval, RatedMixture, short_names
from autoselection.mixture.runs import ONLY_LEVEL
from autoselection.notebook import number
from autoselection.report.figures import Interval as Line
from autoselection.report.figures import intervals
from autoselection.report.page import Facts, Figure, Page, Part, Section, Sentences
from autoselection.report.palette import BLUE, DIVERGING, GREY, VERMILION
from autoselection.report.sheet import Sheet
from autoselection.terminal import Terminal

Array = NDArray[np.float64]

SOURCES_NAMED = 6
"""Sources that a mixture is described by in a line."""
SMALLEST_NAMED = 0.005
LITTLE = 0.01
"""Expected improvement by a next run, in standard deviations of the objective, below which it is called little."""


def print_mixture(analysis: Analysis, console: Terminal) -> None:
    """Print everything that was found."""
    for notice in analysis.runs.notices:
        console.say(notice, style="yellow")
    console.say(_lead(analysis))
    for sheet in sheets(analysis):
        sheet.print(console)
    for said in sentences(analysis):
        console.say(said)


def mixture_page(analysis: Analysis) -> Page:
    """Everything that was found, as a page."""
    levels = analysis.runs.levels
    facts = [
        (f"runs{_at(name)}", f"{int((analysis.runs.level == place).sum())}{f', each {cost:g}' if _at(name) else ''}")
        for place, (name, cost) in enumerate(zip(levels.names, levels.costs, strict=True))
    ]
    sections = [
        Section(
            "In short",
            (Facts(tuple(facts)), Sentences((*analysis.runs.notices, *sentences(analysis)), listed=True)),
        ),
        Section(
            "How well it predicts",
            (foretold_figure(analysis), foretold_sheet(analysis)),
            "Every run is predicted from all others; the better the points lie on the line, the more the rest can be believed.",
        ),
        Section("The best mixtures", (mixtures_figure(analysis), best_sheet(analysis))),
        Section(
            "What sources do", (effects_figure(analysis), objective_effects_figure(analysis), effects_sheet(analysis))
        ),
    ]
    if analysis.front:
        sections.append(Section("Trade-offs", (*_some(front_figure(analysis)), front_sheet(analysis))))
    if analysis.following:
        sections.append(Section("What to run next", (next_sheet(analysis),)))
    if analysis.what_if:
        sections.append(Section("Other weights", (what_if_sheet(analysis),)))
    return Page(f"Mixtures in {analysis.runs.path.name}", tuple(sections), _lead(analysis))


def _at(level: str) -> str:
    """`` at LEVEL``; nothing where the table has no column of levels."""
    return "" if level == ONLY_LEVEL else f" at {level}"


def _some(part: Part | None) -> tuple[Part, ...]:
    return () if part is None else (part,)


def sheets(analysis: Analysis) -> tuple[Sheet, ...]:
    """All tables, in the order in which they are read."""
    found = [foretold_sheet(analysis), best_sheet(analysis), effects_sheet(analysis)]
    if analysis.front:
        found.append(front_sheet(analysis))
    if analysis.following:
        found.append(next_sheet(analysis))
    if analysis.what_if:
        found.append(what_if_sheet(analysis))
    return tuple(found)


def _lead(analysis: Analysis) -> str:
    runs = analysis.runs
    scores = "1 score" if len(runs.columns) == 1 else f"{len(runs.columns)} scores"
    words = [f"{len(runs.shares)} runs of {len(runs.sources)} sources, {scores}"]
    if len(runs.levels.names) > 1:
        counts = ", ".join(
            f"{int((runs.level == place).sum())} at {name}" for place, name in enumerate(runs.levels.names)
        )
        words.append(f" ({counts}); decided for {runs.levels.names[-1]}")
    objective = "that score" if len(runs.columns) == 1 else "the weighted mean of the scores"
    return f"{''.join(words)}. The objective is {objective}; {_better(analysis)} is better."


def _better(analysis: Analysis) -> str:
    return "lower" if analysis.runs.minimise.all() else "higher"


def _objective(analysis: Analysis, found: Interval) -> Interval:
    """An objective in the direction of the table: turned where all scores are losses."""
    return found.turned() if analysis.runs.minimise.all() else found


def _objective_name(analysis: Analysis) -> str:
    """What the objective is called beside the scores."""
    name = "objective"
    while name in _short_columns(analysis).values():
        name = f"our {name}"
    return name


def _predicted(analysis: Analysis) -> list[RatedMixture]:
    """The mixtures predicted to be best, without those that stand among the best run."""
    lines = {rated.line for rated in analysis.seen}
    return [rated for rated in analysis.predicted if rated.line is None or rated.line not in lines]


def _seen(analysis: Analysis, value: float) -> float:
    return -value if analysis.runs.minimise.all() else value


def sentences(analysis: Analysis) -> tuple[str, ...]:
    """What to take from it, and what to be careful about."""
    said = []
    own = next((found for found in analysis.foretold if found.column is None), None)
    target = analysis.runs.levels.names[-1]
    if own is None:
        said.append("How well the objective is predicted cannot be said: too few runs have all scores.")
    elif own.rank_correlation is None:
        said.append(
            "How well the objective is predicted cannot be said: left-out runs have all the same score, or the same prediction."
        )
    else:
        interval = own.rank_correlation
        said.append(
            f"Left-out runs{_at(analysis.level)} are ranked with a correlation of {_correlation(interval)}; the error of a prediction "
            f"is {number(own.error)}, where scores differ by {number(own.spread)} (one standard deviation)."
        )
        if interval.low <= 0:
            said.append("That could be luck: do not act on what is predicted before there are more runs.")
    if analysis.level != target and analysis.foretold:
        said.append(f"Too few runs at {target} to test predictions there: those above are for {analysis.level}.")
    if analysis.seen and analysis.predicted:
        said.append(_best_said(analysis, analysis.predicted[0], analysis.seen[0]))
    if analysis.following and own is not None:
        most = max(run.value for run in analysis.following)
        if most < LITTLE * own.spread:
            said.append(
                "None of the next runs is expected to improve the choice by much: "
                f"{f'by {most:.2g} at most' if most else 'by nothing'}, where scores differ by {number(own.spread)}."
            )
    return (*said, *_shares_said(analysis))


def _best_said(analysis: Analysis, first: RatedMixture, best: RatedMixture) -> str:
    """Whether the best predicted mixture promises more than the best one that was run."""
    runs = analysis.runs
    if first.beats is None or first.line is not None:
        return f"No mixture is predicted to be better than the best one that was run (line {best.line})."
    if distance(first.shares, best.shares) < APART:
        return (
            f"No mixture is predicted to be better than the best one that was run (line {best.line}) and those that differ from it in "
            f"less than {APART:.0%} of the data, of which the best predicted is better than it with a probability of {first.beats:.0%}."
        )
    levels = runs.level[runs.of(first.shares)]
    if (levels == runs.levels.target).any():
        missing = "its run lacks a score: rate that run again before you rely on it"
    elif len(levels):
        missing = f"it was never run{_at(runs.levels.names[-1])}: run it there before you rely on it"
    else:
        missing = "it was never run: run it before you rely on it"
    return (
        f"The best predicted mixture is expected to gain {number(first.objective.value - best.objective.value)} on the best one run "
        f"(line {best.line}), and is better than it with a probability of {first.beats:.0%}; {missing}."
    )


def _shares_said(analysis: Analysis) -> list[str]:
    """Of which sources the average mixture has too little, too much, or about enough, as far as noise lets one tell."""
    names = dict(zip(analysis.runs.sources, short_names(analysis.runs.sources), strict=True))

    def listed(effects: list[Effect], change: Callable[[Effect], float]) -> str:
        return ", ".join(
            f"{names[effect.source]} ({effect.share:.0%})"
            for effect in sorted(effects, key=lambda one: -abs(change(one)))
        )

    more = [effect for effect in analysis.effects if effect.objective.low > 0]
    less = [effect for effect in analysis.effects if effect.halved.low > 0 and effect not in more]
    right = [effect for effect in analysis.effects if max(effect.objective.high, effect.halved.high) < 0]
    said = []
    if more:
        said.append(
            "Twice as much as in the average mixture (its share in brackets) helps the objective, beyond noise, of "
            f"{listed(more, lambda effect: effect.objective.value)}."
        )
    if less:
        said.append(
            "Half as much as in the average mixture helps the objective, beyond noise, of "
            f"{listed(less, lambda effect: effect.halved.value)}."
        )
    if right:
        said.append(
            f"Twice as much and half as much both cost the objective, beyond noise, of {listed(right, lambda effect: effect.share)}: "
            "of these the average mixture has about enough."
        )
    return said


# Tables


def foretold_sheet(analysis: Analysis) -> Sheet:
    """How well left-out runs are predicted."""
    names = _short_columns(analysis)
    rows = [
        (
            _objective_name(analysis) if found.column is None else names[found.column],
            str(len(found.scores)),
            "" if found.rank_correlation is None else _correlation(found.rank_correlation),
            number(found.error),
            number(found.spread),
            f"{found.within_80:.0%}",
        )
        for found in analysis.foretold
    ]
    return Sheet.of(
        f"How well left-out runs{_at(analysis.level)} are predicted",
        ("score", "runs", "rank correlation (95%)", "error", "standard deviation", "inside 80% interval"),
        rows,
        numbers=True,
    )


def best_sheet(analysis: Analysis) -> Sheet:
    """The best mixtures that were run, and those predicted to be best."""
    rows = [
        (
            "run" if rated.line is not None else "predicted",
            "" if rated.line is None else str(rated.line),
            "" if rated.seen is None else number(_seen(analysis, rated.seen)),
            _interval(_objective(analysis, rated.objective)),
            "" if rated.beats is None else f"{rated.beats:.0%}",
            described(analysis, rated.shares),
        )
        for rated in (*analysis.seen, *_predicted(analysis))
    ]
    return Sheet.of(
        f"The best mixtures{_at(analysis.runs.levels.names[-1])}",
        ("", "line", "seen", f"expected (95%), {_better(analysis)} is better", "beats the best run", "mixture"),
        rows,
    )


def effects_sheet(analysis: Analysis) -> Sheet:
    """What doubling each source does."""
    columns = _short_columns(analysis)
    names = short_names(analysis.runs.sources)
    rows = []
    for name, effect in sorted(zip(names, analysis.effects, strict=True), key=lambda pair: -pair[1].objective.value):
        certain = [
            (label, found)
            for label, found in zip(columns.values(), effect.columns, strict=True)
            if found.low > 0 or found.high < 0
        ]
        certain.sort(key=lambda pair: -abs(pair[1].value))
        helps = [f"{label} {found.value:+.3g}" for label, found in certain if found.value > 0]
        hurts = [f"{label} {found.value:+.3g}" for label, found in certain if found.value < 0]
        rows.append(
            (
                name,
                f"{effect.share:.1%}",
                _interval(effect.objective, signed=True),
                _interval(effect.halved, signed=True),
                ", ".join(helps[:4]),
                ", ".join(hurts[:4]),
            )
        )
    return Sheet.of(
        "Doubling a source in the average mixture, and halving it (above 0: better)",
        (
            "source",
            "share",
            "doubled: objective (95%)",
            "halved: objective (95%)",
            "doubling helps most, beyond noise",
            "doubling hurts most, beyond noise",
        ),
        rows,
    )


def front_sheet(analysis: Analysis) -> Sheet:
    """Mixtures that no other beats in all named columns."""
    columns = _short_columns(analysis)
    places = [analysis.runs.columns.index(name) for name in analysis.pareto]
    rows = [
        (*(_interval(rated.columns[place]) for place in places), described(analysis, rated.shares))
        for rated in analysis.front
    ]
    return Sheet.of(
        "Trade-off: no mixture is predicted to beat one of these in every named score",
        (*(columns[name] for name in analysis.pareto), "mixture"),
        rows,
    )


def next_sheet(analysis: Analysis) -> Sheet:
    """The next runs worth making."""
    rows = [
        (
            str(place),
            _at(run.level).removeprefix(" at "),
            f"{run.cost:.3g}" if _at(run.level) else "",
            f"{run.value:.2g}",
            described(analysis, run.shares),
            "" if run.value else run.reason,
        )
        for place, run in enumerate(analysis.following, 1)
    ]
    return Sheet.of(
        "Next runs, the most expected improvement for its cost first",
        ("run", "level", "cost in target runs", "expected improvement", "mixture", "why"),
        rows,
    ).filled()


def what_if_sheet(analysis: Analysis) -> Sheet:
    """Who wins under other weights."""
    rows = [
        (
            weights_said(analysis, found.weights),
            _interval(_objective(analysis, found.winner.objective)),
            _interval(_objective(analysis, found.today)),
            f"{found.changes:.0%}",
            described(analysis, found.winner.shares),
        )
        for found in analysis.what_if
    ]
    return Sheet.of(
        "What if other scores mattered more?",
        ("weights", "best under these", "today's best under these", "better than today's", "mixture"),
        rows,
    )


def described(analysis: Analysis, shares: Array) -> str:
    """A mixture in a line: its largest sources."""
    names = short_names(analysis.runs.sources)
    order = sorted(range(len(names)), key=lambda place: (-shares[place], place))
    named = [place for place in order[:SOURCES_NAMED] if shares[place] >= SMALLEST_NAMED]
    rest = 1.0 - sum(shares[place] for place in named)
    said = [f"{names[place]} {shares[place]:.0%}" for place in named]
    return ", ".join(said + ([f"others {rest:.0%}"] if rest >= SMALLEST_NAMED else []))


def weights_said(analysis: Analysis, weights: Array) -> str:
    """Weights that are not as most are."""
    columns = list(_short_columns(analysis).values())
    counted = Counter(float(f"{weight:.9g}") for weight in weights if weight > 0)
    usual = min(counted, key=lambda weight: (-counted[weight], weight))
    said = [
        f"{name} × {weight / usual:g}"
        for name, weight in zip(columns, weights, strict=True)
        if not math.isclose(weight, usual, rel_tol=1e-6)
    ]
    return ", ".join(said) or "all alike"


def _short_columns(analysis: Analysis) -> dict[str, str]:
    return dict(zip(analysis.runs.columns, short_names(analysis.runs.columns), strict=True))


def _correlation(found: Interval) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _interval(found: Interval, *, signed: bool = False) -> str:
    """Value and ends with as many decimals as the width of the interval asks for."""
    width = found.high - found.low
    decimals = 4 if width <= 0 or not math.isfinite(width) else min(8, max(0, 2 - math.floor(math.log10(width))))
    sign = "+" if signed else ""
    return f"{found.value:{sign}.{decimals}f} [{found.low:{sign}.{decimals}f}, {found.high:{sign}.{decimals}f}]"


# Plots


def foretold_figure(analysis: Analysis) -> Figure:
    """Scores of left-out runs over what was predicted for them."""
    found = next((one for one in analysis.foretold if one.column is None), None) or Foretold(
        None, None, 0.0, 0.0, 0.0, (), ()
    )
    predicted, seen = ([_seen(analysis, value) for value in values] for values in (found.predicted, found.scores))
    ends = [min((*predicted, *seen), default=0.0), max((*predicted, *seen), default=1.0)]
    traces = (
        {
            "type": "scatter",
            "mode": "lines",
            "x": ends,
            "y": ends,
            "name": "as predicted",
            "line": {"color": GREY, "dash": "dot"},
        },
        {
            "type": "scatter",
            "mode": "markers",
            "x": predicted,
            "y": seen,
            "name": "runs",
            "marker": {"color": BLUE, "size": 8},
        },
    )
    numbers = Sheet.of(
        "Predicted and seen",
        ("predicted", "seen"),
        [(number(x), number(y)) for x, y in zip(predicted, seen, strict=True)],
        numbers=True,
    )
    return Figure(
        f"Left-out runs{_at(analysis.level)}: predicted and seen",
        f"Each point is a run, predicted from all others; on the dotted line the prediction is right; {_better(analysis)} is better.",
        numbers,
        traces,
        {"xaxis": {"title": {"text": "predicted objective"}}, "yaxis": {"title": {"text": "seen"}}},
    )


def mixtures_figure(analysis: Analysis) -> Figure:
    """Expected objective of the best mixtures, with intervals."""
    places = count(1)
    named = [
        (mixture, f"predicted {next(places)}" if mixture.line is None else f"line {mixture.line}")
        for mixture in (*analysis.seen, *_predicted(analysis))
    ][::-1]
    traces = tuple(
        {
            "type": "scatter",
            "mode": "markers",
            "name": word,
            "x": [_seen(analysis, mixture.objective.value) for mixture, _ in kind],
            "y": [name for _, name in kind],
            "error_x": {
                "type": "data",
                "array": [mixture.objective.high - mixture.objective.value for mixture, _ in kind],
            },
            "text": [described(analysis, mixture.shares) for mixture, _ in kind],
            "hovertemplate": "%{text}<br>%{x:.4g}<extra></extra>",
            "marker": {"color": colour, "symbol": symbol, "size": 9},
        }
        for word, colour, symbol, kind in (
            ("predicted", VERMILION, "diamond", [pair for pair in named if pair[0].line is None]),
            ("run", BLUE, "circle", [pair for pair in named if pair[0].line is not None]),
        )
    )
    return Figure(
        "The best mixtures, with 95% intervals",
        "Expected objective at the target; what was never run there is predicted, and its interval is wider.",
        best_sheet(analysis),
        traces,
        {
            "xaxis": {"title": {"text": f"expected objective ({_better(analysis)} is better)"}},
            "yaxis": {"type": "category", "categoryorder": "array", "categoryarray": [name for _, name in named]},
        },
    )


def effects_figure(analysis: Analysis) -> Figure:
    """Effects of all sources on all scores, in standard errors."""
    columns = list(_short_columns(analysis).values())
    names = short_names(analysis.runs.sources)
    order = sorted(range(len(names)), key=lambda place: (analysis.effects[place].objective.value, names[place]))
    certain, hover = [], []
    for place in order:
        effect = analysis.effects[place]
        each = (effect.objective, *effect.columns)
        certain.append([_certainty(found) for found in each])
        hover.append([_interval(found, signed=True) for found in each])
    numbers = Sheet.of(
        "Effects of doubling, with 95% intervals",
        ("source", _objective_name(analysis), *columns),
        [(names[place], *texts) for place, texts in zip(order, hover, strict=True)][::-1],
    )
    trace = {
        "type": "heatmap",
        "x": [_objective_name(analysis), *columns],
        "y": [names[place] for place in order],
        "z": certain,
        "customdata": hover,
        "zmin": -6,
        "zmax": 6,
        "colorscale": [list(stop) for stop in DIVERGING],
        "colorbar": {"title": {"text": "standard errors"}},
        "hovertemplate": "%{y} doubled, %{x}: %{customdata}<extra></extra>",
    }
    return Figure(
        "Which source helps or hurts which score",
        "Effect of doubling a source's share in the average mixture, in standard errors: beyond 2 it is hardly luck; blue is better. "
        "The numbers are in the table below.",
        numbers,
        (trace,),
        # Names, also where they look like numbers or dates, as crawls of a year or a month are called.
        {"xaxis": {"type": "category", "tickangle": -45}, "yaxis": {"type": "category"}},
        height=max(420, 26 * len(names) + 160),
    )


def _certainty(found: Interval) -> float:
    error = (found.high - found.low) / (2 * 1.959963984540054)
    return found.value / error if error > 0 else 0.0


def objective_effects_figure(analysis: Analysis) -> Figure:
    """Effects of all sources on the objective, with intervals."""
    names = short_names(analysis.runs.sources)
    effects = [analysis.effects[place].objective for place in range(len(names))]
    shown = [Line(name, found.value, found.low, found.high) for name, found in zip(names, effects, strict=True)]
    figure = intervals(
        "What doubling a source does to the objective",
        "Change of the objective with its 95% interval; right of 0 is better.",
        sorted(shown, key=lambda line: (-line.value, line.name)),
        x="change of the objective",
        headings=("source", "95% interval"),
    )
    return replace(figure, numbers=effects_sheet(analysis))


def front_figure(analysis: Analysis) -> Figure | None:
    """The Pareto set in its first two columns; None where there is none."""
    if len(analysis.pareto) < 2 or not analysis.front:
        return None
    columns = _short_columns(analysis)
    first, second = (analysis.runs.columns.index(name) for name in analysis.pareto[:2])

    def ends(rated: Sequence[RatedMixture], place: int) -> list[float]:
        return [(one.columns[place].high - one.columns[place].low) / 2 for one in rated]

    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [rated.columns[first].value for rated in analysis.front],
        "y": [rated.columns[second].value for rated in analysis.front],
        "error_x": {"type": "data", "array": ends(analysis.front, first)},
        "error_y": {"type": "data", "array": ends(analysis.front, second)},
        "text": [described(analysis, rated.shares) for rated in analysis.front],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": BLUE, "size": 9},
    }
    layout = {
        axis: {
            "title": {
                "text": f"{columns[analysis.runs.columns[place]]} ({'lower' if analysis.runs.minimise[place] else 'higher'} is better)"
            }
        }
        for axis, place in (("xaxis", first), ("yaxis", second))
    }
    told = "Mixtures that no other is predicted to beat in every named score, with 95% intervals."
    return Figure("Trade-off", told, front_sheet(analysis), (trace,), layout)
