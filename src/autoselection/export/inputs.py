"""What an export must never replace: the files that it reads."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from autoselection.errors import ConfigError
from autoselection.pool.manifest import FileRecord


def check_not_read(
    outputs: Mapping[str, Path | None], inputs: Iterable[Path | None], records: Iterable[FileRecord] = ()
) -> None:
    """Refuse outputs that would replace what is read.

    Args:
        outputs: files and folders to write, by the options that name them.
        inputs: files and folders that are read: raw files, pools, recipes, configurations.
        records: files that the pools were made from, as their manifests tell.

    Raises:
        ConfigError: an output is one of them, lies in one that is a folder, or is a folder that holds one.
    """
    read = [Path(os.path.realpath(path)) for path in inputs if path is not None and path.exists()]
    made_from = list(records)
    read += [Path(os.path.realpath(record.path)) for record in made_from if Path(record.path).exists()]
    for option, path in outputs.items():
        if path is None or not path.exists():
            continue
        place = Path(os.path.realpath(path))
        found = next((file for file in read if _touches(place, file)), None)
        if found is None and any(_is_moved(place, record) for record in made_from):
            found = place
        if found is not None:
            what = "is" if found == place else f"would replace {found},"
            raise ConfigError(
                f"{option}: {path} {what} what this command reads, or what the pool was made from: name another place; raw "
                "data is never overwritten."
            )


def _touches(place: Path, file: Path) -> bool:
    if place == file or place.samefile(file):
        return True
    if place.is_dir():
        return file.is_relative_to(place)
    return file.is_dir() and place.is_relative_to(file)


def _is_moved(place: Path, record: FileRecord) -> bool:
    """Whether a file has the name and the size of one that a pool was made from in another folder, or from there."""
    if not place.is_file() or place.stat().st_size != record.bytes:
        return False
    path = Path(record.path)
    parts = [part for part in path.parts if part not in (".", "..")]
    return not path.is_absolute() and place.parts[-len(parts) :] == tuple(parts)
