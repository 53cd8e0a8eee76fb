"""Pool rows as tokens, kept in a worker process from one evaluation to the next."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from autoselection.chat import ConversationEncoder, Encoded
from autoselection.pool import Pool

#: Tokens kept in memory per process, about five bytes each.
_CACHE_TOKENS = 50_000_000
#: Rows encoded at once: faster than one by one.
_BATCH = 256

IGNORED = -100

#: Why rows are not trained on.
DROPPED = {
    "max_length": "their prompts fill the maximum length",
    "no_response": "they have no response",
    "template": "the chat template does not render their turns",
    "trainer": "the trainer cannot hold them",
}
#: Share of the rows that may be dropped, or cut, before it is said.
_TOLD_SHARE = 0.1


def lost_rows(read: int, dropped: Mapping[str, int], truncated: int, max_length: int) -> list[str]:
    """What to say of rows that a training drops or cuts; nothing up to a tenth of each.

    Args:
        read: rows of the subset, or of a sample.
        dropped: rows by reason, see :data:`DROPPED`.
        truncated: rows cut to the maximum length, those dropped for it included.
        max_length: longest row trained on (tokens).
    """
    gone, cut = sum(dropped.values()), truncated - dropped.get("max_length", 0)
    said = []
    if gone > _TOLD_SHARE * read:
        why = "; ".join(f"{count:,} because {DROPPED[name]}" for name, count in dropped.items() if count)
        said.append(f"Training drops {gone:,} of {read:,} rows ({gone / read:.0%}): {why}.")
    if cut > _TOLD_SHARE * read:
        said.append(f"Training cuts {cut:,} of {read:,} rows ({cut / read:.0%}) to the maximum length.")
    if said and truncated:
        said.append(f"The maximum length is {max_length:,} tokens (evaluation.sft.max_length, or the model's context).")
    return [" ".join(said)] if said else []


@dataclass(frozen=True)
class EncodedRow:
    """One rendered row: token ids and, aligned with them, labels (-100 where there is no loss).

    ``responses`` tokens are learnt from, and ``lost`` tokens were cut off its end to fit the maximum length.
    """

    input_ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    responses: int
    lost: int


class EncodedSubset:
    """The rows of a subset as tokens. A row is encoded when it is first asked for: a budget may end before most are.

    The counts are those of the rows encoded so far.

    Attributes:
        pool_rows: the subset's rows, by their numbers in the pool; every other method takes positions in this array.
    """

    def __init__(
        self,
        cache: RowCache,
        pool: Pool,
        pool_rows: NDArray[np.int64],
        encoder: ConversationEncoder,
        completion_only: bool,
    ) -> None:
        self.pool_rows = np.asarray(pool_rows, np.int64)
        self._encode = partial(cache.rows, pool, encoder=encoder, completion_only=completion_only)
        self._rows: dict[int, EncodedRow | None] = {}
        self._lengths = np.full(len(self.pool_rows), -1, np.int64)  # -1: not encoded yet
        self._responses = np.zeros(len(self.pool_rows), np.int64)

    def __len__(self) -> int:
        return len(self.pool_rows)

    def trainable(self, positions: NDArray[np.int64]) -> list[EncodedRow]:
        """The rows at ``positions``, each with a token to predict."""
        self._read(positions)
        found = [row for position in positions.tolist() if (row := self._rows[position]) is not None and row.responses]
        assert len(found) == len(positions), "a row without a response was scheduled"
        return found

    def lengths(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of each row at ``positions``; 0 where there is nothing to learn from."""
        self._read(positions)
        return np.asarray(self._lengths[positions])

    def responses(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of each row at ``positions`` that have a loss."""
        self._read(positions)
        return np.asarray(self._responses[positions])

    def _read(self, positions: NDArray[np.int64]) -> None:
        """Encode those of the rows that are not yet."""
        missing = np.unique(positions[self._lengths[positions] < 0])
        if not len(missing):
            return
        for position, row in zip(missing.tolist(), self._encode(rows=self.pool_rows[missing]), strict=True):
            self._rows[position] = row
            self._responses[position] = 0 if row is None else row.responses
            self._lengths[position] = 0 if row is None or not row.responses else len(row.input_ids)

    @property
    def truncated(self) -> int:
        """Rows cut to the maximum length, those left without a response included."""
        return sum(row.lost > 0 for row in self._rendered)

    @property
    def lost(self) -> int:
        """Tokens cut off these rows."""
        return sum(row.lost for row in self._rendered)

    @property
    def read(self) -> int:
        """Rows encoded so far."""
        return len(self._rows)

    @property
    def dropped(self) -> dict[str, int]:
        """Rows that cannot be trained on by reason, see :data:`DROPPED`."""
        bare = [row for row in self._rendered if row.responses == 0]
        cut = sum(row.lost > 0 for row in bare)
        return {
            "max_length": cut,
            "no_response": len(bare) - cut,
            "template": len(self._rows) - len(self._rendered),
        }

    @property
    def _rendered(self) -> list[EncodedRow]:
        return [row for row in self._rows.values() if row is not None]


class RowCache:
    """Encoded rows by pool row, for one way of encoding; None for a row that the template does not render."""

    def __init__(self) -> None:
        self._rows: dict[int, EncodedRow | None] = {}
        self._tokens = 0

    def subset(
        self, pool: Pool, rows: NDArray[np.int64], encoder: ConversationEncoder, completion_only: bool
    ) -> EncodedSubset:
        """The subset ``rows``, in their order; nothing is encoded yet."""
        return EncodedSubset(self, pool, rows, encoder, completion_only)

    def rows(
        self, pool: Pool, rows: NDArray[np.int64], encoder: ConversationEncoder, completion_only: bool
    ) -> list[EncodedRow | None]:
        """Encode the ``rows`` that are not cached yet and return all of them in order."""
        missing = [row for row in np.unique(rows).tolist() if row not in self._rows]
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            for row, encoded in zip(batch, encoder.encode_batch(pool.messages(batch)), strict=True):
                self._rows[row] = None if encoded is None else _encoded_row(encoded, completion_only)
                self._tokens += 0 if encoded is None else len(encoded.input_ids)
        found = [self._rows[row] for row in rows.tolist()]
        if self._tokens > _CACHE_TOKENS:
            self._rows, self._tokens = {}, 0
        return found


_CACHES: OrderedDict[tuple[object, ...], RowCache] = OrderedDict()


def row_cache(key: tuple[object, ...]) -> RowCache:
    """The process's cache for one (pool, tokenizer, chat template, length, turns); only the last two are kept."""
    cache = _CACHES.pop(key, None) or RowCache()
    _CACHES[key] = cache
    while len(_CACHES) > 2:
        _CACHES.popitem(last=False)
    return cache


def _encoded_row(encoded: Encoded, completion_only: bool) -> EncodedRow:
    ids = np.array(encoded.input_ids, np.int32)
    labels = np.where(np.array(encoded.response, bool), ids, np.int32(IGNORED)) if completion_only else ids
    # The first token is never predicted, so a label there teaches nothing.
    return EncodedRow(ids, labels, int(np.count_nonzero(labels[1:] != IGNORED)), encoded.truncated)
