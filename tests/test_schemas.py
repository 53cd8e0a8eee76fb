"""JSON schemas for editors: what is right passes, a misspelt key does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator

from autoselection.config import config_schema, load_config, to_yaml
from autoselection.config_text import MAIN_KEYS, commented_yaml
from autoselection.demo import config_path
from autoselection.errors import ConfigError
from autoselection.operators import OperatorRegistry
from autoselection.recipes import Recipe
from autoselection.recipes.ready import ready_recipes
from autoselection.recipes.recipe_schema import recipe_schema

ROOT = Path(__file__).parents[1]
EXAMPLES = [path for path in sorted((ROOT / "examples").rglob("*.yaml")) if not path.name.startswith("reproduce")]


@pytest.fixture(scope="module")
def recipes() -> Any:
    schema = recipe_schema()
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


@pytest.fixture(scope="module")
def configs() -> Any:
    schema = json.loads(json.dumps(config_schema()))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def faults(validator: Any, document: Any) -> list[str]:
    return [error.message for error in validator.iter_errors(document)]


@pytest.mark.parametrize("name", sorted(ready_recipes()))
def test_ready_recipes_fit(name: str, recipes: Any):
    assert faults(recipes, yaml.safe_load(ready_recipes()[name].text)) == []


def test_every_operator_with_its_defaults_fits_and_a_canonical_recipe_too(recipes: Any):
    for operator in OperatorRegistry().operators():
        given = {p.name: p.default for p in operator.params if p.default is not None}
        assert faults(recipes, {"steps": [{"operator": operator.name, "params": given}]}) == [], operator.name
    document = {
        "steps": [{"operator": "union", "params": {"source_recipe": "short"}}, {"operator": "ifd_filter"}],
        "recipes": {"short": {"steps": [{"operator": "truncate_samples", "params": {"fraction": 0.1}}]}},
    }
    assert faults(recipes, document) == []
    assert faults(recipes, Recipe.from_dict(document).canonical().to_dict()) == []


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({"step": []}, "step"),
        ({"steps": [{"operater": "ifd_filter"}]}, "operater"),
        ({"steps": [{"operator": "ifd_filtr"}]}, "ifd_filtr"),
        ({"steps": [{"operator": "ifd_filter", "params": {"fractoin": 0.5}}]}, "fractoin"),
        ({"steps": [{"operator": "ifd_filter", "params": {"fraction": 7}}]}, "7"),
        ({"steps": [{"operator": "truncate_samples"}] * 7}, "too long"),
    ],
)
def test_what_is_misspelt_in_a_recipe_does_not_fit(document: Any, word: str, recipes: Any):
    found = faults(recipes, document)
    assert found and any(word in message for message in found)


@pytest.mark.parametrize("path", [config_path(), *EXAMPLES], ids=lambda path: path.name)
def test_examples_fit(path: Path, configs: Any, recipes: Any):
    document = yaml.safe_load(path.read_text("utf-8"))
    assert faults(recipes if "steps" in document else configs, document) == []


def test_what_init_writes_and_a_whole_configuration_fit(configs: Any):
    values = {"pool": {"files": ["p.jsonl"]}, "model": {"path": "m"}, "tasks": [{"name": "t", "dev": "d", "test": "t"}]}
    for keys in (MAIN_KEYS, None):
        assert faults(configs, yaml.safe_load(commented_yaml(values, keys))) == []
    assert faults(configs, yaml.safe_load(to_yaml(load_config(config_path())))) == []


@pytest.mark.parametrize(
    "key", ["serch", "search.evalutions", "evaluation.sft.epoch", "tasks.0.nmae", "executor.worker"]
)
def test_a_misspelt_key_of_a_configuration_does_not_fit(key: str, configs: Any):
    document = yaml.safe_load(config_path().read_text("utf-8"))
    *above, last = key.split(".")
    inside: Any = document
    for name in above:
        inside = inside[int(name)] if name.isdigit() else inside.setdefault(name, {})
    inside[last] = 1
    assert any(last in message for message in faults(configs, document))


@pytest.mark.parametrize(
    ("key", "right", "wrong"),
    [
        ("evaluation.sft.trainer", "trl", "trll"),
        ("evaluation.engine", "vllm", "vlm"),
        ("executor.kind", "ray", "slurm"),
        ("search.operators", ["ifd_filter"], ["ifd_filtr"]),
        ("search.also", ["sample"], ["smaple"]),
        ("search.without", ["semdedup"], ["semdedupe"]),
        ("signals.signals", ["repetition"], ["repetitoin"]),
        ("tasks.0.floor", "incumbent - 0.01", "incumbant - 0.01"),
        ("tasks.0.floor", -0.5, "0.5.1"),
        ("tasks.0.floor", " base+1e-2 ", "base 0.02"),
        ("tasks.0.floor", None, True),
    ],
)
def test_a_name_that_nothing_installed_has_fits_no_more_than_the_program_takes_it(
    key: str, right: Any, wrong: Any, configs: Any, tmp_path: Path
):
    for value, fits in ((right, True), (wrong, False)):
        document = yaml.safe_load(config_path().read_text("utf-8"))
        *above, last = key.split(".")
        inside: Any = document
        for name in above:
            inside = inside[int(name)] if name.isdigit() else inside.setdefault(name, {})
        inside[last] = value
        assert (faults(configs, document) == []) is fits, value
        file = tmp_path / "study.yaml"
        file.write_text(json.dumps(document))
        if fits:
            load_config(file)
        else:
            with pytest.raises(ConfigError, match=str(key)):
                load_config(file)


def test_the_schemas_say_which_schema_they_are_of(configs: Any, recipes: Any):
    assert configs.META_SCHEMA["$schema"] == configs.schema["$schema"]
    assert recipes.META_SCHEMA["$schema"] == recipes.schema["$schema"]
