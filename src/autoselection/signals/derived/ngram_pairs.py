"""Near duplicates that the scored ones do not cover: by one part of the rows, or by n-grams of another length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import SignalError
from autoselection.signals.arrays import MinHashParams
from autoselection.signals.derived.contract import Arrays, DerivedSignal
from autoselection.signals.derived.text_groups import row_blocks
from autoselection.signals.families.minhash import minhash_signatures, signature_versions
from autoselection.signals.families.near_duplicates import DEFAULT_RECALL, JACCARD_FLOOR, VERSION, near_duplicates
from autoselection.signals.pairs import Edges, NearDuplicates
from autoselection.signals.table import SignalTable


class PartPairs(DerivedSignal):
    """The near duplicates by one part of the rows; rows in which it is empty (``absent``) are similar to none."""

    name = "part pairs"

    def __init__(self, part: str, ngram_size: int) -> None:
        seed = MinHashParams().seed
        made_by = {**signature_versions(), "finder": VERSION}
        super().__init__(part=part, ngram_size=ngram_size, recall=DEFAULT_RECALL, seed=seed, **made_by)
        self.part, self.ngram_size = part, ngram_size

    def build(self, table: SignalTable) -> Arrays:
        made = replace(MinHashParams(), ngram_size=self.ngram_size)
        fetch = table.require_parts(self.part)
        signatures = np.empty((table.n, made.num_perm), np.uint32)
        absent = np.empty(table.n, bool)
        for block in row_blocks(table.n):
            texts = fetch(block)
            signatures[block] = minhash_signatures(texts, made)
            absent[block] = [not text.strip() for text in texts]
        found = near_duplicates(signatures, fetch, self.ngram_size)
        node = np.where(absent, np.arange(table.n, dtype=np.int32), found.node)
        return _arrays(found) | {"node": node, "absent": absent}

    def pairs(self, table: SignalTable) -> tuple[NearDuplicates, NDArray[np.bool_]]:
        """The pairs, and the rows without this part."""
        arrays = self.of(table)
        return _pairs(arrays, self.ngram_size, exact=True), arrays["absent"]


class NgramPairs(DerivedSignal):
    """The near duplicates by n-grams of another length than the scored ones, or by the signatures of a pool without texts."""

    name = "near_duplicates"

    def __init__(self, table: SignalTable, ngram_size: int, num_perm: int) -> None:
        made = table.minhash_params or MinHashParams()
        self._signatures = table.minhash if made.ngram_size == ngram_size else None
        by_signature = {}
        if table.texts is None:
            self._signatures = _shortened(table, ngram_size, num_perm)
            by_signature = {"num_perm": num_perm}
        self.ngram_size = ngram_size
        self.uses = () if self._signatures is None else ("minhash",)
        made_by = {**signature_versions(), "finder": VERSION}
        super().__init__(ngram_size=ngram_size, recall=DEFAULT_RECALL, seed=made.seed, **made_by, **by_signature)

    def build(self, table: SignalTable) -> Arrays:
        values = self._signatures
        if values is None:
            assert table.texts is not None
            made = replace(table.minhash_params or MinHashParams(), ngram_size=self.ngram_size)
            values = minhash_signatures(table.texts(np.arange(table.n)), made)
        found = near_duplicates(values, table.texts, self.ngram_size)
        return _arrays(found) | {"node": found.node}

    def pairs(self, table: SignalTable) -> NearDuplicates:
        """The pairs."""
        return _pairs(self.of(table), self.ngram_size, exact=table.texts is not None)


def near_duplicates_of(table: SignalTable, ngram_size: int, num_perm: int) -> NearDuplicates:
    """The pool's near duplicates: scored ones, those found earlier for these n-grams, or found now and stored.

    Raises:
        SignalError: the table has neither texts nor signatures for these n-grams.
    """
    scored = table.near_duplicates
    if scored is not None and scored.ngram_size == ngram_size:
        return scored
    return NgramPairs(table, ngram_size, num_perm).pairs(table)


def _arrays(found: NearDuplicates) -> dict[str, NDArray[Any]]:
    facts = np.array([found.stats["pairs_not_compared"], found.recall])
    edges = found.edges
    return {"left": edges.left, "right": edges.right, "similarity": edges.similarity, "facts": facts}


def _pairs(arrays: Mapping[str, NDArray[Any]], ngram_size: int, *, exact: bool) -> NearDuplicates:
    skipped, recall = arrays["facts"].tolist()
    edges = Edges(arrays["left"], arrays["right"], arrays["similarity"])
    stats = {"pairs_not_compared": int(skipped)}
    return NearDuplicates(arrays["node"], edges, ngram_size, JACCARD_FLOOR, recall, exact, stats)


def _shortened(table: SignalTable, ngram_size: int, num_perm: int) -> NDArray[np.uint32]:
    """The first ``num_perm`` values of the signatures of a pool without texts."""
    made = table.minhash_params or MinHashParams()
    cached = table.minhash
    if cached is None:
        raise SignalError(f"The pool has no MinHash signatures: {table.how_to_get('minhash')}")
    if made.ngram_size != ngram_size or cached.shape[1] < num_perm:
        raise SignalError(
            f"The pool's MinHash signatures are for ngram_size {made.ngram_size} and num_perm {cached.shape[1]}, and "
            f"without its texts none can be made for ngram_size {ngram_size} and num_perm {num_perm}: use the former, "
            f"or score the pool again with the latter."
        )
    return np.ascontiguousarray(cached[:, :num_perm])
