"""A signal made from other signals: it reads what they stored, and no text."""

from __future__ import annotations

import numpy as np

from autoselection.signals import Rows, Shard, Signal


class RepeatedCharacters(Signal):
    """Characters of the response that ``repetition`` calls repeated: its share times the length of ``lengths``."""

    name = "repeated_characters"
    columns = ("repeated_characters",)
    made_from = ("repetition", "lengths")

    def compute(self, rows: Rows) -> Shard:
        span = slice(rows.span.start, rows.span.stop)
        share = rows.needed["repetition"].arrays["repetition"][span]
        length = rows.needed["lengths"].arrays["n_response_characters"][span]
        return Shard({"repeated_characters": np.asarray(share * length, np.float32)})
