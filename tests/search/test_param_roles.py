"""An operator from elsewhere is drawn, edited, encoded, described like ours by the roles it declares, whatever its names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autoselection.operators import (
    BaseOperator,
    Context,
    OperatorRegistry,
    Outcome,
    Param,
    Rows,
    builtin_operators,
    encode_params,
    validate_params,
)
from autoselection.recipes import Recipe, Step
from autoselection.search import Observation, SearchConfig, SearchController, single_operator_recipes
from autoselection.signals.table import SignalTable

OURS = {operator.name: operator for operator in builtin_operators()}
NAMES = {
    "fraction": "share",
    "top_k": "rows",
    "direction": "side",
    "scope": "inside",
    "missing": "gaps",
    "signal": "by",
}


class Twin(BaseOperator):
    """One of our operators with other names for its parameters; it declares roles and nothing else."""

    def __init__(self, name: str) -> None:
        self.ours = OURS[name]
        self.name, self.family, self.summary, self.order = name, self.ours.family, self.ours.summary, self.ours.order
        self.published, self.randomized = self.ours.published, self.ours.randomized
        self.params = tuple(self._named(param) for param in self.ours.params)

    def _named(self, param: Param) -> Param:
        when = param.when and (NAMES.get(param.when[0], param.when[0]), param.when[1])
        return replace(param, name=NAMES.get(param.name, param.name), when=when)

    def _given(self, params: Mapping[str, Any]) -> dict[str, Any]:
        back = {new: old for old, new in NAMES.items()}
        return {back.get(name, name): value for name, value in params.items()}

    def needs(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return self.ours.needs(self._given(params))

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        return tuple(self._named(param) for param in self.ours.space(signals))

    def __call__(self, rows: Rows, params: Mapping[str, Any], context: Context) -> Outcome:
        return self.ours(rows, self._given(params), context)


def registry(*twins: str) -> OperatorRegistry:
    return OperatorRegistry([Twin(name) if name in twins else operator for name, operator in OURS.items()])


@pytest.fixture(scope="module")
def table() -> SignalTable:
    rng = np.random.default_rng(3)
    n = 400
    columns = {name: rng.random(n) for name in ("ifd", "varentropy", "reward", "mona/a", "mona/b", "n_response_tokens")}
    return SignalTable.from_arrays(columns, source=rng.choice(["x", "y", "z"], n), text_hash=rng.integers(0, 350, n))


@pytest.mark.parametrize("features", ["realized", "encoding"])
def test_a_search_decides_the_same_whatever_the_parameters_are_called(table, features):
    def searched(operators: OperatorRegistry) -> list[tuple[Any, ...]]:
        config = SearchConfig(
            evaluations=8,
            proposals=24,
            reseed={"patience": 2},
            also=("score_filter",),
            draws={"task_scope": 0.2},
            surrogate={"features": features},
        )
        controller = SearchController(table, config, operators)
        controller.run(lambda candidate: float(table.column("ifd")[candidate.rows].mean() + len(candidate.rows) / 800))
        return [(c.origin, c.parent, c.subset_hash, c.prediction) for c in controller.candidates]

    assert searched(registry("ifd_filter", "mona_filter", "score_filter")) == searched(registry())


def test_findings_and_baselines_go_by_roles(table):
    ours, twins = registry(), registry("ifd_filter")
    settings = SearchConfig(operators=("truncate_samples", "ifd_filter"), warmup=0)
    singles = [
        [step.params for recipe in single_operator_recipes(table, known, settings) for step in recipe.steps]
        for known in (ours, twins)
    ]
    assert [sorted(map(str, params.values())) for params in singles[0]] == [
        sorted(map(str, params.values())) for params in singles[1]
    ]
    low = [Recipe((Step("ifd_filter", {"share": share, "side": "low"}),)) for share in (0.2, 0.4)]
    high = [Recipe((Step("ifd_filter", {"share": share, "side": "high"}),)) for share in (0.2, 0.4)]
    controller = SearchController(table, SearchConfig(evaluations=4, warmup=0), twins, initial=[*low, *high])
    for number in range(4):
        controller.tell(Observation(controller.ask()[0].id, float(number)))
    assert any("ifd_filter (high)" in finding.text for finding in controller.findings)


def test_words_strength_and_column_follow_from_the_roles(table):
    twin = Twin("score_filter")
    params = validate_params(twin, {"by": "reward", "share": 0.25, "side": "low", "inside": "source", "gaps": "keep"})
    assert twin.phrases(params, {}) == ["reward", "lowest 25%", "within source", "rows without a score kept"]
    assert twin.phrases(validate_params(twin, {"by": "reward"}), {}) == ["reward", "highest 50%"]
    assert twin.phrases(validate_params(twin, {"by": "reward", "threshold": 3}), {}) == ["reward", "threshold=3"]
    assert twin.scored_by(params) == "reward"
    assert twin.as_fraction(params, table) == 0.25
    ours = validate_params(OURS["score_filter"], {"signal": "reward", "fraction": 0.25, "direction": "low"})
    alike = validate_params(twin, {"by": "reward", "share": 0.25, "side": "low"})
    np.testing.assert_array_equal(encode_params(twin, alike, table), encode_params(OURS["score_filter"], ours, table))


@pytest.mark.parametrize(
    "declared",
    [
        {"kind": "choice", "default": "up", "choices": ("up", "down"), "role": "end"},
        {"kind": "choice", "default": "each", "choices": ("each",), "role": "scope"},
        {"kind": "choice", "default": "drop", "choices": ("drop",), "role": "missing"},
        {"kind": "int", "default": 3, "role": "strength"},
    ],
)
def test_a_role_that_a_parameter_cannot_play_is_refused(declared):
    with pytest.raises(ValueError, match=f"'side' has the role {declared['role']}: declare it as"):
        Param("side", **declared)
