"""The catalogue of ready recipes."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import yaml

from autoselection.errors import RecipeError
from autoselection.operators import default_registry
from autoselection.recipes import Recipe, is_ready_name, load_recipe, materialize, ready_recipe, ready_recipes
from autoselection.search import SearchConfig, SearchController
from autoselection.signals.table import SignalTable

sys.path.append(str(Path(__file__).parents[1] / "operators"))
from operator_tables import make_table

NAMES = tuple(ready_recipes())


@pytest.fixture(scope="module")
def table() -> SignalTable:
    small = make_table(5, n=300, sources=4)
    rng = np.random.default_rng(0)
    signatures = np.tile(small.minhash, 4)  # 128 values, as the default number of permutations
    columns = {
        **small.columns,
        "loss_conditional": rng.gamma(2.0, 1.0, 300),
        "repetition": rng.beta(1.0, 9.0, 300),
        "trace_faults": rng.integers(0, 2, 300),
    }
    return SignalTable.from_arrays(
        columns,
        source=np.array(small.source_names)[small.source],
        text_hash=small.text_hash,
        minhash=signatures,
        sae=small.sae,
        embeddings=np.nan_to_num(small.embeddings),
        parts={"prompt": [f"Question {row % 200}: why so?" for row in range(300)], "response": ["Because."] * 300},
    )


def test_the_catalogue_is_small_and_sorted():
    assert list(NAMES) == sorted(NAMES)
    assert {"relevant-low-ifd", "longest-responses", "clean-only", "diverse-cover", "balanced-clusters"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_is_valid_and_says_what_it_is_for(name):
    entry = ready_recipe(name)
    data = yaml.safe_load(entry.text)
    assert list(data) == ["version", "name", "for", "source", "steps"]
    assert data["name"] == entry.name == name
    assert len(entry.purpose) > 40 and entry.source
    assert entry.recipe.hash == Recipe.from_dict(entry.recipe.to_dict()).hash
    assert len({other.recipe.hash for other in ready_recipes().values()}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_runs_and_reads_what_it_says(name, table):
    entry = ready_recipe(name)
    result = materialize(entry.recipe, table)
    assert 5 < len(result.rows) < table.n
    assert not any("would leave nothing" in note for step in result.lineage for note in step.notes)
    assert set(entry.needs()) <= {*table.names, "mona"}


@pytest.mark.parametrize("name", NAMES)
def test_a_printed_entry_saved_to_a_file_is_the_same_recipe(name, tmp_path):
    path = tmp_path / "saved.yaml"
    path.write_text(ready_recipe(name).text, encoding="utf-8")
    assert Recipe.load(path) == load_recipe(name) == load_recipe(path)


def test_low_ifd_per_task_keeps_half_of_the_rows_of_every_task(table):
    from autoselection.operators.groups import group_codes

    rows = materialize(Recipe(ready_recipe("low-ifd-per-task").recipe.steps[:1]), table).rows
    codes, names = group_codes(table, "task")
    scored = np.flatnonzero(~np.isnan(table.column("ifd")))
    kept, all_of = (np.bincount(codes[some], minlength=len(names)) for some in (rows, scored))
    np.testing.assert_array_equal(kept, -(-all_of // 2))


def test_quality_top_half_keeps_the_best_scored_of_rows_that_ask_the_same(table):
    rows = materialize(ready_recipe("quality-top-half").recipe, table).rows
    before = materialize(Recipe(ready_recipe("quality-top-half").recipe.steps[:1]), table).rows
    first = {}
    for row in before.tolist():
        first.setdefault(row % 200, row)
    assert rows.tolist() == list(first.values()) and len(rows) < len(before)


def test_a_file_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_ready_name("clean-only")
    Path("clean-only").write_text("steps: []")
    assert load_recipe("clean-only").steps == () and not is_ready_name("clean-only")


def test_a_broken_package_of_operators_is_all_that_is_told(monkeypatch):
    broken = EntryPoint("broken", "no_such_module:Nothing", "autoselection.operators")
    monkeypatch.setattr("autoselection.plugins.entry_points", lambda group: [broken])
    for cached in (default_registry, ready_recipes):
        cached.cache_clear()
    try:
        with pytest.raises(RecipeError, match=r"^The operator 'broken' .* cannot be imported"):
            load_recipe("clean-only")
    finally:
        monkeypatch.undo()
        for cached in (default_registry, ready_recipes):
            cached.cache_clear()


def test_a_name_that_is_neither_is_refused_with_the_closest():
    with pytest.raises(
        RecipeError, match="no such recipe file, and there is no ready recipe 'clean_only'; did you mean"
    ):
        load_recipe("clean_only")
    with pytest.raises(RecipeError, match="no such recipe file"):
        load_recipe("folder/clean-only")


@pytest.mark.parametrize("key", ["for", "source"])
def test_what_a_recipe_is_for_must_be_text(key):
    with pytest.raises(RecipeError, match=f"{key} must be text"):
        Recipe.from_dict({"steps": [], key: 3})


def test_a_search_starts_from_ready_recipes_by_name(table):
    local = {"parents": 1, "fresh": 0.0, "proposals": 20}
    names = ("relevant-low-ifd", "balanced-clusters")
    config = SearchConfig(initial=names, evaluations=4, warmup=0, min_rows=5, **local)
    controller = SearchController(table, config)
    controller.run(lambda candidate: float(len(candidate.rows)))
    first, second, third, _ = controller.candidates
    assert [first.origin, second.origin, third.origin] == ["initial", "initial", "edit"]
    assert [first.edit, second.edit] == ["relevant-low-ifd", "balanced-clusters"]
    assert first.recipe.hash == ready_recipe("relevant-low-ifd").recipe.hash
    assert third.parent == max((first, second), key=lambda candidate: len(candidate.rows)).id


def test_a_configuration_names_ready_recipes_beside_files(tmp_path):
    from autoselection.config import parse_config

    document = {
        "pool": {"files": ["pool.jsonl"]},
        "model": {"path": "m"},
        "tasks": [{"name": "t", "dev": "dev.jsonl"}],
        "search": {"initial": ["clean-only", "own.yaml"]},
        "final": {"recipes": ["high-ifd"]},
    }
    config = parse_config(document, tmp_path)
    assert config.search.initial == (Path("clean-only"), tmp_path / "own.yaml")
    assert config.final.recipes == (Path("high-ifd"),)


def test_the_operators_of_the_catalogue_exist_without_plugins():
    from autoselection.operators import builtin_operators

    builtin = {operator.name for operator in builtin_operators()}
    used = {step.operator for entry in ready_recipes().values() for step in entry.recipe.steps}
    assert used <= builtin <= set(default_registry().names())


def test_text_only_drops_what_repeats_itself_and_says_little_in_every_source():
    n = 80
    values = np.linspace(0.0, 1.0, n)
    table = SignalTable.from_arrays(
        {"repetition": values, "ngram_entropy": np.roll(values, n // 2)},
        source=np.array(["a", "b"] * (n // 2)),
        minhash=np.arange(n * 128, dtype=np.uint32).reshape(n, 128),
    )
    rows = materialize(ready_recipe("text-only").recipe, table).rows
    # Of 40 rows a source the two most repetitive (76 to 79), of the 38 left the one with the fewest words (40, 41).
    assert sorted(set(range(n)) - set(rows.tolist())) == [40, 41, 76, 77, 78, 79]
