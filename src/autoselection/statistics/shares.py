"""A share with an interval that is sound at 0 and 1 too, where a bootstrap has no width."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """A share of a count, with its two-sided interval."""

    value: float
    low: float
    high: float


def share_interval(share: float, count: float, *, level: float = 0.95) -> Share:
    """Wilson's score interval of a share of ``count`` independent cases (J. Am. Stat. Assoc. 22, 1927).

    Args:
        share: in [0, 1]; that of a mean over several trainings need be no whole number of cases.
        count: at least 1.
    """
    from scipy.special import ndtri

    z = float(ndtri((1.0 + level) / 2.0))
    centre = (share + z * z / (2.0 * count)) / (1.0 + z * z / count)
    half = z / (1.0 + z * z / count) * math.sqrt(share * (1.0 - share) / count + z * z / (4.0 * count * count))
    return Share(share, max(0.0, centre - half), min(1.0, centre + half))
