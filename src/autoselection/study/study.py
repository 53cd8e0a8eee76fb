"""A study on disk: its folder, its configuration, and its journal read back as trials.

``STUDY_DIR/``: ``config.yaml`` (resolved), ``journal.jsonl``, ``subsets/tNNN.npy`` (ordered row indices),
``pool/`` (if the study ingested raw files), ``best/`` (exports), ``found/`` (those of the search's winner where the
incumbent stays), ``report.md`` (written by the command line).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.config import StudyConfig, parse_config, to_yaml
from autoselection.documents import parse_yaml, read_yaml
from autoselection.errors import StudyError
from autoselection.evaluation import EvaluationResult
from autoselection.study.journal import Journal

#: Settings that may change between two runs of one study: they decide nothing about what was already evaluated.
FREE_SETTINGS = frozenset({"benchmarks_check", "executor", "export", "final", "incumbent", "name", "version"})
#: The same inside a section: how much is spent (a change is journalled, see ``study.budget``), and how a language model
#: is reached and paid for (its stored answers are replayed).
FREE_NESTED_SETTINGS = frozenset({"search.evaluations"}) | frozenset(
    f"search.llm.{name}"
    for name in (
        "base_url",
        "api_key_env",
        "timeout",
        "retries",
        "backoff",
        "give_up_after",
        "max_total_tokens",
        "max_cost",
        "input_price",
        "output_price",
    )
)


@dataclass(frozen=True)
class Trial:
    """One evaluated (or pending) subset of the search, as the journal tells it."""

    id: str
    record: Mapping[str, Any]
    results: Mapping[int, EvaluationResult] = field(default_factory=dict)

    @property
    def fidelity(self) -> float:
        """Share of the training budget that the evaluation gets; 1 is a full evaluation."""
        return float(self.record.get("fidelity", 1.0))

    @property
    def failure(self) -> str | None:
        """Why the evaluation failed, or None."""
        return next((result.failure for result in self.results.values() if result.failure), None)

    @property
    def score(self) -> float | None:
        """Mean dev score over the training seeds (higher is better); None while pending or if a seed failed."""
        if not self.results or self.failure:
            return None
        return float(np.mean([result.score for result in self.results.values()]))

    @property
    def tasks(self) -> dict[str, float]:
        """Mean dev score of each task over the seeds."""
        if self.score is None:
            return {}
        results = list(self.results.values())
        return {name: float(np.mean([result.scores[name] for result in results])) for name in results[0].scores}

    @property
    def seconds(self) -> float:
        """Time spent on the evaluation, all seeds together (s)."""
        return float(sum(result.seconds["total"] for result in self.results.values()))


class Study:
    """A study directory.

    Attributes:
        stored_evaluations: ``search.evaluations`` of the configuration that lay there when the study was opened to run.

    Raises:
        StudyError: the directory holds no study, or one of another configuration.
    """

    def __init__(self, path: Path) -> None:
        if not (path / "journal.jsonl").exists():
            raise StudyError(f"{path}: no study there; 'autoselection search CONFIG.yaml --out {path}' starts one.")
        self.path = path
        self.config = parse_config(_stored(path / "config.yaml"), path)
        self.journal = Journal(path / "journal.jsonl")
        self.stored_evaluations = self.config.search.evaluations

    @classmethod
    def create_or_open(cls, config: StudyConfig, path: Path) -> Study:
        """Open the study in ``path``, or create it; a study of other settings is refused, naming them."""
        stored = path / "config.yaml"
        journal = path / "journal.jsonl"
        evaluations = config.search.evaluations
        if journal.exists() and stored.exists():
            # Parsed and written again: settings that a later version added have their defaults.
            study = cls(path)
            evaluations = study.config.search.evaluations
            changed = sorted(_differences(parse_yaml(to_yaml(study.config), str(stored))[0], config))
            if changed:
                raise StudyError(
                    f"{path}: the study was started with other settings ({', '.join(changed)}); "
                    "restore them, or name another --out directory."
                )
            study.check_budget(config.search.evaluations)
        path.mkdir(parents=True, exist_ok=True)
        _write_atomically(stored, to_yaml(config))
        journal.touch()
        study = cls(path)
        study.stored_evaluations = evaluations
        return study

    def check_budget(self, evaluations: int) -> None:
        """See that the search may be given that many evaluations.

        Raises:
            StudyError: more are spent.
        """
        spent = sum(trial.fidelity for trial in self.all_trials())
        if evaluations != self.config.search.evaluations and evaluations < spent - 1e-9:
            raise StudyError(
                f"{self.path}: the search has spent {spent:g} of {self.config.search.evaluations} evaluations already, so "
                f"search.evaluations cannot be {evaluations}: give {math.ceil(spent - 1e-9)} or more; a larger number goes on."
            )

    def trials(self) -> list[Trial]:
        """Full evaluations, in the order in which they were asked."""
        return self._full(math.inf)

    def _full(self, before: float) -> list[Trial]:
        return [trial for trial in self.all_trials(before) if trial.fidelity == 1.0]

    @property
    def finished(self) -> bool:
        """Whether everything the configuration asked for is done, and the search was not given another budget since."""
        last = [event["event"] for event in self.journal.events if event["event"] in ("finished", "budget")]
        return last[-1:] == ["finished"]

    def all_trials(self, before: float = math.inf) -> list[Trial]:
        """Trials in the order in which they were asked, short trainings among them.

        Args:
            before: number of a journal event; results from then on are left out.
        """
        results: dict[str, dict[int, EvaluationResult]] = {}
        for event in self.journal.of("evaluation"):
            if event["seq"] >= before:
                break
            results.setdefault(event["trial"], {})[event["seed"]] = EvaluationResult.from_dict(event["result"])
        return [
            Trial(event["trial"]["id"], event["trial"], results.get(event["trial"]["id"], {}))
            for event in self.journal.of("trial")
        ]

    def subsets(self, before: float = math.inf) -> list[Trial]:
        """Full evaluations, one a subset: its first one that did not fail, with the results of its repeats too.

        Args:
            before: number of a journal event; results from then on are left out.
        """
        groups: dict[str, list[Trial]] = {}
        for trial in self._full(before):
            groups.setdefault(trial.record["subset_hash"], []).append(trial)
        found = []
        for group in groups.values():
            good = [trial for trial in group if trial.score is not None] or group[:1]
            results = {seed: result for trial in good for seed, result in trial.results.items()}
            found.append(Trial(good[0].id, good[0].record, results))
        return found

    def best(self) -> Trial | None:
        """The subset with the best dev score, over its repeats (ties: the later one, as in the search)."""
        scored = [trial for trial in self.subsets() if trial.score is not None]
        return max(reversed(scored), key=lambda trial: trial.score or 0.0) if scored else None

    def rows(self, trial_id: str) -> NDArray[np.int64]:
        """Ordered row indices of a trial's subset."""
        return np.asarray(np.load(self.path / "subsets" / f"{trial_id}.npy", allow_pickle=False), np.int64)

    def save_rows(self, trial_id: str, rows: NDArray[np.int64]) -> None:
        """Write a trial's subset; the same trial writes the same file again."""
        folder = self.path / "subsets"
        folder.mkdir(exist_ok=True)
        temporary = folder / f".{trial_id}.tmp.npy"
        np.save(temporary, rows, allow_pickle=False)
        temporary.replace(folder / f"{trial_id}.npy")

    def final_results(self) -> dict[str, dict[int, EvaluationResult]]:
        """Test results by row of the last final plan and seed, in the planned order.

        Results of an earlier plan count where this one asks for the same rows and seed.
        """
        plans = self.journal.of("final_plan")
        hashes = [{entry["name"]: entry["subset_hash"] for entry in plan["entries"]} for plan in plans]
        table: dict[str, dict[int, EvaluationResult]] = {name: {} for name in hashes[-1]} if plans else {}
        for event in self.journal.of("test"):
            name, seed = event["name"], event["seed"]
            if name not in table or hashes[event.get("plan", 1) - 1][name] != hashes[-1][name]:
                continue
            if seed in plans[-1]["seeds"] or hashes[-1][name] is None:
                table[name][seed] = EvaluationResult.from_dict(event["result"])
        return table


def _stored(path: Path) -> Mapping[str, Any]:
    """The configuration that a study keeps, as a mapping."""
    try:
        document, _ = read_yaml(path, StudyError)
    except FileNotFoundError:
        raise StudyError(f"{path}: the study's configuration is missing; restore the file from a copy.") from None
    if not isinstance(document, dict):
        raise StudyError(f"{path}: the study's configuration is damaged; restore the file from a copy.")
    return document


def _write_atomically(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _differences(stored: Mapping[str, Any], config: StudyConfig) -> set[str]:
    """Dotted names of the settings that decide evaluations and differ."""
    current, _ = parse_yaml(to_yaml(config), "configuration")
    changed = {
        name for key in {*stored, *current} - FREE_SETTINGS for name in _changed(key, stored.get(key), current.get(key))
    }
    return changed - FREE_NESTED_SETTINGS


def _changed(name: str, old: Any, new: Any) -> set[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return {found for key in {*old, *new} for found in _changed(f"{name}.{key}", old.get(key), new.get(key))}
    return set() if old == new else {name}
