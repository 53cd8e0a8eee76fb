"""Optuna's TPE and BoTorch's Gaussian processes, over the candidates of a table."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.mixture.inputs import LogShares
from benchmarks.mixtures.replay import Method, Outcome, Session, pick

Array = NDArray[np.float64]

STARTS = 5
"""Random candidates before a model chooses (at most half of the budget)."""
LOWER_SHARE = 0.5
"""Share of the budget that multi-fidelity BoTorch begins with below the target, in equal parts."""
MOST_ROWS = 300
"""Runs below the target that its process is fitted to (time)."""


def _starts(session: Session) -> int:
    return max(1, min(STARTS, int(session.budget) // 2))


def _tpe(session: Session) -> Outcome:
    """TPE over log shares; a suggestion stands for the nearest candidate that is left, which is what it is told of."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    replay, target = session.replay, session.replay.runs.levels.target
    inputs = LogShares.of(replay.runs.shares)
    points = inputs(replay.runs.shares[replay.targets])
    bounds = {
        f"s{place}": optuna.distributions.FloatDistribution(float(low), float(max(high, low + 1e-6)))
        for place, (low, high) in enumerate(zip(points.min(axis=0), points.max(axis=0), strict=True))
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(seed=session.seed, n_startup_trials=_starts(session), multivariate=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    left = list(range(len(replay.targets)))
    while left and session.can_pay(target):
        trial = study.ask(bounds)
        wanted = np.array([trial.params[name] for name in bounds])
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        place = left.pop(int(np.argmin(((points[left] - wanted) ** 2).sum(axis=1))))
        row = int(replay.targets[place])
        value = float(session.buy(row) @ replay.weights)
        params = {name: float(number) for name, number in zip(bounds, points[place], strict=True)}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=bounds, value=value))
    return Outcome(pick(session))


