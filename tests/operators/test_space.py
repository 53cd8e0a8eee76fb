"""Sampling, perturbing, clamping and encoding parameters."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_tables import apply, make_table, random_params

from autoselection.errors import RecipeError
from autoselection.operators import (
    BaseOperator,
    OperatorRegistry,
    Param,
    builtin_operators,
    clamp_params,
    default_registry,
    encode_params,
    encoding_names,
    perturb_params,
    sample_params,
    validate_params,
)
from autoselection.operators.space import from_unit, to_unit
from autoselection.signals.table import SignalTable

SEARCHED = [operator for operator in builtin_operators() if operator.searched]
NAMES = [operator.name for operator in SEARCHED]
TABLE = make_table(1, n=400, sources=4)
RECIPES = ("t001", "t002")


@pytest.mark.parametrize("operator", SEARCHED, ids=NAMES)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), scale=st.sampled_from([0.01, 0.15, 1.0]))
def test_samples_and_perturbations_are_valid_and_seeded(operator, seed, scale):
    params = sample_params(operator, TABLE, np.random.default_rng(seed), recipes=RECIPES)
    assert params == sample_params(operator, TABLE, np.random.default_rng(seed), recipes=RECIPES)
    assert validate_params(operator, params) == params == clamp_params(operator, params, TABLE)
    moved = perturb_params(operator, params, TABLE, np.random.default_rng(seed), scale, recipes=RECIPES)
    assert moved != params
    assert validate_params(operator, moved) == moved == clamp_params(operator, moved, TABLE)
    for value in (params, moved):
        code = encode_params(operator, value, TABLE)
        assert len(code) == len(encoding_names(operator, TABLE))
        assert ((code >= 0) & (code <= 1)).all()


@pytest.mark.parametrize("operator", builtin_operators(), ids=lambda operator: operator.name)
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sources=st.integers(1, 6),
    n=st.sampled_from([1, 2, 3, 7, 60]),
    scale=st.sampled_from([1e-12, 0.1, 3.0]),
    recipes=st.sampled_from([("other",), ("other", "second")]),
)
def test_a_move_is_made_exactly_where_there_is_one_and_is_another_valid_value(
    operator, seed, sources, n, scale, recipes
):
    table = make_table(seed, n=n, sources=sources)
    before = random_params(operator.name, table, seed)
    inside = clamp_params(operator, before, table)
    moved = perturb_params(operator, before, table, np.random.default_rng(seed), scale, recipes=recipes)
    assert validate_params(operator, moved) == moved == clamp_params(operator, moved, table)
    if moved == inside:
        assert not any(other_values(param, inside, recipes) for param in operator.space(table))
    declared = {param.name: param for param in operator.space(table)}
    for name, value in moved.items():
        if value != before.get(name) and declared[name].kind == "sources":
            assert 0 < len(value) < len(table.source_names) and len(set(value) ^ set(before[name])) in (1, 2)


def other_values(param, params, recipes):
    """Whether a searched parameter that applies can have another value, by what it declares."""
    if not param.searched or not param.active(params):
        return False
    if param.kind in ("float", "int"):
        return param.low < param.high
    options = list(recipes) if param.kind == "recipe" else list(param.choices)
    if param.kind == "sources":  # any list that names neither none nor all
        options = [list(some) for size in range(1, len(options)) for some in combinations(options, size)]
    return param.kind == "bool" or any(option != params.get(param.name) for option in options)


@pytest.mark.parametrize("named", [["a"], ["b"]])
def test_of_two_sources_a_filter_moves_to_the_other(named):
    operator = default_registry().get("source_filter")
    table = SignalTable.from_arrays(source=np.array(["a", "b"])[np.arange(8) % 2])
    for seed in range(20):
        moved = perturb_params(operator, {"sources": named}, table, np.random.default_rng(seed))
        assert moved["sources"] == [name for name in ("a", "b") if name not in named]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.5, 0.500001), (2, 3), (1, 1)])
@pytest.mark.parametrize("log", [False, True])
def test_numbers_move_at_every_scale_and_stay_in_range(low, high, log):
    for kind in ("float", "int") if isinstance(low, int) else ("float",):
        param = Param("x", kind, low, low=max(low, 1e-6), high=high, log=log, searched=True)
        owner = BaseOperator()
        owner.name, owner.params = "one", (param,)
        for scale in (1e-300, 1e-7, 0.1, 50.0):
            for start in (0.0, 0.25, 0.5, 1.0):
                value = from_unit(param, start)
                for seed in range(10):
                    moved = perturb_params(owner, {"x": value}, TABLE, np.random.default_rng(seed), scale)["x"]
                    assert param.low <= moved <= param.high
                    assert (moved != value) == (low < high)
                    if scale == 1e-300:  # the nearest other number that the digits kept can say
                        assert abs(moved - value) <= (1 if kind == "int" else 1.01e-6)


def test_small_perturbations_stay_near():
    operator = default_registry().get("truncate_samples")
    rng = np.random.default_rng(0)
    start = validate_params(operator, {"fraction": 0.5})
    moves = [perturb_params(operator, start, TABLE, rng, 0.05)["fraction"] for _ in range(200)]
    assert np.std(moves) == pytest.approx(0.05, rel=0.2)


def test_perturbing_a_cut_by_rows_turns_it_into_a_fraction():
    operator = default_registry().get("truncate_samples")
    moved = perturb_params(operator, {"total_samples": 50}, TABLE, np.random.default_rng(0))
    assert moved["total_samples"] is None and 0.01 <= moved["fraction"] <= 1


def test_a_changed_strategy_gets_its_own_parameters():
    operator = default_registry().get("semantic_dedup")
    start = {"strategy": "exact"}
    rng = np.random.default_rng(0)
    found = {tuple(sorted(perturb_params(operator, start, TABLE, rng))) for _ in range(50)}
    assert ("cosine_threshold", "strategy") in found
    assert ("jaccard_threshold", "ngram_size", "num_perm", "strategy") in found


def test_a_source_filter_never_names_every_source():
    operator = default_registry().get("source_filter")
    rng = np.random.default_rng(0)
    params = sample_params(operator, TABLE, rng)
    for _ in range(100):
        params = perturb_params(operator, params, TABLE, rng)
        assert 1 <= len(params["sources"]) < len(TABLE.source_names)


def test_union_needs_a_recipe_to_name():
    operator = default_registry().get("union")
    with pytest.raises(RecipeError, match="no recipe yet"):
        sample_params(operator, TABLE, np.random.default_rng(0))
    assert perturb_params(operator, {"source_recipe": "a"}, TABLE, np.random.default_rng(0)) == {"source_recipe": "a"}


def test_clamp_mends_what_it_can():
    ifd = default_registry().get("ifd_filter")
    assert clamp_params(ifd, {"fraction": 3, "direction": "up", "nonsense": 1}, TABLE) == validate_params(
        ifd, {"fraction": 1.0}
    )
    assert clamp_params(ifd, {"fraction": 0.2, "top_k": 5}, TABLE)["top_k"] is None
    assert clamp_params(ifd, {"top_k": 10_000}, TABLE)["top_k"] == 400
    dedup = default_registry().get("semantic_dedup")
    assert clamp_params(dedup, {"strategy": "exact", "jaccard_threshold": 0.7}, TABLE) == {"strategy": "exact"}
    sources = default_registry().get("source_filter")
    assert clamp_params(sources, {"sources": ["s1", "elsewhere"]}, TABLE)["sources"] == ["s1"]
    with pytest.raises(RecipeError, match="required"):
        clamp_params(sources, {"sources": ["elsewhere"]}, TABLE)


def test_ranges_follow_the_size_of_the_pool():
    def ends(name, param, n):
        table = SignalTable.from_arrays(n=n)
        found = {item.name: item for item in default_registry().get(name).space(table)}[param]
        return found.low, found.high

    assert ends("truncate_samples", "total_samples", 3000) == (500, 3000)
    assert ends("truncate_samples", "total_samples", 10**6) == (500, 100_000)
    assert ends("semdedup", "num_clusters", 3000) == (30, 300)
    assert ends("semdedup", "num_clusters", 90_000) == (100, 9000)
    assert ends("ifd_filter", "top_k", 3000) == (1, 3000)


def test_the_default_space_holds_what_the_pool_has_signals_for():
    registry = OperatorRegistry()
    bare = SignalTable.from_arrays({"ifd": [1.0]}, text_hash=[1])
    assert [op.name for op in registry.default_space(bare)] == [
        "truncate_samples",
        "ifd_filter",
        "semantic_dedup",
        "union",
    ]
    dedup = {param.name: param for param in registry.get("semantic_dedup").space(bare)}
    assert dedup["strategy"].choices == ("exact",)
    assert [op.name for op in registry.default_space(TABLE)] == NAMES


def test_cuts_are_encoded_as_the_share_of_the_pool_they_stand_for():
    ifd = default_registry().get("ifd_filter")
    position = encoding_names(ifd, TABLE).index("ifd_filter.fraction")
    kept = len(apply(TABLE, "ifd_filter", {"threshold": 0.6}).rows) / TABLE.n
    assert encode_params(ifd, {"threshold": 0.6}, TABLE)[position] == pytest.approx((kept - 0.05) / 0.95)
    assert encode_params(ifd, {"top_k": 200}, TABLE)[position] == pytest.approx(0.45 / 0.95)
    truncate = default_registry().get("truncate_samples")
    assert encode_params(truncate, {"total_samples": 200}, TABLE)[0] == pytest.approx(0.49 / 0.99)


NUMBERS = [
    (operator.name, param)
    for operator in SEARCHED
    for param in operator.space(TABLE)
    if param.searched and param.kind in ("float", "int")
]


@pytest.mark.parametrize(("operator", "param"), NUMBERS, ids=[f"{name}-{param.name}" for name, param in NUMBERS])
def test_numbers_go_to_the_unit_interval_and_back(operator, param):
    assert (from_unit(param, 0.0), from_unit(param, 1.0)) == (param.low, param.high)
    assert (to_unit(param, param.low), to_unit(param, param.high)) == (0.0, 1.0)
    middle = (param.low * param.high) ** 0.5 if param.log else (param.low + param.high) / 2
    assert from_unit(param, 0.5) == pytest.approx(middle, abs=0.5 if param.kind == "int" else 1e-6)
    for position in (0.0, 0.3, 1.0):
        value = from_unit(param, position)
        assert from_unit(param, to_unit(param, value)) == value


def test_operators_without_numbers_are_known_by_name():
    assert {operator.name for operator in SEARCHED} - {name for name, _ in NUMBERS} == {"source_filter", "union"}


def test_a_move_changes_one_parameter_or_two_as_likely_as_said():
    operator = default_registry().get("ifd_filter")
    start = validate_params(operator, {"fraction": 0.5, "direction": "high", "scope": "whole"})
    moves = [perturb_params(operator, start, TABLE, np.random.default_rng(seed)) for seed in range(600)]
    changed = [sum(move[name] != start[name] for name in start) for move in moves]
    assert set(changed) == {1, 2} and np.mean(np.array(changed) == 2) == pytest.approx(0.3, abs=0.06)
