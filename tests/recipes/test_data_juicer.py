"""Recipes of Data-Juicer in and out: the same rows where both have an operator, and a reason where they have not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.errors import ConfigError, RecipeError
from autoselection.recipes import Recipe, Step, lineage_remarks, materialize
from autoselection.recipes.data_juicer import configured_filters, from_data_juicer, to_data_juicer
from autoselection.signals import SignalTable
from autoselection.signals.families.data_juicer import DataJuicerOptions

LENGTH = "__dj__stats__.text_len"
THEIRS = """
project_name: sft
text_keys: 'text'
process:
  - alphanumeric_filter:
      tokenization: false
      min_ratio: 0.3
      max_ratio: 0.9
  - words_num_filter:
      lang: en
      min_num: 10
      max_num: 200
      text_key: response
  - text_length_filter:
      min_len: 0
      max_len: 500
  - specified_field_filter: {field_key: source, target_value: [a, b]}
  - document_deduplicator:
"""


def table(n: int = 400) -> SignalTable:
    rng = np.random.default_rng(0)
    columns = {
        "dj/alphanumeric/alnum_ratio": rng.random(n),
        "dj/words_num.response/num_words": rng.integers(0, 300, n),
        "dj/text_length/text_len": rng.integers(0, 900, n),
    }
    hashes = rng.integers(0, 3 * n, n).astype(np.uint64)
    return SignalTable.from_arrays(columns, source=rng.choice(list("abc"), n), text_hash=hashes)


def test_ranges_fields_and_exact_duplicates_select_what_data_juicer_keeps() -> None:
    found = from_data_juicer(yaml.safe_load(THEIRS), name="sft")
    assert [each.label for each in found.filters] == ["alphanumeric", "words_num.response", "text_length"]
    assert len(found.recipe.steps) <= 6 and not found.unmapped and "Unicode form" in found.remarks[0]
    signals = table()
    ratio, words, length = (
        signals[name]
        for name in sorted(signals.columns)[:1] + sorted(signals.columns)[2:] + sorted(signals.columns)[1:2]
    )
    kept = (ratio >= np.float32(0.3)) & (ratio <= np.float32(0.9)) & (words >= 10) & (words <= 200) & (length <= 500)
    kept &= np.isin(np.array(signals.source_names)[signals.source], ["a", "b"])
    seen: set[int] = set()
    expected = 0
    for row in np.flatnonzero(kept):
        expected += int(signals.text_hash[row]) not in seen  # type: ignore[index]
        seen.add(int(signals.text_hash[row]))  # type: ignore[index]
    assert len(materialize(found.recipe, signals).rows) == expected > 20
    assert set(materialize(found.recipe, signals).rows.tolist()) <= set(np.flatnonzero(kept).tolist())


def test_a_packed_cut_that_keeps_nothing_is_told_as_one_that_is_not_packed() -> None:
    process = [
        {"text_length_filter": {"min_len": 1000, "max_len": 2000}},
        {"words_num_filter": {"min_num": 10, "max_num": 200, "text_key": "response"}},
        {"alphanumeric_filter": {"min_ratio": 0.1, "max_ratio": 0.9, "tokenization": False}},
    ]
    for entries, packed in ((process[:2], False), ([*process, {"document_deduplicator": None}], True)):
        found = from_data_juicer({"process": entries})
        assert bool(found.recipe.library) is packed
        told = " ".join(lineage_remarks(materialize(found.recipe, table()).lineage))
        assert "would have left no row at all" in told and "(score_filter)" in told


def test_what_it_reads_is_said_as_a_configuration() -> None:
    options = from_data_juicer(yaml.safe_load(THEIRS)).signal_options()
    assert options["signals"]["options"]["data_juicer"]["filters"] == [
        {"filter": "alphanumeric_filter", "params": {"tokenization": False}},
        {"filter": "words_num_filter", "part": "response", "params": {"lang": "en"}},
        {"filter": "text_length_filter"},
    ]


def test_many_cuts_go_into_recipes_of_their_own_and_keep_the_same_rows() -> None:
    names = (
        "alphanumeric_filter",
        "special_characters_filter",
        "character_repetition_filter",
        "word_repetition_filter",
    )
    process = [{name: {"min_ratio": 0.1 + 0.01 * n, "max_ratio": 0.9}} for n, name in enumerate(names)]
    found = from_data_juicer({"process": process})
    assert len(found.recipe.steps) <= 6 and found.recipe.library
    rng = np.random.default_rng(1)
    columns = {each.columns[0]: rng.random(300) for each in found.filters}
    signals = SignalTable.from_arrays(columns)
    kept = np.all(
        [(signals[c] >= np.float32(0.1 + 0.01 * n)) & (signals[c] <= np.float32(0.9)) for n, c in enumerate(columns)],
        axis=0,
    )
    assert sorted(materialize(found.recipe, signals).rows.tolist()) == np.flatnonzero(kept).tolist()


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"clean_email_mapper": None}, "it changes texts, and a recipe only selects rows"),
        ({"random_selector": {"select_ratio": 0.5}}, "truncate_samples draws as many from each source"),
        ({"document_simhash_deduplicator": {}}, "no operator here does what it does"),
        ({"document_deduplicator": {"lowercase": True}}, "with lowercase it takes more texts for equal"),
        ({"document_minhash_deduplicator": {"tokenization": "character"}}, "another tokenization"),
        ({"document_minhash_deduplicator": {"jaccard_threshold": 0.2}}, "a number from 0.5 to 0.99"),
        ({"language_id_score_filter": {"lang": "en", "min_score": 0.8}}, "it keeps languages by name"),
        ({"text_length_filter": {"reversed_range": True}}, "it keeps what lies outside of its range"),
        ({"text_length_filter": {"min_closed_interval": False}}, "its range leaves out its ends"),
        ({"text_length_filter": {"text_key": "meta.title"}}, "it reads the field 'meta.title'"),
        ({"specified_field_filter": {"field_key": "lang", "target_value": ["en"]}}, "it reads the field 'lang'"),
        ({"topk_specified_field_selector": {"field_key": "likes", "topk": 5}}, "is no statistic of a filter before it"),
        ({"image_shape_filter": {}}, "no operator here does what it does"),
        (
            {"specified_field_filter": {"field_key": "source", "target_value": "en"}},
            "its target_value is 'en', no list",
        ),
        (
            {"specified_numeric_field_filter": {"field_key": LENGTH, "max_closed_interval": False}},
            "not one that a cut here",
        ),
        (
            {"specified_numeric_field_filter": {"field_key": LENGTH, "min_value": "ten"}},
            "its min_value is 'ten', no number",
        ),
        (
            {"topk_specified_field_selector": {"field_key": LENGTH, "top_ratio": "half"}},
            "its top_ratio is 'half', no number",
        ),
        ({"topk_specified_field_selector": {"field_key": LENGTH, "top_ratio": 1.5}}, "'fraction' must be a number"),
        ({"text_length_filter": {"min_len": 10**400}}, "its min_len is too large a number"),
        ({"topk_specified_field_selector": {"field_key": LENGTH, "topk": 2.5}}, "its topk is 2.5, no whole number"),
        (
            {"range_specified_field_selector": {"field_key": LENGTH, "lower_percentile": 0.9, "upper_percentile": 0.1}},
            "band_low (0.9) must be below",
        ),
    ],
)
def test_what_has_no_counterpart_is_refused_with_the_reason_or_left_out(entry: dict[str, Any], why: str) -> None:
    document = {"process": [{"text_length_filter": {"min_len": 5, "max_len": 50}}, entry]}
    with pytest.raises(RecipeError) as refused:
        from_data_juicer(document)
    assert why in str(refused.value) and "--partial" in str(refused.value) and "\n" not in str(refused.value)
    found = from_data_juicer(document, partial=True)
    assert len(found.recipe.steps) == 2 and [each.place for each in found.unmapped] == [2]


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"process": 3},
        {"process": "text_length_filter"},
        {"process": [{"a": 1, "b": 2}]},
        {"process": [7]},
        {"process": [{"text_length_filter": {1: 1}}]},
        {"process": [{"text_length_filter": [1]}]},
    ],
)
def test_what_is_no_recipe_of_data_juicer_is_one_sentence(document: Any) -> None:
    with pytest.raises(RecipeError, match=r"a list called 'process'|expected an operator's name"):
        from_data_juicer(document)


NUMBERS = st.sampled_from([float("nan"), float("inf"), float("-inf"), -1, 0, 0.3, 1.5, 10, 2**60, "x", None, [1], True])
VALUES = st.lists(st.sampled_from(["a", "b", 1, 1.0, "1", None, True, ["a"], {"a": 1}]), max_size=3) | NUMBERS
ENTRIES = st.one_of(
    st.fixed_dictionaries({}, optional={"min_num": NUMBERS, "max_num": NUMBERS}).map(lambda p: {"words_num_filter": p}),
    st.fixed_dictionaries({"target_value": VALUES}, optional={"reversed_range": st.booleans()}).map(
        lambda p: {"specified_field_filter": {"field_key": "source", **p}}
    ),
    st.fixed_dictionaries({}, optional={"min_value": NUMBERS, "max_value": NUMBERS}).map(
        lambda p: {"specified_numeric_field_filter": {"field_key": "__dj__stats__.num_words", **p}}
    ),
    st.fixed_dictionaries({}, optional={"top_ratio": NUMBERS, "topk": NUMBERS}).map(
        lambda p: {"topk_specified_field_selector": {"field_key": "__dj__stats__.num_words", **p}}
    ),
    st.fixed_dictionaries({"jaccard_threshold": NUMBERS}).map(lambda p: {"document_minhash_deduplicator": p}),
    st.just({"document_deduplicator": None}),
)


@settings(max_examples=150, deadline=None)
@given(entries=st.lists(ENTRIES, max_size=5))
def test_what_is_imported_can_be_read_again(entries: list[dict[str, Any]]) -> None:
    document = {"process": [{"words_num_filter": {"min_num": 3}}, *entries]}
    found = from_data_juicer(document, partial=True)
    assert Recipe.from_dict(found.recipe.to_dict()) == found.recipe
    left_out = {each.place for each in found.unmapped}
    for place, entry in enumerate(entries, 2):
        if "nan" in repr(entry):
            assert place in left_out


def test_an_end_that_nothing_reaches_is_refused_and_names_count_once() -> None:
    signals = SignalTable.from_arrays({"dj/words_num/num_words": np.arange(20.0)}, source=list("ab") * 10)
    cut: dict[str, Any] = {"field_key": "__dj__stats__.num_words", "min_value": 2**60}
    with pytest.raises(RecipeError, match=r"2\. specified_numeric_field_filter: .*threshold"):
        from_data_juicer({"process": ["words_num_filter", {"specified_numeric_field_filter": cut}]})
    cut = {"field_key": "source", "target_value": ["a", "a"]}
    twice = from_data_juicer({"process": [{"specified_field_filter": cut}]})
    assert materialize(twice.recipe, signals).rows.tolist() == list(range(0, 20, 2))


def test_selectors_by_a_statistic() -> None:
    process = [
        {"text_length_filter": {"min_len": 0}},
        {"topk_specified_field_selector": {"field_key": "__dj__stats__.text_len", "top_ratio": 0.5, "reverse": False}},
        {
            "range_specified_field_selector": {
                "field_key": "__dj__stats__.text_len",
                "lower_percentile": 0.1,
                "upper_percentile": 0.9,
            }
        },
    ]
    found = from_data_juicer({"process": process})
    told = [{k: v for k, v in step.params.items() if k != "missing"} for step in found.recipe.steps]
    column = "dj/text_length/text_len"
    assert told == [
        {"signal": column, "fraction": 0.5, "direction": "low"},
        {"signal": column, "band_low": 0.1, "band_high": 0.9},
    ]
    assert len(found.remarks) == 2


def test_there_and_back_again() -> None:
    found = from_data_juicer(yaml.safe_load(THEIRS), name="sft")
    process = to_data_juicer(found.recipe).document["process"]
    assert [next(iter(entry)) for entry in process] == [
        "alphanumeric_filter",
        "words_num_filter",
        "text_length_filter",
        "specified_field_filter",
        "document_deduplicator",
    ]
    assert process[0] == {"alphanumeric_filter": {"min_ratio": 0.3, "max_ratio": 0.9}}
    assert process[1]["words_num_filter"] == {"min_num": 10.0, "max_num": 200.0, "text_key": "response"}
    again = from_data_juicer({"process": process})
    signals = table()
    assert materialize(again.recipe, signals).subset_hash == materialize(found.recipe, signals).subset_hash


def test_parameters_of_a_filter_go_there_and_back_by_the_configuration(tmp_path: Path) -> None:
    theirs = [
        {"character_repetition_filter": {"rep_len": 5, "min_ratio": 0, "max_ratio": 0.3}},
        {"words_num_filter": {"lang": "zh", "tokenization": True, "min_num": 3.0, "max_num": 9.0, "text_key": "query"}},
        {"alphanumeric_filter": {"tokenization": True, "min_ratio": 0.2, "max_ratio": 0.8}},
    ]
    found = from_data_juicer({"process": theirs})
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(found.recipe.to_dict()))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(found.signal_options()))
    run = ["data-juicer", "export", str(tmp_path / "recipe.yaml"), "--json"]
    done = CliRunner().invoke(app, [*run, "--config", str(tmp_path / "config.yaml")])
    assert json.loads(done.stdout) == {
        "recipe": {"project_name": "recipe", "process": theirs},
        "left_out": [],
        "remarks": [],
    }
    alone = json.loads(CliRunner().invoke(app, run).stdout)
    assert alone["recipe"]["process"][0] == {"character_repetition_filter": {"min_ratio": 0, "max_ratio": 0.3}}
    assert [said.partition(":")[0] for said in alone["remarks"]] == [
        "character_repetition_filter stands there with Data-Juicer's own rep_len",
        "words_num_filter stands there with Data-Juicer's own lang, tokenization",
    ]
    (tmp_path / "config.yaml").write_text("signals: {options: {}}")
    with pytest.raises(ConfigError, match=r"has no signals\.options\.data_juicer"):
        configured_filters(tmp_path / "config.yaml")


def test_two_statistics_of_one_filter_are_computed_under_names_of_their_own() -> None:
    process = [
        {"alphanumeric_filter": {"tokenization": tokens, "min_ratio": low, "max_ratio": 0.9}}
        for tokens, low in ((True, 0.1), (False, 0.2), (True, 0.3))
    ]
    found = from_data_juicer({"process": process})
    options = DataJuicerOptions.model_validate(found.signal_options()["signals"]["options"]["data_juicer"])
    assert [each.label for each in options.filters] == ["alphanumeric", "alphanumeric.2"]
    assert to_data_juicer(found.recipe, filters=options.filters).document["process"] == process


def test_a_statistic_is_computed_once_as_data_juicer_does() -> None:
    process = [
        {"character_repetition_filter": {"rep_len": 5, "max_ratio": 0.3}},
        {"character_repetition_filter": {"rep_len": 10, "max_ratio": 0.2, "text_key": "response"}},
    ]
    found = from_data_juicer({"process": process})
    assert [step.params["signal"] for step in found.recipe.steps] == ["dj/character_repetition/char_rep_ratio"] * 2
    assert [each.params for each in found.filters] == [{"rep_len": 5}]
    assert "cuts by what an earlier one computed (of the text, rep_len 5)" in found.remarks[0]
    cuts = [
        Step("score_filter", {"signal": f"dj/words_num{part}/num_words", "threshold": 5, "direction": direction})
        for part, direction in (("", "high"), (".response", "low"))
    ]
    with pytest.raises(RecipeError, match=r"2\. score_filter: Data-Juicer computes num_words once"):
        to_data_juicer(Recipe(tuple(cuts)))


def test_a_parameter_that_data_juicer_does_not_have_is_said() -> None:
    found = from_data_juicer({"process": [{"words_num_filter": {"min_nun": 5}}]})
    assert any("has no parameter 'min_nun'" in said for said in found.remarks)


def test_steps_without_a_counterpart_are_refused_with_the_reason_or_left_out() -> None:
    recipe = Recipe((Step("ifd_filter", {"fraction": 0.5}), Step("semantic_dedup", {"strategy": "minhash"})))
    with pytest.raises(RecipeError, match=r"1\. ifd_filter: no operator of Data-Juicer does what it does\."):
        to_data_juicer(recipe)
    found = to_data_juicer(recipe, partial=True)
    assert found.document["process"] == [
        {
            "document_minhash_deduplicator": {
                "tokenization": "space",
                "window_size": 5,
                "jaccard_threshold": 0.8,
                "lowercase": True,
            }
        }
    ]
