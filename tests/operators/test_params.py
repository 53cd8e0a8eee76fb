"""What a recipe may say of an operator's parameters, and what it is told otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoselection.errors import RecipeError
from autoselection.operators import BaseOperator, OperatorRegistry, Outcome, Param, default_registry, validate_params


def check(name: str, params: object = None) -> dict:
    return validate_params(default_registry().get(name), params)  # type: ignore[arg-type]


def test_defaults_are_the_published_behaviour():
    assert check("ifd_filter") == {
        "fraction": 0.5,
        "top_k": None,
        "threshold": None,
        "direction": "high",
        "scope": "whole",
        "missing": "drop",
    }


def test_one_of_a_group_decides():
    assert check("ifd_filter", {"top_k": 7})["fraction"] is None
    assert check("ifd_filter", {"fraction": None, "top_k": 7})["top_k"] == 7
    with pytest.raises(RecipeError, match="fraction and top_k are both given: set exactly one of"):
        check("ifd_filter", {"fraction": 0.5, "top_k": 7})


def test_parameters_of_another_strategy_are_refused():
    assert check("semantic_dedup", {"strategy": "exact"}) == {"strategy": "exact"}
    with pytest.raises(RecipeError, match="'cosine_threshold' applies only if strategy is embedding"):
        check("semantic_dedup", {"cosine_threshold": 0.9})


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("ifd_filter", {"fraction": 1.5}, "'fraction' must be a number from 0.05 to 1, not 1.5"),
        ("ifd_filter", {"fraction": float("nan")}, "must be a number from"),
        ("ifd_filter", {"fraction": True}, "must be a number from"),
        ("ifd_filter", {"fraction": "0.5"}, "must be a number from"),
        ("ifd_filter", {"top_k": 0}, "must be a whole number of at least 1, not 0"),
        ("ifd_filter", {"top_k": 2.5}, "whole number"),
        ("ifd_filter", {"direction": "up"}, "must be one of high, low, not 'up'"),
        ("ifd_filter", {"fractoin": 0.5}, "unknown parameter 'fractoin'; did you mean 'fraction'"),
        ("mona_filter", {"threshold": 1.2}, "from 0 to 1"),
        ("semantic_dedup", {"num_perm": 16}, "from 32 to 256"),
        ("semdedup", {"cosine_threshold": 0.5}, "from 0.7 to 0.99"),
        ("union", {}, "'source_recipe' is required: give the id of a recipe"),
        ("source_filter", {"sources": []}, "not empty"),
        ("source_filter", {"sources": ["a", "a"]}, "distinct"),
        ("source_mix", {"weights": {"a": -1}}, "at least 0"),
        ("source_mix", {"weights": {"a": 0}}, "not all 0"),
        ("ifd_filter", [1], "params must be a mapping"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_range(name, params, message):
    with pytest.raises(RecipeError, match=message) as caught:
        check(name, params)
    assert f"operator '{name}'" in str(caught.value)


@pytest.mark.parametrize("params", [{"fraction": 0.1234567}, {"top_k": 5.0}, {"threshold": -3}])
def test_validation_rounds_and_is_idempotent(params):
    once = check("ifd_filter", params)
    assert check("ifd_filter", once) == once
    assert once["fraction"] in (None, 0.123457)


def test_lists_of_sources_are_sorted():
    assert check("source_filter", {"sources": ["b", "a"]})["sources"] == ["a", "b"]


def test_unknown_operator_is_refused_with_a_suggestion():
    with pytest.raises(RecipeError, match="unknown operator 'ifd_filtre'; did you mean 'ifd_filter'"):
        default_registry().get("ifd_filtre")


class Nothing(BaseOperator):
    name = "nothing"
    family = "test"
    summary = "does nothing"
    order = "as given"
    params = (Param("strength", "int", 3, low=1, high=5),)

    def __call__(self, rows, params, context):
        return Outcome(rows)


def test_a_package_can_register_its_own_operator(monkeypatch, tmp_path):
    from importlib.metadata import EntryPoint

    from autoselection.operators import registry

    def points(*entries: EntryPoint):
        monkeypatch.setattr("autoselection.plugins.entry_points", lambda group: list(entries))
        registry.default_registry.cache_clear()
        return registry.default_registry()

    try:
        own = points(EntryPoint("nothing", f"{__name__}:Nothing", registry.ENTRY_POINT_GROUP))
        assert own.get("nothing").params[0].default == 3
        with pytest.raises(RecipeError, match=r"'broken' .* cannot be imported"):
            points(EntryPoint("broken", "no_such_module:Nothing", registry.ENTRY_POINT_GROUP))
        with pytest.raises(RecipeError, match="is not an operator"):
            points(EntryPoint("dict", "builtins:dict", registry.ENTRY_POINT_GROUP))
        folder = tmp_path / "wrong_package.py"
        folder.write_text("from autoselection.operators import Param\nParam('a', 'flaot')\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        with pytest.raises(RecipeError, match=r"'wrong' .* cannot be imported \(ValueError: .* did you mean 'float'"):
            points(EntryPoint("wrong", "wrong_package:Wrong", registry.ENTRY_POINT_GROUP))
    finally:
        monkeypatch.undo()
        registry.default_registry.cache_clear()


def test_a_parameter_of_an_unknown_kind_or_role_is_refused():
    with pytest.raises(ValueError, match="parameter 'a': there is no kind 'flaot'; did you mean 'float'"):
        Param("a", "flaot")
    with pytest.raises(ValueError, match="parameter 'a': there is no role 'strenght'; did you mean 'strength'"):
        Param("a", "float", role="strenght")


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("no thing", (), "Operator 'no thing': its name, 'no thing', is no plain word"),
        ("nothing", (Param("a b", "bool", True),), "the name of a parameter, 'a b', is no plain word"),
        ("nothing", (Param("a", "bool", True), Param("a", "bool", True)), "two parameters have one name"),
        (
            "nothing",
            (Param("a", "float", 0.5, role="strength"), Param("b", "float", 0.5, role="strength")),
            "Operator 'nothing': the parameters 'a' and 'b' both have the role strength",
        ),
    ],
)
def test_an_operator_that_is_declared_wrongly_is_not_registered(name, params, told):
    wrong = Nothing()
    wrong.name, wrong.params = name, params
    with pytest.raises(RecipeError, match=told):
        OperatorRegistry([wrong])


def test_two_operators_may_not_share_a_name():
    registry = type(default_registry())([Nothing()])
    with pytest.raises(RecipeError, match="Two operators are called 'nothing'"):
        registry.register(Nothing())


def test_small_numbers_without_two_bounds_keep_their_significant_digits():
    assert check("score_filter", {"signal": "x", "threshold": 1e-7})["threshold"] == 1e-7
    assert check("score_filter", {"signal": "x", "threshold": -1.23456789e-9})["threshold"] == -1.23457e-9
    assert check("length_filter", {"min": 1e-12})["min"] == 1e-12
    weights = {"weights": {"a": 1.4e-6, "b": 3e-7, "c": 1 / 3, "d": 0}, "other": 2e-7}
    found = check("source_mix", weights)
    assert found["weights"] == {"a": 1.4e-6, "b": 3e-7, "c": 0.333333, "d": 0} and found["other"] == 2e-7
    assert check("source_mix", found) == found
    assert check("score_filter", {"signal": "x", "threshold": 123.4567891})["threshold"] == 123.456789


@given(st.floats(-(2.0**53), 2.0**53))
def test_a_threshold_is_rounded_once(threshold):
    once = check("score_filter", {"signal": "x", "threshold": threshold})
    assert check("score_filter", once) == once
    assert once["threshold"] == pytest.approx(threshold, rel=5e-6, abs=0)
