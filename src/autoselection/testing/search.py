"""The contracts of rankers and proposers (``autoselection.search.ranker``, ``proposer``), tried in small searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.operators import OperatorRegistry, default_registry
from autoselection.recipes.recipe import MAX_STEPS
from autoselection.search import (
    Candidate,
    Known,
    Point,
    ProposalRequest,
    ProposedRecipe,
    ProposedRecipes,
    Proposer,
    Ranker,
    SearchConfig,
    SearchController,
)
from autoselection.signals.table import SignalTable
from autoselection.testing.tables import signal_table

#: Settings under which a search asks for everything that a ranker or proposer gives: short trainings, repeats, batches.
_SEARCHES: tuple[dict[str, Any], ...] = (
    {},
    {"batch": 3},
    {"fidelity": {"level": 0.25, "warmup": 4}},
    {"repeats": {"enabled": True, "after": 3}},
    {"surrogate": {"features": "both", "acquisition": "log_ei"}},
)
_ROWS = 120


def check_ranker(ranker: Callable[[SearchConfig], Ranker]) -> None:
    """Try a ranker against its contract.

    It must predict every point it is asked of, the known ones first, with finite numbers and a positive deviation; give the same
    for the same, and nothing else after other questions; leave what it is given as it is; do with one known point, equal
    scores, points of another fidelity and points whose similarities are not known; and a search with it, with short trainings,
    repeats and batches, must end and be replayed. One that ``has_prior`` must predict without any known point too.

    Args:
        ranker: its class, or anything that gives one for the settings of a search.

    Raises:
        AssertionError: a rule is broken; the message names it.
    """
    made = ranker(_settings())
    table = signal_table(0, _ROWS)
    cases = _known_cases(table)
    some = cases[0][1].points
    for case, known in cases:
        if not (known.points or made.has_prior):
            continue
        points = [*some[:2], replace(some[0], fidelity=0.3)]
        before = (known.scores.copy(), [point.state.copy() for point in known.points])
        found = made.predict(known, points, 1.5, 3)
        _expect(len(found) == len(known.points) + len(points), made, f"one prediction a point ({case})")
        numbers = np.array([list(prediction.to_dict().values()) for prediction in found])
        _expect(bool(np.isfinite(numbers).all()), made, f"predictions are finite ({case})")
        _expect(bool((numbers[:, 1] > 0).all()), made, f"deviations are positive ({case})")
        same = (known.scores, [point.state for point in known.points])
        _expect(_equal(before, same), made, f"what it is given stays as it is ({case})")
        made.predict(cases[0][1], points[:1], 0.0, 1)
        _expect(made.predict(known, points, 1.5, 3) == found, made, f"the same question has the same answer ({case})")
        if not known.points:
            continue
        noise = made.noise(known)
        _expect(np.isfinite(noise) and noise >= 0, made, f"noise is a number of at least 0, not {noise} ({case})")
        made.leave_one_out(known, 3)
    _check_searches(made, lambda config: {"ranker": ranker(config)})


def check_proposer(proposer: Callable[[SearchConfig], Proposer]) -> None:
    """Try a proposer against its contract.

    It must propose valid recipes of the space's operators, each with a sentence that says how it was made and, if it was made
    from one, its starting point; draw from the generator it is given alone; and a search with it must end and be replayed.

    Args:
        proposer: its class, or anything that gives one for the settings of a search.

    Raises:
        AssertionError: a rule is broken; the message names it, and the recipe.
    """
    registry = default_registry()
    seen: list[ProposedRecipe] = []

    class Watched:
        """Asks the proposer twice with the same random numbers, and looks at what it gives."""

        def __init__(self, config: SearchConfig) -> None:
            self.made = proposer(config)

        def propose(self, request: ProposalRequest) -> ProposedRecipes:
            state = request.rng.bit_generator.state
            np.random.seed(0)
            first = self.made.propose(request)
            request.rng.bit_generator.state = state
            np.random.seed(1)
            again = self.made.propose(request)
            _check_recipes(self.made, request, first.recipes, registry)
            _expect(
                _hashes(first, registry) == _hashes(again, registry), self.made, "random draws are the request's alone"
            )
            seen.extend(first.recipes)
            return again

    _check_searches(proposer(_settings()), lambda config: {"proposer": Watched(config)})
    _expect(bool(seen), proposer, "it proposes recipes")


def _check_recipes(
    proposer: Proposer, request: ProposalRequest, recipes: Sequence[ProposedRecipe], registry: OperatorRegistry
) -> None:
    parents = {start.parent.id for start in request.starts if start.parent is not None}
    for made in recipes:
        said = made.recipe.describe()
        names = [step.operator for step in made.recipe.steps]
        _expect(len(names) <= MAX_STEPS, proposer, f"a recipe has at most {MAX_STEPS} steps: {said}")
        _expect(set(names) <= set(request.space.names), proposer, f"operators are the space's: {said}")
        _expect(bool(made.made.strip()) and made.made.isprintable(), proposer, f"a recipe says how it was made: {said}")
        own = made.parent is None or made.parent.id in parents | {trial.id for trial in request.scored}
        _expect(own, proposer, f"a parent is one of those it was told of: {said}")
        made.recipe.canonical(registry)  # raises RecipeError with a sentence


def _hashes(answer: ProposedRecipes, registry: OperatorRegistry) -> list[tuple[str, str]]:
    return [(made.recipe.digest(registry), made.made) for made in answer.recipes]


def _check_searches(made: object, parts: Callable[[SearchConfig], dict[str, Any]]) -> None:
    table = signal_table(1, _ROWS)
    for further in _SEARCHES:
        config = _settings(**further)
        first = SearchController(table, config, **parts(config))
        first.run(lambda candidate: _score(table, candidate))
        _expect(first.best is not None, made, f"a search with it finds something ({further})")
        again = SearchController(table, config, **parts(config))
        again.replay(trial.observation for trial in first.history)
        decided = [[decision.to_dict() for decision in entry.decisions] for entry in first.rounds if entry.decisions]
        replayed = [[decision.to_dict() for decision in entry.decisions] for entry in again.rounds if entry.decisions]
        _expect(decided == replayed, made, f"a search with it is replayed ({further})")


def _settings(**further: Any) -> SearchConfig:
    # The tables' signatures are shorter than those of a scored pool, which semantic_dedup asks for.
    usual = {"evaluations": 7, "proposals": 16, "min_rows": 5, "without": ("semantic_dedup",)}
    return SearchConfig.model_validate({**usual, **further})


def _score(table: SignalTable, candidate: Candidate) -> float:
    """Prefers rows of high ``ifd``, and about half of the pool."""
    scores = np.nan_to_num(table.column("ifd")[candidate.rows], nan=0.5)
    return float(scores.mean() - abs(len(candidate.rows) / table.n - 0.5))


def _known_cases(table: SignalTable) -> list[tuple[str, Known]]:
    rng = np.random.default_rng(4)
    points = []
    for place in range(6):
        rows = np.sort(rng.permutation(table.n)[: rng.integers(10, table.n)]).astype(np.int64)
        points.append(Point(rows, rng.normal(size=5), rng.random(3), 0.3 if place == 5 else 1.0))
    scores: NDArray[np.float64] = rng.normal(size=6)
    weights = np.ones(table.n)
    return [
        ("six points", Known(points, scores, weights)),
        ("one point", Known(points[:1], scores[:1], weights)),
        ("no point", Known([], scores[:0], weights)),
        ("equal scores", Known(points, np.full(6, 0.5), weights)),
        ("a subset twice", Known([*points, points[0]], np.append(scores, scores[0] + 0.1), weights)),
    ]


def _equal(before: Any, after: Any) -> bool:
    return all(
        np.array_equal(old, new) for old, new in zip([before[0], *before[1]], [after[0], *after[1]], strict=True)
    )


def _expect(kept: bool, what: object, rule: str) -> None:
    if not kept:
        name = getattr(what, "__name__", type(what).__name__)
        raise AssertionError(f"{name}: {rule}.")
