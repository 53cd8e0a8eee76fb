"""A pool as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from autoselection.notebook import number
from autoselection.pool import Distribution, PoolDescription
from autoselection.report.sheet import Sheet
from autoselection.signals import PoolStats, SignalStats
from autoselection.terminal import Terminal

_SHOWN_QUANTILES = (0.0, 0.05, 0.5, 0.95, 0.99, 1.0)
#: Sources with a row in the tables; JSON has them all.
SHOWN_SOURCES = 50


def pool_sheets(stats: PoolStats, name: str) -> dict[str, Sheet]:
    """What is in a pool, as tables in their order: ``overview``, ``sources``, ``lengths``, ``faults``, ``signals``, ``means``.

    Args:
        name: of the pool.
    """
    lengths = stats.description.lengths
    sheets = {
        "overview": Sheet.of(f"Pool {name}", (), _overview(stats)),
        "sources": _source_sheet(stats),
        "lengths": _sheet("Lengths (a row)", _headings(""), (_line(name, found) for name, found in lengths.items())),
    }
    if not stats.signals:
        return sheets
    if faults := _faults(stats):
        sheets["faults"] = _sheet("Rows with faults of traces", ("column", "rows", "share"), faults)
    lines = (_line(name, found.whole) for name, found in measures(stats).items())
    return {**sheets, "signals": _sheet("Signals", _headings("column"), lines), "means": _mean_sheet(stats)}


def pool_remarks(stats: PoolStats) -> list[str]:
    """What to know besides the tables."""
    if not stats.signals:
        return ["No signals are cached: `autoselection score` computes them."]
    return [] if stats.faults is None or _faults(stats) else ["No row has a fault of traces (trace_faults)."]


def print_pool_stats(stats: PoolStats, path: Path, console: Terminal) -> None:
    """Print what is in a pool: the whole, its sources, its lengths and its signals."""
    for sheet in pool_sheets(stats, str(path)).values():
        sheet.print(console)
    for said in pool_remarks(stats):
        console.say(said)


def _overview(stats: PoolStats) -> list[tuple[str, str]]:
    found = stats.description
    lines = [
        ("rows", f"{found.rows:,} ({found.skipped:,} more were skipped)"),
        ("appended", " + ".join(f"{rows:,}" for rows in found.appended) or "nothing"),
        ("sources", f"{len(found.sources):,}"),
        ("size", f"{found.bytes / 1e6:,.1f} MB"),
        ("fingerprint", found.fingerprint),
        ("turns", ", ".join(f"{role} {turns:,}" for role, turns in found.roles.items())),
        ("rows of several answers", _share(found.multi_turn, found)),
        ("rows with more than texts", _typed(found)),
        (
            "rows with a system prompt",
            f"{_share(found.system_prompts.rows, found)}, {found.system_prompts.distinct:,} distinct",
        ),
        (
            "rows with the same text as another",
            f"{_share(found.exact_duplicates.rows, found)}, {found.exact_duplicates.extra:,} superfluous",
        ),
        ("rows with the same prompt as another", _share(found.same_prompt.rows, found)),
    ]
    if stats.near_duplicates is None:
        lines.append(("near duplicates", "not computed"))
    else:
        near = [f"{rows:,} at {level:g}" for level, rows in stats.near_duplicates.items()]
        lines.append(("rows with a near duplicate", ", ".join(near)))
    tokens = ", ".join(f"{token} {count:,}" for token, count in found.special_tokens.items()) or "none"
    lines.append(("special tokens in the text", f"{tokens} ({found.special_token_rows:,} rows)"))
    return lines


def _typed(found: PoolDescription) -> str:
    """Rows with tools, calls, reasoning and the like, those that there are."""
    said = [f"{name.replace('_', ' ')} {_share(rows, found)}" for name, rows in found.rows_with.items() if rows]
    return ", ".join(said) or "none"


def _share(rows: int, found: PoolDescription) -> str:
    return f"{rows:,} ({rows / max(1, found.rows):.1%})"


def _source_sheet(stats: PoolStats) -> Sheet:
    found = stats.description
    shown = list(found.sources.items())[:SHOWN_SOURCES]
    lines = [(name, f"{rows:,}", f"{rows / max(1, found.rows):.1%}") for name, rows in shown]
    return _sheet("Sources", ("source", "rows", "share"), [*lines, *_rest(found.sources)])


def _rest(sources: Mapping[str, int]) -> list[tuple[str, ...]]:
    hidden = len(sources) - SHOWN_SOURCES
    return [(f"… {hidden:,} more (see --json)",)] if hidden > 0 else []


def measures(stats: PoolStats) -> dict[str, SignalStats]:
    """The signals but those that count faults, which have a table of their own."""
    return {name: found for name, found in stats.signals.items() if name not in (stats.faults or ())}


def _faults(stats: PoolStats) -> list[tuple[str, str, str]]:
    return [
        (name, f"{rows:,}", f"{rows / max(1, stats.description.rows):.1%}")
        for name, rows in (stats.faults or {}).items()
        if rows
    ]


def _mean_sheet(stats: PoolStats) -> Sheet:
    """Mean within every source of every column that does not say the same of all rows."""
    columns = {name: found for name, found in measures(stats).items() if differs(found)}
    lines = [
        (source, *(_mean(found, source) for found in columns.values()))
        for source in list(stats.description.sources)[:SHOWN_SOURCES]
    ]
    return _sheet("Mean by source", ("source", *columns), [*lines, *_rest(stats.description.sources)])


def differs(found: SignalStats) -> bool:
    """Whether a signal has more than one value."""
    quantiles = found.whole.quantiles
    return found.whole.mean is not None and (not quantiles or min(quantiles.values()) < max(quantiles.values()))


def _mean(found: SignalStats, source: str) -> str:
    within = found.sources.get(source)
    return "" if within is None or within.mean is None else number(within.mean)


def _headings(first: str) -> tuple[str, ...]:
    return (first, "mean", *(f"p{share * 100:g}" for share in _SHOWN_QUANTILES), "missing")


def _line(name: str, found: Distribution) -> tuple[str, ...]:
    shown = [number(found.quantiles[share]) if found.quantiles else "" for share in _SHOWN_QUANTILES]
    return (name, "" if found.mean is None else number(found.mean), *shown, f"{found.missing:,}")


def _sheet(title: str, headings: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> Sheet:
    return Sheet.of(title, headings, lines, numbers=True)
