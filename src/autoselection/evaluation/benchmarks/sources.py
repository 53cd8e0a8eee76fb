"""Records of benchmark files: JSON (lists, ``examples``, numbered objects), JSON lines, CSV, Parquet, few-shot texts."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoselection.errors import ConfigError

#: Suffixes that are read; other files of a source folder (licences, code) are passed over.
SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".txt")

_LABELS = {"train": "train", "dev": "dev", "val": "validation", "valid": "validation", "validation": "validation"}
_LABELS |= {"test": "test", "target": "target"}


@dataclass(frozen=True)
class SourceFile:
    """A file of a benchmark and the split it is said to be (None: it says nothing).

    Attributes:
        topic: name of its subtask: the file's name without the split, or its folder's where the file is named for one.
    """

    path: Path
    label: str | None
    topic: str


def source_files(sources: Sequence[str]) -> list[SourceFile]:
    """The files of ``sources``: paths of files or folders, each with an optional ``SPLIT=`` in front.

    Raises:
        ConfigError: a path does not exist, a split has no such name, or nothing readable is there.
    """
    files: list[SourceFile] = []
    for source in sources:
        label, separator, path_text = source.partition("=")
        if separator and label not in _LABELS:
            raise ConfigError(f"--source {source}: '{label}' is no split; use one of {', '.join(sorted(_LABELS))}.")
        path = Path(path_text if separator else source).expanduser()
        given = _LABELS[label] if separator else None
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
            files += [_file(file, given) for file in inside]
        elif path.is_file() and path.suffix in SUFFIXES:
            files.append(_file(path, given))
        else:
            raise ConfigError(f"--source {source}: no such file or folder (files end in {', '.join(SUFFIXES)}).")
    if not files:
        raise ConfigError(f"--source {' '.join(sources)}: no file that ends in {', '.join(SUFFIXES)}.")
    return files


def _file(path: Path, given: str | None) -> SourceFile:
    match = re.fullmatch(
        r"(?:(.*?)[._-])?(train|dev|val|valid|validation|test|target|main)(?:[._-]\d.*)?", path.stem, re.I
    )
    stem = match.group(2).lower() if match else None
    parent = path.parent.name.lower()
    label = given or (_LABELS.get(stem) if stem else None) or _LABELS.get(parent)
    topic = (match.group(1) or path.parent.name) if match else path.stem
    return SourceFile(path, label, topic)


def records(file: SourceFile) -> Iterator[Any]:
    """The records of a file: objects, or rows of a CSV file without a header as lists of cells.

    Raises:
        ConfigError: the file is not what its name says.
    """
    path = file.path
    try:
        if path.suffix == ".parquet":
            import polars

            yield from polars.read_parquet(path).iter_rows(named=True)
        elif path.suffix == ".csv":
            yield from _csv(path.read_text(encoding="utf-8-sig"))
        elif path.suffix == ".txt":
            yield from _worked_examples(path.read_text(encoding="utf-8"))
        else:
            yield from _json(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, ValueError, csv.Error) as error:
        raise ConfigError(
            f"{path}: not readable as {path.suffix[1:]} ({' '.join(str(error).split())[:160]})."
        ) from error


def _json(text: str) -> Iterator[Any]:
    try:
        document = json.loads(text)
    except ValueError:  # JSON lines, whatever the file is called
        yield from (json.loads(line) for line in text.split("\n") if line.strip())
        return
    if isinstance(document, dict):
        for key in ("examples", "data", "questions"):
            if isinstance(document.get(key), list):
                document = document[key]
                break
        else:
            whole = all(isinstance(entry, dict) for entry in document.values())
            document = list(document.values()) if whole else [document]
    yield from document if isinstance(document, list) else [document]


def _csv(text: str) -> Iterator[Any]:
    """Objects under a header; lists where the last cell of the first row is an answer letter, as in MMLU's files."""
    rows = list(csv.reader(io.StringIO(text)))
    if rows and len(rows[0]) >= 4 and re.fullmatch(r"[A-J]", rows[0][-1].strip()):
        yield from rows
    elif rows:
        yield from (dict(zip(rows[0], row, strict=False)) for row in rows[1:])


def _worked_examples(text: str) -> Iterator[dict[str, str]]:
    """Questions and worked answers of a chain-of-thought prompt file (``Q: …`` and ``A: …``)."""
    body = text.rsplit("-----", 1)[-1]
    for block in re.split(r"^Q:", body, flags=re.MULTILINE)[1:]:
        question, separator, answer = block.partition("\nA:")
        if separator:
            yield {"question": question.strip(), "worked": answer.strip()}
