"""How a study's journal tells of evaluations: of trials, for the verdict about the incumbent, of rows of the final table, of curves."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from autoselection.evaluation import EvaluationResult
from autoselection.ledger import Journal, Wanted
from autoselection.study.checkpoints import entry_label, work_folder
from autoselection.study.incumbent import dev_label, dev_results
from autoselection.study.study import Study

Known = dict[Hashable, EvaluationResult]


@dataclass(frozen=True)
class _Named:
    """Lines call an evaluation by who was trained, and the seed."""

    study: Study

    def name(self, wanted: Wanted) -> tuple[str, int]:
        """Who, and the seed."""
        return wanted.name, wanted.seed

    def lost(self, wanted: Wanted) -> dict[str, Any]:
        """The same for the line about an interruption."""
        return {"name": wanted.name, "seed": wanted.seed}

    def work(self, wanted: Wanted) -> Path:
        """A folder of the name."""
        return work_folder(self.study.path, wanted.name, wanted.seed)

    def keeps(self, wanted: Wanted) -> bool:
        """Whether the policy for models (see ``study.checkpoints``) knows the name."""
        return True


class TrialAccount(_Named):
    """Evaluations on dev of the search's trials, named by them."""

    event: ClassVar[str] = "evaluation"

    def known(self) -> Known:
        """Results of all trials."""
        return _by_name({trial.id: trial.results for trial in self.study.all_trials()})

    def fields(self, wanted: Wanted) -> dict[str, Any]:
        """Trial, seed, and how much of a training it was."""
        return {"trial": wanted.name, "seed": wanted.seed, "fidelity": wanted.fidelity}

    def keeps(self, wanted: Wanted) -> bool:
        """A short training's model is of no use later: promotion trains anew."""
        return wanted.fidelity == 1.0


class VerdictAccount(_Named):
    """Evaluations on dev of winner and incumbent besides the search's, named by ``dev_label``."""

    event: ClassVar[str] = "incumbent_evaluation"

    def known(self) -> Known:
        """What the two of the last plan were scored, in the search too."""
        plan = self.study.journal.of("incumbent_plan")[-1]
        both = [subset for subset in (plan["winner_hash"], plan["incumbent_hash"]) if subset is not None]
        return _by_name({dev_label(self.study, subset): dev_results(self.study, subset) for subset in both})

    def fields(self, wanted: Wanted) -> dict[str, Any]:
        """Label, rows and seed."""
        return {"label": wanted.name, "subset_hash": wanted.subset, "seed": wanted.seed}

    def keeps(self, wanted: Wanted) -> bool:
        """Models of trials and of the final winner are kept, not these."""
        return False


class FinalAccount(_Named):
    """Evaluations on test, named by the rows of the last final plan."""

    event: ClassVar[str] = "test"

    def known(self) -> Known:
        """Results that count for the last plan."""
        return _by_name(self.study.final_results())

    def fields(self, wanted: Wanted) -> dict[str, Any]:
        """Row of the plan, seed, and number of the plan."""
        return {"name": wanted.name, "seed": wanted.seed, "plan": len(self.study.journal.of("final_plan"))}

    def work(self, wanted: Wanted) -> Path:
        """A folder of the row's number."""
        entries = self.study.journal.of("final_plan")[-1]["entries"]
        number = [entry["name"] for entry in entries].index(wanted.name)
        return work_folder(self.study.path, entry_label(number), wanted.seed)


@dataclass(frozen=True)
class CurveAccount(_Named):
    """Evaluations of the compute curves on one split, named by arm and tokens, in a journal of their own."""

    curves: Journal
    split: str
    event: ClassVar[str] = "run"

    def known(self) -> Known:
        """Results of all arms and budgets."""
        return {
            (f"{run['arm']}/{run['tokens']}", run["seed"]): EvaluationResult.from_dict(run["result"])
            for run in self.curves.of(self.event)
            if run["split"] == self.split
        }

    def fields(self, wanted: Wanted) -> dict[str, Any]:
        """Arm, tokens, seed and split."""
        arm, _, tokens = wanted.name.partition("/")
        return {"arm": arm, "tokens": int(tokens), "seed": wanted.seed, "split": wanted.split}

    def work(self, wanted: Wanted) -> Path:
        """A folder of arm and tokens."""
        return work_folder(self.study.path, f"compute-{wanted.name.replace('/', '-')}", wanted.seed)

    def keeps(self, wanted: Wanted) -> bool:
        """Curves are of scores."""
        return False


def _by_name(results: Mapping[str, Mapping[int, EvaluationResult]]) -> Known:
    return {(name, seed): result for name, found in results.items() for seed, result in found.items()}
