"""Recipes: bounded ordered lists of steps, with a canonical form, a hash, and YAML in and out.

A recipe file::

    version: 1
    name: low-ifd-within-source        # optional, for people, as are "for" (its purpose) and "source" (of the idea)
    steps:
      - operator: source_filter
        params: {sources: [chatter]}
      - operator: ifd_filter
        params: {fraction: 0.65, direction: low, scope: source}
      - operator: union
        params: {source_recipe: short}
    recipes:                           # recipes that a union names, by id
      short:
        steps:
          - operator: truncate_samples
            params: {fraction: 0.1}
"""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from autoselection import notebook
from autoselection.documents import check_texts, dump_yaml, read_yaml
from autoselection.errors import RecipeError
from autoselection.files import write_text
from autoselection.operators import Operator, OperatorRegistry, default_registry, validate_params
from autoselection.operators.registry import check_name
from autoselection.recipes.describe import describe_step
from autoselection.wording import clipped, suggestion

MAX_STEPS = 6
VERSION = 1
_RECIPE_KEYS = ("version", "name", "for", "source", "steps", "recipes")
_ABOUT_KEYS = ("for", "source")
_STEP_KEYS = ("operator", "params")


@dataclass(frozen=True)
class Step:
    """One step: an operator's name and its parameters (those not given have their defaults).

    Raises:
        RecipeError: no operator has this name, neither a built-in or installed one nor one of any
            :class:`~autoselection.operators.OperatorRegistry` made so far; gives the closest known name. Parameters are
            checked by :meth:`canonical`.

    >>> import autoselection as au
    >>> Step("ngram_entropy", {"top_k": 2}).canonical().params["direction"]
    'high'
    """

    operator: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.operator)

    def canonical(self, registry: OperatorRegistry | None = None) -> Step:
        """The step with complete, rounded parameters; RecipeError if it is not valid."""
        operator = (registry or default_registry()).get(self.operator)
        return Step(self.operator, validate_params(operator, self.params))

    def to_dict(self) -> dict[str, Any]:
        return {"operator": self.operator, "params": dict(self.params)}


