"""Pool rows as tokens, kept in a worker process from one evaluation to the next."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoselection.chat import ConversationEncoder, Encoded
from autoselection.pool import Pool

#: Tokens kept in memory per process, about five bytes each.
_CACHE_TOKENS = 50_000_000
#: Rows encoded at once: faster than one by one.
_BATCH = 256

IGNORED = -100


@dataclass(frozen=True)
class EncodedRow:
    """One trainable row: token ids and, aligned with them, labels (-100 where there is no loss).

    ``lost`` tokens were cut off its end to fit the maximum length.
    """

    input_ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    lost: int


@dataclass(frozen=True)
class EncodedSubset:
    """The trainable rows of a subset, in its order, and what was left out.

    Attributes:
        rows: the rows that have at least one token to predict.
        kept: their numbers in the pool.
        truncated: rows of the subset cut to the maximum length, dropped ones included.
        lost: tokens cut off these rows.
        no_response: rows dropped because no response token is left (or was there) to learn from.
        unrenderable: rows dropped because the chat template does not render their turns.
    """

    rows: list[EncodedRow]
    kept: NDArray[np.int64]
    truncated: int
    lost: int
    no_response: int
    unrenderable: int

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return np.array([len(row.input_ids) for row in self.rows], np.int64)

    @property
    def responses(self) -> NDArray[np.int64]:
        """Tokens of each row that have a loss."""
        return np.array([np.count_nonzero(row.labels[1:] != IGNORED) for row in self.rows], np.int64)


class RowCache:
    """Encoded rows by pool row, for one way of encoding; None for a row that the template does not render."""

    def __init__(self) -> None:
        self._rows: dict[int, EncodedRow | None] = {}
        self._tokens = 0

    def subset(
        self, pool: Pool, rows: NDArray[np.int64], encoder: ConversationEncoder, completion_only: bool
    ) -> EncodedSubset:
        """Encode the ``rows`` that are not cached yet and return all of them in order."""
        missing = [row for row in np.unique(rows).tolist() if row not in self._rows]
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            for row, encoded in zip(batch, encoder.encode_batch(pool.messages(batch)), strict=True):
                self._rows[row] = None if encoded is None else _trainable(encoded, completion_only)
                self._tokens += 0 if encoded is None else len(encoded.input_ids)
        found = [self._rows[row] for row in rows.tolist()]
        if self._tokens > _CACHE_TOKENS:
            self._rows, self._tokens = {}, 0
        rendered = [row for row in found if row is not None]
        # The first token is never predicted, so a label there teaches nothing.
        taught = [row is not None and bool((row.labels[1:] != IGNORED).any()) for row in found]
        trainable = [row for row, kept in zip(found, taught, strict=True) if row is not None and kept]
        return EncodedSubset(
            trainable,
            np.asarray(rows, np.int64)[np.array(taught, bool)],
            truncated=sum(row.lost > 0 for row in rendered),
            lost=sum(row.lost for row in rendered),
            no_response=len(rendered) - len(trainable),
            unrenderable=len(found) - len(rendered),
        )


_CACHES: OrderedDict[tuple[object, ...], RowCache] = OrderedDict()


def row_cache(key: tuple[object, ...]) -> RowCache:
    """The process's cache for one (pool, tokenizer, chat template, length, turns); only the last two are kept."""
    cache = _CACHES.pop(key, None) or RowCache()
    _CACHES[key] = cache
    while len(_CACHES) > 2:
        _CACHES.popitem(last=False)
    return cache


def _trainable(encoded: Encoded, completion_only: bool) -> EncodedRow:
    ids = np.array(encoded.input_ids, np.int32)
    labels = np.where(np.array(encoded.response, bool), ids, np.int32(IGNORED)) if completion_only else ids
    return EncodedRow(ids, labels, encoded.truncated)
