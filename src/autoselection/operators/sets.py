"""Set operations between recipes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from autoselection.operators.base import BaseOperator, Context, Outcome, Param, Rows


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
