"""A comparison as tables (terminal, Markdown, JSON) and as curves (Plotly)."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

from autoselection import files
from autoselection.compare.comparison import ITEMS, Comparison, Difference, Standings
from autoselection.ledger.settings import mixed
from autoselection.markup import inline, label, table
from autoselection.progress import console as notices
from autoselection.statistics.compare import p_cell
from autoselection.terminal import Terminal


def headings(comparison: Comparison) -> tuple[str, ...]:
    """Column headings of :func:`rows`."""
    reference = comparison.reference
    return (
        "method",
        "seeds",
        "best dev score",
        f"evaluations to {reference}'s last",
        "test score",
        f"test minus {reference}",
        "95% alone",
        "p alone",
        "95% together",
        "p together",
        "rows",
        "failed",
        "s a round",
    )


def rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """One line a method, the best mean dev score first."""
    return [_row(method, comparison) for method in comparison.methods]


def _row(method: Standings, comparison: Comparison) -> tuple[str, ...]:
    rounds = max(1, sum(run.evaluations for run in method.runs))
    own = len(method.curve)
    return (
        method.method if own == comparison.budget else f"{method.method} ({own} evaluations)",
        str(len(method.runs)),
        _score(method.best_dev),
        "never" if method.evaluations_to_reference is None else str(method.evaluations_to_reference),
        "" if method.test is None else _score(method.test),
        *_difference(method.difference),
        " ".join(f"{run.rows:,}" for run in method.runs),
        str(sum(run.failed for run in method.runs)),
        f"{sum(run.seconds for run in method.runs) / rounds:.2f}",
    )


def _score(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def _difference(found: Difference | None) -> tuple[str, ...]:
    if found is None:
        return ("",) * 5
    return (
        f"{found.value:+.4f}",
        f"[{found.low:+.4f}, {found.high:+.4f}]",
        p_cell(found.p),
        "[{:+.4f}, {:+.4f}]".format(*found.together),
        p_cell(found.p_together),
    )


def _meaning(comparison: Comparison) -> str:
    """What intervals and p-values are over, and what they could have found; empty without test scores."""
    found = [method.difference for method in comparison.methods if method.difference is not None]
    if not found:
        return ""
    said = "Alone: a method by itself; together: for all methods at once. "
    if any(difference.over == ITEMS for difference in found):
        said += (
            "A method with one search is compared over test items only: other searches, and other trainings, may show "
            "something else (--seeds)."
        )
    else:
        low, high = (bound(difference.detectable for difference in found) for bound in (min, max))
        wide = f"{low:.4f}" if low == high else f"{low:.4f} to {high:.4f}, by method,"
        said += (
            f"Intervals are over searches and test items. With {min(difference.searches for difference in found)} searches a "
            f"difference of {wide} is found with 80% power, alone."
        )
    return said


def _curve_headings(comparison: Comparison) -> tuple[str, ...]:
    return ("dev score of the incumbent after", *(str(number) for number in range(1, comparison.budget + 1)))


def _curve_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    return [
        (method.method, *(_score(value) for value in method.curve[: comparison.budget]))
        for method in comparison.methods
    ]


def print_comparison(comparison: Comparison, console: Terminal) -> None:
    """Print the table of methods, and their curves."""
    title = f"{comparison.name}: methods after {comparison.budget} evaluations (higher is better)"
    for name, heads, lines in (
        (title, headings(comparison), rows(comparison)),
        ("Best so far (mean over seeds)", _curve_headings(comparison), _curve_rows(comparison)),
    ):
        console.table(name, heads, lines)
    if warned := _warning(comparison):
        console.say(warned, style="yellow")
    if said := _meaning(comparison):
        console.say(said)
    for remark in comparison.remarks:
        console.say(f"- {remark}")


def markdown(comparison: Comparison) -> str:
    """The same tables as Markdown."""
    parts = [f"# {inline(comparison.name)}: methods after {comparison.budget} evaluations", ""]
    if warned := _warning(comparison):
        parts += [f"**{inline(warned)}**", ""]
    for heads, lines in (
        (headings(comparison), rows(comparison)),
        (_curve_headings(comparison), _curve_rows(comparison)),
    ):
        parts += [*table(heads, lines), ""]
    parts.append(
        "Dev scores of incumbents are the best of several noisy ones and so biased upward; test scores are not. "
        f"{_meaning(comparison)}".rstrip()
    )
    parts += ["", *(f"- {inline(remark)}" for remark in comparison.remarks)] if comparison.remarks else []
    return "\n".join(parts) + "\n"


def _warning(comparison: Comparison) -> str:
    return mixed(comparison.arithmetics) if len(comparison.arithmetics) > 1 else ""


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Write ``comparison.json``, ``.md`` and ``.html``; without Plotly no HTML, with a notice."""
    document = json.dumps(comparison.to_dict(), allow_nan=False, indent=1) + "\n"
    files.write_texts({out / "comparison.json": document, out / "comparison.md": markdown(comparison)})
    if importlib.util.find_spec("plotly") is None:
        notices.say(
            "No plot was drawn, as Plotly is not installed: pip install 'autoselection[compare]', then run the same "
            "command again."
        )
        return
    write_plot(comparison, out / "comparison.html")


def write_plot(comparison: Comparison, path: Path) -> None:
    """Best-so-far curves: a line a method (mean over seeds), points for single seeds. One file, works offline."""
    import plotly.graph_objects as go
    from plotly.colors import qualitative

    figure = go.Figure()
    x = list(range(1, comparison.budget + 1))
    for number, method in enumerate(comparison.methods):
        colour = qualitative.D3[number % len(qualitative.D3)]
        figure.add_scatter(
            x=x,
            y=[None if math.isnan(value) else value for value in method.curve[: comparison.budget]],
            mode="lines",
            name=label(method.method),
            legendgroup=method.method,
            line={"color": colour, "shape": "hv"},
        )
        for run in method.runs if len(method.runs) > 1 else ():
            figure.add_scatter(
                x=x,
                y=[None if math.isnan(value) else value for value in run.curve[: comparison.budget]],
                mode="markers",
                name=label(f"{method.method}, seed {run.seed}"),
                legendgroup=method.method,
                showlegend=False,
                marker={"color": colour, "size": 4, "opacity": 0.5},
            )
    figure.update_layout(
        title={
            "text": label(f"{comparison.name}: best so far under {comparison.budget} evaluations"),
            "subtitle": {"text": label(_warning(comparison))},
        },
        xaxis_title="evaluations",
        yaxis_title="dev score of the incumbent",
        template="plotly_white",
    )
    figure.write_html(path, include_plotlyjs=True)
