"""Ways to mix sources of the literature as methods: rules that know the sizes of sources, and three that learn from scores.

All of them draw rows at random within sources (``source_mix``), whether or not the search has that operator. Shares alone do
not say how many rows to draw: a rule's mixture is tried at sizes from all rows down to the smallest that is scored, so
that after any number of evaluations they lie evenly on a logarithmic scale; methods that learn take the size for one
input more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from autoselection.compare.method import Materializer, Method, evaluate_in_turn
from autoselection.compare.session import Rows, Session
from autoselection.operators import mixing_rules
from autoselection.operators.shares import canonical
from autoselection.recipes import Recipe, Step
from autoselection.search.learnt_mixtures import CONCENTRATION, described, simulated, source_excess
from autoselection.search.mixture_fits import Fit, by_boosting, by_mixing_law, leading_mean

Array = NDArray[np.float64]
Rule = Callable[[NDArray[np.int64], int], Array]
"""Shares of the sources from their sizes and the rows to draw."""

SMALLEST_SHARE = 0.03
FIRST = 0.5
"""Share of the budget that goes into random mixtures before a regression is asked."""
SIMULATED = 2000
DOREMI_SHARE = 2 / 3
"""Share of the budget in which DoReMi moves shares; the rest tries their mean at other sizes."""
MOST_AGAIN = 200
"""Draws of subsets that were drawn before, after which there are taken to be no others."""


def _sizes_of(session: Session) -> NDArray[np.int64]:
    table = session.table
    return np.bincount(table.source[table.selectable], minlength=len(table.source_names))


def _sizes_tried(session: Session) -> Iterator[int]:
    """Numbers of rows between all and the smallest, by a van der Corput sequence on the logarithm."""
    n = len(session.table.selectable)
    low = min(1.0, max(SMALLEST_SHARE, session.min_rows / n))
    yield n
    number = 0
    while True:
        number += 1
        place, digit, rest = 0.0, 0.5, number
        while rest:
            place += digit * (rest % 2)
            rest, digit = rest // 2, digit / 2
        yield max(session.min_rows, round(n * low**place))


def mixed(made: Materializer, shares: Array, total: int, repeats: int = 1) -> Rows | None:
    """So many rows with these shares of the sources, if that is a new subset; what a small source cannot serve comes from the
    others."""
    names = made.session.table.source_names
    params = {"weights": canonical(shares, names), "total_samples": int(total), "max_repeats": repeats}
    return made.new_rows(Recipe((Step("source_mix", params),)))


def _by_rule(rule: Rule, repeats: int = 1) -> Callable[[Session, int], None]:
    def run(session: Session, seed: int) -> None:
        made, sizes = Materializer(session, seed), _sizes_of(session)

        def subsets() -> Iterator[Rows]:
            again = 0
            for total in _sizes_tried(session):
                rows = mixed(made, rule(sizes, total), total, repeats)
                if rows is not None:
                    yield rows
                elif (again := again + 1) > MOST_AGAIN:
                    return

        evaluate_in_turn(session, subsets())

    return run


def _learning(fit: Fit) -> Callable[[Session, int], None]:
    """Random mixtures first (every other one near the pool's own), then one after another that the regression of all scores
    prefers: the mean of the best simulated ones."""

    def run(session: Session, seed: int) -> None:
        made, rng = Materializer(session, seed), np.random.default_rng([seed, 21])
        sizes, n = mixing_rules.proportional(_sizes_of(session)), len(session.table.selectable)
        low = np.log(min(1.0, max(SMALLEST_SHARE, session.min_rows / n)))
        first, again = max(3, round(FIRST * session.budget)), 0
        inputs: list[Array] = []
        losses: list[float] = []
        while session.can_pay() and again <= MOST_AGAIN:
            if len(losses) < first or again:
                shares = rng.dirichlet(CONCENTRATION * sizes + 0.05 if len(losses) % 2 else np.ones(len(sizes)))
                kept = float(rng.uniform(low, 0.0))
            else:
                known = np.array(inputs)
                wanted = simulated(known, rng, SIMULATED)
                best = leading_mean(wanted, fit(known, np.array(losses), wanted, seed))
                shares, kept = best[:-1] / best[:-1].sum(), float(best[-1])
            rows = mixed(made, shares, max(session.min_rows, round(n * np.exp(kept))))
            if rows is None:
                again += 1
                continue
            again = 0
            score = session.observe(rows)
            if np.isnan(score):  # a failed training is as bad as the worst
                score = 0.0 if session.worst is None else session.worst
            inputs.append(described(rows, session.table))
            losses.append(-score)

    return run


def _doremi(session: Session, seed: int) -> None:
    """DoReMi from whole trainings: the pool's own mixture is the reference; from equal shares on, those of sources near tasks
    that score worse than it grow. Then the mean of all shares at other sizes. Half as many rows are drawn as there are, each
    four times at most."""
    made, sizes, table = Materializer(session, seed), _sizes_of(session), session.table
    total = max(session.min_rows, len(table.selectable) // 2)
    rows = mixed(made, mixing_rules.proportional(sizes), total)
    if rows is None or not session.can_pay():
        return
    _, reference = session.observe_tasks(rows)
    shares = mixing_rules.equal(sizes)
    path = [shares]
    while session.spent < DOREMI_SHARE * session.budget and session.can_pay():
        rows = mixed(made, shares, total, mixing_rules.EPOCHS)
        if rows is None:  # the shares have come to rest
            break
        _, tasks = session.observe_tasks(rows)
        if tasks and reference:
            worse = {name: max(0.0, reference[name] - score) for name, score in tasks.items()}
            shares = mixing_rules.after_excess_loss(shares, source_excess(worse, table), np.zeros(len(shares)))
        path.append(shares)
    mean = np.mean(path, axis=0)
    subsets = (
        mixed(made, mean, size, mixing_rules.EPOCHS)
        for _, size in zip(range(MOST_AGAIN), _sizes_tried(session), strict=False)
    )
    evaluate_in_turn(session, (rows for rows in subsets if rows is not None))


MIXING = (
    Method("mix:proportional", _by_rule(lambda sizes, total: mixing_rules.proportional(sizes))),
    Method("mix:equal", _by_rule(lambda sizes, total: mixing_rules.equal(sizes))),
    Method("mix:tempered", _by_rule(lambda sizes, total: mixing_rules.tempered(sizes))),
    Method(
        "mix:unimax",
        _by_rule(lambda sizes, total: mixing_rules.unimax(sizes, total), repeats=mixing_rules.EPOCHS),
    ),
    Method("mix:doremi", _doremi),
    Method("mix:regmix", _learning(by_boosting)),
    Method("mix:law", _learning(by_mixing_law)),
)
