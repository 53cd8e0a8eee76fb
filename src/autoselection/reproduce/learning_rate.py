"""The learning rate of all trainings, chosen for full data by dev before anything else is trained.

A rate that suits small subsets can make full data worse than no training at all. Chosen for full data, it gives the row
that every other is measured against its best; whatever a search gains is then not gained from the rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoselection.config import StudyConfig
from autoselection.errors import StudyError
from autoselection.ledger import Journal, Ledger, Wanted
from autoselection.progress import console
from autoselection.reproduce.config import ReproductionConfig
from autoselection.reproduce.rows import Rows
from autoselection.terminal import styled

CHOICE = "learning_rate"
"""Journal event of the choice."""


@dataclass(frozen=True)
class RateChoice:
    """What was tried and chosen.

    Attributes:
        tried: mean dev score of full data over replicates and training seeds by learning rate; None: a training failed.
    """

    tried: Mapping[float, float | None]

    @property
    def rate(self) -> float:
        """The rate with the best score (ties: the one listed first).

        Raises:
            StudyError: trainings failed at every rate.
        """
        known = {rate: score for rate, score in self.tried.items() if score is not None}
        if not known:
            rates = ", ".join(f"{rate:g}" for rate in self.tried)
            raise StudyError(f"Training on full data failed at every learning rate ({rates}): try lower ones.")
        return max(known, key=lambda rate: known[rate])

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        tried = [{"rate": rate, "dev": score} for rate, score in self.tried.items()]
        return {"chosen": self.rate, "at_the_end": self.at_the_end, "tried": tried}

    @property
    def at_the_end(self) -> bool:
        """Whether no lower, or no higher, rate was tried than the chosen one: a better one may lie beyond."""
        return self.rate in (min(self.tried), max(self.tried))


def with_rate(study: StudyConfig, rate: float) -> StudyConfig:
    """The study with another learning rate."""
    sft = study.evaluation.sft.model_copy(update={"learning_rate": rate})
    return study.model_copy(update={"evaluation": study.evaluation.model_copy(update={"sft": sft})})


def stored_choice(
    config: ReproductionConfig, study: StudyConfig, settings: str, events: Iterable[Mapping[str, Any]]
) -> RateChoice | None:
    """The choice that a journal holds for these rates, seeds and settings; None if there is none.

    Args:
        settings: digest of the evaluations of the study as it is configured.
    """
    made_for = _made_for(config, study, settings)
    for event in events:
        if event["event"] == CHOICE and event["made_for"] == made_for:
            return RateChoice({item["rate"]: item["dev"] for item in event["tried"]})
    return None


def choose_rate(
    config: ReproductionConfig,
    study: StudyConfig,
    rows: Rows,
    journal: Journal,
    ledger_of: Callable[[StudyConfig], Ledger],
) -> RateChoice | None:
    """Train on full data at every rate of the configuration, in every replicate, and journal the best; known ones are not
    trained again. None if the configuration names no rates.

    Args:
        rows: full data.
        ledger_of: evaluations by the settings of a study.

    Raises:
        StudyError: an evaluation was lost to the machine, or training failed at every rate.
    """
    if not config.learning_rates:
        return None
    settings = ledger_of(study).account.settings
    found = stored_choice(config, study, settings, journal.events)
    if found is not None:
        return found
    wanted = [Wanted(rows, base + seed, "dev") for seed in config.seeds for base in study.evaluation.seeds]
    tried: dict[float, float | None] = {}
    for rate in config.learning_rates:
        ledger = ledger_of(with_rate(study, rate))
        if missing := len(ledger.missing(wanted)):
            console.say(styled(f"learning rate {rate:g}", "bold"), f": {missing} trainings on full data now")
        scores = [math.nan if result.failure else result.score for result in ledger.evaluate(wanted)]
        tried[rate] = float(np.mean(scores)) if all(map(math.isfinite, scores)) else None
    choice = RateChoice(tried)
    journal.append(CHOICE, made_for=_made_for(config, study, settings), **choice.to_dict())
    beyond = " It is the last of them: a better one may lie beyond." if choice.at_the_end else ""
    console.say(f"Learning rate {choice.rate:g}: the best of {len(tried)} for full data on dev.{beyond}")
    return choice


def _made_for(config: ReproductionConfig, study: StudyConfig, settings: str) -> dict[str, Any]:
    """What the choice depends on, as the journal holds it."""
    return {
        "rates": list(config.learning_rates),
        "seeds": list(config.seeds),
        "training_seeds": list(study.evaluation.seeds),
        "settings": settings,
    }
