"""Are predictions as certain as they say? Shares of scores inside their intervals, and standardised errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from autoselection.diagnose.correlation import MIN_TRIALS, RESAMPLES, Array, Estimate, interval, resample_counts
from autoselection.statistics import share_interval

LEVELS = (0.5, 0.8, 0.95)


@dataclass(frozen=True)
class Calibration:
    """How a set of normal predictions fits the scores that came.

    Attributes:
        name: which predictions.
        trials: predictions with a score.
        covered: by level of the central interval, the share of scores inside it with its 95% Wilson interval.
        error: mean of ``(score - mu) / sigma``: 0 is unbiased, above 0 the scores were better than expected.
        spread: root mean square of the same: 1 is calibrated, above 1 the predictions were too certain.
        reason: why there are no numbers, as a short sentence.
    """

    name: str
    trials: int
    covered: Mapping[float, Estimate]
    error: Estimate | None
    spread: Estimate | None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "trials": self.trials,
            "covered": {f"{level:g}": _shown(share) for level, share in self.covered.items()},
            "standardised_error": _shown(self.error) if self.error else None,
            "standardised_spread": _shown(self.spread) if self.spread else None,
            "reason": self.reason,
        }


def _shown(found: Estimate) -> dict[str, Any]:
    return {"value": found.value, "ci95": [found.low, found.high]}


def calibrate(
    name: str, mu: Array, sigma: Array, score: Array, *, seed: int = 0, resamples: int = RESAMPLES
) -> Calibration:
    """Compare predicted means and standard deviations with scores; trials with a NaN among the three are left out.

    The surrogate's sigma is of the expected score, without the noise of one training: where that noise is large,
    shares below the level are its doing and not the model's.
    """
    known = np.isfinite(mu) & np.isfinite(sigma) & np.isfinite(score)
    z = (score[known] - mu[known]) / np.maximum(sigma[known], 1e-12)
    n = len(z)
    if n < MIN_TRIALS:
        return Calibration(name, n, {}, None, None, f"too few predictions: {n}, at least {MIN_TRIALS} are needed")
    counts = resample_counts(n, resamples, seed) / n
    covered = {level: _share(np.abs(z) <= norm.ppf(0.5 + level / 2.0)) for level in LEVELS}
    error = interval(float(z.mean()), counts @ z)
    spread = interval(float(np.sqrt((z**2).mean())), np.sqrt(counts @ z**2))
    return Calibration(name, n, covered, error, spread)


def _share(inside: Any) -> Estimate:
    found = share_interval(float(np.mean(inside)), len(inside))
    return Estimate(found.value, found.low, found.high)
