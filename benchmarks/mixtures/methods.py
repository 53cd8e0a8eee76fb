"""What is compared: random, Latin hypercube, rules of the literature, DoReMi, RegMix's boosting, a data-mixing law, and ours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from autoselection.mixture.controller import MixtureController
from autoselection.mixture.runs import Levels
from autoselection.mixture.space import MixtureSpace
from autoselection.operators import mixing_rules
from autoselection.search.mixture_fits import Fit, by_boosting, by_mixing_law, predicted_mean
from benchmarks.mixtures.replay import Method, Outcome, Session, pick

Array = NDArray[np.float64]

SMALL_SHARE = 0.5
"""Most of the budget that RegMix and the mixing law spend at the cheapest level."""
MOST_STEPS = 30
"""Of DoReMi: what it moves in one training."""


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


def _towards(wanted: Callable[[Session], Array | None]) -> Callable[[Session], Outcome]:
    """Buy candidates at the target in the order of their distance from a mixture, take the best seen.

    Args:
        wanted: the mixture; None: the table does not say it, and candidates are taken in their order.
    """

    def run(session: Session) -> Outcome:
        replay, point = session.replay, wanted(session)
        shares = replay.runs.shares[replay.targets]
        distance = np.zeros(len(shares)) if point is None else ((shares - point) ** 2).sum(axis=1)
        for row in replay.targets[np.argsort(distance, kind="stable")]:
            if row not in session.bought and session.can_pay(replay.runs.levels.target):
                session.buy(int(row))
        return Outcome(pick(session))

    return run


def _by_rule(rule: Callable[[Array], Array]) -> Callable[[Session], Array]:
    """A rule of :mod:`autoselection.operators.mixing_rules` on the sizes of the sources."""

    def wanted(session: Session) -> Array:
        sizes = session.replay.sizes
        assert sizes is not None
        return rule(sizes)

    return wanted


def _excess_loss(session: Session) -> Array | None:
    """DoReMi's mixture: from equal shares on, each step buys the run at the cheapest level that is nearest to the shares and
    gives more to the sources on whose own loss it is worse than the reference, the first run that is nearest to the mean of all; the mean of all
    shares. Losses belong to the source of the same name; None where no column has the name of a source."""
    replay = session.replay
    runs = replay.runs
    sources = list(map(_last, runs.sources))
    own = [sources.index(name) if name in sources else -1 for name in map(_last, runs.columns)]
    if max(own) < 0:
        return None
    cheapest = replay.rows_at(0)
    left = list(cheapest) if len(runs.levels.names) > 1 else list(replay.targets)
    budget, level = session.budget / 2, int(runs.level[left[0]])

    def bought(point: Array) -> Array:
        row = left.pop(int(np.argmin(((runs.shares[left] - point) ** 2).sum(axis=1))))
        losses = np.zeros(len(sources))
        for place, value in zip(own, -session.buy(int(row)), strict=True):
            if place >= 0:
                losses[place] = value
        return losses

    reference = bought(runs.shares[cheapest].mean(axis=0))
    shares = np.full(len(sources), 1.0 / len(sources))
    path = [shares]
    while left and len(path) <= MOST_STEPS and session.spent + session.cost(level) <= budget + 1e-9:
        shares = mixing_rules.after_excess_loss(shares, bought(shares), reference)
        path.append(shares)
    return np.asarray(np.mean(path, axis=0))


def _last(name: str) -> str:
    """A column's name without what it begins with: ``loss/github`` is github."""
    return name.rsplit("/", 1)[-1]


def _small_first(fit: Fit) -> Callable[[Session], Outcome]:
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
        wanted = shares[replay.targets]
        losses = predicted_mean(
            fit, shares[learnt], -values.reshape(len(learnt), -1), replay.weights, wanted, session.seed
        )
        mean = -losses
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
    Method("equal", _towards(lambda session: mixing_rules.equal(np.ones(len(session.replay.runs.sources))))),
    Method("proportional", _towards(_by_rule(mixing_rules.proportional)), sizes=True),
    Method("tempered", _towards(_by_rule(mixing_rules.tempered)), sizes=True),
    Method("unimax", _towards(_by_rule(lambda sizes: mixing_rules.unimax(sizes, float(sizes.sum())))), sizes=True),
    Method("doremi", _towards(_excess_loss)),
    Method("regmix", _small_first(by_boosting)),
    Method("mixing-law", _small_first(by_mixing_law)),
    Method("ours-target", _ours(every_level=False)),
    Method("ours", _ours(every_level=True)),
)
