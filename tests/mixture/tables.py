"""Tables of runs whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SOURCES = ("web", "code", "maths", "books")
#: Losses by the logarithms of shares: each falls with its own source, and a little with a neighbour.
EFFECTS = np.array([[-0.6, 0.0, 0.0, -0.2], [0.0, -0.8, -0.2, 0.0]])


def mixtures(count: int, seed: int = 0) -> Array:
    """Mixtures of the four sources, rounded as tables round them."""
    made = np.random.default_rng(seed).dirichlet(np.full(len(SOURCES), 1.0), count)
    made = np.round(np.maximum(made, 0.01), 3)
    return np.asarray(made / made.sum(axis=1, keepdims=True))


def losses(shares: Array, slope: float = 1.0, offset: float = 3.0) -> Array:
    """Two losses, linear in the logarithms of the shares, shape (runs, 2)."""
    return np.asarray(offset + slope * np.log(np.maximum(shares, 0.005)) @ EFFECTS.T)


def two_levels(
    small: int = 30, large: int = 6, noise: float = 0.01, seed: int = 0
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Shares, values (higher is better) and levels of runs of a small and a large model; slopes differ by column."""
    rng = np.random.default_rng([seed, 1])
    shares = np.concatenate([mixtures(small, seed), mixtures(large, seed + 100)])
    levels = np.repeat([0, 1], [small, large])
    found = losses(shares)
    found[levels == 1] = losses(shares[levels == 1], 0.6, 2.0)
    found += noise * rng.standard_normal(found.shape)
    return shares, -found, levels


def write(path: Path, shares: Array, scores: Array, levels: NDArray[np.int64] | None = None) -> Path:
    """A table as a spreadsheet would write it."""
    names = ("small", "large")
    head = [*(f"share/{name}" for name in SOURCES), "loss/web", "loss/code"]
    lines = [",".join((["model"] if levels is not None else []) + head)]
    for place, (row, score) in enumerate(zip(shares, scores, strict=True)):
        level = [] if levels is None else [names[levels[place]]]
        values = ["" if np.isnan(value) else f"{value:.6f}" for value in score]
        lines.append(",".join([*level, *(f"{value:.6f}" for value in row), *values]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
