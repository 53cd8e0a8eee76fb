"""What an export writes: by the name of the file or folder, and the format asked for."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autoselection.errors import ConfigError
from autoselection.export.card import is_card
from autoselection.export.containers import SUFFIXES, container_of
from autoselection.export.layouts import LayoutName

FormatName = Literal["messages", "sharegpt", "alpaca", "prompt-completion", "hf", "axolotl"]

#: Name of the data set in a folder for LLaMA-Factory or Axolotl.
DATASET_NAME = "subset"
_DATA_FILE = re.compile(r"train-.*\.parquet", re.DOTALL)


@dataclass(frozen=True)
class Target:
    """What is written where.

    Attributes:
        kind: ``file``, ``hf`` (Hugging Face dataset folder), ``llamafactory`` (folder with ``dataset_info.json``) or
            ``axolotl`` (folder with ``axolotl.yaml``).
        layout: of the rows.
        container: of a file.
    """

    kind: Literal["file", "hf", "llamafactory", "axolotl"]
    layout: LayoutName = "messages"
    container: str = ""

    @property
    def has_columns(self) -> bool:
        """Whether the user's own columns are written there."""
        return self.kind in ("file", "hf")

    def check_columns(self, columns: Collection[str] | None) -> None:
        """Refuse columns that are named and would not be written: ConfigError."""
        if columns and not self.has_columns:
            raise ConfigError(
                f"--columns: a folder for {'Axolotl' if self.kind == 'axolotl' else 'LLaMA-Factory'} has no columns of the data's own "
                f"({', '.join(columns)}): leave the option out, or export to a file or a dataset folder."
            )


def export_target(
    path: Path | str, format_name: FormatName | None = None, *, overwrite: bool = False, file: bool = False
) -> Target:
    """What an export to ``path`` will write; nothing is written yet.

    A file's suffix is its container, and its layout is messages if no other is asked for. A name without a suffix is a
    folder: a Hugging Face dataset, or with the formats ``sharegpt`` and ``axolotl`` one for LLaMA-Factory and for Axolotl.

    Args:
        overwrite: replace what is there.
        file: only a file will do.

    Raises:
        ConfigError: the suffix is unknown, does not go with the format, or something is there already.
    """
    path = Path(path)
    if format_name == "hf" and path.suffix.lower() not in SUFFIXES:
        check_folder(path, overwrite)  # whatever its name
        return Target("hf")
    container = container_of(path)
    if container is not None:
        if format_name in ("hf", "axolotl"):
            what = "a dataset folder" if format_name == "hf" else "a folder of data and YAML"
            raise ConfigError(
                f"{path}: '{format_name}' is {what}: give a name without a suffix, or leave the format out."
            )
        if path.exists() and not overwrite:
            raise ConfigError(f"{path} exists; name another file, or pass --overwrite.")
        return Target("file", format_name or "messages", container)  # type: ignore[arg-type]
    if file:
        raise ConfigError(f"{path} is a folder or has no suffix; give a file name, such as rows.jsonl.")
    if format_name in ("alpaca", "prompt-completion"):
        raise ConfigError(
            f"{path}: the format '{format_name}' is written to a file: give a name that ends in .jsonl, .json, .csv or "
            ".parquet."
        )
    if format_name not in ("sharegpt", "axolotl"):
        check_folder(path, overwrite)
        return Target("hf")
    data = path / f"{DATASET_NAME}.jsonl"
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file; give a folder to export to.")
    if data.exists() and not overwrite:
        raise ConfigError(f"{data} exists; name another folder, or pass --overwrite.")
    return Target("axolotl") if format_name == "axolotl" else Target("llamafactory", "sharegpt")


def check_folder(directory: Path, overwrite: bool) -> None:
    """Refuse a dataset folder that is in use, that has no name, or to replace one that is no earlier export: ConfigError."""
    if directory.name in ("", ".."):  # it could not be moved into place
        raise ConfigError(f"{directory} does not name the folder: give its name, such as subset.")
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"{directory} is a file; give a folder to export to.")
    if not directory.is_dir() or not any(directory.iterdir()):
        return
    if not overwrite:
        raise ConfigError(f"{directory} is not empty; name another folder, or pass --overwrite.")
    foreign = _foreign(directory)
    if foreign is not None:
        raise ConfigError(
            f"{directory} holds more than an earlier export ({foreign}), and would be replaced as a whole: export to another folder."
        )


def _foreign(directory: Path) -> str | None:
    """Something in a folder that no export of a dataset folder wrote there, by its path in it; None without."""
    readme, data = directory / "README.md", directory / "data"
    for entry in sorted(directory.iterdir()):
        if entry not in (readme, data):
            return entry.name
    if not readme.is_file() or not is_card(readme.read_text(encoding="utf-8", errors="replace")):
        return "README.md" if readme.exists() else "data without its README.md"
    if data.exists() and not data.is_dir():
        return "data"
    for entry in sorted(data.iterdir()) if data.is_dir() else ():
        if not entry.is_file() or not _DATA_FILE.fullmatch(entry.name):
            return f"data/{entry.name}"
    return None
