"""A pool as tables in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from autoselection.pool import Distribution, PoolDescription
from autoselection.signals import PoolStats, SignalStats
from autoselection.terminal import Terminal

_SHOWN_QUANTILES = (0.0, 0.05, 0.5, 0.95, 0.99, 1.0)
#: Sources with a row in the tables; JSON has them all.
SHOWN_SOURCES = 50


def print_pool_stats(stats: PoolStats, path: Path, console: Terminal) -> None:
    """Print what is in a pool: the whole, its sources, its lengths and its signals."""
    _print(f"Pool {path}", (), _overview(stats), console)
    _print_sources(stats, console)
    lengths = stats.description.lengths
    _print("Lengths (a row)", _headings(""), (_line(name, found) for name, found in lengths.items()), console)
    if not stats.signals:
        console.say("No signals are cached: `autoselection score` computes them.")
        return
    _print_faults(stats, console)
    lines = [_line(name, found.whole) for name, found in _measures(stats).items()]
    _print("Signals", _headings("column"), lines, console)
    _print_means(stats, console)


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


def _print_sources(stats: PoolStats, console: Terminal) -> None:
    found = stats.description
    shown = list(found.sources.items())[:SHOWN_SOURCES]
    lines = [(name, f"{rows:,}", f"{rows / max(1, found.rows):.1%}") for name, rows in shown]
    _print("Sources", ("source", "rows", "share"), [*lines, *_rest(found.sources)], console)


def _rest(sources: Mapping[str, int]) -> list[tuple[str, ...]]:
    hidden = len(sources) - SHOWN_SOURCES
    return [(f"… {hidden:,} more (see --json)",)] if hidden > 0 else []


def _measures(stats: PoolStats) -> dict[str, SignalStats]:
    """The signals but those that count faults, which have a table of their own."""
    return {name: found for name, found in stats.signals.items() if name not in (stats.faults or ())}


def _print_faults(stats: PoolStats, console: Terminal) -> None:
    if stats.faults is None:
        return
    lines = [
        (name, f"{rows:,}", f"{rows / max(1, stats.description.rows):.1%}")
        for name, rows in stats.faults.items()
        if rows
    ]
    if lines:
        _print("Rows with faults of traces", ("column", "rows", "share"), lines, console)
    else:
        console.say("No row has a fault of traces (trace_faults).")


def _print_means(stats: PoolStats, console: Terminal) -> None:
    """Mean within every source of every column that does not say the same of all rows."""
    columns = {name: found for name, found in _measures(stats).items() if _differs(found)}
    lines = []
    for source in list(stats.description.sources)[:SHOWN_SOURCES]:
        lines.append((source, *(_mean(found, source) for found in columns.values())))
    _print("Mean by source", ("source", *columns), [*lines, *_rest(stats.description.sources)], console)


def _differs(found: SignalStats) -> bool:
    quantiles = found.whole.quantiles
    return found.whole.mean is not None and (not quantiles or min(quantiles.values()) < max(quantiles.values()))


def _mean(found: SignalStats, source: str) -> str:
    within = found.sources.get(source)
    return "" if within is None or within.mean is None else _number(within.mean)


def _headings(first: str) -> tuple[str, ...]:
    return (first, "mean", *(f"p{share * 100:g}" for share in _SHOWN_QUANTILES), "missing")


def _line(name: str, found: Distribution) -> tuple[str, ...]:
    shown = [_number(found.quantiles[share]) if found.quantiles else "" for share in _SHOWN_QUANTILES]
    return (name, "" if found.mean is None else _number(found.mean), *shown, f"{found.missing:,}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _print(title: str, headings: tuple[str, ...], lines: Iterable[tuple[str, ...]], console: Terminal) -> None:
    console.table(title, headings or None, lines, numbers=bool(headings))
