"""A path that the user names, as the files to read."""

from __future__ import annotations

import re
from pathlib import Path

from autoselection.errors import PoolError
from autoselection.pool.addresses import HubRows, address_of, check_no_folder, hub_name, matching
from autoselection.pool.inputs.axolotl import AXOLOTL_FILE, yaml_inputs
from autoselection.pool.inputs.base import Input, is_there
from autoselection.pool.inputs.llamafactory import INFO_FILE, llamafactory_inputs
from autoselection.pool.readers import choose_split, inner_name
from autoselection.pool.suffixes import CONTAINERS
from autoselection.wording import clipped, command_line

_YAML = (".yml", ".yaml")


def is_description(path: Path) -> bool:
    """Whether a path names data sets rather than rows: a dataset folder, a YAML file, or a ``dataset_info.json``."""
    return path.is_dir() or path.suffix.lower() in _YAML or path.name == INFO_FILE


def expand(path: Path, split: str | None) -> list[Input]:
    """The files of one input: itself, those of a folder, those that a pattern matches or a description of data sets names.

    A data set of the hub is asked for here; files that lie elsewhere are not looked at yet.

    Raises:
        PoolError: the path does not exist, or a folder or a description is of no known kind or has no such split.
    """
    if not is_there(path):
        files = matching(path)
        if files != [path]:
            return [one for file in files for one in expand(file, split)]
        if hub_name(path) is not None:
            found = HubRows(path, split)
            return [Input(found.path, split, rows=found)]
        if address_of(path) is not None:
            if inner_name(path).suffix.lower() not in CONTAINERS:
                check_no_folder(path)
            return [Input(path)]
        raise PoolError(f"The pool file {clipped(str(path), 200)} does not exist.")
    if path.is_file() and path.suffix.lower() in _YAML:
        return yaml_inputs(path, split, expand)
    if path.is_file() and path.name == INFO_FILE:
        return llamafactory_inputs(path.parent, split)
    if (
        not path.is_dir()
        or path.suffix == ".lance"
        or (path / "state.json").is_file()
        or (path / "dataset_dict.json").is_file()
    ):
        return [Input(path)]
    if (path / "manifest.json").is_file() and any(path.glob("pool*.arrow")):
        raise PoolError(
            f"{path} is a pool already: name it where a command takes a pool; `autoselection apply RECIPE --pool "
            f"{command_line(path)} --out FILE` writes rows of it to a file."
        )
    if (path / INFO_FILE).is_file():
        return llamafactory_inputs(path, split)
    if (path / AXOLOTL_FILE).is_file():
        return yaml_inputs(path / AXOLOTL_FILE, split, expand)
    files = sorted((path / "data").glob("*.parquet")) or sorted(path.glob("*.parquet"))
    if not files:
        raise PoolError(_no_dataset(path))
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(re.split(r"-\d", file.stem, maxsplit=1)[0], []).append(file)
    return [Input(file) for file in by_split[choose_split(path, sorted(by_split), split)]]


def _no_dataset(path: Path) -> str:
    what = (
        f"The folder {path} is no Hugging Face dataset: expected one written by save_to_disk, or Parquet files in it or in "
        "its folder 'data'"
    )
    readable = [
        file for file in sorted(path.rglob("*")) if file.is_file() and inner_name(file).suffix.lower() in CONTAINERS
    ]
    if not readable:
        return f"{what}; there is no file in it that can be read ({', '.join(CONTAINERS)})."
    shown = command_line(*readable[:8])
    more = f" … ({len(readable):,} files)" if len(readable) > 8 else ""
    return f"{what}; give the files in it by name: {shown}{more}."
