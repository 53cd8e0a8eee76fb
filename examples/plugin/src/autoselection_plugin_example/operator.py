"""An operator of one's own: a cap on what a single source may contribute.

Register it in ``pyproject.toml``::

    [project.entry-points."autoselection.operators"]
    source_cap = "autoselection_plugin_example.operator:SourceCap"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from autoselection.operators import BaseOperator, Context, Outcome, Param, Rows
from autoselection.signals.table import SignalTable


class SourceCap(BaseOperator):
    """Keep at most so many rows of each source: the first ones in the order given, so after a filter the best ones."""

    name = "source_cap"
    family = "source"
    summary = "keeps the first rows of each source, up to a number"
    order = "the order in which the rows were given"
    published = False
    params: tuple[Param, ...] = (
        Param("rows", "int", 1000, low=1, high=1_000_000, log=True, searched=True, help="most rows of one source"),
    )

    def available(self, signals: SignalTable) -> bool:
        return len(signals.source_names) > 1

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        codes = context.signals.source[rows]
        grouped = np.argsort(codes, kind="stable")
        sizes = np.bincount(codes, minlength=len(context.signals.source_names))
        place = np.empty(len(rows), np.int64)  # of each row among those of its source
        place[grouped] = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        kept = place < params["rows"]
        return Outcome(rows[kept], notes={"sources at the cap": int(np.count_nonzero(sizes > params["rows"]))})
