"""The state vector: a few numbers that describe a subset next to its pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from autoselection import notebook
from autoselection.operators import Rows
from autoselection.recipes.drift import drift, feature_counts
from autoselection.row_numbers import row_numbers
from autoselection.signals.derived.memory import kept_with
from autoselection.signals.families.mona import MONA_PREFIX
from autoselection.signals.table import SignalTable

DRIFT_AND_RELEVANCE = ("distribution_drift", "score_mean", "score_std")
"""The fields that :func:`drift_and_relevance` gives."""
SHOWN_SOURCES = 20
"""Sources that are told apart where a state is shown; a pool may have one a row."""
_OF_SOURCES = ("source_share", "source_token_share")


@dataclass(frozen=True)
class StateVector:
    """What a subset S of a pool of N rows looks like. ``None`` marks a field whose signal the pool (or S) lacks.

    Attributes:
        retain_ratio: ``|S| / N``; a row that is repeated counts as often, here and in all that follows.
        token_ratio: tokens of S over tokens of the pool.
        distribution_drift: ``||SNAR(S) - SNAR(pool)||₂ / sqrt(d)``, where ``SNAR_j`` is the share of rows in which SAE
            feature j is active and d the number of features. A feature is active in a row if it is among the row's strongest
            256 (``signals.options.sae.max_features``), which are all that is stored: in long rows, whose tokens activate
            many more, weak ones do not count (docs/signals.md says what that changes).
        score_mean: mean over rows of a row's mean MONA score over tasks.
        score_std: standard deviation of the same.
        score_per_task: mean MONA score for each task.
        mean_ifd: mean IFD over the pool's mean, clipped to [0, 2] and halved: 0.5 is like the pool.
        mean_varentropy: the same for varentropy.
        cumulative_cost_ratio: evaluations done over the budget.
        source_share: share of the rows of S that each source has.
        source_token_share: share of the tokens of S that each source has; empty without token counts.
    """

    retain_ratio: float
    token_ratio: float | None
    distribution_drift: float | None
    score_mean: float | None
    score_std: float | None
    score_per_task: Mapping[str, float | None]
    mean_ifd: float | None
    mean_varentropy: float | None
    cumulative_cost_ratio: float
    source_share: Mapping[str, float] = field(default_factory=dict)
    source_token_share: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, one key a field."""
        return {
            item.name: dict(value) if isinstance(value, Mapping) else value
            for item in fields(self)
            for value in (getattr(self, item.name),)
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> StateVector:
        """From :meth:`to_dict`; further keys are ignored."""
        return cls(**{item.name: document[item.name] for item in fields(cls) if item.name in document})

    def _repr_html_(self) -> str:
        numbers = shown_numbers([self.to_dict()])[0]
        shown = [(name, "" if value is None else value) for name, value in numbers.items()]
        return notebook.page(
            "State of a subset", {}, notebook.table(("field", "value"), shown, what="fields", shown=200)
        )

    def flat(self) -> dict[str, float | None]:
        """Every number by name; those of a mapping are called ``field/key``."""
        return _flat(self.to_dict())

    def names(self) -> tuple[str, ...]:
        """The names of :meth:`flat` that have a value here."""
        return tuple(name for name, value in self.flat().items() if value is not None)

    def vector(self, names: Sequence[str] | None = None) -> NDArray[np.float64]:
        """The numbers called ``names`` (default: :meth:`names`), float64; NaN for one that has no value here.

        Raises:
            KeyError: there is no such name.
        """
        flat = self.flat()
        values = [flat[name] for name in (self.names() if names is None else names)]
        return np.array([np.nan if value is None else value for value in values], np.float64)


def largest_sources(states: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The sources that are told apart where states, given as plain data, are shown: those with most rows in one of them.

    All of them if there are no more than one beyond :data:`SHOWN_SOURCES`.
    """
    most: dict[str, float] = {}
    for state in states:
        for name, share in (state.get("source_share") or {}).items():
            most[name] = max(most.get(name, 0.0), share)
    if len(most) <= SHOWN_SOURCES + 1:
        return frozenset(most)
    return frozenset(sorted(most, key=lambda name: -most[name])[:SHOWN_SOURCES])


def shown_states(states: Sequence[Mapping[str, Any]], sources: frozenset[str] | None = None) -> list[dict[str, Any]]:
    """States, given as plain data, as they are shown: of many sources the largest, and all others as one.

    Args:
        sources: those to tell apart, the same for states that are shown beside each other; None: :func:`largest_sources`.
    """
    kept = largest_sources(states) if sources is None else sources
    known = {name for state in states for field in _OF_SOURCES for name in state.get(field) or ()}
    others = f"{len(known - kept)} other sources"
    return [
        {name: _folded(value, kept, others) if name in _OF_SOURCES else value for name, value in state.items()}
        for state in states
    ]


def shown_numbers(
    states: Sequence[Mapping[str, Any]], sources: frozenset[str] | None = None
) -> list[dict[str, float | None]]:
    """The numbers of :func:`shown_states` by name; those of a mapping are called ``field/key``."""
    return [_flat(state) for state in shown_states(states, sources)]


def _folded(shares: Mapping[str, float], kept: frozenset[str], others: str) -> dict[str, float]:
    rest = [share for name, share in shares.items() if name not in kept]
    shown = {name: share for name, share in shares.items() if name in kept}
    return {**shown, others: sum(rest)} if rest else shown


def _flat(state: Mapping[str, Any], prefix: str = "") -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name, value in state.items():
        found |= _flat(value, f"{prefix}{name}/") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


class HasRows(Protocol):
    """What knows its rows in a pool: a subset of it, what a recipe selected, a candidate of a search."""

    @property
    def rows(self) -> Rows: ...


def state_vector(rows: Rows | HasRows, signals: SignalTable, *, cost_ratio: float = 0.0) -> StateVector:
    """The state vector of a subset of a pool; what depends on the pool alone is computed once per table.

    Args:
        rows: row indices, or what has them as ``rows``; one that stands there twice counts twice.

    Raises:
        PoolError: they are no row numbers of the pool.

    >>> import autoselection as au
    >>> import numpy as np
    >>> table = au.SignalTable.from_arrays({"ngram_entropy": [0.1, 0.9, 0.5, 0.7]})
    >>> state_vector(np.array([1, 3]), table).retain_ratio
    0.5
    """
    given: Any = rows
    wanted = row_numbers(getattr(given, "rows", given), signals.n)
    return state_vectors([wanted], signals, cost_ratio=cost_ratio)[0]


def state_vectors(subsets: Sequence[Rows], signals: SignalTable, *, cost_ratio: float = 0.0) -> list[StateVector]:
    """The state vectors of several subsets of a pool, which share the passes over its SAE features.

    Each is exactly what :func:`state_vector` gives for its subset alone.
    """
    return [
        _described(ascending(rows, signals.n), signals, moved, cost_ratio)
        for rows, moved in zip(subsets, _drifts(subsets, signals), strict=True)
    ]


def drift_and_relevance(subsets: Sequence[Rows], signals: SignalTable) -> NDArray[np.float64]:
    """:data:`DRIFT_AND_RELEVANCE` of several subsets, float64, shape ``(len(subsets), 3)``; NaN for a missing value.

    A search describes hundreds of proposals a round by these alone.
    """
    found = np.full((len(subsets), len(DRIFT_AND_RELEVANCE)), np.nan)
    for numbers, rows, moved in zip(found, subsets, _drifts(subsets, signals), strict=True):
        relevance = _relevance(ascending(rows, signals.n), signals)
        numbers[:] = [np.nan if value is None else value for value in (moved, *relevance)]
    return found


def _drifts(subsets: Sequence[Rows], signals: SignalTable) -> list[float | None]:
    found: list[float | None] = [None] * len(subsets)
    if signals.sae is not None:
        filled = [i for i, rows in enumerate(subsets) if len(rows)]
        for i, own in zip(filled, feature_counts([subsets[i] for i in filled], signals), strict=True):
            found[i] = drift(own, len(subsets[i]), signals)
    return found


def ascending(rows: Rows, n: int) -> Rows:
    """Rows of a pool of ``n``, sorted: memory is then read in its order, and sums do not depend on the order given."""
    inside = np.zeros(n, bool)
    inside[rows] = True
    found = np.flatnonzero(inside)
    return found if len(found) == len(rows) else np.sort(rows)


def _described(rows: Rows, signals: SignalTable, moved: float | None, cost_ratio: float) -> StateVector:
    count = max(1, len(rows))
    source = signals.source[rows]
    width = len(signals.source_names)
    row_shares = np.bincount(source, minlength=width) / count
    token_ratio: float | None = None
    token_shares: dict[str, float] = {}
    if "n_tokens" in signals.columns:
        tokens = _tokens(signals)[rows].astype(np.float64)
        total = float(tokens.sum())
        token_ratio = total / max(1.0, _pool_tokens(signals))
        by_source = np.bincount(source, weights=tokens, minlength=width) / max(1.0, total)
        token_shares = dict(zip(signals.source_names, by_source.tolist(), strict=True))
    score_mean, score_std = _relevance(rows, signals)
    return StateVector(
        retain_ratio=len(rows) / max(1, signals.n),
        token_ratio=token_ratio,
        distribution_drift=moved,
        score_mean=score_mean,
        score_std=score_std,
        score_per_task={task: _mean(signals.column(MONA_PREFIX + task)[rows]) for task in signals.tasks},
        mean_ifd=_ratio("ifd", rows, signals),
        mean_varentropy=_ratio("varentropy", rows, signals),
        cumulative_cost_ratio=float(cost_ratio),
        source_share=dict(zip(signals.source_names, row_shares.tolist(), strict=True)),
        source_token_share=token_shares,
    )


def _present(values: NDArray[Any]) -> NDArray[Any]:
    absent = np.isnan(values)
    return values[~absent] if absent.any() else values


def _relevance(rows: Rows, signals: SignalTable) -> tuple[float | None, float | None]:
    """Mean and standard deviation of the rows' relevance."""
    if not signals.tasks:
        return None, None
    relevance = _combined_relevance(signals)[rows]
    return _mean(relevance), _std(relevance)


def _mean(values: NDArray[Any]) -> float | None:
    present = _present(values)
    return float(present.mean(dtype=np.float64)) if len(present) else None


def _std(values: NDArray[Any]) -> float | None:
    present = _present(values)
    return float(present.std(dtype=np.float64)) if len(present) else None


def _tokens(signals: SignalTable) -> NDArray[np.float32]:
    """Tokens of each row, 0 where they are not known."""
    return kept_with(signals, "tokens", lambda: np.nan_to_num(signals.column("n_tokens")))


def _pool_tokens(signals: SignalTable) -> float:
    return kept_with(signals, "all tokens", lambda: float(_tokens(signals).sum(dtype=np.float64)))


def _combined_relevance(signals: SignalTable) -> NDArray[np.float32]:
    """Each row's mean MONA score over the tasks that score it."""

    def build() -> NDArray[np.float32]:
        total = np.zeros(signals.n, np.float64)
        scored = np.zeros(signals.n, np.int64)
        for task in signals.tasks:
            scores = signals.column(MONA_PREFIX + task)
            present = ~np.isnan(scores)
            total[present] += scores[present]
            scored += present
        return np.where(scored > 0, total / np.maximum(scored, 1), np.nan).astype(np.float32)

    return kept_with(signals, "combined relevance", build)


def _ratio(name: str, rows: Rows, signals: SignalTable) -> float | None:
    if name not in signals.columns:
        return None
    pool = kept_with(signals, ("mean", name), lambda: _mean(signals.column(name)))
    mean = _mean(signals.column(name)[rows])
    if mean is None or not pool:
        return None
    return min(2.0, max(0.0, mean / pool)) / 2
