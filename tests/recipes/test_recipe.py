"""Recipes: canonical form, files, unions."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import yaml

from autoselection.errors import RecipeError
from autoselection.operators import BaseOperator, OperatorRegistry, Outcome, builtin_operators, validate_params
from autoselection.recipes import MAX_STEPS, Recipe, RecipeBook, Step, materialize, recipe_signals
from autoselection.signals.table import SignalTable


def recipe(*steps: tuple[str, dict], name: str | None = None) -> Recipe:
    return Recipe(tuple(Step(operator, params) for operator, params in steps), name)


def test_equal_meaning_has_an_equal_hash():
    assert (
        recipe(("ifd_filter", {})).hash == recipe(("ifd_filter", {"fraction": 0.5, "direction": "high"}), name="x").hash
    )
    assert recipe(("ifd_filter", {"fraction": 0.50000004})).hash == recipe(("ifd_filter", {})).hash
    assert (
        recipe(("source_filter", {"sources": ["b", "a"]})).hash
        == recipe(("source_filter", {"sources": ["a", "b"]})).hash
    )


def test_another_meaning_has_another_hash():
    hashes = {
        recipe().hash,
        recipe(("ifd_filter", {})).hash,
        recipe(("ifd_filter", {"direction": "low"})).hash,
        recipe(("ifd_filter", {"top_k": 5})).hash,
        recipe(("ngram_entropy", {}), ("ifd_filter", {})).hash,
        recipe(("ifd_filter", {}), ("ngram_entropy", {})).hash,
    }
    assert len(hashes) == 6


def test_golden_hash():
    assert recipe(("ifd_filter", {"fraction": 0.65, "direction": "low", "scope": "source"})).hash == "b44ad67d69999db2"


def test_canonical_is_complete_and_idempotent():
    canonical = recipe(("semantic_dedup", {"strategy": "exact"}), ("mona_filter", {"top_k": 9})).canonical()
    assert canonical.steps[0].params == {"strategy": "exact"}
    assert canonical.steps[1].params["fraction"] is None
    assert canonical.canonical() == canonical and canonical.canonical().hash == canonical.hash


def test_a_misspelt_operator_fails_where_the_step_is_written():
    for name in ("ifd_filtr", "idf_filter"):
        with pytest.raises(RecipeError, match=f"unknown operator '{name}'; did you mean 'ifd_filter'"):
            Step(name, {"fraction": 0.5})
    with pytest.raises(RecipeError, match=r"unknown operator '\['ifd_filter'\]'"):
        Step(["ifd_filter"])  # type: ignore[arg-type]


def test_steps_of_a_registry_of_ones_own_are_written_like_all_others():
    class Halved(BaseOperator):
        name, family, summary, order = "first_half_of_own_registry", "size", "keeps half", "as given"

        def __call__(self, rows, params, context):
            return Outcome(rows[: len(rows) // 2])

    with pytest.raises(RecipeError, match="unknown operator"):
        Step(Halved.name)
    registry = OperatorRegistry([*builtin_operators(), Halved()])
    steps = (Step("truncate_samples", {"fraction": 1.0}), Step(Halved.name))
    table = SignalTable.from_arrays({"ifd": np.arange(10.0)})
    assert materialize(Recipe(steps), table, registry=registry).rows.tolist() == [0, 1, 2, 3, 4]
    assert Recipe.from_dict(Recipe(steps).to_dict(), registry=registry) == Recipe(steps)
    with pytest.raises(RecipeError, match=r"here: step 2: unknown operator 'first_half_of_own_registry'"):
        Recipe.from_dict(Recipe(steps).to_dict(), where="here")  # known to the process, not to the default registry


def test_describe_says_what_decides_in_each_step():
    steps = recipe(
        ("source_filter", {"sources": ["b", "a"]}),
        ("ifd_filter", {"fraction": 0.654321, "direction": "low", "scope": "source"}),
        ("semantic_dedup", {"strategy": "exact"}),
    )
    text = "source_filter(drop a, b) → ifd_filter(lowest 65.4%, within source) → semantic_dedup(exact)"
    assert steps.describe() == steps.canonical().describe() == text
    assert Recipe().describe() == "whole pool"


def test_a_file_says_what_the_recipe_says(tmp_path):
    original = recipe(
        ("source_mix", {"weights": {"a": 0.5, "b": 1}, "other": 0}),
        ("ifd_filter", {"top_k": 10}),
        name="Übung",
    )
    original.dump(tmp_path / "r.yaml")
    loaded = Recipe.load(tmp_path / "r.yaml")
    assert loaded.hash == original.hash and loaded.name == "Übung"
    assert Recipe.from_dict(json.loads(json.dumps(original.canonical().to_dict()))).hash == original.hash


def test_the_recipes_of_unions_travel_in_the_file(tmp_path):
    inner = recipe(("ifd_filter", {"fraction": 0.1}))
    middle = recipe(("mona_filter", {}), ("union", {"source_recipe": "t001"}))
    outer = recipe(("ngram_entropy", {}), ("union", {"source_recipe": "t002"}))
    book = RecipeBook({"t001": inner, "t002": middle})
    outer.dump(tmp_path / "r.yaml", book=book)
    written = yaml.safe_load((tmp_path / "r.yaml").read_text())
    assert set(written["recipes"]) == {"t001", "t002"}
    loaded = Recipe.load(tmp_path / "r.yaml")
    assert loaded.hash == book.inline(outer).hash == book.inline(outer).canonical().hash
    loaded.canonical().dump(tmp_path / "again.yaml")
    assert Recipe.load(tmp_path / "again.yaml").hash == loaded.hash


def test_a_union_counts_by_what_it_adds_not_by_its_name():
    inner = recipe(("ifd_filter", {}))
    first = RecipeBook({"a": inner}).inline(recipe(("union", {"source_recipe": "a"})))
    second = RecipeBook({"b": inner}).inline(recipe(("union", {"source_recipe": "b"})))
    assert first.hash == second.hash
    assert "union(a)" in first.describe()


def test_one_id_for_two_recipes_in_nested_libraries_is_written_by_hash(tmp_path):
    def inlined(fraction: float) -> Recipe:
        book = RecipeBook({"x": recipe(("ifd_filter", {"fraction": fraction}))})
        return book.inline(recipe(("mona_filter", {}), ("union", {"source_recipe": "x"})))

    book = RecipeBook({"p": inlined(0.1), "q": inlined(0.2)})
    both = book.inline(recipe(("union", {"source_recipe": "p"}), ("union", {"source_recipe": "q"})))
    both.dump(tmp_path / "r.yaml")
    assert Recipe.load(tmp_path / "r.yaml").hash == both.hash


def test_a_book_finds_recipes_by_id_and_by_hash():
    inner = recipe(("ifd_filter", {}))
    book = RecipeBook({"t001": inner})
    assert book["t001"] is inner and book[inner.hash] is inner
    assert "t001" in book and "t009" not in book
    book.add("t001", recipe(("ifd_filter", {})))
    with pytest.raises(RecipeError, match="two different recipes have the id 't001'"):
        book.add("t001", recipe())


def test_an_unknown_recipe_is_refused_with_a_suggestion():
    book = RecipeBook({"t001": recipe()})
    with pytest.raises(RecipeError, match="step 1: operator 'union': unknown recipe 't01'; did you mean 't001'"):
        book.inline(recipe(("union", {"source_recipe": "t01"})))
    with pytest.raises(RecipeError, match="no recipe is known here"):
        RecipeBook().inline(recipe(("union", {"source_recipe": "t01"})))


def test_recipes_may_not_name_each_other_in_a_circle():
    book = RecipeBook({"a": recipe(("union", {"source_recipe": "b"})), "b": recipe(("union", {"source_recipe": "a"}))})
    with pytest.raises(RecipeError, match=r"circle \(a → b → a\)"):
        book.inline(recipe(("union", {"source_recipe": "a"})))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: [", "recipe.yaml:1: not valid YAML"),
        ("- ifd_filter", "expected a mapping with the keys version, name, for, source, steps, recipes"),
        ("{version: 1}", "the key 'steps' is missing"),
        ("{version: 2, steps: []}", "version must be 1, not 2"),
        ("{steps: [], step: 1}", "unknown key 'step'; did you mean 'steps'"),
        ("{steps: {operator: x}}", "steps must be a list"),
        ("{steps: [ifd_filter]}", "step 1: expected a mapping"),
        ("{steps: [{params: {}}]}", "step 1: the key 'operator' must name"),
        ("{steps: [{operator: ifd_filter, parms: {}}]}", "step 1: unknown key 'parms'; did you mean 'params'"),
        (
            "{steps: [{operator: ifd_filter}, {operator: ifd_filtr}]}",
            "step 2: unknown operator 'ifd_filtr'; did you mean 'ifd_filter'",
        ),
        (
            "{steps: [{operator: ifd_filter, params: {fraction: 2}}]}",
            "step 1: operator 'ifd_filter': parameter 'fraction' must be",
        ),
        ("{steps: [], recipes: {a: {steps: [{operator: x}]}}}", "recipe 'a': step 1: unknown operator"),
        ("{steps: [], recipes: [a]}", "recipes must be a mapping"),
        ("{steps: [], name: 3}", "name must be text"),
        (
            "{steps: [" + ", ".join(["{operator: ifd_filter}"] * (MAX_STEPS + 1)) + "]}",
            "at most 6 steps, this one has 7",
        ),
        (
            "{steps: [{operator: union, params: {source_recipe: a}}], recipes: {a: [{operator: union, params: {source_recipe: a}}]}}",
            "circle",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_name_and_the_place(tmp_path, text, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        Recipe.load(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("given", [[], 0, "", False])
def test_only_a_mapping_or_nothing_stands_for_parameters_and_recipes(given):
    step = {"operator": "truncate_samples"}
    with pytest.raises(RecipeError, match=r"recipe: step 1: .* params must be a mapping"):
        Recipe.from_dict({"steps": [{**step, "params": given}]})
    with pytest.raises(RecipeError, match="recipes must be a mapping"):
        Recipe.from_dict({"steps": [], "recipes": given})
    with pytest.raises(RecipeError, match="params must be a mapping"):
        Step("truncate_samples", given).canonical()
    without = Recipe.from_dict({"steps": [{**step, "params": None}], "recipes": None})
    assert without == Recipe((Step("truncate_samples"),))


def test_recipes_that_many_unions_name_are_looked_at_once(monkeypatch):
    calls = []

    def counted(operator, params):
        calls.append(operator.name)
        return validate_params(operator, params)

    monkeypatch.setattr("autoselection.recipes.recipe.validate_params", counted)
    sources = [recipe(("truncate_samples", {"total_samples": 5 + place})) for place in range(6)]
    for level in range(4):  # six recipes, each of which names all six below it
        library = {f"{level}-{place}": source for place, source in enumerate(sources)}
        names = [[f"{level}-{(first + place) % 6}" for place in range(6)] for first in range(6)]
        sources = [
            Recipe(tuple(Step("union", {"source_recipe": name}) for name in own), None, library) for own in names
        ]
    whole = sources[0]
    least = 6 + 6 * 6 * 3 + 6  # steps of all recipes
    assert whole.canonical() is not None and len(calls) == least
    document = whole.to_dict()
    calls.clear()
    again = Recipe.from_dict(document)
    assert len(calls) <= 4 * least and again.hash == whole.hash
    calls.clear()
    assert recipe_signals(whole) == () and len(calls) == least
    calls.clear()
    signals = SignalTable.from_arrays({"ngram_entropy": np.arange(40.0)})
    assert len(materialize(whole, signals).rows) == 40 and len(calls) <= 3 * least


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecipeError, match="there is no such recipe file"):
        Recipe.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(("sources", "length"), [(6000, 200), (51_000, 1)])
def test_recipes_of_very_many_sources_are_read_again(tmp_path, sources, length):
    """More bytes, and more values, than other documents may have."""
    weights = {f"{number:0{length}d}": 1.0 for number in range(sources)}
    made = recipe(("source_mix", {"weights": weights}))
    made.dump(tmp_path / "recipe.yaml")
    assert Recipe.load(tmp_path / "recipe.yaml") == made


def test_too_many_steps_are_refused():
    with pytest.raises(RecipeError, match="at most 6 steps"):
        recipe(*[("ifd_filter", {})] * (MAX_STEPS + 1)).canonical()


def nested(levels: int) -> Recipe:
    """Two recipes a level, each naming both of the level below."""
    below = [recipe(("ifd_filter", {"fraction": fraction})) for fraction in (0.5, 0.6)]
    for level in range(levels):
        names = (f"{level}-a", f"{level}-b")
        steps = tuple(Step("union", {"source_recipe": name}) for name in names)
        more = [Step("truncate_samples", {"fraction": fraction}) for fraction in (0.5, 0.6)]
        below = [Recipe((first, *steps), None, dict(zip(names, below, strict=True))) for first in more]
    return below[0]


def test_recipes_that_name_each_other_many_times_over_are_compared_once(monkeypatch):
    compared = 0

    def counted(one: Step, other: object) -> bool:
        nonlocal compared
        compared += 1
        return isinstance(other, Step) and (one.operator, one.params) == (other.operator, other.params)

    monkeypatch.setattr(Step, "__eq__", counted)
    assert nested(12) == nested(12) and compared <= 12 * 2 * 3 + 2
    compared = 0
    other = nested(12)
    object.__setattr__(other.library["11-a"].library["10-b"], "steps", ())
    assert nested(12) != other and compared <= 12 * 2 * 3 + 2
    assert recipe() != "recipe"


def test_a_recipe_can_be_copied_and_pickled():
    for made in (Recipe(), nested(3), nested(3).canonical(), recipe(("ifd_filter", {}), name="x")):
        for again in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
            assert again == made and again.hash == made.hash and again.name == made.name


@pytest.mark.parametrize(
    ("steps", "place"), [({"source_recipe": "shrot"}, "step 1"), ({"source_recipe": "long"}, "recipe 'long': step 1")]
)
def test_a_misspelt_recipe_is_told_the_closest_one_of_its_file(tmp_path, steps, place):
    path = tmp_path / "recipe.yaml"
    library = {
        "short": [{"operator": "truncate_samples"}],
        "long": [{"operator": "union", "params": {"source_recipe": "shrot"}}],
    }
    path.write_text(yaml.safe_dump({"steps": [{"operator": "union", "params": steps}], "recipes": library}))
    with pytest.raises(RecipeError) as caught:
        Recipe.load(path)
    said = f"{path}: {place}: operator 'union': unknown recipe 'shrot'; did you mean 'short'?"
    assert str(caught.value).startswith(said)
    path.write_text(yaml.safe_dump({"steps": [{"operator": "union", "params": {"source_recipe": "t001"}}]}))
    book = RecipeBook({"t001": recipe()})
    assert book.inline(Recipe.load(path)).library["t001"] == recipe()  # a file without recipes may name those of a book
