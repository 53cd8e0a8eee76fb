"""What signals yield besides columns of scores: sparse vectors, the settings of signatures, unit vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MinHashParams:
    """How the signatures of a table were made: word n-grams of ``ngram_size``, ``num_perm`` permutations, ``seed``."""

    ngram_size: int = 5
    num_perm: int = 128
    seed: int = 0


@dataclass(frozen=True, eq=False)
class SparseRows:
    """Non-negative sparse vectors, one a row, in compressed sparse row form; the arrays may be memory-mapped.

    Row i holds ``values[indptr[i]:indptr[i+1]]`` at the dimensions ``indices[...]``, ascending and distinct.

    Attributes:
        indptr: int64[N+1].
        indices: int32[nnz].
        values: float32, float16 or uint8 [nnz], all > 0.
        d: width of the vectors.
        scale: float32[N] if the values are uint8: row i holds ``scale[i] * values``.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    values: NDArray[Any]
    d: int
    scale: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """Non-zeros of each row, int64[N]."""
        return np.diff(self.indptr)

    def row(self, i: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Indices and values of one row."""
        span = slice(int(self.indptr[i]), int(self.indptr[i + 1]))
        return self.indices[span], self.floats(i, i + 1)

    def floats(self, start: int = 0, stop: int | None = None) -> NDArray[np.float32]:
        """The values of rows ``start`` to ``stop`` (default: all) as float32."""
        stop = len(self) if stop is None else stop
        bounds = np.asarray(self.indptr[start : stop + 1])
        values: NDArray[np.float32] = np.asarray(self.values[int(bounds[0]) : int(bounds[-1])], np.float32)
        return values if self.scale is None else values * np.repeat(self.scale[start:stop], np.diff(bounds))

    def take(self, rows: NDArray[np.int64]) -> SparseRows:
        """The given rows, in the given order, in memory."""
        counts = self.counts[rows]
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(counts, out=indptr[1:])
        where = np.arange(indptr[-1]) + np.repeat(self.indptr[:-1][rows] - indptr[:-1], counts)
        scale = None if self.scale is None else self.scale[rows]
        return SparseRows(indptr, self.indices[where], self.values[where], self.d, scale)

    def to_scipy(self) -> Any:
        """The same rows as ``scipy.sparse.csr_matrix`` of shape (N, d), float32; indices share memory where they can."""
        return self._matrix(self.floats())

    def active(self) -> Any:
        """Where the rows are not zero, as ``scipy.sparse.csr_matrix`` of int8 ones; the values are not read."""
        return self._matrix(np.ones(len(self.indices), np.int8))

    def _matrix(self, data: NDArray[Any]) -> Any:
        from scipy.sparse import csr_matrix

        matrix = csr_matrix((len(self), self.d), dtype=data.dtype)
        matrix.data = data
        matrix.indices = np.asarray(self.indices)
        matrix.indptr = np.asarray(self.indptr)
        if matrix.indptr[-1] <= np.iinfo(np.int32).max:  # scipy wants both index arrays alike
            matrix.indptr = matrix.indptr.astype(np.int32)
        else:
            matrix.indices = matrix.indices.astype(np.int64)
        return matrix

    @classmethod
    def from_dense(cls, dense: NDArray[Any]) -> SparseRows:
        """Keep the positive entries of a dense (N, d) array."""
        dense = np.asarray(dense, np.float32)
        rows, columns = np.nonzero(dense > 0)
        indptr = np.zeros(len(dense) + 1, np.int64)
        np.cumsum(np.bincount(rows, minlength=len(dense)), out=indptr[1:])
        return cls(indptr, columns.astype(np.int32), dense[rows, columns], int(dense.shape[1]))


def unit_rows(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """The rows of a dense array scaled to unit length, float32; rows of zeros become NaN: they have no direction."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, np.nan), np.float32)
