"""What earlier studies of the same pool found: subsets of it with their scores, which the surrogate learns from too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoselection.recipes import Recipe


@dataclass(frozen=True, eq=False)
class EarlierTrial:
    """A subset of this pool that an earlier study scored.

    Attributes:
        study: number of that study, from 1 on.
        recipe: what selected it.
        rows: its distinct rows.
        subset_hash: their hash.
        score: mean of its full evaluations there; higher is better.
        model: what the model is called that was trained there, if it was another one than here; else empty. That study is
            then a lower level of this search: all of its recipes may be promoted.
    """

    study: int
    recipe: Recipe
    rows: NDArray[np.int64]
    subset_hash: str
    score: float
    model: str = ""
