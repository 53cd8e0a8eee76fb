"""A step in words: what decides, three significant digits, the rest where it is not the default."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoselection.operators import default_registry, validate_params
from autoselection.operators.phrases import number, percent
from autoselection.recipes import Recipe, Step, ready_recipes
from autoselection.recipes.describe import describe_step

CASES: list[tuple[str, dict[str, Any], str]] = [
    ("truncate_samples", {}, "random 50%"),
    ("truncate_samples", {"total_samples": 12000}, "random 12,000 rows"),
    ("mona_filter", {}, "highest 30% for each task"),
    ("mona_filter", {"threshold": 0.25, "direction": "low"}, "at most 0.25"),
    ("ifd_filter", {}, "highest 50%"),
    ("ifd_filter", {"fraction": 0.5, "direction": "low", "scope": "source"}, "lowest 50%, within source"),
    ("ifd_filter", {"top_k": 1500, "missing": "keep"}, "highest 1,500 rows, rows without a score kept"),
    ("ngram_entropy", {"threshold": 0.123456}, "at least 0.123"),
    ("rsr_filter", {"top_k": 20}, "lowest 20 rows"),
    ("varentropy_filter", {"fraction": 0.999, "scope": "task"}, "highest 99.9%, within task"),
    ("action_object_branching", {"fraction": 1 / 3, "direction": "low", "scope": "cluster"}, "lowest 33.3%, within cluster"),
    ("semantic_dedup", {"strategy": "exact"}, "exact"),
    ("semantic_dedup", {"jaccard_threshold": 0.62257}, "minhash, Jaccard 0.623"),
    ("semantic_dedup", {"ngram_size": 3, "part": "response"}, "minhash, Jaccard 0.8, 3-grams, responses"),
    ("semantic_dedup", {"strategy": "sentence"}, "sentence, cosine 0.9"),
    ("semdedup", {}, "cosine 0.9, 1,000 clusters"),
    ("union", {"source_recipe": "abc"}, "short ones"),
    ("intersect", {"source_recipe": "xyz"}, "xyz"),
    ("subtract", {"source_recipe": "abc"}, "short ones"),
    ("source_filter", {"sources": ["wikipedia"]}, "drop wikipedia"),
    ("source_filter", {"sources": list("gfedcba"), "mode": "keep"}, "keep a, b, c, d, e and 2 more"),
    ("source_mix", {"weights": {"a": 2, "b": 0.5}, "other": 0, "fraction": 0.25}, "a 2 : b 0.5 : others 0, 25%"),
    ("source_mix", {"temperature": 3}, "temperature 3"),
    ("varentropy_mix", {"total_samples": 1000}, "temperature 1, 1,000 rows"),
    ("score_filter", {"signal": "reward"}, "reward, highest 50%"),
    ("score_filter", {"signal": "loss", "band_low": 0.25, "band_high": 0.75}, "loss, from 25% to 75% of the order"),
    ("blend_filter", {"weights": {"ifd": -3, "reward": 1}}, "low ifd 75% + high reward 25%, best 50%"),
    ("source_mix", {"temperature": 3, "groups": {"column": "topic"}}, "temperature 3, by topic"),
    ("length_filter", {"min": 10, "max": 500}, "response tokens, 10 to 500"),
    ("length_filter", {"fraction": 0.05}, "response tokens, longest 5%"),
    ("length_filter", {"length": "n_prompt_words", "max": 2000}, "prompt words, at most 2,000"),
    ("sample", {"signal": "reward"}, "reward, 50%, high likelier"),
    ("sample", {"signal": "loss", "direction": "low", "temperature": 0.5}, "loss, 50%, low likelier, temperature 0.5"),
    ("diversity", {}, "k-center, 30%"),
    ("diversity", {"method": "facility_location", "top_k": 2000}, "facility-location, 2,000 rows"),
    ("cluster_balance", {}, "50%, sqrt shares"),
    ("cluster_balance", {"spread": "temperature", "within": "best", "signal": "reward", "clusters": 64},
     "50%, temperature 4, 64 clusters, highest reward"),
    ("decontaminate", {}, "any shared n-gram"),
    ("decontaminate", {"threshold": 0.1, "missing": "drop"}, "10% of an item's n-grams, rows without a score dropped"),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "params", "text"), CASES)
def test_every_operator_in_words(operator: str, params: dict[str, Any], text: str) -> None:
    names = {"abc": "short ones"}
    assert describe_step(operator, params, names) == f"{operator}({text})"
    complete = validate_params(default_registry().get(operator), params)
    assert describe_step(operator, complete, names) == f"{operator}({text})"  # canonical form says the same


def test_no_operator_is_left_without_words() -> None:
    described = {operator for operator, _, _ in CASES}
    assert described == set(default_registry().names())
    for entry in ready_recipes().values():
        assert "=" not in entry.recipe.describe() and "None" not in entry.recipe.canonical().describe()


def test_what_cannot_run_is_shown_as_it_stands() -> None:
    assert describe_step("nobody", {"x": 0.123456, "y": None}, {}) == "nobody(x=0.123)"  # uninstalled since
    assert (
        Recipe((Step("ifd_filter", {"fraction": 7, "direction": "up"}),)).describe()
        == "ifd_filter(fraction=7, direction=up)"
    )


@given(st.floats(1e-9, 1))
def test_shares_have_three_digits_and_are_not_rounded_to_all_or_nothing(share: float) -> None:
    shown = percent(share)
    assert float(shown[:-1]) / 100 == pytest.approx(share, rel=0.006)
    assert (shown == "100%") == (share == 1) or share > 1 - 1e-7
    assert shown != "0%"


@given(st.floats(-1e12, 1e12, allow_nan=False))
def test_numbers_have_three_digits_or_are_whole(value: float) -> None:
    shown = number(value)
    assert float(shown.replace(",", "")) == pytest.approx(value, rel=0.006)
    assert len(re.sub(r"e.*|[^1-9]", "", shown)) <= 3 or "." not in shown