def _fit(model: Any) -> None:
    from botorch.exceptions.warnings import InputDataWarning, OptimizationWarning
    from botorch.fit import fit_gpytorch_mll
    from gpytorch.mlls import ExactMarginalLogLikelihood

    with warnings.catch_warnings():
        for kind in (InputDataWarning, OptimizationWarning, RuntimeWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        fit_gpytorch_mll(
            ExactMarginalLogLikelihood(model.likelihood, model), optimizer_kwargs={"options": {"maxiter": 60}}
        )


def _believed(session: Session, model: Any, points: Any) -> Outcome:
    """The process's belief about all candidates."""
    import torch
    from scipy.special import ndtr

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        posterior = model.posterior(points, observation_noise=True)
        mean = posterior.mean.squeeze(-1).numpy()
        covariance = posterior.distribution.covariance_matrix.numpy()
    variance = np.diag(covariance)
    spread = np.sqrt(np.maximum(variance[:, None] + variance - 2 * covariance, 1e-16))
    return Outcome(pick(session, mean), mean, ndtr((mean[:, None] - mean) / spread))


def _botorch(session: Session) -> Outcome:
    """``SingleTaskGP`` over log shares, noisy log expected improvement over the candidates that are left."""
    import torch
    from botorch.acquisition.logei import qLogNoisyExpectedImprovement
    from botorch.models import SingleTaskGP
    from botorch.models.transforms.outcome import Standardize

    torch.set_num_threads(1)
    torch.manual_seed(session.seed)
    replay, target = session.replay, session.replay.runs.levels.target
    points = torch.tensor(_unit(LogShares.of(replay.runs.shares)(replay.runs.shares[replay.targets])))
    order = np.random.default_rng([session.seed, 11]).permutation(len(replay.targets)).tolist()
    own: list[int] = []
    values: list[float] = []
    model = None
    while True:
        if len(own) >= _starts(session):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = SingleTaskGP(
                    points[own],
                    torch.tensor(values, dtype=torch.double).unsqueeze(-1),
                    outcome_transform=Standardize(1),
                )
            _fit(model)
        left = [place for place in order if place not in own]
        if not left or not session.can_pay(target):
            break
        chosen = left[0]
        if model is not None:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                gain = qLogNoisyExpectedImprovement(model, points[own])(points[left].unsqueeze(1))
            chosen = left[int(gain.argmax())]
        own.append(chosen)
        values.append(float(session.buy(int(replay.targets[chosen])) @ replay.weights))
    return Outcome(pick(session)) if model is None else _believed(session, model, points)


def _botorch_levels(session: Session) -> Outcome:
    """``SingleTaskMultiFidelityGP`` over log shares and the level, cost-aware max-value entropy over all runs that are left.

    It begins with random runs below the target, then with two at it. Runs below the target that it chooses later are
    bought as many at once as cost half a run at the target.
    """
    import torch
    from botorch.acquisition.cost_aware import InverseCostWeightedUtility
    from botorch.acquisition.max_value_entropy_search import qMultiFidelityLowerBoundMaxValueEntropy
    from botorch.models import SingleTaskMultiFidelityGP
    from botorch.models.deterministic import GenericDeterministicModel
    from botorch.models.transforms.outcome import Standardize

    torch.set_num_threads(1)
    torch.manual_seed(session.seed)
    replay = session.replay
    runs, target = replay.runs, replay.runs.levels.target
    rng = np.random.default_rng([session.seed, 14])
    fidelity = np.linspace(0.0, 1.0, target + 1) if target else np.ones(1)
    costs = torch.tensor([session.cost(level) for level in range(target + 1)], dtype=torch.double)
    shares = _unit(LogShares.of(runs.shares)(runs.shares))
    everything = torch.tensor(np.column_stack([shares, fidelity[runs.level]]))
    dimension = everything.shape[1] - 1
    at_target = everything[replay.targets]
    cost_model = GenericDeterministicModel(lambda x: costs[(x[..., -1:] * target).round().long()])
    project = lambda x: torch.cat([x[..., :-1], torch.ones_like(x[..., -1:])], dim=-1)  # noqa: E731

    def buy(row: int) -> None:
        session.buy(row)

    for level in range(target):
        rows = rng.permutation(replay.rows_at(level))
        for row in rows[: min(len(rows), int(LOWER_SHARE / target * session.budget / session.cost(level) + 1e-9))]:
            buy(int(row))
    for row in rng.permutation(replay.targets)[: 2 if target else _starts(session)]:
        if session.can_pay(target):
            buy(int(row))
    while True:
        bought = np.array(session.bought)
        below = bought[runs.level[bought] < target]
        used = np.concatenate([rng.permutation(below)[:MOST_ROWS], bought[runs.level[bought] == target]])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = SingleTaskMultiFidelityGP(
                everything[used],
                torch.tensor(replay.objective[used]).unsqueeze(-1),
                data_fidelities=[dimension],
                outcome_transform=Standardize(1),
            )
        _fit(model)
        taken = set(session.bought)
        left = [
            int(row)
            for level in range(target + 1)
            if session.can_pay(level)
            for row in replay.rows_at(level)
            if int(row) not in taken
        ]
        if not left or not session.can_pay(target):
            return _believed(session, model, at_target)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            entropy = qMultiFidelityLowerBoundMaxValueEntropy(
                model,
                at_target,
                cost_aware_utility=InverseCostWeightedUtility(cost_model),
                project=project,
            )
            gain = torch.cat([entropy(block.unsqueeze(1)) for block in everything[left].split(256)]).numpy()
        best = np.argsort(-gain, kind="stable")
        level = int(runs.level[left[best[0]]])
        batch = 1 if level == target else max(1, int(0.5 / session.cost(level)))
        for place in [place for place in best if runs.level[left[place]] == level][:batch]:
            if session.can_pay(level):
                buy(left[place])


def _unit(points: Array) -> Array:
    """Inputs in [0, 1]."""
    low = points.min(axis=0)
    return np.asarray((points - low) / np.maximum(points.max(axis=0) - low, 1e-12))


OPTIMISERS = (
    Method("optuna-tpe", _tpe, "optuna"),
    Method("botorch-gp", _botorch, "botorch"),
    Method("botorch-multifidelity", _botorch_levels, "botorch"),
)
