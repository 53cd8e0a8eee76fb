"""Hashes that decide when training comes to a row: of the row's id, the training seed and the pass, and of nothing else.

Rows sorted by such keys are in random order, and in the same one whatever other rows are selected with them. Two subsets
therefore train on the rows that they share in the same order: what differs between their scores is the rows that only
one of them has, and not luck in the order of training (common random numbers).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from autoselection.hashing import Hashes, mixed
from autoselection.pool import Pool

#: What results call this order.
ORDER = "row keys"

#: Distinguishes these keys from other uses of the same seed.
_STREAM = 7
_READ_AT_ONCE = 100_000
_HASHES: OrderedDict[str, Hashes] = OrderedDict()


def identities(pool: Pool, rows: NDArray[np.int64]) -> Hashes:
    """A number for each of ``rows`` that depends on its id alone; the second, third... time a row stands there, it is
    another number.

    Returns:
        One number a row, shape (rows,).
    """
    rows = np.asarray(rows, np.int64)
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(rows) else order
    copies = np.zeros(len(rows), np.uint64)
    copies[order] = np.arange(len(rows)) - np.repeat(first, np.diff([*first, len(rows)]))
    return mixed(_id_hashes(pool)[rows] + mixed(copies))


def training_keys(identities: Hashes, seed: int, number: int) -> Hashes:
    """Hashes of pass ``number`` (from 0) over rows of these identities: training comes to the smallest first."""
    drawn = np.random.SeedSequence([_STREAM, seed, number]).generate_state(1, np.uint64)
    return mixed(identities ^ drawn)


def _id_hashes(pool: Pool) -> Hashes:
    """A hash of every row's id; kept for the last two pools, since a worker evaluates many subsets of one."""
    found = _HASHES.pop(pool.fingerprint, None)
    if found is None:
        found = np.empty(len(pool), np.uint64)
        for start in range(0, len(pool), _READ_AT_ONCE):
            ids = pool.row_ids(np.arange(start, min(start + _READ_AT_ONCE, len(pool))))
            digests = b"".join(hashlib.blake2b(row_id.encode(), digest_size=8).digest() for row_id in ids)
            found[start : start + len(ids)] = np.frombuffer(digests, "<u8")
    _HASHES[pool.fingerprint] = found
    while len(_HASHES) > 2:
        _HASHES.popitem(last=False)
    return found
