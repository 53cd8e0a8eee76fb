"""What a search's random generators are for: each decision draws from one of its own."""

from __future__ import annotations

import numpy as np

# Never renumber: it would change every search.
WARMUP, EDIT, RESEED, SURROGATE, SCALE, MIXTURES = 1, 2, 3, 4, 5, 6


def generator(seed: int, trial: int, purpose: int) -> np.random.Generator:
    """The generator of one decision.

    Args:
        seed: the search's.
        trial: number of the trial that is decided; 0 for what holds for the whole search.
        purpose: one of the constants above.
    """
    return np.random.default_rng([seed, trial, purpose])
