"""A study's own pool as search methods see it: scores come from real trainings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from autoselection.compare.rounds import Lost, Rounds
from autoselection.compare.session import EvaluationFailed, Rows
from autoselection.config import StudyConfig
from autoselection.evaluation.job import mean_scores
from autoselection.ledger import Ledger, Wanted
from autoselection.signals import SignalTable


@dataclass(frozen=True, eq=False)
class StudyScorer:
    """Scores subsets by trainings that a ledger knows or makes, averaged over ``evaluation.seeds``."""

    table: SignalTable
    ledger: Ledger
    rounds: Rounds[Wanted]

    @property
    def config(self) -> StudyConfig:
        """That of the evaluations."""
        return self.ledger.config

    @property
    def min_rows(self) -> int:
        """Smallest subset worth an evaluation, as in the study's search."""
        return self.config.search.least_rows(self.table)

    def observe(self, rows: Rows, seed: int, fidelity: float = 1.0) -> dict[str, float]:
        """Mean dev score of each task over the training seeds, each raised by ``seed``.

        Raises:
            EvaluationFailed: a training failed.
            Lost: the machine lost one for good.
        """
        wanted = [Wanted(rows, base + seed, "dev", fidelity) for base in self.config.evaluation.seeds]
        if any(self.ledger.find(item) is None for item in wanted):
            self.rounds.need(wanted)
        results = []
        for item in wanted:
            result = self.ledger.find(item)
            if result is None:
                raise Lost(self.ledger.why_lost(item))
            if result.failure is not None or not math.isfinite(result.score):
                raise EvaluationFailed(result.failure or "its score is not a number")
            results.append(result)
        return mean_scores(results)
