"""Recipes that may be evaluated next: what they select from the pool, and whether that is new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autoselection.operators import OperatorRegistry
from autoselection.recipes import Materialization, PrefixCache, Recipe, materialize
from autoselection.recipes.recipe import digest_steps
from autoselection.search.config import SearchConfig
from autoselection.search.overlaps import Overlaps
from autoselection.search.ranker import Point, Prediction
from autoselection.search.records import Candidate, EvaluatedCandidate, Ranked
from autoselection.signals.table import SignalTable

#: Why a draft is not worth an evaluation, as decisions count them.
BELOW_MIN_ROWS = "below min_rows"
KNOWN_SUBSET = "same subset as a known trial"
NEARLY_KNOWN = "nearly the subset of a known trial"


@dataclass(frozen=True, eq=False)
class Draft:
    """A materialized recipe that may become a candidate.

    Attributes:
        key: digest of its steps.
        edit: how it was made, in words.
        parent: whose recipe was edited.
        similarity: weighted Jaccard of its subset with each known one, see :attr:`Drafts.among`.
    """

    outcome: Materialization
    key: str
    edit: str
    similarity: NDArray[np.float64]
    parent: EvaluatedCandidate | None = None
    point: Point | None = None
    prediction: Prediction | None = None

    @property
    def record(self) -> Ranked:
        """What a decision remembers of it."""
        return Ranked(self.outcome.recipe.describe(), self.key, self.edit, len(self.outcome.rows), self.prediction)


@dataclass(eq=False)
class Proposals:
    """Drafts to choose from, by subset, and what became of the others."""

    drafts: dict[str, Draft] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    generated: int = 0
    wasted: int = 0

    def add(self, draft: Draft, problem: str | None) -> None:
        """Count a draft, and keep it unless it has a problem or its subset is there."""
        self.generated += 1
        key = draft.outcome.subset_hash
        if problem is None and key in self.drafts:
            problem = "same subset as another proposal"
        if problem:
            self.dropped[problem] += 1
        else:
            self.drafts[key] = draft


class Drafts:
    """Materializes recipes, and compares their subsets with those of the candidates so far.

    Args:
        config: its ``seed`` is that of recipes' random steps.
        earlier: subsets that earlier studies evaluated; they may be evaluated again.

    Attributes:
        weights: weight of each row in overlaps: its number of tokens.
        among: weighted Jaccard of the known subsets with each other: ``earlier``, then the candidates' in the order of their
            numbers.
        earlier: how many ``earlier`` ones there are.
    """

    def __init__(
        self,
        signals: SignalTable,
        config: SearchConfig,
        registry: OperatorRegistry,
        earlier: Sequence[NDArray[np.int64]] = (),
    ) -> None:
        self.weights = _row_weights(signals)
        self.earlier = len(earlier)
        self._signals = signals
        self._config = config
        self._registry = registry
        self._cache = PrefixCache()
        self._overlaps = Overlaps(self.weights)
        self._asked: set[str] = set()
        for rows in earlier:
            self._overlaps.add(rows)
        self.among = np.array([self._overlaps.jaccard(rows) for rows in earlier]).reshape(len(earlier), len(earlier))

    def make(self, recipe: Recipe, edit: str, key: str | None = None) -> Draft:
        """Materialize a recipe."""
        outcome = materialize(recipe, self._signals, seed=self._config.seed, registry=self._registry, cache=self._cache)
        similarity = self._overlaps.jaccard(outcome.rows)
        return Draft(outcome, key or digest_steps(outcome.recipe.steps), edit, similarity)

    def problem(self, draft: Draft) -> str | None:
        """Why a draft made since the last candidate is not worth an evaluation, if so."""
        if draft.outcome.distinct < self._config.least_rows(self._signals):
            return BELOW_MIN_ROWS
        if draft.outcome.subset_hash in self._asked:
            return KNOWN_SUBSET
        if (draft.similarity[self.earlier :] > self._config.max_jaccard).any():
            return NEARLY_KNOWN
        return None

    def place(self, candidate: Candidate) -> int:
        """Where a candidate stands among the known subsets."""
        return self.earlier + candidate.number - 1

    def asked(self, candidate: Candidate) -> None:
        """Take note of the next candidate."""
        self._asked.add(candidate.subset_hash)
        self._overlaps.add(candidate.rows)
        similarity = self._overlaps.jaccard(candidate.rows)
        self.among = np.block([[self.among, similarity[:-1, None]], [similarity]])


def by_rank(count: int) -> NDArray[np.float64]:
    """Weights 1, 1/2, 1/3 …"""
    return 1.0 / np.arange(1.0, count + 1.0)


def shares(weights: NDArray[np.float64], total: int) -> list[int]:
    """``total`` divided in proportion to ``weights``, in whole numbers."""
    bounds = np.rint(np.cumsum(weights) / weights.sum() * total).astype(int)
    return np.diff(bounds, prepend=0).tolist()  # type: ignore[no-any-return]


def _row_weights(signals: SignalTable) -> NDArray[np.float64]:
    """Weight of each row in overlaps: its number of tokens (at least 1), or 1 without token counts."""
    if "n_tokens" not in signals.columns:
        return np.ones(signals.n)
    return np.maximum(np.nan_to_num(signals.column("n_tokens").astype(np.float64), nan=1.0), 1.0)
