"""How far a study is before its first evaluation: reading its pool, or computing signals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from autoselection.errors import AutoSelectionError
from autoselection.pool import Pool
from autoselection.signals.scored import finished_signals, unfinished_signals
from autoselection.signals.store import SignalStore
from autoselection.study.study import Study


@dataclass(frozen=True)
class Phase:
    """What a study without an evaluation is at, or was when it was stopped.

    Attributes:
        name: ``pool``, ``signals`` or ``search``.
        rows: rows of the pool, if it is there.
        finished: signals that are there.
        unfinished: rows done of those that are being computed.
    """

    name: str
    rows: int | None = None
    finished: tuple[str, ...] = ()
    unfinished: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), "finished": list(self.finished)}

    def sentence(self) -> str:
        """For people."""
        again = "If nothing runs it, the same `autoselection search` command goes on."
        if self.name == "pool":
            return f"The study is reading its pool; nothing else has begun. {again}"
        if self.name == "search":
            return f"The signals of {self.rows:,} rows are computed; no recipe has been evaluated yet. {again}"
        done = f"{len(self.finished)} signal(s) are finished" + (
            f" ({', '.join(self.finished)})" if self.finished else ""
        )
        rows = self.rows or 0
        at = [
            f"{name} at {count:,} of {rows:,} rows ({count / max(1, rows):.0%})"
            for name, count in self.unfinished.items()
        ]
        under_way = f"; {', '.join(at)}" if at else ""
        return f"The study is computing the signals of its {rows:,} rows: {done}{under_way}. No recipe has been tried. {again}"


def study_phase(study: Study) -> Phase | None:
    """What a study is at that has no evaluation yet; None if it has one."""
    if study.journal.of("evaluation") or study.journal.of("trial"):
        return None
    opening = study.journal.of("study")
    if opening:
        return Phase("search", rows=opening[0]["rows"])
    try:
        pool = Pool.open(study.config.pool.path or study.path / "pool")
    except AutoSelectionError:  # not there yet, or not whole
        return Phase("pool")
    store = SignalStore.of(pool)
    return Phase("signals", len(pool), tuple(finished_signals(store)), unfinished_signals(store))
