"""What other packages register as entry points, and whether it is what was asked for."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from autoselection.errors import AutoSelectionError


def load_entry_points(group: str, what: str, error: type[AutoSelectionError]) -> Iterator[tuple[EntryPoint, Any]]:
    """Every entry point of a group, by name, with what it names.

    Args:
        what: what the group holds, such as ``operator``, for the message.
        error: raised for one that cannot be imported.
    """
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        try:
            loaded = point.load()
        except (ImportError, AttributeError) as reason:
            raise error(
                f"The {what} '{point.name}' ({point.value}) cannot be imported ({reason}): "
                f"mend or uninstall the package that registers it."
            ) from reason
        yield point, loaded


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
