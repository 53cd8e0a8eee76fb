"""A cut by score: its parameters, what passes it, and what all filters that make one share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.operators.base import BaseOperator, Context, Outcome, Rows
from autoselection.operators.groups import SCOPES, VECTORS, scopes_of
from autoselection.operators.param import Param, ranged
from autoselection.operators.phrases import missing_phrases, number, percent, within
from autoselection.operators.ranking import Positions, Ranking, share
from autoselection.signals.families.traces import TOOL_NAMES
from autoselection.signals.table import SignalTable


def cut_params(
    *, fraction: float, lowest_fraction: float, what: str, bounds: tuple[float, float] | None, direction: str = "high"
) -> tuple[Param, ...]:
    """The parameters of every score filter."""
    low, high = bounds or (None, None)
    return (
        Param(
            "fraction",
            "float",
            fraction,
            low=lowest_fraction,
            high=1.0,
            searched=True,
            group="cut",
            role="strength",
            help=f"share of the rows with a score to keep, rounded up{what}",
        ),
        Param("top_k", "int", low=1, group="cut", help=f"number of rows to keep{what}"),
        Param(
            "threshold",
            "float",
            low=low,
            high=high,
            group="cut",
            help="keep scores of at least (direction low: at most) this",
        ),
        Param(
            "direction",
            "choice",
            direction,
            choices=("high", "low"),
            searched=True,
            role="end",
            help="which end is kept",
        ),
        Param(
            "scope",
            "choice",
            "whole",
            choices=SCOPES,
            searched=True,
            role="scope",
            help="cut the whole subset, or each source, nearest task, cluster or set of tools called by itself",
        ),
        Param(
            "missing",
            "choice",
            "drop",
            choices=("drop", "keep"),
            role="missing",
            help="what to do with rows without a score",
        ),
    )


def best_positions(
    ranked: Ranking, positions: Positions, scores: NDArray[np.float32], params: Mapping[str, Any]
) -> Positions:
    """Those of the ascending ``positions`` in a ranking that pass the cut; ``scores`` is the whole column."""
    if params["threshold"] is not None:
        limit = np.float32(params["threshold"])
        values = scores[ranked.order[positions]]
        return positions[values >= limit if params["direction"] == "high" else values <= limit]
    if params["scope"] == "whole":
        return positions[: int(quota(params, len(positions)))]
    return ranked.first_of_groups(positions, quota(params, ranked.sizes(positions)))


def quota(params: Mapping[str, Any], total: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """How many of ``total`` rows a cut by ``fraction`` or ``top_k`` keeps."""
    if params["top_k"] is not None:
        return np.minimum(np.int64(params["top_k"]), np.asarray(total, np.int64))
    return share(params["fraction"], total)


def cut_groups(params: Mapping[str, Any]) -> str | None:
    """What the pool is ranked by; a threshold is the same cut in every group."""
    return None if params["scope"] == "whole" or params["threshold"] is not None else str(params["scope"])


def cut_by(
    overall: Ranking, ranked: Ranking, rows: Rows, scores: NDArray[np.float32], params: Mapping[str, Any]
) -> Outcome:
    """What passes a cut of :func:`~autoselection.operators.cuts.cut_params`, best first.

    Args:
        overall: the pool, ranked.
        ranked: the same within each of the groups that the cut is made in; ``overall`` if it is made of the whole.
        scores: of every row of the pool.
    """
    scored, unscored = ranked.split(rows)
    kept = best_positions(ranked, scored, scores, params)
    if ranked is not overall:
        kept = overall.positions(ranked.rows(kept))
    return cut_outcome(overall, ranked, scored, unscored, kept, params)


def cut_outcome(
    overall: Ranking,
    ranked: Ranking,
    scored: Positions,
    unscored: Positions,
    kept: Positions,
    params: Mapping[str, Any],
) -> Outcome:
    """The outcome of a cut that keeps positions in ``overall``; the others are positions in ``ranked``."""
    if params["missing"] == "keep":
        kept = np.concatenate([kept, unscored])
    return Outcome(overall.rows(kept), missing=len(unscored), best=_best(overall, ranked, scored))


def _best(overall: Ranking, ranked: Ranking, scored: Positions) -> int | None:
    """The row that stands first of all, if there is one."""
    if len(scored) == 0:
        return None
    if ranked is overall:
        return int(overall.order[scored[0]])
    return int(overall.order[overall.rank[ranked.order[scored]].min()])


class CutFilter(BaseOperator):
    """What score filters share: pool-dependent ranges, and the strength of a cut as a share of the pool."""

    #: What the highest and the lowest scores are called.
    ends = ("highest", "lowest")
    #: What the cut is made for again, in words.
    each = ""
    stand_ins = VECTORS

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        return ranged(self.params, top_k={"high": max(1, signals.n)}, scope={"choices": scopes_of(signals)})

    @staticmethod
    def scope_needs(params: Mapping[str, Any]) -> tuple[str, ...]:
        """What the scope reads."""
        return {"task": ("mona",), "cluster": ("embeddings",), "tools": (TOOL_NAMES,)}.get(
            params.get("scope", "whole"), ()
        )

    def as_fraction(self, params: Mapping[str, Any], signals: SignalTable) -> float:
        """The cut as a share of the whole pool's rows, whichever parameter decides it."""
        if params.get("fraction") is not None:
            return float(params["fraction"])
        full = {**params, "missing": "drop"}
        rows = np.arange(signals.n, dtype=np.int64)
        kept = self(rows, full, Context(signals, 0, lambda _: rows)).rows
        return len(kept) / max(1, signals.n)

    def phrases(self, params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
        low = params["direction"] == "low"
        cut = ""
        if params.get("fraction") is not None:
            cut = f"{self.ends[low]} {percent(params['fraction'])}{self.each}"
        elif params.get("top_k") is not None:
            cut = f"{self.ends[low]} {params['top_k']:,} rows{self.each}"
        elif params.get("threshold") is not None:
            cut = f"at {'most' if low else 'least'} {number(params['threshold'])}"
        elif params.get("band_low") is not None:
            cut = f"from {percent(params['band_low'])} to {percent(params['band_high'])} of the order"
        scope = [] if params["scope"] == "whole" else [within(params["scope"])]
        return [*([cut] if cut else []), *scope, *missing_phrases(params)]

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        raise NotImplementedError
