"""Set operations between recipes, all materialized on the same pool with the same seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autoselection.operators.base import BaseOperator, Context, Decision, Outcome, Rows
from autoselection.operators.judgement import Judgement
from autoselection.operators.param import Param


class Union(BaseOperator):
    """Add the rows that another recipe selects from the same pool."""

    name = "union"
    family = "set"
    summary = "adds the rows of another recipe, materialized on the same pool with the same seed"
    order = "the rows given, in their order, then the other recipe's rows not yet present, in its order"
    params: tuple[Param, ...] = (
        Param("source_recipe", "recipe", searched=True, help="id or hash of the recipe whose rows are added"),
    )

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        other = context.resolve(params["source_recipe"])
        present = np.zeros(context.signals.n, bool)
        present[rows] = True
        added = other[~present[other]]
        return Outcome(np.concatenate([rows, added]), notes={"other rows": len(other), "added": len(added)})

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        return [Judgement("rows that are given all stay")] * len(asked)


class _Compared(BaseOperator):
    """Keep rows by whether another recipe selects them."""

    family = "set"
    order = "the order in which the rows were given"
    searched = False
    published = False
    _inside: bool

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        other = context.resolve(params["source_recipe"])
        present = np.zeros(context.signals.n, bool)
        present[other] = True
        shared = present[rows]
        notes = {"other rows": len(other), "shared": int(np.count_nonzero(shared))}
        return Outcome(rows[shared if self._inside else ~shared], notes=notes)

    def judge(self, decision: Decision, asked: Rows) -> Sequence[Judgement | None]:
        stays = decision.members[asked].tolist()
        said = ("the other recipe does not select it", "the other recipe selects it too")
        return [Judgement(said[kept is self._inside]) for kept in stays]


class Intersect(_Compared):
    """Keep the rows that another recipe selects from the same pool as well."""

    name = "intersect"
    summary = "keeps the rows that another recipe selects too"
    params: tuple[Param, ...] = (
        Param(
            "source_recipe",
            "recipe",
            searched=True,
            verb="kept only the rows shared with",
            help="id or hash of the recipe whose rows are kept",
        ),
    )
    _inside = True


class Subtract(_Compared):
    """Drop the rows that another recipe selects from the same pool."""

    name = "subtract"
    summary = "drops the rows that another recipe selects"
    params: tuple[Param, ...] = (
        Param(
            "source_recipe",
            "recipe",
            searched=True,
            verb="dropped the rows of",
            help="id or hash of the recipe whose rows are dropped",
        ),
    )
    _inside = False
