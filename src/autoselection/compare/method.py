"""What every method of a comparison is: something that spends the budget of a session."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from autoselection.compare.session import Rows, Session
from autoselection.errors import ConfigError
from autoselection.operators import default_registry
from autoselection.recipes import PrefixCache, Recipe, materialize, subset_hash
from autoselection.search import SearchConfig
from autoselection.signals.table import SignalTable


@dataclass(frozen=True)
class Method:
    """A search method.

    Attributes:
        name: as on the command line.
        run: spends the session's budget; the seed is the method's own. The same scores lead to the same requests: an
            interrupted comparison replays the method.
        settings: everything that distinguishes this method from one of the same code, for a cache's key.
        requires: package that has to be installed for it (extra ``compare``), or None.
        evaluations: what it spends, from the pool's signals and the search settings, whatever the budget of the others;
            None: their budget.
        most: the same at most, from the search settings alone: what can be said before a pool is scored.
    """

    name: str
    run: Callable[[Session, int], None]
    settings: Any = None
    requires: str | None = None
    evaluations: Callable[[SignalTable, SearchConfig], int] | None = None
    most: Callable[[SearchConfig], int] | None = None

    def budget(self, shared: int, table: SignalTable, search: SearchConfig) -> int:
        """Full evaluations that it may spend, where others may spend ``shared``."""
        return shared if self.evaluations is None else self.evaluations(table, search)


def check_levels(search: SearchConfig) -> None:
    """See that every method would pay the same for a score: what an evaluation costs is the share of the training that it gets.

    Raises:
        ConfigError: ``search.fidelity`` has other models, fewer items, or a price of its own for short trainings.
    """
    fidelity = search.fidelity
    if fidelity.by_value:
        raise ConfigError(
            "search.fidelity: a comparison evaluates the configured model on all items, so that every method pays the same for a "
            "score: leave out 'models' and 'items' (--set search.fidelity.models=[])."
        )
    if fidelity.cost is not None and fidelity.cost != fidelity.level:
        raise ConfigError(
            f"search.fidelity.cost: a comparison counts a short training by its share of a full one (level: {fidelity.level:g}), not as "
            f"{fidelity.cost:g}, so that every method pays the same for a score: leave out 'cost' (--set search.fidelity.cost=null)."
        )


class Materializer:
    """Recipes to rows for one session."""

    def __init__(self, session: Session, seed: int) -> None:
        self.session = session
        self.seed = seed
        self.registry = default_registry()
        self.cache = PrefixCache()
        self._given: set[str] = set()

    def rows(self, recipe: Recipe) -> Rows | None:
        """The rows, or None if they are too few to be scored."""
        outcome = materialize(recipe, self.session.table, seed=self.seed, registry=self.registry, cache=self.cache)
        return outcome.rows if outcome.distinct >= self.session.min_rows else None

    def new_rows(self, recipe: Recipe) -> Rows | None:
        """The rows, the first time that this method gives them; for methods that score no subset twice."""
        rows = self.rows(recipe)
        if rows is None or (name := subset_hash(rows)) in self._given:
            return None
        self._given.add(name)
        return rows


def evaluate_in_turn(session: Session, subsets: Iterable[Rows]) -> None:
    """Score subsets until the budget is spent."""
    for rows in subsets:
        if not session.can_pay():
            return
        session.observe(rows)
