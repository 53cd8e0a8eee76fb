"""What a reproduction's searches asked for, from its journal alone: they are run again on what is known, and train nothing.

A journal of a reproduction tells evaluations by the hash of their rows, since whoever asks for the same rows shares them.
Searches draw from their seeds alone, so they ask for the same rows again, up to where the run has come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from autoselection.compare.floors import compared_floors
from autoselection.compare.rounds import Lost, Rounds
from autoselection.compare.searches import open_sessions
from autoselection.compare.session import Session
from autoselection.errors import StudyError
from autoselection.evaluation import EvaluationJob, EvaluationResult
from autoselection.executors import Executor
from autoselection.ledger import Ledger, Wanted, stored_account
from autoselection.recipes import subset_hash
from autoselection.reproduce.folder import Part
from autoselection.reproduce.rows import Rows, ablation_rows, fixed_rows, lacking, realized, search_rows
from autoselection.signals import SignalTable


class _NoExecutor(Executor):
    """Of a ledger that only looks up."""

    def run(self, jobs: Sequence[EvaluationJob]) -> Iterator[tuple[int, EvaluationResult]]:
        raise StudyError(
            "What the tasks' floors are measured from was not scored yet: let the reproduction go on first."
        )

    def close(self) -> None:
        pass


def trained_rows(part: Part, table: SignalTable) -> dict[str, Rows]:
    """Rows by their hash: of all that the searches asked for so far, and of what is trained without a search."""
    config = part.stored.config
    fixed = [
        realized(row, table, seed) for row in fixed_rows(config) if not lacking(row, table) for seed in config.seeds
    ]
    asked = [evaluated.rows for session in replayed(part, table) for evaluated in session.log]
    return {subset_hash(rows): rows for rows in (*fixed, *asked)}


def replayed(part: Part, table: SignalTable) -> list[Session]:
    """The searches of all replicates as far as the journal goes.

    Raises:
        StudyError: tasks have floors that were not measured yet.
        Exception: a method's error.
    """
    config, study = part.stored.config, part.stored.study
    methods = list(search_rows(config).values())
    if "ablation" in config.sections:
        methods += ablation_rows(config, study.search).values()
    account = stored_account(study, part.stored.pool or "", part.journal, part.folder)
    ledger = Ledger(study, part.folder, part.journal, _NoExecutor(), account)
    floors = compared_floors(study, table, ledger, part.folder)
    rounds: Rounds[Wanted] = Rounds(lambda wanted: None)
    seeds = {seed: seed for seed in config.seeds}
    sessions = open_sessions(table, ledger, rounds, methods, config.budget, seeds, floors)
    by_name = {method.name: method for method in methods}
    bodies: list[Callable[[], None]] = [
        partial(by_name[name].run, session, seed) for (name, seed), session in sessions.items()
    ]
    for error in rounds.run(bodies):
        if error is not None and not isinstance(error, Lost):
            raise error
    return list(sessions.values())
