"""Methods that do not learn from scores: what any search has to beat."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from autoselection.compare.method import Materializer, Method, evaluate_in_turn
from autoselection.compare.session import Rows, Session
from autoselection.compare.spaces import searched_scores
from autoselection.recipes import subset_hash
from autoselection.search.baselines import latin_hypercube_recipes, random_recipes

SMALLEST_SHARE = 0.03
MOST_AGAIN = 1000
"""Draws of a subset that was drawn before, after which there are taken to be no others."""


def _random(session: Session, seed: int) -> None:
    """Random recipe search: the draws that warmup probes are chosen from, retention zones in turn."""
    made = Materializer(session, session.search.seed)  # as random_recipes checks sizes and duplicates of its own
    recipes = random_recipes(session.table, session.budget, seed, config=session.search)
    evaluate_in_turn(session, (rows for recipe in recipes if (rows := made.rows(recipe)) is not None))


def _hypercube(session: Session, seed: int) -> None:
    """Latin hypercube over the recipe space; subsets too small are replaced by later points of a second cube."""
    made = Materializer(session, seed)

    def subsets() -> Iterator[Rows]:
        for part in range(20):
            for recipe in latin_hypercube_recipes(
                session.table, session.budget, seed + 1000 * part, config=session.search
            ):
                rows = made.rows(recipe)
                if rows is not None:
                    yield rows

    evaluate_in_turn(session, subsets())


def _top_k(session: Session, seed: int) -> None:
    """The k rows at a random end of a random score, k log-uniform; scores and ends are those of the search's filters.

    No subset twice: of few scores and a small pool, one would often be drawn again.
    """
    table = session.table
    rng = np.random.default_rng([seed, 12])
    ends = searched_scores(table, session.search)
    names = list(ends)
    known_rows = [np.isfinite(table.column(name)[table.selectable]).sum() for name in names]

    def subsets() -> Iterator[Rows]:
        seen: set[str] = set()
        again = 0
        # A score needs enough rows, or none is ever drawn.
        while max(known_rows, default=0) >= session.min_rows and again < MOST_AGAIN:
            name = names[int(rng.integers(len(names)))]
            values = table.column(name)
            known = table.selectable[np.isfinite(values[table.selectable])]
            share = np.exp(rng.uniform(np.log(SMALLEST_SHARE), 0.0))
            sign = rng.choice(ends[name])
            k = min(len(known), max(session.min_rows, round(share * len(table.selectable))))
            if k < session.min_rows:
                continue  # a score that hardly any row has
            rows = np.sort(known[np.argsort(sign * values[known], kind="stable")[:k]])
            if subset_hash(rows) in seen:
                again += 1
                continue
            seen.add(subset_hash(rows))
            yield rows

    evaluate_in_turn(session, subsets())


def _random_rows(session: Session, seed: int) -> None:
    """Random rows, a random number of them."""
    rng = np.random.default_rng([seed, 13])
    everything = session.table.selectable
    n = len(everything)

    def subsets() -> Iterator[Rows]:
        while True:
            share = np.exp(rng.uniform(np.log(SMALLEST_SHARE), 0.0))
            yield np.sort(everything[rng.choice(n, min(n, max(session.min_rows, round(share * n))), replace=False)])

    evaluate_in_turn(session, subsets())


SIMPLE = (
    Method("random", _random),
    Method("latin-hypercube", _hypercube),
    Method("random-top-k", _top_k),
    Method("random-rows", _random_rows),
)
