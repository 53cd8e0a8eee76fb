"""How close each row's embedding comes to a benchmark item's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.signals.contract import Rows, Signal
from autoselection.signals.families.embeddings import EMBEDDING_MODEL, embed_messages
from autoselection.signals.inputs import Inputs
from autoselection.signals.needs import BENCHMARK_ITEMS, items_digest
from autoselection.signals.stored import Shard, SignalSpec


class ContaminationCosine(Signal):
    """The highest cosine of each row's embedding with that of a benchmark item, prompt and gold answer as a row."""

    name = "contamination_cosine"
    columns = ("contamination_cosine",)
    needs = (BENCHMARK_ITEMS, EMBEDDING_MODEL)
    made_from = ("embeddings",)
    cost = 3

    def spec(self, inputs: Inputs, needed: Mapping[str, SignalSpec]) -> SignalSpec:
        params = {"embeddings": needed["embeddings"].key("")}
        return SignalSpec(self.name, self.version, params, targets=items_digest(inputs.items))

    def compute(self, rows: Rows) -> Shard:
        def embed() -> NDArray[Any]:
            items = rows.inputs.items
            turns = [item.messages() for part in sorted(items) for item in items[part]]
            return np.asarray(embed_messages(turns, rows.inputs)[0])

        items = rows.inputs.keep("embedded items", embed, BENCHMARK_ITEMS)
        own = rows.needed["embeddings"].arrays["embeddings"][rows.span.start : rows.span.stop]
        found = contamination_cosine(own, items)
        absent = np.isnan(own).any(axis=1)
        stats = {"no_embedding": int(absent.sum()), "no_item_embedding": int((np.isnan(found) & ~absent).sum())}
        return Shard({"contamination_cosine": found}, stats)


def contamination_cosine(
    rows: NDArray[Any], items: NDArray[Any], block: int = 8192, items_at_once: int = 4096
) -> NDArray[np.float32]:
    """The highest cosine of each row's embedding with an item's, float32[N]; NaN for a row without an embedding.

    Args:
        rows: (N, d) unit vectors of the pool; rows of NaN have none.
        items: (M, d) unit vectors of the items, made by the same model; M >= 1.
        block, items_at_once: rows and items whose cosines are in memory at once.
    """
    towards = np.asarray(items, np.float32)
    towards = towards[~np.isnan(towards).any(axis=1)].T
    if towards.shape[1] == 0:
        return np.full(len(rows), np.nan, np.float32)
    highest = np.full(len(rows), -np.inf, np.float32)
    for start in range(0, len(rows), block):
        some = np.asarray(rows[start : start + block], np.float32)
        found = highest[start : start + block]
        for first in range(0, towards.shape[1], items_at_once):
            np.maximum(found, (some @ towards[:, first : first + items_at_once]).max(axis=1), out=found)
    return highest
