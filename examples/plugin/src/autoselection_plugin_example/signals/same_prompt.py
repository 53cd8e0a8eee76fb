"""A signal of pairs of rows: which rows ask the same question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.signals import Rows, Shard, Signal


class SamePrompt(Signal):
    """How many other rows have the same prompt, and all pairs of such neighbours: ``table.arrays["same_prompt"]``.

    A row's value depends on the other rows, so ``rowwise`` is off and ``compute`` gets the whole pool.
    """

    name = "same_prompt"
    columns = ("n_same_prompt",)
    rowwise = False

    def compute(self, rows: Rows) -> Shard:
        groups = self._groups(rows)
        return Shard({"n_same_prompt": np.bincount(groups)[groups] - 1})

    def whole(self, rows: Rows) -> Mapping[str, Any]:
        groups = self._groups(rows)
        order = np.argsort(groups, kind="stable")
        pair = groups[order][1:] == groups[order][:-1]
        return {"left": order[:-1][pair].astype(np.int32), "right": order[1:][pair].astype(np.int32)}

    def _groups(self, rows: Rows) -> NDArray[np.int64]:
        prompts = ["\n".join(m["content"] for m in messages if m["role"] == "user") for messages in rows.messages]
        return np.unique(np.asarray(prompts, np.str_), return_inverse=True)[1].reshape(-1)
