"""The program that prepares a study and evaluates what an agent proposed: ``python -m autoselection.agents.evaluation STUDY``.

It is started by the server, apart from it: a client that is restarted, and with it the server, loses no training. It
holds the study's lock, writes the journal as a search does, and decides nothing: killed at any moment, the next one
goes on where the journal stands.
"""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

from autoselection.activity import FILE as ACTIVITY
from autoselection.activity import activity, tell_stage
from autoselection.errors import AutoSelectionError, StudyError
from autoselection.evaluation.memory import held_memory
from autoselection.executors import make_executor
from autoselection.ledger import Journal
from autoselection.progress import console
from autoselection.study import Study
from autoselection.study.beginning import begin
from autoselection.study.kind import JOURNAL
from autoselection.study.rounds import StudySearch, trial_ledger
from autoselection.system import told

#: In front of the sentence that says why it ended early.
ERROR = "error: "
#: Stage of a process that loads what it needs.
STARTING = "starting"


def evaluate_pending(path: Path) -> None:
    """Prepare the study in a folder, and evaluate every trial of its journal that lacks a result.

    Raises:
        AutoSelectionError: it cannot be prepared, another process runs it, or the machine lost an evaluation for good.
    """
    config = Study(path).config
    with (
        Journal(path / JOURNAL) as journal,
        closing(make_executor(config.executor)) as executor,
        activity(path / ACTIVITY, held_memory),
    ):
        tell_stage(STARTING)  # what ends before the first stage tells so too
        study, prepared, _ = begin(config, path, journal, executor)
        search = StudySearch(study, prepared.table)
        ledger = trial_ledger(study, prepared.pool, executor)
        tell_stage("evaluating what an agent proposed")
        while search.unfinished:
            search.spend_as_given()
            search.evaluate(ledger, search.controller.ask())


def main() -> int:
    """Run it for the folder that the command line names; what is wrong is the last line of standard error."""
    path = Path(sys.argv[1])
    try:
        evaluate_pending(path)
    except AutoSelectionError as error:
        console.say(f"{ERROR}{error}")
        return error.exit_code
    except (OSError, MemoryError) as error:
        what, help_ = told(error, str(path))
        console.say(f"{ERROR}{what}. {help_}.")
        return StudyError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
