"""Modules that had another name in earlier versions: importing one by that name gives the module of today, with a warning."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType

#: Name of today by former name, both below this package. What lies in a package moved with it.
FORMER = {
    "benchmarks_check": "tasks.check",
    "chat": "language.chat",
    "evaluation.answers": "tasks.answers",
    "evaluation.benchmarks": "tasks.convert",
    "evaluation.llamafactory": "evaluation.trainers.llamafactory",
    "evaluation.sft": "evaluation.trainers.trl",
    "executors.base": "executors.contract",
    "harness_tasks": "tasks.harness",
    "models": "language.models",
    "signals.base": "signals.contract",
    "signals.duplicates": "signals.families.minhash",
    "signals.edges": "signals.pairs",
    "signals.embeddings": "signals.families.embeddings",
    "signals.lm": "signals.families.lm",
    "signals.near": "signals.families.near_duplicates",
    "signals.overlap": "signals.families.contamination",
    "signals.repetition": "signals.families.repetition",
    "signals.reward": "signals.families.reward",
    "signals.sae": "signals.families.sae",
    "signals.sae_training": "signals.families.sae_training",
    "signals.shingles": "signals.families.shingles",
    "signals.syntax": "signals.families.syntax",
    "signals.text": "signals.families.text",
    "signals.traces": "signals.families.traces",
    "study.journal": "ledger.journal",
}

_PACKAGE = f"{__package__}."


def name_of_today(name: str) -> str | None:
    """The full name that a module has now, by a full name that it had; None for any other name."""
    own = name.removeprefix(_PACKAGE)
    for former, now in FORMER.items():
        if name != own and (own == former or own.startswith(f"{former}.")):
            return _PACKAGE + now + own.removeprefix(former)
    return None


class FormerModules:
    """Finds modules by their former names. (A finder and loader of modules, see ``sys.meta_path``.)"""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if name_of_today(fullname) else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """As usual."""

    def exec_module(self, module: ModuleType) -> None:
        now = name_of_today(module.__name__)
        assert now is not None
        warnings.warn(f"{module.__name__} is now {now}: import it by that name.", DeprecationWarning, stacklevel=2)
        sys.modules[module.__name__] = import_module(now)
