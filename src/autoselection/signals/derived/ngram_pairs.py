"""Near duplicates that the scored ones do not cover: by one part of the rows, or by n-grams of another length."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import SignalError
from autoselection.segmentation import has_unit
from autoselection.signals.arrays import MinHashParams
from autoselection.signals.derived.contract import Arrays, DerivedSignal
from autoselection.signals.derived.text_groups import row_blocks
from autoselection.signals.families.minhash import minhash_signatures, signature_versions
from autoselection.signals.families.near_duplicates import (
    DEFAULT_RECALL,
    JACCARD_FLOOR,
    VERSION,
    Texts,
    near_duplicates,
)
from autoselection.signals.pairs import NearDuplicates
from autoselection.signals.table import SignalTable


class _FoundPairs(DerivedSignal):
    """Near duplicates found for a step of a recipe, by n-grams of any length.

    Args:
        made: how signatures are made, where none are stored.
        params: what else changes the result.
    """

    def __init__(self, made: MinHashParams, **params: Any) -> None:
        made_by = {**signature_versions(), "finder": VERSION}
        super().__init__(**asdict(made), recall=DEFAULT_RECALL, **made_by, **params)
        self.made = made

    def found(self, signatures: NDArray[np.uint32], texts: Texts | None) -> Arrays:
        """The arrays of the pairs that signatures propose, compared by the texts where there are any."""
        found = near_duplicates(signatures, texts, self.made.ngram_size)
        return {**found.arrays, "facts": np.array([found.stats["pairs_not_compared"], found.recall])}

    def loaded(self, table: SignalTable, *, exact: bool) -> NearDuplicates:
        """The pairs of a table; ``exact``: texts were compared."""
        arrays = self.of(table)
        skipped, recall = arrays["facts"].tolist()
        facts = {"ngram_size": self.made.ngram_size, "floor": JACCARD_FLOOR, "recall": recall, "exact": exact}
        return NearDuplicates.of_arrays(arrays, **facts, stats={"pairs_not_compared": int(skipped)})


class PartPairs(_FoundPairs):
    """The near duplicates by one part of the rows; rows in which it is empty (``absent``) are similar to none."""

    name = "part pairs"
    version = 2

    def __init__(self, part: str, ngram_size: int) -> None:
        super().__init__(MinHashParams(ngram_size), part=part)
        self.part = part

    def build(self, table: SignalTable) -> Arrays:
        fetch = table.require_parts(self.part)
        signatures, absent = signatures_of(table.n, fetch, self.made)
        arrays = self.found(signatures, fetch)
        node = np.where(absent, np.arange(table.n, dtype=np.int32), arrays["node"])
        return {**arrays, "node": node, "absent": absent}

    def pairs(self, table: SignalTable) -> tuple[NearDuplicates, NDArray[np.bool_]]:
        """The pairs, and the rows without this part."""
        return self.loaded(table, exact=True), self.of(table)["absent"]


class NgramPairs(_FoundPairs):
    """The near duplicates by n-grams of another length than the scored ones, or by the signatures of a pool without texts."""

    name = "near_duplicates"

    def __init__(self, table: SignalTable, ngram_size: int, num_perm: int) -> None:
        made = table.minhash_params or MinHashParams()
        self._signatures = table.minhash if made.ngram_size == ngram_size else None
        if table.texts is None:
            self._signatures = _shortened(table, ngram_size, num_perm)
            made = replace(made, num_perm=num_perm)
        self.uses = () if self._signatures is None else ("minhash",)
        super().__init__(replace(made, ngram_size=ngram_size), exact=table.texts is not None)

    def build(self, table: SignalTable) -> Arrays:
        values = self._signatures
        if values is None:
            assert table.texts is not None
            values, _ = signatures_of(table.n, table.texts, self.made)
        return self.found(values, table.texts)

    def pairs(self, table: SignalTable) -> NearDuplicates:
        """The pairs."""
        return self.loaded(table, exact=table.texts is not None)


def signatures_of(rows: int, texts: Texts, made: MinHashParams) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """MinHash signatures of all rows, uint32[rows, num_perm], and which texts are blank or show nothing, bool[rows].

    Args:
        texts: maps row numbers to texts, so few at once that they fit into memory.
    """
    signatures = np.empty((rows, made.num_perm), np.uint32)
    blank = np.empty(rows, bool)
    for block in row_blocks(rows):
        found = texts(block)
        signatures[block] = minhash_signatures(found, made)
        blank[block] = [not has_unit(text) for text in found]
    return signatures, blank


def near_duplicates_of(table: SignalTable, ngram_size: int, num_perm: int) -> NearDuplicates:
    """The pool's near duplicates: scored ones, those found earlier for these n-grams, or found now and stored.

    Raises:
        SignalError: the table has neither texts nor signatures for these n-grams.
    """
    scored = table.near_duplicates
    if scored is not None and scored.ngram_size == ngram_size:
        return scored
    return NgramPairs(table, ngram_size, num_perm).pairs(table)


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
