"""What other packages register as entry points."""

from __future__ import annotations

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
