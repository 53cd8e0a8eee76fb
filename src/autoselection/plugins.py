"""What other packages register as entry points, and whether it is what was asked for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from autoselection.errors import AutoSelectionError, ConfigError
from autoselection.wording import suggestion


def load_entry_points(group: str, what: str, error: type[AutoSelectionError]) -> Iterator[tuple[EntryPoint, Any]]:
    """Every entry point of a group, by name, with what it names.

    Args:
        what: what the group holds, such as ``operator``, for the message.
        error: raised for one that cannot be imported.
    """
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        yield point, _load(point, what, error)


def _load(point: EntryPoint, what: str, error: type[AutoSelectionError]) -> Any:
    try:
        return point.load()
    except Exception as reason:  # the package may raise anything while it is imported
        plain = isinstance(reason, (ImportError, AttributeError, AutoSelectionError))
        why = str(reason) if plain else f"{type(reason).__name__}: {reason}"
        raise error(
            f"The {what} '{point.name}' ({point.value}) cannot be imported ({why.rstrip('.')}): "
            f"fix or uninstall the package that registers it."
        ) from reason


@lru_cache(maxsize=64)
def _installed(find: Callable[..., Iterable[EntryPoint]], group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group by name; finding them takes milliseconds, and configurations ask again and again."""
    return tuple(sorted(find(group=group), key=lambda point: point.name))


def has_members(instance: object, protocol: type) -> bool:
    """Whether an object has every public member of a protocol, without evaluating any of them.

    ``isinstance`` reads the members before Python 3.12, and a property may need a package that is not installed.
    """
    names = {*vars(protocol), *inspect.get_annotations(protocol)}
    public = (name for name in names if not name.startswith("_") or name == "__call__")
    return all(_has(instance, name) for name in public)


def _has(instance: object, name: str) -> bool:
    try:
        inspect.getattr_static(instance, name)
    except AttributeError:
        return False
    return True


class Registry:
    """Classes of one contract by name: ours, and those that other packages register.

    All are named by text as entry points are, ``module:Class``, and imported when they are asked for. So a registry
    imports nothing, and the configuration, which names what is in it, can stand below the classes that read it.

    A class in it is called with the configuration that names it, and, if its attribute ``options`` is a model of options
    and not None, with these.

    Args:
        group: of the entry points.
        what: what it holds, for messages: trainer, engine, executor.
        contract: the protocol, ``module:Class``.
        builtin: ours, by name.
        sections: the class of each section of options that every configuration holds, given or not; digests of
            configurations depend on them. Any other class has a section of its own name, where it is given.
    """

    def __init__(
        self,
        group: str,
        *,
        what: str,
        contract: str,
        builtin: Mapping[str, str],
        sections: Mapping[str, str] | None = None,
    ) -> None:
        self.group, self.what = group, what
        self.standing = dict(sections or {})
        self._contract = EntryPoint("contract", contract, group)
        self._builtin = {name: EntryPoint(name, value, group) for name, value in builtin.items()}

    def names(self) -> tuple[str, ...]:
        """All names, ours first; nothing is imported."""
        return tuple(self._points())

    def _points(self) -> dict[str, EntryPoint]:
        points = dict(self._builtin)
        for point in _installed(entry_points, self.group):
            if point.name in points or point.name in self.standing:
                raise ConfigError(f"Two {self.what}s are called '{point.name}': rename the one that was added.")
            points[point.name] = point
        return points

    def get(self, name: str) -> Any:
        """The class called ``name``.

        Raises:
            ConfigError: there is none (the closest name is suggested), it cannot be imported, or it lacks a member.
        """
        points = self._points()
        if name not in points:
            raise ConfigError(self.unknown(name))
        found = _load(points[name], self.what, ConfigError)
        if not has_members(found, self._contract.load()):
            raise ConfigError(
                f"{points[name].value} is no {self.what}: it must have the members of "
                f"{self._contract.value.replace(':', '.')}."
            )
        return found

    def unknown(self, name: str) -> str:
        """What to say of a name that is not there."""
        return f"there is no {self.what} '{name}'{suggestion(name, self.names())}"

    def make(self, config: Any) -> Any:
        """The object that a configuration (:class:`~autoselection.schema.Configured`) names, with its options.

        Raises:
            ConfigError: see :meth:`get`.
        """
        name = getattr(config, config.chosen_by)
        found = self.get(name)
        if found.options is None:
            return found(config)
        section = self.section_of(name)
        options = (config.model_extra or {}).get(section)
        return found(config, found.options.model_validate({}) if options is None else options)

    def section_of(self, name: str) -> str:
        """The section of the class called ``name``."""
        return next((section for section, owner in self.standing.items() if owner == name), name)

    def options(self, section: str) -> Any:
        """The model of the options that stand in a section; None where there is no such section."""
        name = self.standing.get(section, section)
        if name not in self.names() or self.section_of(name) != section:
            return None
        return self.get(name).options
