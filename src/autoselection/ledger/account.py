"""How one kind of evaluations stands in a journal: read as what is known, written as evaluations end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoselection.config import StudyConfig
from autoselection.evaluation import EvaluationResult
from autoselection.ledger.journal import Journal
from autoselection.ledger.settings import EVENT, known_digest, model_digest, settings_record, stored_digest
from autoselection.ledger.wanted import Wanted

#: What a journal calls an evaluation: a key of its content, or who was trained and the seed.
Name = str | tuple[str, int]


@dataclass(frozen=True)
class Account:
    """Lines of a journal that tell of evaluations of one kind, and where those work.

    It is the journal that ties a name (a trial, a row of a plan) to rows: so the account says what a line is of.

    Attributes:
        event: kind of the lines.
        known: results that the journal holds now, by name.
        fields: what the line about an evaluation holds before the result.
        work: folder that training and scoring write into.
        keeps: whether the model is of use later, where the configuration keeps models.
        name: what the journal calls an evaluation.
        elsewhere: the result of the same evaluation in lines of another kind, where there may be one.
        settings: digest of what decides its scores besides, where one journal has evaluations under several.
    """

    event: str
    known: Callable[[], Mapping[Name, EvaluationResult]]
    fields: Callable[[Wanted], dict[str, Any]]
    work: Callable[[Wanted], Path]
    keeps: Callable[[Wanted], bool] = lambda wanted: False
    name: Callable[[Wanted], Name] = lambda wanted: (wanted.name, wanted.seed)
    elsewhere: Callable[[Wanted], EvaluationResult | None] = lambda wanted: None
    settings: str = ""


def evaluation_key(subset: str, split: str, seed: int, settings: str) -> str:
    """What a full evaluation is called by its content; ``subset`` is the hash of its rows."""
    return f"{subset}/{split}/{seed}/{settings}"


def keyed_results(events: Iterable[Mapping[str, Any]]) -> dict[Name, EvaluationResult]:
    """Results by key of the lines of a :func:`keyed_account`."""
    return {e["key"]: EvaluationResult.from_dict(e["result"]) for e in events if e["event"] == "evaluation"}


def keyed_account(config: StudyConfig, pool: str, journal: Journal, folder: Path) -> Account:
    """Evaluations under keys of their content: of comparisons and reproductions.

    Args:
        config: its model, tasks and evaluation are part of every key; noted in the journal if they are new.
        pool: fingerprint of the pool.
        folder: trainings work below it.
    """
    record = settings_record(config, pool)
    if known_digest(record["named"], journal.events) != record["digest"]:
        journal.append(EVENT, **record)
    return _keyed(config, record["digest"], journal, folder)


def stored_account(config: StudyConfig, pool: str, journal: Journal, folder: Path) -> Account:
    """The same to look up what was evaluated, though models and files may be gone since; notes nothing in the journal."""
    return _keyed(config, stored_digest(config, pool, journal.events), journal, folder)


def _keyed(config: StudyConfig, settings: str, journal: Journal, folder: Path) -> Account:
    results: dict[Name, EvaluationResult] = {}
    read = 0

    def known() -> Mapping[Name, EvaluationResult]:
        nonlocal read
        results.update(keyed_results(journal.events[read:]))
        read = len(journal.events)
        return results

    def key(wanted: Wanted) -> str:
        short = "" if wanted.fidelity == 1.0 else f"/{wanted.fidelity:.6f}"
        short += "" if wanted.items == 1.0 else f"/items{wanted.items:.6f}-{config.search.seed}"
        short += "" if wanted.model is None else f"/{model_digest(wanted.model)}"
        return evaluation_key(wanted.subset, wanted.split, wanted.seed, settings) + short

    def fields(wanted: Wanted) -> dict[str, Any]:
        own = {name: getattr(wanted, name) for name in ("split", "seed", "fidelity")}
        return {"key": key(wanted), "subset_hash": wanted.subset, "rows": wanted.size, **own}

    def work(wanted: Wanted) -> Path:
        return folder / "work" / key(wanted).replace("/", "-")

    return Account("evaluation", known, fields, work, name=key, settings=settings)
