"""Names of the sources that files are: one for each dataset, distinguished by file name, and by folders as far as needed.

The shards of a dataset are one source. A file is a shard if its name says so (``-00001-of-00003``, ``part-1``, a number
with leading zeros such as ``train-00007``), or if the numbers at the end of the names of one folder's files count up
from 0 or 1 (``data_0``, ``data_1``). Other numbers belong to the name: ``gsm8k``, ``math_500``, ``wiki-2023``. The
order in which files are given does not matter; files of a pool that rows are appended to keep the names they have.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from autoselection.errors import PoolError
from autoselection.pool.readers import stem_of

_SEPARATOR = r"(?:^|[-_. ]+)"
_OF = re.compile(
    rf"{_SEPARATOR}(?:(?:part|shard|chunk)[-_. ]?)?(\d+)[-_ ]?of[-_ ]?\d+(?:-[0-9a-f]{{8,}})?$", re.IGNORECASE
)
_PART = re.compile(
    rf"{_SEPARATOR}(?:part|shard|chunk)[-_. ]?(\d+)(?:-[0-9a-f]{{8}}-.+|-tid-.+|[-.]c\d+.*)?$", re.IGNORECASE
)
_PADDED = re.compile(rf"{_SEPARATOR}(0\d{{3,}})$")
_NUMBER = re.compile(rf"{_SEPARATOR}(\d+)$")


@dataclass(frozen=True)
class _Group:
    """Files that are one dataset: their folder, the name without shard numbers, and suffixes where they tell apart."""

    folder: str
    stem: str
    suffix: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The name's parts, the last first; a folder named ``data``, which tells nothing, is passed over."""
        folders = [part for part in Path(self.folder).parts if part != os.sep]
        if folders and folders[-1] == "data":
            folders.pop()
        names = [*folders, self.stem] if self.stem else folders
        return tuple(reversed([*names[:-1], names[-1] + self.suffix])) if names else ("pool",)


def source_names(paths: Sequence[Path], known: Mapping[Path, str] | None = None) -> list[str]:
    """The source of each file.

    Args:
        paths: all files, in any order.
        known: names that files of this pool have already; their datasets keep them, and nothing else gets them.
    """
    known = {_absolute(path): name for path, name in (known or {}).items()}
    files = list(dict.fromkeys([*map(_absolute, paths), *known]))
    groups = _grouped(files)
    kept = {groups[file]: name for file, name in known.items()}
    names = _told_apart(set(groups.values()), kept)
    # A pool of an older version may have a source for each shard: then a new one gets its own too.
    single = {group for group in kept if len({name for file, name in known.items() if groups[file] == group}) > 1}
    return [
        known.get(file, stem_of(file) if groups[file] in single else names[groups[file]])
        for file in map(_absolute, paths)
    ]


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - a link names the data set, its target does not


def _grouped(files: Sequence[Path]) -> dict[Path, _Group]:
    """The dataset of each file."""
    stems = {file: stem_of(file) for file in files}
    numbers: dict[Path, tuple[int, ...]] = dict.fromkeys(files, ())
    while True:
        shards = _shards([(str(file.parent), stems[file]) for file in files])
        found = {file: shards.get((str(file.parent), stems[file])) for file in files}
        if not any(found.values()):
            break
        for file, shard in found.items():
            if shard is not None:
                stems[file], number = shard
                numbers[file] = (number, *numbers[file])
    together: dict[tuple[str, str], list[Path]] = {}
    for file in files:
        together.setdefault((str(file.parent), stems[file]), []).append(file)
    groups: dict[Path, _Group] = {}
    for (folder, stem), members in together.items():
        # train.jsonl beside train.csv: two datasets; part-0.jsonl beside part-1.jsonl.gz: one.
        alike = len({numbers[file] for file in members}) < len(members)
        for file in members:
            groups[file] = _Group(folder, stem, _suffix(file) if alike else "")
    return groups


def _suffix(file: Path) -> str:
    suffixes = file.name[len(stem_of(file)) :]
    return suffixes if suffixes.startswith(".") else ""


def _shards(names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, int]]:
    """Of the (folder, stem) that are shards: the stem without the number, and the number."""
    found: dict[tuple[str, str], tuple[str, int]] = {}
    series: dict[tuple[str, str], dict[int, tuple[str, str]]] = {}
    for folder, stem in set(names):
        match = _OF.search(stem) or _PART.search(stem) or _PADDED.search(stem)
        if match is not None:
            found[folder, stem] = (stem[: match.start()], int(match[1]))
        elif (match := _NUMBER.search(stem)) is not None:
            series.setdefault((folder, stem[: match.start()]), {})[int(match[1])] = (folder, stem)
    for (folder, rest), members in series.items():
        padded = {number for (own, _), (stem, number) in found.items() if (own, stem) == (folder, rest)}
        counted = set(members) | padded
        # 09999 goes on with 10000; a series counts up from 0 or 1 with fewer gaps than numbers.
        if padded or (len(counted) > 1 and min(counted) <= 1 and max(counted) < 2 * len(counted)):
            found.update({name: (rest, number) for number, name in members.items()})
    return found


def _told_apart(groups: set[_Group], kept: Mapping[_Group, str]) -> dict[_Group, str]:
    """The shortest name of each dataset that no other ends with; those that are ``kept`` stay as they are."""
    taken = set(kept.values())
    names = dict(kept)
    new = sorted(groups - set(kept), key=lambda group: (group.folder, group.stem, group.suffix))
    for group in new:
        others = [other.parts for other in groups if other != group]
        parts = group.parts
        length = 1
        while length < len(parts) and (
            _name(parts, length) in taken or any(other[:length] == parts[:length] for other in others)
        ):
            length += 1
        names[group] = _name(parts, length)
    for name in {name for name in names.values() if list(names.values()).count(name) > 1}:
        for group in new:  # nothing but a folder named 'data' tells them apart
            if names[group] == name:
                names[group] = "/".join([*Path(group.folder).parts[-2:], group.stem + group.suffix])
    return names


def _name(parts: Sequence[str], length: int) -> str:
    return "/".join(reversed(parts[:length]))


def named_sources(paths: Sequence[Path], patterns: Mapping[str, str]) -> list[str | None]:
    """The source that the user gives each file by a pattern of its path; None for the others.

    Raises:
        PoolError: a pattern matches no file, or patterns of two sources the same file.
    """
    found: list[str | None] = []
    unused = set(patterns)
    for path in paths:
        matching = [name for name, pattern in patterns.items() if _matches(path, pattern)]
        if len(matching) > 1:
            raise PoolError(
                f"{path} matches the patterns of two sources, '{matching[0]}' ({patterns[matching[0]]}) and "
                f"'{matching[1]}' ({patterns[matching[1]]}): make one narrower."
            )
        unused.difference_update(matching)
        found.append(matching[0] if matching else None)
    if unused:
        name = min(unused)
        raise PoolError(f"No file given matches the pattern {patterns[name]!r} of the source '{name}'.")
    return found


def _matches(path: Path, pattern: str) -> bool:
    """Whether the path as given, its last parts, or the absolute path match; ``*`` also matches across folders."""
    whole = str(path)
    return any(fnmatchcase(text, pattern) for text in (whole, path.name, str(_absolute(path)))) or fnmatchcase(
        whole, f"*/{pattern}"
    )
