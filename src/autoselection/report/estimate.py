"""What a study will take, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from autoselection.study.estimate import SIGNALS, Estimate, Stage
from autoselection.terminal import Terminal
from autoselection.wording import duration

#: Signals that take less than this share of the time stand in one line.
_SMALL = 0.01


def print_estimate(found: Estimate, name: str, console: Terminal) -> None:
    """Print what each stage of a study will take, and what was assumed."""
    costs = found.price is not None
    headings = [
        "stage",
        "runs",
        "rows a run",
        "tokens",
        "time",
        "time with workers",
        "memory",
        *(["cost"] if costs else []),
    ]
    lines = [_line(stage, found) for stage in _shortened(found.stages)]
    total = ["all", "", "", "", duration(found.seconds), duration(found.wall), ""]
    lines.append([*total, *([f"{found.cost(found.seconds):,.2f}"] if costs else [])])
    console.table(
        f"{name} will take (measured on {found.device} in {found.measured:.0f} s)", headings, lines, numbers=True
    )
    console.say(f"The pool has {found.rows:,} rows of {found.row_tokens:,.0f} tokens, as training reads them.")
    for sentence in found.assumptions:
        console.say(f"- {sentence}")


def _shortened(stages: Sequence[Stage]) -> list[Stage]:
    """The stages, signals that take a small part of the time in one."""
    least = _SMALL * sum(stage.seconds for stage in stages)
    small = [stage for stage in stages if stage.name.startswith(SIGNALS) and stage.seconds < least]
    if len(small) < 2:
        return list(stages)
    names = [stage.name.removeprefix(SIGNALS) for stage in small]
    joined = replace(
        small[0],
        name=f"{SIGNALS}{len(small)} others ({', '.join(names)})",
        seconds=sum(stage.seconds for stage in small),
        wall=sum(stage.wall for stage in small),
    )
    return [joined if stage is small[0] else stage for stage in stages if stage is small[0] or stage not in small]


def _line(stage: Stage, found: Estimate) -> list[str]:
    tokens = f"{stage.tokens:,.0f}" if stage.tokens else ""
    memory = "" if stage.memory is None else f"{stage.memory / 2**30:.1f} GiB"
    cells = [
        stage.name,
        f"{stage.runs:,}",
        f"{stage.rows:,}",
        tokens,
        duration(stage.seconds),
        duration(stage.wall),
        memory,
    ]
    cost = found.cost(stage.seconds)
    return [*cells, *([] if cost is None else [f"{cost:,.2f}"])]
