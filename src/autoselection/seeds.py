"""What may be a seed, wherever one is given."""

from __future__ import annotations

from collections.abc import Sequence

#: Seeds are whole numbers from 0 to below this one: those that NumPy and PyTorch both take.
SEEDS_END = 2**32


def check_seeds(seeds: Sequence[int]) -> None:
    """See that every one can be a seed, and none stands twice: a training is made once for each.

    Raises:
        ValueError: part of a sentence.
    """
    if not seeds or not all(0 <= seed < SEEDS_END for seed in seeds) or len(set(seeds)) < len(seeds):
        raise ValueError(f"expected different seeds from 0 to {SEEDS_END - 1}, such as 0, 1")