@dataclass(frozen=True, repr=False, eq=False)
class Recipe:
    """An ordered list of at most :data:`MAX_STEPS` steps; without steps it selects the whole pool in row order.

    Attributes:
        steps: what to do, in order.
        name: for people; not part of the recipe's identity.
        library: recipes that its unions name, by the id they use (see :meth:`RecipeBook.inline`).

    >>> import autoselection as au
    >>> recipe = Recipe((au.Step("ngram_entropy", {"fraction": 0.5}), au.Step("truncate_samples", {"fraction": 0.1})))
    >>> len(recipe.describe_steps()), recipe == Recipe.from_dict(recipe.to_dict())
    (2, True)
    """

    steps: tuple[Step, ...] = ()
    name: str | None = None
    library: Mapping[str, Recipe] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        given: Any = self.steps
        steps = tuple(given) if isinstance(given, (list, tuple)) else (given,)
        if not all(isinstance(step, Step) for step in steps):
            raise RecipeError(f"a recipe is made of steps, such as Step('ngram_entropy'), not of {_short(given)}.")
        object.__setattr__(self, "steps", steps)

    def canonical(self, registry: OperatorRegistry | None = None) -> Recipe:
        """The recipe with defaults filled in, floats rounded, and each union naming the hash of its inlined recipe.

        Raises:
            RecipeError: too many steps, an unknown operator or a wrong parameter; names the step.
        """
        return self._canonical(registry or default_registry(), {})

    def _canonical(self, registry: OperatorRegistry, done: dict[int, Recipe]) -> Recipe:
        """:meth:`canonical`; ``done`` has what was found of recipes that several unions name, by identity."""
        if id(self) in done:
            return done[id(self)]
        if len(self.steps) > MAX_STEPS:
            raise RecipeError(f"a recipe has at most {MAX_STEPS} steps, this one has {len(self.steps)}.")
        library: dict[str, Recipe] = {}
        steps: list[Step] = []
        for number, step in enumerate(self.steps, 1):
            try:
                step = step.canonical(registry)
            except RecipeError as error:
                raise RecipeError(f"step {number}: {error}") from None
            for key in recipe_params(registry.get(step.operator)):
                source = self.library.get(step.params[key])
                if source is not None:
                    source = source._canonical(registry, done)
                    digest = digest_steps(source.steps)
                    library[digest] = source
                    step = Step(step.operator, {**step.params, key: digest})
            steps.append(step)
        done[id(self)] = Recipe(tuple(steps), self.name, MappingProxyType(library))
        return done[id(self)]

    @cached_property
    def hash(self) -> str:
        """16 hex digits of the canonical steps: the same for recipes whose steps and parameters are the same, whatever their names.

        Defaults count as if they were given, floats as rounded, lists of names whatever their order, a union by the content of its source
        recipe if that is in ``library``, else by its id. Parameters that only mean the same count as others: weights of other
        scale, a weight of 0 and none, -0.0 and 0.
        """
        return self.digest()

    def digest(self, registry: OperatorRegistry | None = None) -> str:
        """:attr:`hash`, with operators from another registry."""
        return digest_steps(self.canonical(registry).steps)

    def __eq__(self, other: object) -> bool:
        return _same(self, other, set()) if isinstance(other, Recipe) else NotImplemented

    def __hash__(self) -> int:
        return int(self.hash, 16)

    def __reduce__(self) -> tuple[Any, ...]:
        """For copies and pickles, which know no read-only mapping."""
        return type(self), (self.steps, self.name, dict(self.library))

    def describe(self) -> str:
        """One line for people: each step with what decides in it."""
        return " → ".join(self.describe_steps()) or "whole pool"

    def describe_steps(self) -> list[str]:
        """Each step with what decides in it, for people."""
        names = {key: recipe.name or key for key, recipe in self.library.items()}
        return [describe_step(step.operator, step.params, names) for step in self.steps]

    def __repr__(self) -> str:
        return notebook.line("Recipe", f"'{self.name}':" if self.name else "", self.describe())

    def plot(self, pool: Any, *, seed: int = 0) -> Any:
        """Draw what the recipe does to a pool: its rows by source through the steps, or rows by source without any step.

        Args:
            pool: a pool, or its signals.
            seed: of random steps.

        Returns:
            An :class:`autoselection.report.plots.Plot`, which a notebook shows.

        Raises:
            RecipeError, SignalError: as of :func:`autoselection.materialize`.
        """
        return notebook.drawn("recipe_plot", self, pool, seed)

    def _repr_html_(self) -> str:
        steps = enumerate(self.describe_steps(), 1)
        return notebook.page(
            f"Recipe {self.name or ''}", {}, notebook.table(("step", "what it does"), steps, what="steps", cell=400)
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON or YAML; the recipes that unions name are inlined under ``recipes``."""
        data: dict[str, Any] = {"version": VERSION}
        if self.name:
            data["name"] = self.name
        data["steps"] = [step.to_dict() for step in self.steps]
        inlined = _flat_library(self, {})
        if inlined is None:  # one id means two recipes: use hashes instead
            return self.canonical().to_dict()
        if inlined:
            data["recipes"] = {
                key: ({"name": recipe.name} if recipe.name not in (None, key) else {})
                | {"steps": [step.to_dict() for step in recipe.steps]}
                for key, recipe in sorted(inlined.items())
            }
        return data

    @classmethod
    def from_dict(cls, data: Any, *, where: str = "recipe", registry: OperatorRegistry | None = None) -> Recipe:
        """Read what :meth:`to_dict` writes; every step is checked.

        Args:
            where: what error messages call the source, such as a file name.

        Raises:
            RecipeError: names the place, what is wrong and what is known.
        """
        registry = registry or default_registry()
        check_texts(data, where, RecipeError)
        _mapping(data, where, _RECIPE_KEYS)
        for key in _ABOUT_KEYS:
            if key in data and not isinstance(data[key], str):
                raise RecipeError(f"{where}: {key} must be text, not {_short(data[key])}.")
        version = data.get("version", VERSION)
        if version != VERSION or isinstance(version, bool):
            raise RecipeError(f"{where}: version must be {VERSION}, not {_short(version)}.")
        book = RecipeBook(registry=registry)
        library = {} if data.get("recipes") is None else data["recipes"]
        if not isinstance(library, Mapping):
            raise RecipeError(f"{where}: recipes must be a mapping from id to a recipe, not {_short(library)}.")
        for key, entry in library.items():
            inner = f"{where}: recipe '{clipped(str(key))}'"
            entry = {"steps": entry} if isinstance(entry, list) else entry
            _mapping(entry, inner, ("name", "steps"))
            book.add(str(key), cls(_steps(entry, inner, registry), _name(entry, inner)))
        recipe = cls(_steps(data, where, registry), _name(data, where))
        try:
            # What a file with recipes names is among them; one without any may name those of a book.
            return book.inline(recipe, registry=registry, partial=not len(book))
        except RecipeError as error:
            raise RecipeError(f"{where}: {error}") from None

    @classmethod
    def load(cls, path: Path | str, *, registry: OperatorRegistry | None = None) -> Recipe:
        """Read a YAML (or JSON) recipe file; RecipeError names the file and the place."""
        path = Path(path)
        try:
            data, _ = read_yaml(path, RecipeError, own=True)
        except FileNotFoundError:
            raise RecipeError(f"{path}: there is no such recipe file.") from None
        except OSError as error:
            raise RecipeError(f"{path}: the recipe file cannot be read ({error.strerror}).") from None
        return cls.from_dict(data, where=str(path), registry=registry)

    def dump(self, path: Path | str, *, book: RecipeBook | None = None) -> None:
        """Write a YAML file that :meth:`load` reads; with ``book``, recipes that unions name are inlined from it."""
        recipe = self if book is None else book.inline(self)
        text = dump_yaml(recipe.to_dict(), width=120)
        write_text(Path(path), text)


def digest_steps(steps: tuple[Step, ...]) -> str:
    """16 hex digits of steps in canonical form."""
    plain = [step.to_dict() for step in steps]
    text = json.dumps(plain, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class RecipeBook:
    """Recipes by id, for unions; a recipe can be looked up by its hash too."""

    def __init__(
        self, recipes: Mapping[str, Recipe] | None = None, *, registry: OperatorRegistry | None = None
    ) -> None:
        self._recipes: dict[str, Recipe] = {}
        self._registry = registry
        for key, recipe in (recipes or {}).items():
            self.add(key, recipe)

    def add(self, key: str, recipe: Recipe) -> None:
        """Add a recipe under an id; adding the same again is harmless, another one is refused."""
        if key in self._recipes and self._recipes[key] != recipe:
            raise RecipeError(f"two different recipes have the id '{key}': give one of them another id.")
        self._recipes[key] = recipe

    def find(self, key: str) -> Recipe | None:
        """The recipe with this id or hash, if there is one."""
        if key in self._recipes:
            return self._recipes[key]
        return next((recipe for recipe in self._recipes.values() if self._digest(recipe) == key), None)

    def _digest(self, recipe: Recipe) -> str:
        return recipe.hash if self._registry is None else recipe.digest(self._registry)

    def __getitem__(self, key: str) -> Recipe:
        recipe = self.find(key)
        if recipe is None:
            known = suggestion(key, self._recipes) if self._recipes else ": no recipe is known here."
            raise RecipeError(f"unknown recipe '{key}'{known}")
        return recipe

    def __contains__(self, key: str) -> bool:
        return self.find(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._recipes)

    def __len__(self) -> int:
        return len(self._recipes)

    def inline(self, recipe: Recipe, *, registry: OperatorRegistry | None = None, partial: bool = False) -> Recipe:
        """The recipe with everything its unions name in its library, so that it can travel alone.

        Args:
            partial: leave unions that name an unknown recipe as they are instead of raising.

        Raises:
            RecipeError: a union names an unknown recipe, or recipes name each other in a circle.
        """
        return _Inliner(self, registry or self._registry or default_registry(), partial).inlined(recipe)


class _Inliner:
    """Finds what unions name, every recipe once, however many name it.

    Args:
        book: where to look for what a recipe does not carry along.
        partial: leave unions that name an unknown recipe as they are.
    """

    def __init__(self, book: RecipeBook, registry: OperatorRegistry, partial: bool) -> None:
        self._book, self._registry, self._partial = book, registry, partial
        self._done: dict[tuple[int, str], Recipe] = {}  # by identity of the recipe, and the name that it goes by
        self._canonical: dict[int, Recipe] = {}  # by identity
        self._kept: list[Recipe] = []  # those of these identities, so that no other recipe gets one

    def inlined(self, recipe: Recipe, path: tuple[str, ...] = ()) -> Recipe:
        """The recipe with its library; ``path`` are the names of the unions that it lies within."""
        library: dict[str, Recipe] = {}
        for number, step in enumerate(recipe.steps, 1):
            for key in recipe_params(self._registry.get(step.operator)):
                name = step.params.get(key)
                if not isinstance(name, str):
                    continue  # canonical() reports it
                if name in path:
                    circle = " → ".join([*path[path.index(name) :], name])
                    raise RecipeError(
                        f"recipes name each other in a circle ({circle}): a union must name an earlier recipe."
                    )
                try:
                    source = self._source(recipe, name)
                except RecipeError as error:
                    place = f"recipe '{path[-1]}': step {number}" if path else f"step {number}"
                    raise RecipeError(f"{place}: operator '{step.operator}': {error}") from None
                if source is not None:
                    library[name] = self._named(source, name, path)
        return replace(recipe, library=MappingProxyType(library))

    def _source(self, recipe: Recipe, name: str) -> Recipe | None:
        if name in recipe.library:
            return recipe.library[name]
        return self._book[name] if not self._partial or name in self._book else None

    def _named(self, source: Recipe, name: str, path: tuple[str, ...]) -> Recipe:
        """What a union names, inlined and with this name if it has none."""
        if (id(source), name) not in self._done:  # else nothing that it names leads in a circle
            found = self.inlined(source, (*path, name))
            self._kept += source, found
            if found.name is None and name != digest_steps(found._canonical(self._registry, self._canonical).steps):
                found = replace(found, name=name)
            self._done[id(source), name] = found
        return self._done[id(source), name]


def recipe_params(operator: Operator) -> tuple[str, ...]:
    """The parameters of an operator that name a recipe."""
    return tuple(param.name for param in operator.params if param.kind == "recipe")


def _same(one: Recipe, other: Recipe, seen: set[tuple[int, int]]) -> bool:
    """Whether two recipes have the same steps and libraries.

    Args:
        seen: the pairs looked at before, by identity: where they are not equal, nobody asks again.
    """
    if one is other or (id(one), id(other)) in seen:
        return True
    seen.add((id(one), id(other)))
    if one.steps != other.steps or one.library.keys() != other.library.keys():
        return False
    return all(_same(source, other.library[key], seen) for key, source in one.library.items())


def _flat_library(recipe: Recipe, done: dict[int, dict[str, Recipe] | None]) -> dict[str, Recipe] | None:
    """Everything a recipe needs, by id; None if one id means different recipes in different places.

    Args:
        done: what was found of recipes so far, by identity.
    """
    if id(recipe) in done:
        return done[id(recipe)]
    done[id(recipe)] = None
    flat: dict[str, Recipe] = {}
    for key, source in recipe.library.items():
        nested = _flat_library(source, done)
        if nested is None:
            return None
        for name, inner in [*nested.items(), (key, source)]:
            if flat.setdefault(name, inner) != inner:
                return None
    done[id(recipe)] = flat
    return flat


def _mapping(data: Any, where: str, known: tuple[str, ...]) -> None:
    if not isinstance(data, Mapping):
        raise RecipeError(f"{where}: expected a mapping with the keys {', '.join(known)}, not {_short(data)}.")
    for key in data:
        if key not in known:
            raise RecipeError(f"{where}: unknown key '{clipped(str(key))}'{suggestion(str(key), known)}")


def _name(data: Mapping[str, Any], where: str) -> str | None:
    name = data.get("name")
    if name is not None and not isinstance(name, str):
        raise RecipeError(f"{where}: name must be text, not {_short(name)}.")
    return name


def _steps(data: Mapping[str, Any], where: str, registry: OperatorRegistry) -> tuple[Step, ...]:
    if "steps" not in data:
        raise RecipeError(f"{where}: the key 'steps' is missing: give a list of steps ([] selects the whole pool).")
    entries = data["steps"]
    if not isinstance(entries, (list, tuple)):
        raise RecipeError(f"{where}: steps must be a list of steps, not {_short(entries)}.")
    if len(entries) > MAX_STEPS:
        raise RecipeError(f"{where}: a recipe has at most {MAX_STEPS} steps, this one has {len(entries)}.")
    steps: list[Step] = []
    for number, entry in enumerate(entries, 1):
        place = f"{where}: step {number}"
        _mapping(entry, place, _STEP_KEYS)
        name = entry.get("operator")
        if not isinstance(name, str):
            raise RecipeError(f"{place}: the key 'operator' must name an operator, not {_short(name)}.")
        try:
            registry.get(name)  # its message knows this registry's names
            step = Step(name, {} if entry.get("params") is None else entry["params"])
            step.canonical(registry)
        except RecipeError as error:
            raise RecipeError(f"{place}: {error}") from None
        steps.append(step)
    return tuple(steps)


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    return clipped(repr(value) if isinstance(value, (str, int, float)) else reprlib.repr(value))
