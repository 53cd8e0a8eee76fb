"""A lock selects the very rows again, or names every input that differs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from autoselection.errors import RecipeError
from autoselection.operators import BaseOperator, OperatorRegistry, Outcome, builtin_operators
from autoselection.pool import Pool, ingest
from autoselection.recipes import Lock, Recipe, Step, materialize
from autoselection.signals import SignalsConfig, load_table, score_pool
from autoselection.testing import signal_table

RECIPE = Recipe(
    (
        Step("semantic_dedup", {"strategy": "exact"}),
        Step("ngram_entropy", {"fraction": 0.6, "scope": "source"}),
        Step("union", {"source_recipe": "few"}),
        Step("truncate_samples", {"fraction": 0.7}),
    ),
    library={"few": Recipe((Step("truncate_samples", {"fraction": 0.1}),))},
)


def write_rows(path: Path, rows: range) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for number in rows:
            answer = " ".join(f"w{(number * k) % 13}" for k in range(3 + number % 9))
            row = {"id": f"r{number}", "prompt": f"q {number % 30}", "response": answer, "source": "ab"[number % 2]}
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("locked")
    found = ingest([write_rows(folder / "rows.jsonl", range(60))], folder / "pool").pool
    score_pool(found, signals=["tokens", "ngram_entropy", "text_hash"])
    return found


@pytest.fixture
def lock(pool: Pool, tmp_path: Path) -> Lock:
    """As it was read from its file."""
    table = load_table(pool)
    Lock.of(materialize(RECIPE, table, seed=3), table, seed=3).write(tmp_path / "recipe.lock.yaml")
    return Lock.read(tmp_path / "recipe.lock.yaml")


def test_another_machine_selects_the_very_rows(pool: Pool, lock: Lock, tmp_path: Path):
    shutil.copytree(pool.path, tmp_path / "elsewhere")
    table = load_table(Pool.open(tmp_path / "elsewhere"))
    found = lock.select(table, recipe=RECIPE, seed=3)
    assert found.rows.tolist() == materialize(RECIPE, table, seed=3).rows.tolist()
    assert list(lock.versions()) == [] and set(lock.signals) == {"ngram_entropy", "text_hash"}
    again = ingest([write_rows(tmp_path / "rows.jsonl", range(60))], tmp_path / "again").pool
    score_pool(again, signals=["ngram_entropy", "text_hash"])
    assert lock.select(load_table(again)).ordered_hash == lock.ordered_hash


def refusal(lock: Lock, table, **options) -> str:
    with pytest.raises(RecipeError) as raised:
        lock.select(table, **options)
    said = str(raised.value)
    assert said.startswith("The lock's rows cannot be selected here: ") and "\n" not in said and said.endswith(".")
    return said


def test_another_pool_is_named(lock: Lock, tmp_path: Path):
    other = ingest([write_rows(tmp_path / "rows.jsonl", range(59))], tmp_path / "pool").pool
    score_pool(other, signals=["ngram_entropy", "text_hash"])
    assert "the pool has the fingerprint" in refusal(lock, load_table(other))


def test_a_signal_of_another_key_is_named(pool: Pool, lock: Lock, tmp_path: Path):
    shutil.copytree(pool.path, tmp_path / "pool")
    copy = Pool.open(tmp_path / "pool")
    score_pool(copy, SignalsConfig(options={"ngram_entropy": {"n": 3}}), signals=["ngram_entropy", "text_hash"])
    said = refusal(lock, load_table(copy))
    assert "the signal 'ngram_entropy' has the key" in said and "text_hash" not in said
    assert "the signal 'text_hash' is not there" in refusal(
        lock, load_table(copy, keys={"ngram_entropy": lock.signals["ngram_entropy"].key})
    )


def test_another_seed_and_another_recipe_are_named_together(pool: Pool, lock: Lock):
    said = refusal(lock, load_table(pool), seed=4, recipe=Recipe(RECIPE.steps[:2]))
    assert "the seed is 4, locked 3" in said and "the recipe is another one" in said


def test_other_excluded_rows_are_named(pool: Pool, lock: Lock):
    table = replace(load_table(pool), excluded=np.arange(60) < 5)
    assert "5 rows are excluded as contaminated, locked 0" in refusal(lock, table)


def test_other_rows_name_versions_that_differ(pool: Pool, lock: Lock):
    changed = lock.model_copy(
        update={"ordered_hash": "0" * 16, "subset_hash": "1" * 16, "packages": {**lock.packages, "numpy": "1.0"}}
    )
    said = refusal(changed, load_table(pool))
    assert "the rows selected differ (subset hash" in said and "locked 1111111111111111): numpy is" in said
    same = lock.model_copy(update={"ordered_hash": "0" * 16})
    said = refusal(same, load_table(pool))
    assert "the order of the rows differ" in said and "no input differs" in said


def test_other_versions_with_the_same_rows_are_a_remark(pool: Pool, lock: Lock):
    changed = lock.model_copy(update={"packages": {"autoselection": "0.0.1", "gone-for-good": "2"}})
    assert changed.select(load_table(pool)).ordered_hash == lock.ordered_hash
    assert [said.partition(" ")[0] for said in changed.versions()] == ["autoselection", "gone-for-good"]
    assert "not installed here, locked 2" in list(changed.versions())[1]


def test_other_values_of_the_same_signal_are_named(pool: Pool, lock: Lock):
    signals = {**lock.signals, "ngram_entropy": lock.signals["ngram_entropy"].model_copy(update={"content": "0" * 16})}
    assert lock.model_copy(update={"signals": signals}).select(load_table(pool)).rows is not None
    changed = lock.model_copy(update={"signals": signals, "ordered_hash": "0" * 16})
    assert "'ngram_entropy' has the same key and other values" in refusal(changed, load_table(pool))


class Evens(BaseOperator):
    """Of a plugin."""

    name, family, summary, order = "evens", "size", "even rows", "the order in which the rows were given"

    def __call__(self, rows, params, context):
        return Outcome(rows[rows % 2 == 0])


def test_operators_of_packages_are_locked_with_their_version(pool: Pool, tmp_path: Path):
    registry = OperatorRegistry([*builtin_operators(), Evens()])
    recipe, table = Recipe((Step("evens"), Step("ngram_entropy"))), load_table(pool)
    made = Lock.of(materialize(recipe, table, registry=registry), table, registry=registry)
    assert made.operators["ngram_entropy"] == f"autoselection {made.packages['autoselection']}"
    assert made.operators["evens"].endswith(" without a version")
    assert (
        made.select(table, registry=registry).rows.tolist()
        == materialize(recipe, table, registry=registry).rows.tolist()
    )
    other = made.model_copy(update={"operators": {**made.operators, "evens": "evens-plugin 3.1"}})
    assert any(
        "operator 'evens' is of" in said and "locked evens-plugin 3.1" in said for said in other.versions(registry)
    )
    assert "operator 'evens' (" in refusal(made, table) and "is not installed" in refusal(made, table)


def test_only_selections_from_a_pool_are_locked():
    table = signal_table(0)
    with pytest.raises(RecipeError, match="Only what was selected from a pool"):
        Lock.of(materialize(RECIPE, table), table)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: []\n", "is no lock file"),
        ("lock: 2\n", "lock"),
        ("- a\n", "is no lock file"),
        ("lock: 1\nseed: -1\n", "key 'recipe' is missing"),
        ("lock: [\n", "recipe.lock.yaml"),
    ],
)
def test_what_is_no_lock_is_refused_in_a_sentence(text: str, said: str, tmp_path: Path):
    path = tmp_path / "recipe.lock.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as raised:
        Lock.read(path)
    assert said in str(raised.value) and "\n" not in str(raised.value)
    with pytest.raises(RecipeError, match="no such lock file"):
        Lock.read(tmp_path / "nothing.yaml")


def test_a_lock_of_very_many_sources_is_read_again(lock: Lock, tmp_path: Path):
    sources = [f"{number:0200d}" for number in range(6000)]
    recipe = Recipe((Step("source_filter", {"sources": sources}),))
    many = lock.model_copy(update={"recipe": recipe.to_dict()})
    many.write(tmp_path / "many.lock.yaml")
    assert Lock.read(tmp_path / "many.lock.yaml") == many


def test_a_lock_is_plain_yaml(lock: Lock, tmp_path: Path):
    document = yaml.safe_load((tmp_path / "recipe.lock.yaml").read_text())
    assert document["seed"] == 3 and document["pool"]["rows"] == 60 and len(document["recipe"]["steps"]) == 4
    assert Recipe.from_dict(document["recipe"]).hash == RECIPE.hash


def test_a_lock_has_the_seed_of_the_result(pool: Pool):
    table = load_table(pool)
    result = materialize(RECIPE, table, seed=3)
    lock = Lock.of(result, table)
    assert lock.seed == 3 and lock.select(table).rows.tolist() == result.rows.tolist()
    with pytest.raises(RecipeError, match="selected with the seed 3, not 0"):
        Lock.of(result, table, seed=0)


def test_a_recipe_that_was_changed_in_the_lock_is_named(pool: Pool, lock: Lock):
    recipe = {
        **lock.recipe,
        "steps": [*lock.recipe["steps"][:-1], {"operator": "truncate_samples", "params": {"total_samples": 5}}],
    }
    said = refusal(lock.model_copy(update={"recipe": recipe}), load_table(pool))
    assert "the lock's own recipe has the hash" in said and "changed after the lock was written" in said
    assert "no input differs" not in said


def test_the_operators_of_recipes_that_name_each_other_many_times_over_are_locked(pool: Pool):
    below = [Recipe((Step("ngram_entropy", {"fraction": fraction}),)) for fraction in (0.5, 0.6)]
    for level in range(30):
        names = (f"{level}-a", f"{level}-b")
        steps = tuple(Step("union", {"source_recipe": name}) for name in names)
        more = [Step("truncate_samples", {"fraction": fraction}) for fraction in (0.5, 0.6)]
        below = [Recipe((first, *steps), None, dict(zip(names, below, strict=True))) for first in more]
    table = load_table(pool)
    assert set(Lock.of(materialize(below[0], table), table).operators) == {"ngram_entropy", "truncate_samples", "union"}
