"""Methods that are learnt from pools of the family before they search another one.

A learnt method is a function of the **names of the pools it may learn from** (:data:`benchmarks.pools.specification.NAMES`
without the one that is replayed, under ``--leave-one-out``; both base models of that one are left out). What it learns
from them, their signals, tables of trainings or a prior stored for exactly these names, is its own affair. Its settings
must name what it learnt from, for they are part of the key under which finished runs are kept.
"""

from __future__ import annotations

from collections.abc import Callable

from autoselection.compare import Method

Learnt = Callable[[tuple[str, ...]], Method]

LEARNT: dict[str, Learnt] = {}
"""By the name of the method, as on the command line."""
