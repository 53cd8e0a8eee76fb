"""Pairs of similar rows, listed once and then filtered by any threshold, subset and order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]

_BLOCK = 1 << 16  # pairs at a time: what is looked up for them stays in the processor's cache


@dataclass(frozen=True, eq=False)
class Edges:
    """Similar pairs of rows, the most similar first; the arrays may be memory-mapped.

    Attributes:
        left, right: int32 row numbers, left < right.
        similarity: float32, descending; pairs below the lowest threshold offered are absent.
    """

    left: NDArray[np.int32]
    right: NDArray[np.int32]
    similarity: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.left)

    @property
    def nbytes(self) -> int:
        return self.left.nbytes + self.right.nbytes + self.similarity.nbytes

    @classmethod
    def join(cls, parts: Sequence[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]) -> Edges:
        """All the pairs of the parts, most similar first; ties by rows."""
        if not parts:
            return cls(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))
        one, other, similarity = (np.concatenate(column) for column in zip(*parts, strict=True))
        left = np.minimum(one, other).astype(np.int32)
        right = np.maximum(one, other).astype(np.int32)
        similarity = similarity.astype(np.float32)
        order = np.lexsort((right, left, -similarity))
        return cls(left[order], right[order], similarity[order])

    def at_least(self, limit: float, order: IntArray) -> tuple[IntArray, IntArray]:
        """Pairs of positions (earlier, later) in ``order`` whose similarity reaches ``limit``.

        ``order`` gives each row's position in the subset, or -1.
        """
        strong = bisect_right(self.similarity, -np.float32(limit), key=lambda value: -value)
        present = order >= 0
        parts = [(np.zeros(0, order.dtype), np.zeros(0, order.dtype))]
        for start in range(0, strong, _BLOCK):
            end = min(start + _BLOCK, strong)
            left, right = self.left[start:end], self.right[start:end]
            inside = np.flatnonzero(present.take(left))
            inside = inside[present.take(right.take(inside))]
            first, second = order.take(left.take(inside)), order.take(right.take(inside))
            parts.append((np.minimum(first, second), np.maximum(first, second)))
        earlier, later = (np.concatenate(column) for column in zip(*parts, strict=True))
        return earlier, later


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """The near duplicates of a pool by the Jaccard similarity of their shingles, down to ``floor``.

    Rows with the same set of shingles are one node, named by the lowest of them; edges join nodes.

    Attributes:
        node: int32[N], the lowest row with the same shingles as each row.
        edges: pairs of nodes.
        ngram_size: words in a shingle.
        floor: lowest similarity listed.
        recall: share of the pairs at ``floor`` that are expected to be found (of more similar pairs: more).
        exact: similarities are those of the sets of shingles; else the share of equal signature values.
        stats: ``candidates`` compared, ``pairs`` found, ``pairs_not_compared`` (of groups too large to compare all).
    """

    node: NDArray[np.int32]
    edges: Edges
    ngram_size: int
    floor: float
    recall: float
    exact: bool = True
    stats: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.node)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The nodes and edges as they are stored, by name."""
        edges = self.edges
        return {"node": self.node, "left": edges.left, "right": edges.right, "jaccard": edges.similarity}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]], **facts: Any) -> NearDuplicates:
        """Those of which the arrays were stored under the names of :attr:`arrays`; ``facts`` are the other attributes."""
        edges = Edges(arrays["left"], arrays["right"], arrays["jaccard"])
        return cls(arrays["node"], edges, **facts)
