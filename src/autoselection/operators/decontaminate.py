"""Removal of rows that share text with the benchmarks' dev and test items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.operators.base import BaseOperator, Context, Decision, Outcome, Rows
from autoselection.operators.judgement import Judgement, shown, unscored
from autoselection.operators.param import Param
from autoselection.operators.phrases import missing_phrases, number, percent

COLUMN = "contamination"
COSINE_COLUMN = "contamination_cosine"


class Decontaminate(BaseOperator):
    """Drop the rows that contain text of a benchmark's dev or test items.

    ``contamination`` is the largest share of one item's n-grams (13 words by default) that a row contains; the default
    drops a row that shares a single one. Text that many items of a task share, such as its instruction, says nothing
    about an item and does not count. The other signal, ``contamination_cosine``, is the highest cosine of
    a row's embedding with an item's and finds paraphrases; it is read only if ``cosine_threshold`` is set. A step of
    hygiene, not of taste: it is never searched.
    """

    name = "decontaminate"
    family = "contamination"
    summary = "drops rows that overlap with the dev or test items of the benchmarks"
    order = "the order in which the rows were given"
    searched = False
    published = False
    params: tuple[Param, ...] = (
        Param(
            "threshold",
            "float",
            0.0,
            low=0.0,
            high=1.0,
            searched=True,
            help="drop rows that contain at least this share of an item's n-grams; 0: any n-gram at all",
        ),
        Param(
            "cosine_threshold",
            "float",
            low=0.0,
            high=1.0,
            optional=True,
            help="drop rows whose embedding has at least this cosine with an item's (unset: not looked at)",
        ),
        Param(
            "missing",
            "choice",
            "keep",
            choices=("drop", "keep"),
            role="missing",
            help="what to do with rows without a value",
        ),
    )

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return (COLUMN, COSINE_COLUMN) if params.get("cosine_threshold") is not None else (COLUMN,)

    def scored_by(self, params: Mapping[str, Any]) -> str | None:
        return COLUMN

    def phrases(self, params: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
        share = params["threshold"]
        found = [f"{percent(share)} of an item's n-grams" if share else "any shared n-gram"]
        if params.get("cosine_threshold") is not None:
            found.append(f"cosine {number(params['cosine_threshold'])}")
        return found + missing_phrases(params, "keep")

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        shares = context.signals.column(COLUMN)[rows]
        overlaps = [shares]
        missing = np.isnan(shares)
        dirty = (shares > 0) & (shares >= np.float32(params["threshold"]))
        notes = {"overlap with items": int(np.count_nonzero(dirty))}
        if params["cosine_threshold"] is not None:
            cosines = context.signals.column(COSINE_COLUMN)[rows]
            overlaps.append(cosines)
            alike = cosines >= np.float32(params["cosine_threshold"])
            notes["similar to items"] = int(np.count_nonzero(alike))
            missing |= np.isnan(cosines)
            dirty |= alike
        dropped = dirty | missing if params["missing"] == "drop" else dirty
        # Where every row is dropped: the one that shares least with an item, before those of which it is not known.
        keys: list[NDArray[Any]] = [rows, *reversed(overlaps)]  # the last one decides first
        best = int(rows[np.lexsort(keys)[0]]) if dropped.all() and not missing.all() else None
        return Outcome(rows[~dropped], missing=int(np.count_nonzero(missing)), notes=notes, best=best)

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        limits = {COLUMN: decision.params["threshold"], COSINE_COLUMN: decision.params["cosine_threshold"]}
        found: list[Judgement | None] = []
        for row, stays in zip(asked.tolist(), decision.members[asked].tolist(), strict=True):
            told = [
                _overlap(column, float(decision.signals.column(column)[row]), float(np.float32(limit)), stays)
                for column, limit in limits.items()
                if limit is not None
            ]
            known = [each for each in told if each.margin is not None]
            worst = min(known, key=lambda each: each.margin or 0.0, default=told[0])
            lacking = next((each for each in told if each.margin is None), None)
            dirty = any(each.margin is not None and _is_overlap(each) for each in known)
            found.append(worst if dirty or (stays and known) else lacking or worst)
        return found


def _overlap(column: str, value: float, limit: float, stays: bool) -> Judgement:
    """A row's overlap beside the limit from which on rows are dropped."""
    if np.isnan(value):
        return unscored(column, stays, "value")
    what = "share of an item's n-grams" if column == COLUMN else "cosine with an item"
    said = f"its {what} is {shown(value)}; rows are dropped from {shown(limit) if limit else 'any overlap'} on"
    return Judgement(said, column, value, limit, limit - value)


def _is_overlap(judged: Judgement) -> bool:
    """Whether the overlap alone drops the row: any n-gram does at a limit of 0."""
    value, limit = judged.value or 0.0, judged.limit or 0.0
    return value >= limit and (value > 0 or judged.signal == COSINE_COLUMN)
