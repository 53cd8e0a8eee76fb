"""What is compared: random, Latin hypercube, RegMix's boosting, a data-mixing law, and ours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from autoselection.mixture.controller import MixtureController
from autoselection.mixture.runs import Levels
from autoselection.mixture.space import MixtureSpace
from benchmarks.mixtures.replay import Method, Outcome, Session, pick

Array = NDArray[np.float64]

SMALL_SHARE = 0.5
"""Most of the budget that RegMix and the mixing law spend at the cheapest level."""


def _random(session: Session) -> Outcome:
    """Random candidates; the best seen."""
    for row in np.random.default_rng([session.seed, 11]).permutation(session.replay.targets):
        if not session.can_pay(session.replay.runs.levels.target):
            break
        session.buy(int(row))
    return Outcome(pick(session))


def _latin_hypercube(session: Session) -> Outcome:
    """A Latin hypercube on the simplex (logarithms of its uniform margins, divided by their sum), each point the nearest
    candidate that is left; the best seen."""
    replay = session.replay
    left = list(replay.targets)
    count = min(len(left), int(session.budget + 1e-9))
    design = qmc.LatinHypercube(replay.runs.shares.shape[1], seed=np.random.default_rng([session.seed, 12])).random(
        count
    )
    points = -np.log(np.clip(design, 1e-9, 1 - 1e-9))
    for point in points / points.sum(axis=1, keepdims=True):
        distance = ((replay.runs.shares[left] - point) ** 2).sum(axis=1)
        session.buy(int(left.pop(int(np.argmin(distance)))))
    return Outcome(pick(session))


def _boosting(shares: Array, values: Array, wanted: Array, seed: int) -> Array:
    """Gradient boosting of one column on shares."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        max_iter=300,
        learning_rate=0.05,
        max_leaf_nodes=15,
        min_samples_leaf=min(10, max(2, len(shares) // 8)),
        random_state=seed,
    )
    return np.asarray(model.fit(shares, values).predict(wanted))


def _law(shares: Array, values: Array, wanted: Array, seed: int) -> Array:
    """A data-mixing law (Ye et al. 2024), loss = c + exp(k + Σ t_j share_j), with c a tenth of the range below the best."""
    from sklearn.linear_model import Ridge

    floor = values.max() + 0.1 * np.ptp(values)
    model = Ridge(alpha=1e-3).fit(shares, np.log(floor - values))
    return np.asarray(floor - np.exp(np.clip(model.predict(wanted), -50, 50)))


def _small_first(fit: Callable[[Array, Array, Array, int], Array]) -> Callable[[Session], Outcome]:
    """Learn from the cheapest level, buy candidates at the target in the order predicted, take the best seen.

    Without a cheaper level half of the runs at the target are drawn at random and learnt from.
    """

    def run(session: Session) -> Outcome:
        replay, rng = session.replay, np.random.default_rng([session.seed, 13])
        target = replay.runs.levels.target
        cheapest = rng.permutation(replay.rows_at(0))
        count = min(len(cheapest), int(SMALL_SHARE * session.budget / session.cost(0) + 1e-9))
        learnt = cheapest[:count]
        values = np.array([session.buy(int(row)) for row in learnt])
        shares = replay.runs.shares
        mean = np.zeros(len(replay.targets))
        for column, weight in enumerate(replay.weights):
            if len(learnt) > 2 and np.ptp(values[:, column]) > 0:
                mean += weight * fit(shares[learnt], values[:, column], shares[replay.targets], session.seed)
        for row in replay.targets[np.argsort(-mean, kind="stable")]:
            if row not in session.bought and session.can_pay(target):
                session.buy(int(row))
        return Outcome(pick(session, None if session.seen() else mean), mean)

    return run


def _ours(every_level: bool) -> Callable[[Session], Outcome]:
    """This package's controller over the table's runs."""

    def run(session: Session) -> Outcome:
        replay, levels = session.replay, session.replay.runs.levels
        used = list(range(len(levels.names))) if every_level else [levels.target]
        rows = [replay.rows_at(level) for level in used]
        used_rows = [(level, listed) for level, listed in zip(used, rows, strict=True) if len(listed)]
        space = MixtureSpace(
            replay.runs.sources,
            Levels(
                tuple(levels.names[level] for level, _ in used_rows),
                tuple(levels.costs[level] for level, _ in used_rows),
            ),
            candidates=tuple(replay.runs.shares[listed] for _, listed in used_rows),
        )
        controller = MixtureController(space, replay.weights, session.budget, session.seed)
        while asked := controller.ask():
            for candidate in asked:
                _, listed = used_rows[candidate.level]
                controller.tell(candidate, session.buy(int(listed[candidate.place])))
        model = controller.model()
        if model is None:
            return Outcome(int(replay.targets[0]))
        belief = model.objective(replay.weights, replay.runs.shares[replay.targets])
        noise = model.noise(replay.weights) * model.widening(replay.weights)
        return Outcome(pick(session, belief.mean), belief.mean, belief.first_better(noise))

    return run


METHODS = (
    Method("random", _random),
    Method("latin-hypercube", _latin_hypercube),
    Method("regmix", _small_first(_boosting)),
    Method("mixing-law", _small_first(_law)),
    Method("ours-target", _ours(every_level=False)),
    Method("ours", _ours(every_level=True)),
)
