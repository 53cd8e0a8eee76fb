"""How one kind of evaluations stands in a journal: read as what is known, written as evaluations end."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Protocol

from autoselection.config import StudyConfig
from autoselection.evaluation import EvaluationResult
from autoselection.evaluation.remarks import remark_notes
from autoselection.ledger.journal import Journal
from autoselection.ledger.settings import EVENT, arithmetics, known_digest, settings_record
from autoselection.ledger.wanted import Wanted


class Account(Protocol):
    """One kind of evaluations in a journal: its lines and where the trainings work.

    A line calls an evaluation by a name of its own (a trial, a row of a plan, a key): the journal is what ties that name
    to rows, so the account, not the ledger, says what a line is of.
    """

    @property
    def event(self) -> str:
        """Kind of its lines."""
        ...

    def known(self) -> Mapping[Hashable, EvaluationResult]:
        """Results that the journal holds now, by name."""
        ...

    def name(self, wanted: Wanted) -> Hashable:
        """The name under which the journal has, or gets, what is wanted."""
        ...

    def fields(self, wanted: Wanted) -> dict[str, Any]:
        """What a line holds before the result."""
        ...

    def lost(self, wanted: Wanted) -> dict[str, Any]:
        """What the line about an evaluation that the machine lost holds before the reason."""
        ...

    def work(self, wanted: Wanted) -> Path:
        """Folder that the training and scoring writes into."""
        ...

    def keeps(self, wanted: Wanted) -> bool:
        """Whether its model is of use later, where the configuration keeps models."""
        ...


def evaluation_key(subset: str, split: str, seed: int, settings: str) -> str:
    """How a full evaluation is named by its content; ``subset`` is the hash of its rows."""
    return f"{subset}/{split}/{seed}/{settings}"


class KeyedAccount:
    """Evaluations under keys of their content, for whoever trains in the order of the pool: comparisons, reproductions.

    Args:
        config: its model, tasks and evaluation are part of every key; noted in the journal if they are new.
        pool: fingerprint of the pool.
        journal: open for writing.
        folder: trainings work below it.
    """

    event = "evaluation"

    def __init__(self, config: StudyConfig, pool: str, journal: Journal, folder: Path) -> None:
        record = settings_record(config, pool)
        self.settings = record["digest"]
        if known_digest(record["named"], journal.events) != self.settings:
            journal.append(EVENT, **record)
        self._journal, self._folder = journal, folder
        self._results: dict[Hashable, EvaluationResult] = {}
        self._read = 0

    def known(self) -> Mapping[Hashable, EvaluationResult]:
        """Results by key, those made under other settings too."""
        for event in self._journal.events[self._read :]:
            if event["event"] == self.event:
                self._results[event["key"]] = EvaluationResult.from_dict(event["result"])
        self._read = len(self._journal.events)
        return self._results

    def name(self, wanted: Wanted) -> str:
        """Subset hash, split, training seed, settings and fidelity; rows are in the order of the pool."""
        short = "" if wanted.fidelity == 1.0 else f"/{wanted.fidelity:.6f}"
        return evaluation_key(wanted.subset, wanted.split, wanted.seed, self.settings) + short

    def fields(self, wanted: Wanted) -> dict[str, Any]:
        """Key and what it is made of."""
        return {
            "key": self.name(wanted),
            "subset_hash": wanted.subset,
            "rows": wanted.size,
            "split": wanted.split,
            "seed": wanted.seed,
            "fidelity": wanted.fidelity,
        }

    def lost(self, wanted: Wanted) -> dict[str, Any]:
        """The key."""
        return {"key": self.name(wanted)}

    def work(self, wanted: Wanted) -> Path:
        """A folder of the key's name."""
        return self._folder / "work" / self.name(wanted).replace("/", "-")

    def keeps(self, wanted: Wanted) -> bool:
        """Never."""
        return False

    @property
    def remarks(self) -> list[str]:
        """What the evaluations in the journal remarked."""
        return remark_notes([(f"{result.train_rows:,} rows", result) for result in self.known().values()])

    @property
    def arithmetics(self) -> list[str]:
        """Kinds of device and number that the evaluations in the journal were made with."""
        return arithmetics(result.settings for result in self.known().values())
