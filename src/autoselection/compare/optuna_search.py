"""Optuna's TPE and GP samplers over the recipe space.

A proposal that selects too few rows to be trained costs nothing (it would be refused before training). Optuna is told
the worst score seen for it and for a failed training, as a GP that learns nothing of a failed trial proposes it again;
after :data:`REFUSALS` in a row a random point is tried. The same subset may be proposed twice: it is paid for twice,
which an optimiser that knows only the recipe cannot avoid.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from autoselection.compare.method import Materializer, Method
from autoselection.compare.session import Session
from autoselection.compare.spaces import SLOTS, Slots
from autoselection.recipes import Recipe
from autoselection.search.baselines import Cube

REFUSALS = 5
STARTS = 5
"""Random or space-filling points before a model is used (of 15; fewer than the optimisers' defaults)."""


def _optuna(make_sampler: Callable[[int], Any], slots: bool) -> Callable[[Session, int], None]:
    def run(session: Session, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        made = Materializer(session, seed)
        cube = Cube(session.table, session.search)
        compact = Slots(session.table, session.search)

        def propose(trial: Any) -> Recipe | None:
            if not slots:
                return cube.recipe([trial.suggest_float(name, 0.0, 1.0) for name in cube.names])
            steps = []
            for place in range(SLOTS):
                name = trial.suggest_categorical(f"operator{place}", compact.operators)
                strength = trial.suggest_float(f"strength{place}", 0.0, 1.0)
                steps.append((name, strength, trial.suggest_categorical(f"end{place}", compact.ends)))
            return compact.recipe(steps)

        with _undisturbed():
            study = optuna.create_study(direction="maximize", sampler=make_sampler(seed))
        rng = np.random.default_rng([seed, 22])
        refused = 0
        while session.can_pay() and refused < 40 * REFUSALS:
            with _undisturbed():
                trial = study.ask()
                recipe = propose(trial)
            rows = made.rows(recipe) if recipe is not None else None
            refused = refused + 1 if rows is None else 0
            score = math.nan if rows is None else session.observe(rows)
            told = score if math.isfinite(score) else session.worst
            with _undisturbed():
                if told is None:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                else:
                    study.tell(trial, told)
                if rows is None and refused % REFUSALS == 0 and trial.params:  # it is stuck: one random point
                    drawn = {name: _drawn(space, rng) for name, space in trial.distributions.items()}
                    study.enqueue_trial(drawn)

    return run


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Optuna computes in one thread and warns of nothing: around its own calls only, as both are the whole process's."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_num_threads(threads)


def _drawn(distribution: Any, rng: np.random.Generator) -> Any:
    choices = getattr(distribution, "choices", None)
    return choices[int(rng.integers(len(choices)))] if choices is not None else float(rng.random())


def _tpe(seed: int) -> Any:
    import optuna

    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTS, multivariate=True)


def _gp(seed: int) -> Any:
    import optuna

    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=STARTS, deterministic_objective=False)


OPTUNA = tuple(
    Method(name, _optuna(sampler, slots), {"starts": STARTS}, "optuna")
    for name, sampler, slots in (
        ("optuna-tpe", _tpe, False),
        ("optuna-gp", _gp, False),
        ("optuna-tpe-slots", _tpe, True),
        ("optuna-gp-slots", _gp, True),
    )
)
