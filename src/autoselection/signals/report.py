"""What scoring a pool did, signal by signal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoselection import notebook
from autoselection.language.chat import LEFT_OUT
from autoselection.signals.store import Computed
from autoselection.signals.unscored import reasons


@dataclass(frozen=True)
class SignalReport:
    """What happened to one signal.

    Attributes:
        name: signal, as in the store (``lm`` holds ifd, varentropy, rsr and the two losses).
        cached: it was there already.
        rows: rows of the pool.
        inherited: rows whose values were copied from the pool as it was before rows were appended.
        missing: rows without a score, by column.
        stats: what was counted on the way: truncated, refused_by_template, empty_response, …
        shards_resumed: shards left over by an earlier run that was stopped.
        shards_damaged: shards that could not be read and were computed again.
    """

    name: str
    key: str
    cached: bool
    seconds: float
    rows: int
    inherited: int
    missing: Mapping[str, int]
    stats: Mapping[str, int]
    params: Mapping[str, Any]
    shards_resumed: int
    shards_damaged: int

    @classmethod
    def of(cls, done: Computed, pool_fingerprint: str, rows: int) -> SignalReport:
        """The report of one result of the store."""
        return cls(
            name=done.spec.name,
            key=done.key,
            cached=done.cached,
            seconds=done.seconds,
            rows=rows,
            inherited=done.inherited,
            missing=done.missing,
            stats=done.stats,
            params=done.spec.resolved(pool_fingerprint),
            shards_resumed=done.shards_resumed,
            shards_damaged=done.shards_damaged,
        )

    def called(self, column: str) -> str:
        """What people call an array of ``missing``: of ``mona/gsm8k`` that, and not ``mona``."""
        if column == "rows" or ("/" in self.name and len(self.missing) == 1):
            return self.name
        return f"{self.name}/{column}" if "/" in self.name else column

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "key": self.key,
            "cached": self.cached,
            "seconds": round(self.seconds, 3),
            "rows": self.rows,
            "inherited": self.inherited,
            "missing": dict(self.missing),
            "stats": dict(self.stats),
            "params": dict(self.params),
            "shards_resumed": self.shards_resumed,
            "shards_damaged": self.shards_damaged,
        }


#: Share of the rows from which on it is told.
_SHARE = 0.1


def missing_scores(report: ScoreReport) -> list[str]:
    """A sentence for each signal, and reason, that more than a tenth of the rows have no score in, with the reasons by count."""
    said = []
    for signal in report.signals:
        alike: dict[tuple[tuple[str, int], ...], list[str]] = {}
        for column, count in signal.missing.items():
            if count > _SHARE * signal.rows:
                why = tuple(reasons(column, count, signal.stats).items())
                alike.setdefault(why, []).append(signal.called(column))
        for why, columns in alike.items():
            count = sum(number for _, number in why)
            told = ", ".join(f"{number:,} {reason}" for reason, number in why)
            said.append(
                f"{count:,} of {signal.rows:,} rows ({count / signal.rows:.0%}) have no {', '.join(columns)}: {told}."
            )
    return said


def cut_rows(report: ScoreReport) -> list[str]:
    """A sentence for signals whose models read more than a tenth of the rows only in part, the beginning."""
    alike: dict[tuple[int, int | None], list[SignalReport]] = {}
    for signal in report.signals:
        count = signal.stats.get("truncated", 0)
        if count > _SHARE * signal.rows:
            alike.setdefault((count, signal.params.get("max_length")), []).append(signal)
    said = []
    for (count, longest), signals in alike.items():
        limit = "" if longest is None else f"signals.max_length ({longest:,} tokens) or "
        names = [signal.called(column) for signal in signals for column in signal.missing or ("rows",)]
        said.append(
            f"{count:,} of {report.rows:,} rows ({count / report.rows:.0%}) are longer than {limit}the model's own limit: "
            f"{', '.join(names)} are of what comes before it."
        )
    return said


def unread_parts(report: ScoreReport) -> list[str]:
    """A sentence for what the chat template does not write of more than a tenth of the rows, so that no signal reads it."""
    said = []
    for name, what in LEFT_OUT.items():
        count = max((signal.stats.get(f"{name}_left_out", 0) for signal in report.signals), default=0)
        if count > _SHARE * report.rows:
            said.append(
                f"{count:,} of {report.rows:,} rows ({count / report.rows:.0%}) {what} (--chat-template or "
                "model.chat_template names another)."
            )
    return said


@dataclass(frozen=True, repr=False)
class ScoreReport:
    """What ``score_pool`` did.

    Attributes:
        signals: one report a signal.
        skipped: signals that were not asked for by name and could not be computed, with the reason.
    """

    rows: int
    signals: tuple[SignalReport, ...]
    skipped: Mapping[str, str]
    seconds: float

    def __repr__(self) -> str:
        made = sum(not signal.cached for signal in self.signals)
        there = f", {len(self.signals) - made} were there" if made < len(self.signals) else ""
        return notebook.line("ScoreReport", f"{notebook.counted(self.rows, 'row')}: {made} signals computed{there}")

    def remarks(self) -> list[str]:
        """Sentences for what signals did not score or read of many rows: all that people should know of."""
        return [*missing_scores(self), *cut_rows(self), *unread_parts(self)]

    def _repr_html_(self) -> str:
        rows = [
            (
                signal.name,
                "was there" if signal.cached else f"{signal.seconds:,.1f} s",
                max(signal.missing.values(), default=0),
            )
            for signal in self.signals
        ]
        parts = [notebook.table(("signal", "computed in", "rows without a score"), rows, what="signals", shown=100)]
        skipped = [f"{name}: not computed, {reason}" for name, reason in self.skipped.items()]
        said = [*self.remarks(), *skipped]
        return notebook.page(f"Signals of {notebook.counted(self.rows, 'row')}", {}, *parts, notebook.bullets(said))

    @property
    def keys(self) -> dict[str, str]:
        """Cache key of each signal, for ``load_table``."""
        return {signal.name: signal.key for signal in self.signals}

    @property
    def cached(self) -> bool:
        """Nothing had to be computed."""
        return all(signal.cached for signal in self.signals)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "rows": self.rows,
            "cached": self.cached,
            "seconds": round(self.seconds, 3),
            "signals": {signal.name: signal.to_dict() for signal in self.signals},
            "skipped": dict(self.skipped),
        }
