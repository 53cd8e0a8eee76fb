"""The page of a pool: what is in it, and what its signals say of each source."""

from __future__ import annotations

from pathlib import Path

from autoselection.report.figures import Interval, bars, intervals
from autoselection.report.page import Choice, Figure, Page, Part, Section, Sentences, write_page
from autoselection.report.pool import SHOWN_SOURCES, differs, measures, pool_remarks, pool_sheets
from autoselection.signals import PoolStats, SignalStats

#: Quantiles of a source that are drawn: the ends and the middle.
_LOW, _MIDDLE, _HIGH = 0.05, 0.5, 0.95


def write_pool_page(stats: PoolStats, name: str, path: Path) -> Path:
    """Write what is in a pool as an HTML page."""
    return write_page(pool_page(stats, name), path)


def pool_page(stats: PoolStats, name: str) -> Page:
    """The page of a pool."""
    sheets = pool_sheets(stats, name)
    remarks = tuple(pool_remarks(stats))
    found = stats.description
    sections = [
        Section("Overview", (sheets["overview"], *((Sentences(remarks),) if remarks else ()))),
        Section("Sources", (source_figure(stats), sheets["sources"])),
        Section("Lengths", (sheets["lengths"],)),
    ]
    signals = {name: one for name, one in measures(stats).items() if differs(one)}
    drawn = [(name, figure) for name, one in signals.items() if (figure := signal_figure(name, one)) is not None]
    parts: list[Part] = [Choice("Signal", tuple(drawn))] if drawn else []
    parts += [sheets[key] for key in ("signals", "means", "faults") if key in sheets]
    if parts:
        sections.append(Section("Signals", tuple(parts)))
    return Page(f"Pool {name}", tuple(sections), f"{found.rows:,} rows of {len(found.sources):,} sources.")


def source_figure(stats: PoolStats) -> Figure:
    """Rows of each source."""
    shown = dict(list(stats.description.sources.items())[:SHOWN_SOURCES])
    told = f"Rows of each source{', the largest ones' if len(shown) < len(stats.description.sources) else ''}."
    return bars(
        "Rows by source", told, {"rows": {name: float(rows) for name, rows in shown.items()}}, x="rows", name="source"
    )


def signal_figure(name: str, found: SignalStats) -> Figure | None:
    """Median of a signal in each source, from the 5% to the 95% quantile; None where no source has a value."""
    shown = []
    for source, one in list(found.sources.items())[:SHOWN_SOURCES]:
        low, middle, high = (one.quantiles.get(share) for share in (_LOW, _MIDDLE, _HIGH))
        if low is not None and middle is not None and high is not None:
            shown.append(Interval(source, middle, low, high))
    if not shown:
        return None
    told = "Median of each source, with the range from its 5% to its 95% quantile."
    return intervals(f"{name} by source", told, shown, x=name, zero=False, headings=("source", "5% to 95%"))
