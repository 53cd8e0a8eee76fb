"""What is on disk of one model's part: plans and evaluations, looked up the way the tables ask."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection import former_keys
from autoselection.config import StudyConfig
from autoselection.errors import StudyError
from autoselection.evaluation import EvaluationResult
from autoselection.ledger.account import Name, evaluation_key, keyed_results
from autoselection.ledger.journal import read_events
from autoselection.ledger.settings import stored_digest
from autoselection.recipes import load_recipe
from autoselection.reproduce.config import FIRST, ReproductionConfig
from autoselection.reproduce.learning_rate import RateChoice, stored_choice, with_rate
from autoselection.reproduce.rows import Entry
from autoselection.study.kind import JOURNAL
from autoselection.tasks import sign_of

PLAN = "test_plan"

Floats = NDArray[np.float64]


def plan_settings(config: ReproductionConfig, study: StudyConfig, section: str, settings: str) -> str:
    """Changes with whatever decides what a section scores on test.

    Args:
        settings: :func:`~autoselection.ledger.settings.settings_digest` of the study (of the larger model's, for a
            transfer).
    """
    rows: dict[str, Any] = {"ablations": config.ablations}
    if section != "ablation":
        rows = {
            "methods": config.methods,
            "single_operators": config.single_operators,
            "default": load_recipe(config.default).hash,
        }
        if config.recipes:  # without any, as versions had it that did not know them
            rows["recipes"] = [load_recipe(recipe).hash for recipe in config.recipes]
    if config.first is not None and config.first != FIRST:
        rows["first"] = config.first
    if floors := floors_of(study):  # as above
        rows["floors"] = floors
    decisive = {
        "settings": settings,
        "search": former_keys.as_before(study.model_dump(mode="json"))["search"],
        "training_seeds": study.evaluation.seeds,
        "rows": rows,
        **config.model_dump(mode="json", include={"seeds", "final_seeds", "budget"}),
    }
    return hashlib.blake2b(json.dumps(decisive, sort_keys=True).encode(), digest_size=6).hexdigest()


def floors_of(study: StudyConfig) -> dict[str, str]:
    """The floor of each task that has one, as it is written in the study."""
    return {task.name: str(task.floor) for task in study.tasks if task.floor is not None}


def test_seeds(config: ReproductionConfig, entry: Entry) -> list[int]:
    """Training seeds with which a planned entry is scored on test; the base model needs one pass only."""
    return [0] if entry.kind == "base" else [seed + entry.seed for seed in config.final_seeds]


@dataclass(frozen=True)
class Stored:
    """The journal of one model's part, read without its lock.

    Attributes:
        events: of the journal, in order.
        choice: of the learning rate, where the configuration asks for one and it was made.
    """

    config: ReproductionConfig
    study: StudyConfig
    events: Sequence[Mapping[str, Any]]
    choice: RateChoice | None = None

    @classmethod
    def read(cls, config: ReproductionConfig, study: StudyConfig, folder: Path) -> Stored:
        """What is in a folder; no events if there is no journal yet. The study gets the learning rate that was chosen."""
        path = folder / JOURNAL
        stored = cls(config, study, list(read_events(path)) if path.is_file() else [])
        choice = stored_choice(config, study, stored.digest(study), stored.events) if config.learning_rates else None
        return stored if choice is None else cls(config, with_rate(study, choice.rate), stored.events, choice)

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        """Events of one kind."""
        return [event for event in self.events if event["event"] == kind]

    @property
    def pool(self) -> str | None:
        """Fingerprint of the pool, once it was opened."""
        opening = self.of("study")
        return str(opening[0]["pool"]) if opening else None

    def digest(self, study: StudyConfig) -> str:
        """The part of an evaluation's key that stands for the settings of ``study``."""
        return stored_digest(study, self.pool or "", self.events)

    def plan(self, section: str, study: StudyConfig | None = None) -> list[Entry] | None:
        """What a section scores on test; None while that is not fixed.

        Args:
            study: of the larger model, for a transfer.
        """
        event = self._plan_event(section, study)
        return None if event is None else [Entry(**entry) for entry in event["entries"]]

    def left_out(self, section: str) -> Mapping[str, str]:
        """Rows that a section could not have, and why."""
        event = self._plan_event(section, None)
        return {} if event is None else event.get("left_out", {})

    def _plan_event(self, section: str, study: StudyConfig | None) -> Mapping[str, Any] | None:
        settings = plan_settings(self.config, self.study, section, self.digest(study or self.study))
        matching = (e for e in self.of(PLAN) if e["section"] == section and e["settings"] == settings)
        return next(matching, None)

    @cached_property
    def _settings(self) -> str:
        return self.digest(self.study)

    @cached_property
    def _results(self) -> Mapping[Name, EvaluationResult]:
        return keyed_results(self.events)

    def evaluations(self, split: str, settings: str) -> list[Mapping[str, Any]]:
        """Events of the full evaluations on a split that were made by these settings."""
        return [
            event
            for event in self.of("evaluation")
            if event["split"] == split
            and event["key"] == evaluation_key(event["subset_hash"], split, event["seed"], settings)
        ]

    def result(self, subset: str, split: str, seed: int, settings: str) -> EvaluationResult | None:
        """One evaluation, if it was made."""
        return self._results.get(evaluation_key(subset, split, seed, settings))

    def on_dev(self, entry: Entry) -> list[EvaluationResult]:
        """Evaluations on dev of a planned entry in its replicate, failed ones left out; empty if it was not scored."""
        if entry.subset is None:
            return []
        seeds = [base + entry.seed for base in self.study.evaluation.seeds]
        found = [self.result(entry.subset, "dev", seed, self._settings) for seed in seeds]
        return [result for result in found if result is not None and not result.failure]

    def on_test(self, entry: Entry, settings: str) -> list[EvaluationResult | None]:
        """Evaluations on test of a planned entry, one a final seed; None where one was not made yet."""
        if entry.subset is None:
            return []
        return [self.result(entry.subset, "test", seed, settings) for seed in test_seeds(self.config, entry)]


def check_plans(stored: Stored, folder: Path) -> None:
    """See that what is journalled of the main table and the ablation was fixed by these settings.

    Raises:
        StudyError: it was not.
    """
    for event in stored.of(PLAN):
        section = event["section"]
        if section in ("main", "ablation") and stored.plan(section) is None:
            raise other_settings(section, folder)


def other_settings(section: str, folder: Path) -> StudyError:
    """What is wrong where test was scored by other settings than those that are asked for."""
    return StudyError(
        f"{folder}: test was already scored for '{section}' by other settings (budget, seeds, rows, search, pool, tasks or "
        "evaluation); restore them, or name another --out folder."
    )


def item_values(result: EvaluationResult, task: str, metric: str, search_metric: str) -> Floats | None:
    """Values of the items of a task, higher is better, float64[items]; None if the metric was not scored.

    Args:
        metric: ``score`` (the search metric, losses negative) or ``right`` (share of right answers: ``accuracy`` where
            options are compared, else ``exact_match``).
    """
    items = result.items.get(task, {})
    if metric == "score":
        values = items.get(search_metric)
        sign = sign_of(search_metric)
    else:
        values, sign = items.get("accuracy") or items.get("exact_match"), 1.0
    return None if values is None else sign * np.array(values, np.float64)
