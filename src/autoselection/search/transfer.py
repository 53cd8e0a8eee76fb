"""What an earlier study of another pool says of the usual effects of features, for the search of the next pool."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoselection.operators import default_registry
from autoselection.search.config import SearchConfig
from autoselection.search.earlier import EarlierTrial
from autoselection.search.kernels import KernelParts
from autoselection.search.prior import LinearPrior
from autoselection.search.prior_learning import updated
from autoselection.search.proposals import Drafts
from autoselection.search.space import RecipeSpace
from autoselection.search.surrogate import coefficients
from autoselection.search.surrogate_inputs import SurrogateInputs
from autoselection.signals.table import SignalTable

LEAST = 4
"""Scores from which anything can be learnt."""


def effects_after(
    prior: LinearPrior, signals: SignalTable, config: SearchConfig, trials: Sequence[EarlierTrial], source: str
) -> LinearPrior:
    """Usual effects after an earlier study: its pool's coefficients are what its surrogate believes of them.

    Args:
        prior: usual effects before.
        signals: of the earlier study's pool.
        config: settings of its search.
        trials: its scored subsets, at least :data:`LEAST`.
        source: what to call the study.

    Raises:
        ConfigError, RecipeError: the study's operators cannot be used here.
    """
    registry = default_registry()
    space = RecipeSpace(signals, registry, config)
    inputs = SurrogateInputs(signals, config, space, Drafts(signals, config, registry))
    points = inputs.points([trial.recipe for trial in trials], [trial.rows for trial in trials])
    known = inputs.elsewhere(points, np.array([trial.score for trial in trials]))
    parts = KernelParts(known.points, (), config.surrogate, known.weights, features=known.features, priors=(prior,))
    return updated(prior, *coefficients(parts, known.scores), source)
