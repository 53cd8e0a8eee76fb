"""A comparison as tables (terminal, Markdown, JSON)."""

from __future__ import annotations

import json
import math
from pathlib import Path

from autoselection import files
from autoselection.compare.comparison import ITEMS, Comparison, Difference, Standings
from autoselection.ledger.settings import mixed
from autoselection.markup import inline, table
from autoselection.statistics.compare import p_cell
from autoselection.terminal import Terminal

_SHOWN = 0.00005
"""What rounds to less is shown as no difference: scores that do not vary."""
_LENT = "Of two methods, one with a single scored search is taken to vary as the other one's searches do."


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


def meaning(comparison: Comparison) -> str:
    """What intervals and p-values are over, and what they could have found; empty without test scores."""
    found = [method.difference for method in comparison.methods if method.difference is not None]
    if not found:
        return ""
    said = "Alone: a method by itself; together: for all methods at once. "
    over_items = [difference for difference in found if difference.over == ITEMS]
    lent = any(difference.searches < 2 for difference in found if difference.over != ITEMS)
    if any(difference.searches < 2 for difference in over_items):
        return said + (
            "Two methods with one scored search each are compared over test items only: other searches, and other "
            "trainings, may show something else (--seeds)." + f" {_LENT}" * lent
        )
    if over_items:
        return (
            said
            + "No task has more than one test item, so intervals and p-values say nothing of other items or searches."
        )
    said += (
        "Intervals are over searches and test items; chance in training, whose seeds all searches share, is in none. "
    )
    said += f"{_LENT} " * lent
    detectable = [f"{size:.4f}" for difference in found if (size := difference.detectable) and size >= _SHOWN]
    if not detectable:
        return said + "Scores vary over neither here, so what difference would be found cannot be said."
    low, high = min(detectable, key=float), max(detectable, key=float)
    wide = low if low == high else f"{low} to {high}, by method,"
    searches = min(difference.searches for difference in found)
    had = f"{searches} searches" if searches > 1 else "one search of one of two methods"
    return said + f"With {had} a difference of {wide} is found with 80% power, alone."


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
    if warned := warning(comparison):
        console.say(warned, style="yellow")
    if said := meaning(comparison):
        console.say(said)
    for remark in comparison.remarks:
        console.say(f"- {remark}")


def markdown(comparison: Comparison) -> str:
    """The same tables as Markdown."""
    parts = [f"# {inline(comparison.name)}: methods after {comparison.budget} evaluations", ""]
    if warned := warning(comparison):
        parts += [f"**{inline(warned)}**", ""]
    for heads, lines in (
        (headings(comparison), rows(comparison)),
        (_curve_headings(comparison), _curve_rows(comparison)),
    ):
        parts += [*table(heads, lines), ""]
    parts.append(
        "Dev scores of incumbents are the best of several noisy ones and so biased upward; test scores are not. "
        f"{meaning(comparison)}".rstrip()
    )
    parts += ["", *(f"- {inline(remark)}" for remark in comparison.remarks)] if comparison.remarks else []
    return "\n".join(parts) + "\n"


def warning(comparison: Comparison) -> str:
    """That evaluations were made with different arithmetics; empty where they were not."""
    return mixed(comparison.arithmetics) if len(comparison.arithmetics) > 1 else ""


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Write ``comparison.json`` and ``.md``."""
    document = json.dumps(comparison.to_dict(), allow_nan=False, indent=1) + "\n"
    files.write_texts({out / "comparison.json": document, out / "comparison.md": markdown(comparison)})
