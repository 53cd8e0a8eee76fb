"""How a study's journals tell of evaluations: before the search, of trials, for the verdict about the incumbent, of the final
table, of curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from autoselection.evaluation import EvaluationResult
from autoselection.ledger import Account, Journal, Name, Wanted
from autoselection.study.checkpoints import entry_label, work_folder
from autoselection.study.dev_results import dev_label, dev_results
from autoselection.study.references import reference_results
from autoselection.study.study import REFERENCE, Study


def trial_account(study: Study) -> Account:
    """The search's evaluations on dev, called by trial. A short training's model is of no use: promotion trains again."""
    return Account(
        "evaluation",
        lambda: _by_name({trial.id: trial.results for trial in study.all_trials()}),
        lambda wanted: {"trial": wanted.name, "seed": wanted.seed, "fidelity": wanted.fidelity, **_less(wanted)},
        _work(study, lambda wanted: wanted.name),
        keeps=lambda wanted: wanted.full,
        elsewhere=lambda wanted: _referred(study, wanted),
    )


def _less(wanted: Wanted) -> dict[str, Any]:
    """What else a line says of an evaluation that is not full."""
    model = {} if wanted.model is None else {"model": wanted.model.path}
    return model if wanted.items == 1.0 else {**model, "items": wanted.items}


def _referred(study: Study, wanted: Wanted) -> EvaluationResult | None:
    """The result of the same training before the search, if its model is not wanted."""
    if not wanted.full or study.config.evaluation.keep_model:
        return None
    return dev_results(study, wanted.subset).get(wanted.seed)


def reference_account(study: Study) -> Account:
    """Evaluations on dev before the search that floors and guards are measured from, called by ``dev_label``."""
    return Account(
        REFERENCE,
        lambda: _by_name(reference_results(study)),
        lambda wanted: {"label": wanted.name, "subset_hash": wanted.subset, "seed": wanted.seed},
        _work(study, lambda wanted: wanted.name.replace(" ", "-")),
    )


def verdict_account(study: Study) -> Account:
    """Evaluations on dev of the last plan's winner and incumbent besides the search's, called by ``dev_label``."""
    plan = study.journal.of("incumbent_plan")[-1]
    both = [subset for subset in (plan["winner_hash"], plan["incumbent_hash"]) if subset is not None]
    return Account(
        "incumbent_evaluation",
        lambda: _by_name({dev_label(study, subset): dev_results(study, subset) for subset in both}),
        lambda wanted: {"label": wanted.name, "subset_hash": wanted.subset, "seed": wanted.seed},
        _work(study, lambda wanted: wanted.name),
    )


def final_account(study: Study) -> Account:
    """Evaluations on test, called by the rows of the last final plan."""
    plans = study.journal.of("final_plan")
    labels = {entry["name"]: entry_label(number) for number, entry in enumerate(plans[-1]["entries"])}
    return Account(
        "test",
        lambda: _by_name(study.final_results()),
        lambda wanted: {"name": wanted.name, "seed": wanted.seed, "plan": len(plans)},
        _work(study, lambda wanted: labels[wanted.name]),
        keeps=lambda wanted: True,
    )


def curve_account(folder: Path, curves: Journal, split: str) -> Account:
    """Evaluations of the compute curves on one split, in a journal of their own.

    They are called by arm, tokens and the rows that were trained on, since a search that goes on may find another winner; in a
    reproduction by the replicate, too.

    Args:
        folder: of the study, or of a model of a reproduction; trainings work below it.
    """

    def known() -> dict[Name, EvaluationResult]:
        runs = [run for run in curves.of("run") if run["split"] == split]
        return {(_curve_name(run), run["seed"]): EvaluationResult.from_dict(run["result"]) for run in runs}

    def fields(wanted: Wanted) -> dict[str, Any]:
        arm, _, subset, *replicate = wanted.name.split("/")
        own = {"arm": arm, "tokens": wanted.tokens, "seed": wanted.seed, "split": split, "subset_hash": subset}
        return own | ({"replicate": int(replicate[0])} if replicate else {})

    return Account(
        "run",
        known,
        fields,
        lambda wanted: work_folder(folder, f"compute-{wanted.name.replace('/', '-')}", wanted.seed),
    )


def curve_name(arm: str, tokens: int, subset: str, replicate: int | None = None) -> str:
    """What :func:`curve_account` calls an evaluation."""
    return f"{arm}/{tokens}/{subset}" + ("" if replicate is None else f"/{replicate}")


def _curve_name(run: Mapping[str, Any]) -> str:
    # Lines of earlier versions do not tell the rows: they are nobody's.
    return curve_name(run["arm"], run["tokens"], run.get("subset_hash", ""), run.get("replicate"))


def _work(study: Study, label: Callable[[Wanted], str]) -> Callable[[Wanted], Path]:
    return lambda wanted: work_folder(study.path, label(wanted), wanted.seed)


def _by_name(results: Mapping[str, Mapping[int, EvaluationResult]]) -> dict[Name, EvaluationResult]:
    return {(name, seed): result for name, found in results.items() for seed, result in found.items()}
