"""How many evaluations a study's search may spend, and what it may spend when the number is changed between two runs.

A larger number goes on with the search; a smaller one ends it earlier. What was decided stays as it was decided: some
decisions depend on what is left to spend, so replaying the journal gives the controller each number from where it was
given, which events of kind ``budget`` tell.
"""

from __future__ import annotations

from dataclasses import dataclass

from autoselection.progress import console
from autoselection.search import SearchController
from autoselection.study.study import Study


@dataclass(frozen=True)
class Budget:
    """A number of evaluations, and how far the search was when it was given.

    Attributes:
        evaluations: ``search.evaluations`` from then on.
        trials: trials of the journal at that moment.
        rounds: its rounds.
    """

    evaluations: int
    trials: int = 0
    rounds: int = 0

    def reached_by(self, controller: SearchController) -> bool:
        """Whether a search that is replayed is where this number was given."""
        rounds = controller.recorded_rounds + len(controller.rounds)
        return len(controller.candidates) >= self.trials and rounds >= self.rounds


def budgets(study: Study) -> list[Budget]:
    """The numbers of evaluations that the study was given, in order."""
    events = study.journal.of("budget")
    first = events[0]["before"] if events else study.config.search.evaluations
    return [Budget(first), *(Budget(event["evaluations"], event["trials"], event["rounds"]) for event in events)]


def known_budget(study: Study) -> int | None:
    """The number of evaluations that the journal knows of; None before the study has begun."""
    opening, changes = study.journal.of("study"), study.journal.of("budget")
    if not opening:
        return None
    # Studies of earlier versions began without telling their journal the number.
    return int(changes[-1]["evaluations"] if changes else opening[0].get("evaluations", study.stored_evaluations))


def change_budget(study: Study) -> None:
    """Journal that ``search.evaluations`` is another one than before."""
    journal, wanted, before = study.journal, study.config.search.evaluations, known_budget(study)
    if before is None or wanted == before:  # None: nothing was decided
        return
    trials, rounds = len(journal.of("trial")), len(journal.of("round"))
    journal.append("budget", before=before, evaluations=wanted, trials=trials, rounds=rounds)
    console.say(f"The search goes on with {wanted} evaluations instead of {before}, {trials} trials are made.")
