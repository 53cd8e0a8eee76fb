"""Every configuration key that a page names exists, and every piece of YAML on it is one that is taken."""

import ast
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import yaml
from pages import PAGES, ROOT, code_blocks, prose
from pydantic import BaseModel

from autoselection.config import StudyConfig
from autoselection.recipes import Recipe
from autoselection.reproduce.config import ReproductionConfig
from autoselection.schema import Configured
from autoselection.signals.registry import SignalRegistry

#: Options of the example plugin, which need not be installed.
OF_THE_EXAMPLE = ("evaluation.sft.partial", "executor.folders", "signals.options.code_share")
SECTIONS = "|".join(name for name in StudyConfig.model_fields if name not in ("name", "version", "sae"))
MODULES = sorted((ROOT / "src" / "autoselection").rglob("*.py"))


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The pydantic models inside a type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def exists(key: str, *models: type[BaseModel]) -> bool:
    """Whether a dotted key leads to a field; positions in lists are passed over, mappings take any name."""
    name, _, rest = key.partition(".")
    if key.startswith("signals.options."):
        return is_option(key.removeprefix("signals.options."))
    if name.isdigit():
        return not rest or exists(rest, *models)
    sections = [model.sections() for model in models if issubclass(model, Configured)]
    if options := [known[name] for known in sections if name in known]:
        return not rest or exists(rest, *options)
    fields = [model.model_fields[name] for model in models if name in model.model_fields]
    if not fields or not rest:
        return bool(fields)
    inside = [model for field in fields for model in models_in(field.annotation)]
    return exists(rest, *inside) if inside else any("dict" in str(field.annotation).lower() for field in fields)


def is_option(key: str) -> bool:
    """Whether ``signal`` or ``signal.option`` is what the options of signals may hold; ``NAME`` stands for any."""
    signal, _, option = key.partition(".")
    kinds = {kind.name: kind for kind in SignalRegistry().kinds()}
    if signal == "NAME":
        return option in ("", "OPTION")
    return signal in kinds and (not option or exists(option, kinds[signal].options_model))


def named(text: str) -> Iterator[str]:
    """Dotted keys in inline code, those that --set overrides, and those of YAML blocks."""
    for code in re.findall(r"`([^`\n]+)`", prose(text)):
        if code.endswith((".py", ".json", ".jsonl", ".log", ".npy", ".arrow", ".yaml")):
            continue
        if found := re.fullmatch(rf"((?:{SECTIONS})(?:\.\w+)+)(?:[:=].*)?", code):
            yield found[1]
    yield from re.findall(r"--set\s+['\"]?([\w.]+)=", text)
    for value in yaml_blocks(text):
        if isinstance(value, dict) and set(value) & set(StudyConfig.model_fields) and "steps" not in value:
            yield from keys_of(value)


def yaml_blocks(text: str) -> Iterator[Any]:
    for language, block in code_blocks(text):
        if language in ("yaml", "yml"):
            yield yaml.safe_load(block)


def keys_of(value: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, below in value.items():
        yield above + name
        for entry in below if isinstance(below, list) else [below]:
            if isinstance(entry, dict):
                yield from keys_of(entry, f"{above}{name}.")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_configuration_key_on_a_page_exists(page):
    if page.name == "CHANGELOG.md":
        pytest.skip("speaks of keys that are gone")
    keys = [key for key in named(page.read_text(encoding="utf-8")) if not key.startswith(OF_THE_EXAMPLE)]
    wrong = [key for key in keys if not exists(key, StudyConfig, ReproductionConfig)]
    assert not wrong


def test_every_configuration_key_in_a_message_or_docstring_exists():
    key = re.compile(rf"(?<![\w./`*])((?:{SECTIONS})(?:\.\w+)+)(?![\w(/])")
    files = re.compile(r"\.(?:json|jsonl|log|arrow|safetensors)$")
    wrong = []
    for module in MODULES:
        if module.name.startswith("former_"):  # speaks of keys that are gone, and of modules
            continue
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found = [word for word in key.findall(node.value) if not files.search(word)]
                wrong += [(module.name, word) for word in found if not exists(word, StudyConfig, ReproductionConfig)]
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_recipe_on_a_page_is_valid(page):
    for value in yaml_blocks(page.read_text(encoding="utf-8")):
        if isinstance(value, dict) and "steps" in value:
            assert Recipe.from_dict(value).steps


@pytest.mark.parametrize(
    "key", ["search.evalutions", "evaluation.sft.epochs.deep", "nothing", "signals.options.minhash.recall"]
)
def test_a_key_that_does_not_exist_is_found(key):
    assert not exists(key, StudyConfig, ReproductionConfig)
