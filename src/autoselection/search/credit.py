"""Operator credit: which operators, and pairs of them, the score changes from parent to child speak for.

The change ``Δ = score(child) - score(parent)`` is divided evenly among the operators that the edit touched: an operator
that was added or whose parameters changed gets ``+Δ/m``, one that was removed gets ``-Δ/m``, with m operators touched.
In the same way Δ is divided among pairs: every pair of operators of the child with at least one added or changed member
counts positive, every pair of the parent with at least one removed member counts negative. A pure change of order
touches no operator; its Δ goes to the pairs of operators whose order was turned round.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, TypeVar

from autoselection.recipes import Recipe, Step

Pair = tuple[str, str]


@dataclass(frozen=True)
class Share:
    """Sum of the shares and how many score changes they come from."""

    total: float = 0.0
    count: int = 0

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def plus(self, value: float) -> Share:
        return Share(self.total + value, self.count + 1)


@dataclass(frozen=True)
class Credit:
    """Credit of operators and of unordered pairs (names sorted)."""

    operators: Mapping[str, Share] = field(default_factory=dict)
    pairs: Mapping[Pair, Share] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Operators and pairs (joined by ``+``), best total first."""
        operators = sorted(self.operators.items(), key=lambda item: (-item[1].total, item[0]))
        pairs = sorted(self.pairs.items(), key=lambda item: (-item[1].total, item[0]))
        return {
            "operators": {name: {"total": share.total, "count": share.count} for name, share in operators},
            "pairs": {"+".join(pair): {"total": share.total, "count": share.count} for pair, share in pairs},
        }


@dataclass(frozen=True)
class RecipeChange:
    """How a child differs from its parent, by operator names (sorted, without repeats)."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    turned: tuple[Pair, ...]


def difference(parent: Recipe, child: Recipe) -> RecipeChange:
    """Compare two recipes by operator; steps of the same operator are compared in their order."""
    before, after = _by_operator(parent.steps), _by_operator(child.steps)
    added = tuple(sorted(name for name in after if len(after[name]) > len(before.get(name, ()))))
    removed = tuple(sorted(name for name in before if len(before[name]) > len(after.get(name, ()))))
    changed = tuple(
        sorted(
            name
            for name in after
            if name in before and len(after[name]) == len(before[name]) and after[name] != before[name]
        )
    )
    turned: tuple[Pair, ...] = ()
    if not (added or removed or changed):
        place_before, place_after = _first_places(parent.steps), _first_places(child.steps)
        turned = tuple(
            (a, b)
            for a, b in combinations(sorted(place_before), 2)
            if (place_before[a] < place_before[b]) != (place_after[a] < place_after[b])
        )
    return RecipeChange(added, changed, removed, turned)


def shares(parent: Recipe, child: Recipe, change: float) -> tuple[dict[str, float], dict[Pair, float]]:
    """Divide one score change among operators and among pairs."""
    found = difference(parent, child)
    gained, lost = {*found.added, *found.changed}, set(found.removed)
    positive = {*found.turned, *_pairs_with(gained, child)}
    negative = _pairs_with(lost, parent) - positive
    operators = _divided(change, gained, lost)
    pairs = _divided(change, positive, negative)
    return operators, pairs


Name = TypeVar("Name", str, Pair)


def _divided(change: float, positive: Collection[Name], negative: Collection[Name]) -> dict[Name, float]:
    """The change in equal parts: plus for the positive, minus for the negative."""
    names = [(name, 1.0) for name in sorted(positive)] + [(name, -1.0) for name in sorted(negative)]
    return {name: sign * change / len(names) for name, sign in names}


def credit(changes: Iterable[tuple[Recipe, Recipe, float]]) -> Credit:
    """Sum the shares of all (parent, child, score change) triples."""
    operators: dict[str, Share] = {}
    pairs: dict[Pair, Share] = {}
    for parent, child, change in changes:
        of_operators, of_pairs = shares(parent, child, change)
        for name, value in of_operators.items():
            operators[name] = operators.get(name, Share()).plus(value)
        for pair, value in of_pairs.items():
            pairs[pair] = pairs.get(pair, Share()).plus(value)
    return Credit(operators, pairs)


def _by_operator(steps: Iterable[Step]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for step in steps:
        found.setdefault(step.operator, []).append(json.dumps(dict(step.params), sort_keys=True, default=str))
    return found


def _first_places(steps: Iterable[Step]) -> dict[str, int]:
    places: dict[str, int] = {}
    for place, step in enumerate(steps):
        places.setdefault(step.operator, place)
    return places


def _pairs_with(names: set[str], recipe: Recipe) -> set[Pair]:
    present = sorted({step.operator for step in recipe.steps})
    return {pair for pair in combinations(present, 2) if names & set(pair)}
