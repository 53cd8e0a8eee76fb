"""A lock: all that a selection depends on, so that another machine selects the very rows, or says which input differs.

::

    lock: 1
    recipe: {version: 1, steps: [...]}   # in canonical form, with all that it names
    recipe_hash: 4f0c…
    seed: 0
    pool: {fingerprint: 9a…, rows: 90000}
    signals:                             # those that the recipe reads
      ngram_entropy: {key: 1f…, content: 77…}
    excluded: null                       # rows that no recipe may select, of a study that drops contaminated ones
    packages: {autoselection: 0.1.0, numpy: 2.2.1, scipy: 1.15.0}
    operators: {ngram_entropy: autoselection 0.1.0}
    rows: 412
    subset_hash: c1…
    ordered_hash: 5e…
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from autoselection import files
from autoselection._version import __version__
from autoselection.documents import dump_yaml, read_yaml
from autoselection.errors import ConfigError, RecipeError
from autoselection.operators import OperatorRegistry, default_registry
from autoselection.recipes.materialize import Materialization, PrefixCache, materialize
from autoselection.recipes.recipe import Recipe
from autoselection.recipes.required_signals import every_step, read_signals
from autoselection.schema import StrictModel
from autoselection.signals import SignalStore, SignalTable
from autoselection.validation import validate
from autoselection.wording import ended

#: End of the name of a lock file.
SUFFIX = ".lock.yaml"
_HEAD = (
    "# Written by autoselection. 'autoselection apply --locked FILE' selects these rows again, or says what differs.\n"
)
_CANNOT = "The lock's rows cannot be selected here"
#: Packages whose arithmetic and random numbers the rows may depend on.
_PACKAGES = ("numpy", "scipy")
_FINGERPRINT = "pool"  # the key of a table's keys that is no signal's


class LockedPool(StrictModel):
    """The pool."""

    fingerprint: str = Field(description="Content hash of its rows in order.")
    rows: int = Field(ge=0, description="Rows of the pool (count).")


class LockedSignal(StrictModel):
    """A signal that the recipe reads."""

    key: str = Field(description="Hash of all that it depends on: pool, settings, model, version.")
    content: str = Field(description="Checksum of its values.")


class LockedExclusion(StrictModel):
    """Rows that share text with benchmark items, which no recipe of the study may select."""

    rows: int = Field(ge=0, description="How many (count).")
    cosine: float | None = Field(None, description="Cosine with an item from which on rows count too.")


class Lock(StrictModel):
    """What a selection depends on, see the module; ``of`` makes one, ``read`` and ``write`` are its file."""

    lock: Literal[1] = Field(1, description="Version of this format.")
    recipe: Mapping[str, Any] = Field(description="The recipe in canonical form, with all that it names.")
    recipe_hash: str = Field(description="Hash of the recipe's steps.")
    seed: int = Field(ge=0, description="Of the random steps.")
    pool: LockedPool
    signals: Mapping[str, LockedSignal] = Field(description="By name, those that the recipe reads.")
    excluded: LockedExclusion | None = None
    packages: Mapping[str, str] = Field(description="Versions by package.")
    operators: Mapping[str, str] = Field(description="Package and version by operator.")
    rows: int = Field(ge=1, description="Rows selected (count).")
    subset_hash: str = Field(description="Of the rows as a set.")
    ordered_hash: str = Field(description="Of the rows in their order.")

    @classmethod
    def of(
        cls,
        result: Materialization,
        signals: SignalTable,
        *,
        seed: int | None = None,
        cosine: float | None = None,
        registry: OperatorRegistry | None = None,
    ) -> Lock:
        """The lock of what a recipe selected.

        Args:
            result: as :func:`~autoselection.recipes.materialize` gave it.
            signals, registry: what it was materialized with.
            seed: the same, which need not be said: the result knows it.
            cosine: of a study that excludes rows also by their cosine with items.

        Raises:
            RecipeError: the signals were made from arrays, so that nothing can be found again; or the seed is not the result's.
        """
        if seed is not None and seed != result.seed:
            raise RecipeError(
                f"The rows were selected with the seed {result.seed}, not {seed}: leave 'seed' out, or materialize with that one."
            )
        pool = signals.pool
        if pool is None:
            raise RecipeError(
                "Only what was selected from a pool can be locked: load the signals with load_table(pool)."
            )
        recipe, registry = result.recipe, registry or default_registry()
        names = {operator.name for operator, _ in every_step(recipe, registry)}
        needed = [*read_signals(recipe, signals, registry)]
        excluded = None
        if signals.excluded is not None:
            excluded = LockedExclusion(rows=int(np.count_nonzero(signals.excluded)), cosine=cosine)
            needed += ["contamination", *([] if cosine is None else ["contamination_cosine"])]
        return cls(
            recipe=recipe.to_dict(),
            recipe_hash=recipe.digest(registry),
            seed=result.seed,
            pool=LockedPool(fingerprint=pool.fingerprint, rows=len(pool)),
            signals=_locked(SignalStore.of(pool), signals.keys, needed),
            excluded=excluded,
            packages={"autoselection": __version__, **{name: version(name) for name in _PACKAGES}},
            operators={name: package_of(registry.get(name)) for name in sorted(names)},
            rows=len(result.rows),
            subset_hash=result.subset_hash,
            ordered_hash=result.ordered_hash,
        )

    @classmethod
    def read(cls, path: Path | str) -> Lock:
        """The lock in a file.

        Raises:
            RecipeError: there is none, or it is no lock.
        """
        path = Path(path)
        try:
            document, tree = read_yaml(path, RecipeError, own=True)
        except FileNotFoundError:
            raise RecipeError(f"{path}: there is no such lock file; --lock {path} writes one.") from None
        except OSError as error:
            raise RecipeError(f"{path}: the lock file cannot be read ({error.strerror}).") from None
        if not isinstance(document, dict) or "lock" not in document:
            raise RecipeError(f"{path} is no lock file: --lock of 'materialize' and 'apply' writes one.")
        try:
            return validate(cls, document, str(path), tree)
        except ConfigError as error:
            raise RecipeError(ended(str(error).splitlines()[0])) from error

    def write(self, path: Path | str) -> None:
        """Write the lock; a file that is there is replaced."""
        files.write_text(Path(path), _HEAD + dump_yaml(self.model_dump(mode="json"), width=120))

    def selected_by(self, registry: OperatorRegistry | None = None) -> Recipe:
        """The recipe.

        Raises:
            RecipeError: an operator is not installed here.
        """
        registry = registry or default_registry()
        if unknown := [*self._not_installed(registry)]:
            raise RecipeError(f"{_CANNOT}: {'; '.join(unknown)}.")
        return Recipe.from_dict(dict(self.recipe), where="the lock's recipe", registry=registry)

    def _not_installed(self, registry: OperatorRegistry) -> Iterator[str]:
        unknown = (name for name in self.operators if name not in registry.names())
        yield from (f"operator '{name}' ({self.operators[name]}) is not installed" for name in unknown)

    def select(
        self,
        signals: SignalTable,
        *,
        recipe: Recipe | None = None,
        seed: int | None = None,
        registry: OperatorRegistry | None = None,
        cache: PrefixCache | None = None,
    ) -> Materialization:
        """The very rows that were locked.

        Args:
            signals: of the pool.
            recipe: what the user takes for the recipe; it must be that of the lock.
            seed: the same of the seed.
            registry, cache: as of :func:`~autoselection.recipes.materialize`.

        Raises:
            RecipeError: an input differs (all that do are named), or other rows are selected though none does.
            SignalError: as of ``materialize``.
        """
        registry = registry or default_registry()
        if problems := [*self._inputs(signals, recipe, seed, registry)]:
            raise RecipeError(f"{_CANNOT}: {'; '.join(problems)}.")
        own = self.selected_by(registry)
        result = materialize(own, signals, seed=self.seed, registry=registry, cache=cache)
        if result.ordered_hash == self.ordered_hash:
            return result
        what = "the order of the rows" if result.subset_hash == self.subset_hash else "the rows selected"
        hashes = f"subset hash {result.subset_hash}, locked {self.subset_hash}"
        causes = [*self._changed(own, registry), *self.versions(registry), *self._values(signals)]
        why = (
            "; ".join(causes) or "no input differs, so the arithmetic of this machine or an operator's randomness does"
        )
        raise RecipeError(f"{_CANNOT}: {what} differ ({hashes}): {why}.")

    def versions(self, registry: OperatorRegistry | None = None) -> Iterator[str]:
        """What has another version here than when the lock was made, a clause each."""
        registry = registry or default_registry()
        for name, locked in self.packages.items():
            here = __version__ if name == "autoselection" else _version(name)
            if here != locked:
                yield f"{name} is {here or 'not installed'} here, locked {locked}"
        for name, locked in self.operators.items():
            here = package_of(registry.get(name)) if name in registry.names() else "not installed"
            own = locked.rpartition(" ")[0]
            if here != locked and own not in self.packages:
                yield f"operator '{name}' is of {here} here, locked {locked}"

    def _inputs(
        self, signals: SignalTable, recipe: Recipe | None, seed: int | None, registry: OperatorRegistry
    ) -> Iterator[str]:
        """The inputs that differ, a clause each."""
        fingerprint = None if signals.pool is None else signals.pool.fingerprint
        if fingerprint != self.pool.fingerprint:
            yield f"the pool has the fingerprint {fingerprint} and {signals.n:,} rows, locked {self.pool.fingerprint} and {self.pool.rows:,}"
        unknown = [*self._not_installed(registry)]
        yield from unknown
        if recipe is not None and not unknown:
            digest = recipe.digest(registry)
            if digest != self.recipe_hash:
                yield f"the recipe is another one (hash {digest}, locked {self.recipe_hash}): {recipe.describe()}"
        if seed is not None and seed != self.seed:
            yield f"the seed is {seed}, locked {self.seed}"
        if fingerprint == self.pool.fingerprint:
            for name, locked in self.signals.items():
                here = signals.keys.get(name)
                if here != locked.key:
                    what = "is not there" if here is None else f"has the key {here}"
                    yield f"the signal '{name}' {what}, locked {locked.key}: it was computed with other settings, by another model or version"
        excluded = 0 if signals.excluded is None else int(np.count_nonzero(signals.excluded))
        locked_rows = 0 if self.excluded is None else self.excluded.rows
        if excluded != locked_rows:
            yield f"{excluded:,} rows are excluded as contaminated, locked {locked_rows:,}"

    def _changed(self, recipe: Recipe, registry: OperatorRegistry) -> Iterator[str]:
        """That the recipe in the lock is not the one whose hash it holds, if so."""
        digest = recipe.digest(registry)
        if digest != self.recipe_hash:
            yield f"the lock's own recipe has the hash {digest}, locked {self.recipe_hash}: it was changed after the lock was written"

    def _values(self, signals: SignalTable) -> Iterator[str]:
        """Signals of the same key whose values are others, as of another device."""
        if signals.pool is None:
            return
        found = _locked(SignalStore.of(signals.pool), signals.keys, list(self.signals))
        for name, locked in self.signals.items():
            if name in found and found[name].content != locked.content:
                yield f"the signal '{name}' has the same key and other values: another device or library computed it"


def _locked(store: SignalStore, keys: Mapping[str, str], needed: list[str]) -> dict[str, LockedSignal]:
    """The signals of a table that are needed, and of ``mona`` those of all tasks."""
    names = [
        name
        for name in sorted(keys)
        if name != _FINGERPRINT and any(name == each or name.startswith(f"{each}/") for each in needed)
    ]
    return {name: LockedSignal(key=keys[name], content=_content(store, name, keys[name])) for name in names}


def _content(store: SignalStore, name: str, key: str) -> str:
    """16 hex digits of the checksums of a stored signal's files."""
    facts = store.open(name, key).meta["files"]
    text = "\n".join(f"{file} {fact['blake2b']}" for file, fact in sorted(facts.items()))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def package_of(operator: object) -> str:
    """The package that an operator comes from, with its version: ``autoselection 0.1.0``."""
    root = type(operator).__module__.partition(".")[0]
    if root == "autoselection":
        return f"autoselection {__version__}"
    names = _distributions().get(root, [])
    return f"{names[0]} {_version(names[0])}" if names else f"{root} without a version"


@cache
def _distributions() -> Mapping[str, list[str]]:
    find: Callable[[], Mapping[str, list[str]]] = packages_distributions
    return find()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
