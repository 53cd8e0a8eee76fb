"""Ready recipes: a small catalogue of YAML files, usable by name wherever a recipe file is.

A file is a recipe with two more keys, ``for`` (what it is for) and ``source`` (where the idea is from). Its name is the
file's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autoselection.documents import parse_yaml
from autoselection.errors import RecipeError
from autoselection.operators import OperatorRegistry, default_registry
from autoselection.recipes.recipe import Recipe
from autoselection.recipes.required_signals import every_step
from autoselection.wording import suggestion


@dataclass(frozen=True)
class ReadyRecipe:
    """One entry of the catalogue.

    Attributes:
        recipe: what it does; its name is the entry's.
        purpose: what it is for, in a sentence or two.
        source: where the idea is from.
        text: the YAML file itself.
    """

    recipe: Recipe
    purpose: str
    source: str
    text: str

    @property
    def name(self) -> str:
        return self.recipe.name or ""

    def needs(self, registry: OperatorRegistry | None = None) -> tuple[str, ...]:
        """Signals its steps read, sorted (see :meth:`autoselection.operators.Operator.needs`)."""
        steps = every_step(self.recipe, registry or default_registry())
        return tuple(sorted({name for operator, params in steps for name in operator.needs(params)}))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "name": self.name,
            "for": self.purpose,
            "source": self.source,
            "signals": list(self.needs()),
            "steps": [step.to_dict() for step in self.recipe.steps],
            "describe": self.recipe.canonical().describe(),
        }


@lru_cache(maxsize=1)
def ready_recipes() -> Mapping[str, ReadyRecipe]:
    """The catalogue by name, in alphabetical order."""
    entries = sorted(
        (entry for entry in files(__name__).iterdir() if entry.name.endswith(".yaml")), key=lambda e: e.name
    )
    return MappingProxyType(
        {entry.name[: -len(".yaml")]: _read(entry.name, entry.read_text("utf-8")) for entry in entries}
    )


def _read(file: str, text: str) -> ReadyRecipe:
    data, _ = parse_yaml(text, file)
    recipe = Recipe.from_dict(data, where=file)
    return ReadyRecipe(recipe, " ".join(data["for"].split()), " ".join(data["source"].split()), text)


def ready_recipe(name: str) -> ReadyRecipe:
    """The entry called ``name``; RecipeError with the closest known name otherwise."""
    found = ready_recipes().get(name)
    if found is None:
        raise RecipeError(f"there is no ready recipe '{name}'{suggestion(name, ready_recipes())}")
    return found


def is_ready_name(path: Path | str) -> bool:
    """Whether this is the name of a ready recipe, and of no file here."""
    return str(path) in ready_recipes() and not Path(path).is_file()


def load_recipe(path: Path | str, *, registry: OperatorRegistry | None = None) -> Recipe:
    """Read a recipe file, or take the ready recipe of that name; a file comes first.

    Raises:
        RecipeError: there is neither, or the file is wrong.

    >>> load_recipe("text-only").name
    'text-only'
    """
    path = Path(path)
    if path.is_file() or path.suffix or len(path.parts) != 1:
        return Recipe.load(path, registry=registry)
    known = ready_recipes()  # a broken package of operators is told of as it is
    if path.name not in known:
        raise RecipeError(
            f"{path}: there is no such recipe file, and there is no ready recipe '{path.name}'{suggestion(path.name, known)}"
        )
    return known[path.name].recipe
