"""Lets methods search side by side: each spends its budget in a session, what all wait for is evaluated together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from autoselection.compare.method import Method
from autoselection.compare.rounds import Lost, Rounds
from autoselection.compare.scorer import StudyScorer
from autoselection.compare.session import Session
from autoselection.ledger import Ledger, Wanted
from autoselection.progress import console
from autoselection.signals import SignalTable
from autoselection.tasks import overall
from autoselection.terminal import styled

Key = tuple[str, int]


def open_sessions(
    table: SignalTable,
    ledger: Ledger,
    rounds: Rounds[Wanted],
    methods: Sequence[Method],
    budget: int,
    seeds: Mapping[int, int],
    floors: Mapping[str, float] | None = None,
) -> dict[Key, Session]:
    """A session for every method and seed.

    Args:
        budget: evaluations of methods that have none of their own.
        seeds: seed of the methods to seed of the session, which is added to the training seeds. Sessions of one seed see
            the same score of a subset, whatever their method.
        floors: lowest score of each task that has one.
    """
    scorer = StudyScorer(table, ledger, rounds)
    search = ledger.config.search
    total = partial(overall, tasks=ledger.config.tasks)
    return {
        (method.name, seed): Session(
            scorer, method.budget(budget, table, search), training, search, total, floors or {}
        )
        for seed, training in seeds.items()
        for method in methods
    }


def run_sessions(
    ledger: Ledger, rounds: Rounds[Wanted], sessions: Mapping[Key, Session], methods: Sequence[Method]
) -> dict[Key, float]:
    """Let every method spend its budget; the seconds each took itself.

    Raises:
        StudyError: the machine lost an evaluation for good; what is finished is kept.
        Exception: one method's error, when the others are done.
    """
    by_name = {method.name: method for method in methods}
    seconds: dict[Key, float] = {}

    def body(key: Key) -> None:
        sessions[key].begin()
        by_name[key[0]].run(sessions[key], key[1])
        seconds[key] = sessions[key].controller_seconds

    bodies: list[Callable[[], None]] = [partial(body, key) for key in sessions]
    raised = rounds.run(bodies)
    for (name, seed), error in zip(sessions, raised, strict=True):
        if error is not None and not isinstance(error, Lost):
            console.say(styled(f"{name}, seed {seed}", "red"), f": {error}")
            raise error
    if any(raised):
        raise ledger.loss()
    return seconds
