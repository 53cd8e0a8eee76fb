"""Pool rows as tokens, kept in a worker process from one evaluation to the next."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from autoselection.evaluation.row_keys import identities
from autoselection.hashing import Hashes
from autoselection.language.chat import LEFT_OUT, ConversationEncoder, Encoded
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
#: Share of the rows that may be dropped, or cut, before a warning says so.
_TOLD_SHARE = 0.1


def lost_rows(
    read: int,
    dropped: Mapping[str, int],
    truncated: int,
    max_length: int,
    unlearnt: Mapping[str, int] = MappingProxyType({}),
    *,
    units: str = "rows",
) -> list[str]:
    """What to say of rows that a training drops or cuts, or learns less from; nothing up to a tenth of each.

    Args:
        read: rows of the subset, or of a sample of the pool.
        dropped: rows by reason, see :data:`DROPPED`.
        truncated: rows cut to the maximum length, those dropped for it included.
        max_length: longest row trained on (tokens).
        unlearnt: see :attr:`EncodedSubset.unlearnt`.
        units: what is counted: see :attr:`EncodedSubset.units`.
    """
    gone, cut = sum(dropped.values()), truncated - dropped.get("max_length", 0)
    said = []
    if gone > _TOLD_SHARE * read:
        why = "; ".join(f"{count:,} because {DROPPED[name]}" for name, count in dropped.items() if count)
        said.append(f"Training drops {gone:,} of {read:,} {units} ({gone / read:.0%}): {why}.")
    if cut > _TOLD_SHARE * read:
        said.append(f"Training cuts {cut:,} of {read:,} {units} ({cut / read:.0%}) to the maximum length.")
    if said and truncated:
        said.append(f"The maximum length is {max_length:,} tokens (evaluation.sft.max_length, or the model's context).")
    if unlearnt.get("rows", 0) > _TOLD_SHARE * read:
        said.append(
            f"{unlearnt['answers']:,} answers in {unlearnt['rows']:,} of {read:,} {units} have no loss: the chat template "
            "writes them differently once more turns follow (evaluation.sft.turns: each trains them, too)."
        )
    for name, what in LEFT_OUT.items():
        if unlearnt.get(name, 0) > _TOLD_SHARE * read:
            said.append(f"{unlearnt[name]:,} of {read:,} {units} {what} (model.chat_template names another).")
    return [" ".join(said)] if said else []


@dataclass(frozen=True)
class EncodedRow:
    """One sample of a row: token ids and, aligned with them, labels (-100 where there is no loss).

    Attributes:
        responses: tokens that are learnt from.
        lost: tokens cut off its end to fit the maximum length.
        rewritten: answers without a loss, since the chat template writes them differently once more turns follow.
        left_out: what the row has and the template never writes, see ``Encoded.left_out``.
    """

    input_ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    responses: int
    lost: int
    rewritten: int = 0
    left_out: frozenset[str] = frozenset()


class EncodedSubset:
    """The rows of a subset as tokens. A row is encoded when it is first asked for: a budget may end before most are.

    The counts are those of the rows encoded so far. Where each turn is trained as inference would produce it
    (``turns: each``), a row may be several samples: all rows are then encoded at once.

    Attributes:
        pool_rows: of every sample the row's number in the pool; every other method takes positions in this array.
        units: what the positions are, for messages: rows, or samples.
        identities: of every sample what the order of training knows it by.
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
        self.units = "samples" if encoder.turns == "each" else "rows"
        self._encode = partial(cache.rows, pool, encoder=encoder, completion_only=completion_only)
        self._rows: dict[int, EncodedRow | None] = {}
        samples: list[tuple[EncodedRow, ...]] = []
        if encoder.turns == "each":
            samples = self._encode(rows=self.pool_rows)
            self.pool_rows = np.repeat(self.pool_rows, [max(1, len(found)) for found in samples])
        self.identities: Hashes = identities(pool, self.pool_rows)
        self._lengths = np.full(len(self.pool_rows), -1, np.int64)  # -1: not encoded yet
        self._responses = np.zeros(len(self.pool_rows), np.int64)
        for position, sample in enumerate(sample for found in samples for sample in found or (None,)):
            self._take(position, sample)

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
        for position, found in zip(missing.tolist(), self._encode(rows=self.pool_rows[missing]), strict=True):
            self._take(position, found[0] if found else None)

    def _take(self, position: int, row: EncodedRow | None) -> None:
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
    def unlearnt(self) -> dict[str, int]:
        """What is not learnt of the rows, by count: ``answers`` and the ``rows`` they are in; rows without their ``tools``,
        without their ``reasoning`` and without other ``text`` of theirs.
        """
        rewritten = [row.rewritten for row in self._rendered if row.rewritten]
        left_out = Counter(name for row in self._rendered for name in row.left_out)
        return {"answers": sum(rewritten), "rows": len(rewritten), **left_out}

    @property
    def _rendered(self) -> list[EncodedRow]:
        return [row for row in self._rows.values() if row is not None]


class RowCache:
    """Encoded samples by pool row, for one way of encoding; none for a row that the template does not render."""

    def __init__(self) -> None:
        self._rows: dict[int, tuple[EncodedRow, ...]] = {}
        self._tokens = 0

    def subset(
        self, pool: Pool, rows: NDArray[np.int64], encoder: ConversationEncoder, completion_only: bool
    ) -> EncodedSubset:
        """The subset ``rows``, in their order; nothing is encoded yet."""
        return EncodedSubset(self, pool, rows, encoder, completion_only)

    def rows(
        self, pool: Pool, rows: NDArray[np.int64], encoder: ConversationEncoder, completion_only: bool
    ) -> list[tuple[EncodedRow, ...]]:
        """Encode the ``rows`` that are not cached yet and return the samples of all of them in order."""
        missing = [row for row in np.unique(rows).tolist() if row not in self._rows]
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            for row, found in zip(batch, encoder.sample_batch(pool.conversations(batch)), strict=True):
                self._rows[row] = tuple(_encoded_row(sample, completion_only) for sample in found or ())
                self._tokens += sum(len(sample.input_ids) for sample in found or ())
        encoded_rows = [self._rows[row] for row in rows.tolist()]
        if self._tokens > _CACHE_TOKENS:
            self._rows, self._tokens = {}, 0
        return encoded_rows


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
    learnt = int(np.count_nonzero(labels[1:] != IGNORED))
    return EncodedRow(ids, labels, learnt, encoded.truncated, encoded.rewritten, encoded.left_out)
