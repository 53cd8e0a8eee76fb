"""A hash of each row's text, by which exact duplicates are found."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.segmentation import same_text
from autoselection.signals.contract import Loaded, Reads, Signal
from autoselection.signals.stored import Shard, StoredSignal


class TextHash(Signal):
    """Hash of the text, by which exact duplicates are found."""

    name = "text_hash"
    arrays = ("text_hash",)
    version = 2
    reads: Reads = "texts"

    def compute(self, rows: Sequence[Any]) -> Shard:
        return Shard({"text_hash": text_hashes(rows)})

    @classmethod
    def load(cls, stored: StoredSignal) -> Loaded:
        return Loaded(arrays={"text_hash": stored.arrays["text_hash"]})


def text_hashes(texts: Iterable[str]) -> NDArray[np.uint64]:
    """64-bit BLAKE2b hash of each text (little-endian): equal for texts that are the same (``segmentation.same_text``)."""
    hashed = (hashlib.blake2b(same_text(text).encode("utf-8", "surrogatepass"), digest_size=8) for text in texts)
    return np.frombuffer(b"".join(found.digest() for found in hashed), dtype="<u8").astype(np.uint64)
