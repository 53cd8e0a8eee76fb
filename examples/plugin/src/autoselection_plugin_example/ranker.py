"""A ranker of one's own: Bayesian linear regression on the features of the subsets, instead of the Gaussian process.

Register it in ``pyproject.toml``, and name it where a search is made: ``SearchController(signals, ranker="linear")``::

    [project.entry-points."autoselection.rankers"]
    linear = "autoselection_plugin_example.ranker:LinearRanker"
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import BayesianRidge

from autoselection.search import BaseRanker, Known, Point, Prediction, SearchConfig
from autoselection.search.ranker import normal_predictions


class LinearRanker(BaseRanker):
    """Scores are linear in the features; short trainings differ from full ones by a constant."""

    def __init__(self, config: SearchConfig) -> None:
        self.config = config

    def predict(self, known: Known, points: Sequence[Point], kappa: float, seed: int) -> list[Prediction]:
        features = np.array([[*point.state, point.fidelity] for point in (*known.points, *points)])
        model = BayesianRidge().fit(features[: len(known.points)], known.scores)
        mean, deviation = model.predict(features, return_std=True)
        return normal_predictions(mean, np.maximum(deviation, 1e-9), len(known.points), kappa)
