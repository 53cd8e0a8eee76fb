"""Real evaluations of subsets, each made once: shared by all methods, kept in a journal as they end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoselection.compare.rounds import Lost, Rounds
from autoselection.compare.session import EvaluationFailed, Rows
from autoselection.compare.settings import EVENT, arithmetics, known_digest, mixed, settings_record
from autoselection.config import StudyConfig
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.evaluation.job import EvaluationSplit
from autoselection.evaluation.remarks import remark_notes
from autoselection.executors import Executor
from autoselection.progress import console
from autoselection.recipes import subset_hash
from autoselection.signals import SignalTable
from autoselection.study.journal import Journal
from autoselection.study.prepare import Prepared
from autoselection.terminal import styled

#: Stands for the hash of the rows where there was no training.
UNTRAINED = "untrained"


def evaluation_key(subset: str, split: str, seed: int, settings: str) -> str:
    """How a full evaluation is named in the journal; ``subset`` is the hash of its rows."""
    return f"{subset}/{split}/{seed}/{settings}"


@dataclass(frozen=True, eq=False)
class Wanted:
    """A training and scoring that somebody needs.

    Attributes:
        rows: the subset, in row order (its order is no part of the key); None is the base model without training.
        seed: training seed.
        split: what is scored.
        fidelity: share of the training budget; 1 is a full evaluation.
    """

    rows: Rows | None
    seed: int
    split: EvaluationSplit
    fidelity: float = 1.0

    @property
    def subset(self) -> str:
        """Hash of the set of rows."""
        return UNTRAINED if self.rows is None else subset_hash(self.rows)

    @property
    def size(self) -> int:
        """Number of rows."""
        return 0 if self.rows is None else len(self.rows)

    def key(self, settings: str) -> str:
        """Subset hash, split, training seed, settings and fidelity: what makes two evaluations the same."""
        short = "" if self.fidelity == 1.0 else f"/{self.fidelity:.6f}"
        return evaluation_key(self.subset, self.split, self.seed, settings) + short


class Evaluations:
    """What was evaluated so far, and the means to evaluate more.

    Args:
        journal: open for writing; holds the finished evaluations.
        folder: of the comparison; trainings work below it.
    """

    def __init__(
        self, config: StudyConfig, prepared: Prepared, journal: Journal, executor: Executor, folder: Path
    ) -> None:
        self.config = config
        self.prepared = prepared
        record = settings_record(config, prepared.pool.fingerprint)
        self.settings = record["digest"]
        if known_digest(record["named"], journal.events) != self.settings:
            journal.append(EVENT, **record)
        self.made = 0
        self._journal = journal
        self._executor = executor
        self._folder = folder
        self._results = {
            event["key"]: EvaluationResult.from_dict(event["result"]) for event in journal.of("evaluation")
        }
        self.lost: dict[str, str] = {}
        self._warned = False

    def find(self, wanted: Wanted) -> EvaluationResult | None:
        """The result, if it is there."""
        return self._results.get(wanted.key(self.settings))

    def why_lost(self, wanted: Wanted) -> str | None:
        """Why the machine lost it in this run, if it did."""
        return self.lost.get(wanted.key(self.settings))

    def evaluate(self, wanted: Sequence[Wanted]) -> None:
        """Evaluate what is not there yet, side by side; every result is on disk before the next is awaited.

        An evaluation that the machine lost for good is journalled and listed in ``lost``; it is tried again when the
        comparison is started again. A training that failed by its own fault is a result.
        """
        missing = {item.key(self.settings): item for item in wanted}
        missing = {key: item for key, item in missing.items() if key not in self._results and key not in self.lost}
        keys = list(missing)
        for index, result in self._executor.run([self._job(missing[key]) for key in keys]):
            item, key = missing[keys[index]], keys[index]
            if result.failure_kind == "infrastructure":
                self.lost[key] = result.failure or "no reason given"
                self._journal.append("interruption", key=key, reason=result.failure)
                continue
            self._journal.append(
                "evaluation",
                key=key,
                subset_hash=item.subset,
                rows=item.size,
                split=item.split,
                seed=item.seed,
                fidelity=item.fidelity,
                result=result.to_dict(),
            )
            self._results[key] = result
            self.made += 1
            for remark in result.remarks:
                console.say(styled(f"{item.split}, {item.size:,} rows, seed {item.seed}", "yellow"), f": {remark}")
            self._warn_of_other_arithmetic()
            said = (
                [f"score {result.score:.4f}"]
                if result.failure is None
                else [styled("failed", "red"), f": {result.failure}"]
            )
            console.say(
                f"{item.split}  {item.size:,} rows, seed {item.seed}  ", *said, f"  {result.seconds['total']:.1f} s"
            )

    @property
    def remarks(self) -> list[str]:
        """What the evaluations kept here remarked."""
        return remark_notes([(f"{result.train_rows:,} rows", result) for result in self._results.values()])

    @property
    def arithmetics(self) -> list[str]:
        """Kinds of device and number that the evaluations kept here were made with."""
        return arithmetics(result.settings for result in self._results.values())

    def _warn_of_other_arithmetic(self) -> None:
        if not self._warned and len(found := self.arithmetics) > 1:
            self._warned = True
            console.say(mixed(found), style="yellow")

    def _job(self, item: Wanted) -> EvaluationJob:
        model, settings = self.config.model, self.config.evaluation
        if item.fidelity < 1.0:
            settings = settings.model_copy(update={"sft": settings.sft.shortened(item.fidelity)})
        return EvaluationJob(
            model=model.path,
            chat_template=model.chat_options(),
            trust_remote_code=model.trust_remote_code,
            pool_dir=self.prepared.pool.path,
            rows=item.rows,
            tasks=self.config.tasks,
            split=item.split,
            seed=item.seed,
            config=settings.model_copy(update={"keep_model": False}),
            work_dir=self._folder / "work" / item.key(self.settings).replace("/", "-"),
            full_metrics=item.split == "test",
        )


class StudyScorer:
    """A study's pool as methods see it: scores come from real trainings, averaged over ``evaluation.seeds``."""

    def __init__(self, evaluations: Evaluations, rounds: Rounds[Wanted]) -> None:
        self._evaluations = evaluations
        self._rounds = rounds
        self._config = evaluations.config

    @property
    def table(self) -> SignalTable:
        """The pool's signals."""
        return self._evaluations.prepared.table

    @property
    def min_rows(self) -> int:
        """Smallest subset worth an evaluation, as in the study's search."""
        return self._config.search.minimum_rows(self.table.n)

    def observe(self, rows: Rows, seed: int, fidelity: float = 1.0) -> dict[str, float]:
        """Mean dev score of each task over the training seeds, each raised by ``seed``.

        Raises:
            EvaluationFailed: a training failed.
            Lost: the machine lost one for good.
        """
        wanted = [Wanted(rows, base + seed, "dev", fidelity) for base in self._config.evaluation.seeds]
        if any(self._evaluations.find(item) is None for item in wanted):
            self._rounds.need(wanted)
        results = []
        for item in wanted:
            result = self._evaluations.find(item)
            if result is None:
                raise Lost(self._evaluations.why_lost(item))
            if result.failure is not None or not math.isfinite(result.score):
                raise EvaluationFailed(result.failure or "its score is not a number")
            results.append(result)
        return {name: float(np.mean([result.scores[name] for result in results])) for name in results[0].scores}
