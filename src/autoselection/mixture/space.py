"""Mixtures that may be run: anything on the simplex within bounds, or a given list at each level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import ConfigError
from autoselection.mixture.runs import SAME_MIXTURE, TOLERANCE, Levels

Array = NDArray[np.float64]

SPREADS = (4.0, 16.0, 64.0)
"""Concentrations of the Dirichlet distributions that mixtures are drawn from around a known one."""
TRIES = 20


def _numbers(listed: Any, needed: str) -> Array:
    try:
        return np.asarray(listed, np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(needed) from error


@dataclass(frozen=True, eq=False)
class MixtureSpace:
    """What a search over mixtures chooses from.

    Attributes:
        sources: their names.
        levels: levels at which a mixture can be run, the target last.
        highest: largest share of each source, shape (sources,); None: 1.
        candidates: the only mixtures that can be run, for each level, shape (mixtures, sources); None: any.

    Raises:
        ConfigError: fewer than two sources, one named twice, bounds within which no mixture lies, or listed mixtures that are none.
    """

    sources: tuple[str, ...]
    levels: Levels
    highest: Array | None = None
    candidates: tuple[Array, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.sources) < 2:
            raise ConfigError("A mixture needs two sources or more.")
        if len(set(self.sources)) < len(self.sources):
            raise ConfigError(f"A source is named twice: {', '.join(self.sources)}.")
        if self.highest is not None:
            needed = f"highest needs one share from 0 on for each of the {len(self.sources)} sources."
            object.__setattr__(self, "highest", _numbers(self.highest, needed))
            if self.highest.shape != (len(self.sources),) or not (self.highest >= 0).all():
                raise ConfigError(needed)
            if self.highest.sum() < 1.0 - SAME_MIXTURE:
                raise ConfigError(
                    f"The largest shares of all sources sum to {self.highest.sum():g}: no mixture sums to one."
                )
        if self.candidates is not None:
            if len(self.candidates) != len(self.levels.names):
                raise ConfigError(
                    f"candidates holds {len(self.candidates)} arrays, and there are {len(self.levels.names)} levels: give one array a level, "
                    f"of the shape (mixtures, {len(self.sources)})."
                )
            needed = "candidates needs an array of shares for each level, shape (mixtures, sources)."
            object.__setattr__(self, "candidates", tuple(_numbers(listed, needed) for listed in self.candidates))
        for name, listed in zip(self.levels.names, self.candidates or (), strict=False):
            if listed.ndim != 2 or listed.shape[1] != len(self.sources):
                raise ConfigError(
                    f"Mixtures of the level '{name}' have the shape {listed.shape}, not (mixtures, {len(self.sources)})."
                )
            wrong = ~((listed >= 0).all(1) & (np.abs(listed.sum(1) - 1.0) < TOLERANCE))
            if wrong.any():
                raise ConfigError(
                    f"Mixture {int(wrong.argmax())} of the level '{name}' is none: shares are at least 0 and sum to 1."
                )

    def draw(self, count: int, rng: np.random.Generator, around: Array | None = None) -> Array:
        """Random mixtures within the bounds, shape (count, sources): half from all over the simplex, half near known ones.

        Args:
            around: mixtures that are known to be good, shape (any, sources).
        """
        sources = len(self.sources)
        made = []
        for place in range(count):
            if around is not None and len(around) and place % 2:
                centre = around[rng.integers(len(around))]
                alpha = centre * SPREADS[place // 2 % len(SPREADS)] + 0.02
            else:
                alpha = np.full(sources, (0.2, 1.0)[place // 2 % 2])
            made.append(self._within(rng.dirichlet(alpha)))
        return np.array(made)

    def _within(self, shares: Array) -> Array:
        """The mixture with what is above a bound handed to the others in proportion."""
        shares = np.maximum(shares, 1e-12)
        shares = shares / shares.sum()
        if self.highest is None:
            return np.asarray(shares)
        for _ in range(TRIES):
            over = shares > self.highest
            if not over.any():
                break
            shares = np.where(over, self.highest, shares)
            room = ~over & (shares < self.highest)
            left = 1.0 - shares.sum()
            if not room.any() or left <= 0:
                break
            shares = np.where(room, shares + left * shares / shares[room].sum(), shares)
        return np.asarray(shares / shares.sum())


def seen_bounds(shares: Array) -> Array:
    """The largest share of each source among some runs: beyond it a prediction would be a guess."""
    found: Array = shares.max(axis=0)
    return found
