"""Records of benchmark files: JSON (lists, ``examples``, numbered objects), JSON lines, CSV, Parquet, few-shot texts."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autoselection.errors import ConfigError, PoolError
from autoselection.pool.csv_reader import sniff_delimiter
from autoselection.pool.encodings import survey
from autoselection.progress import console
from autoselection.system import expanded
from autoselection.wording import suggestion

#: How much of a file is read to recognize its delimiter (characters).
_HEAD = 1 << 16
#: Suffixes that are read; other files of a source folder (licences, code) are passed over.
SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".txt")

_LABELS = {"train": "train", "dev": "dev", "val": "validation", "valid": "validation", "validation": "validation"}
_LABELS |= {"test": "test", "target": "target"}


@dataclass(frozen=True)
class ReadingOptions:
    """How files are read, where they do not tell it themselves.

    Attributes:
        columns: from the name that a format reads (question, answer, …) to the column of the files.
        encoding: of text files.
        delimiter: of CSV files.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    delimiter: str | None = None

    def named(self, record: Any) -> Any:
        """The record with its columns under the names that a format reads."""
        if not self.columns or not isinstance(record, dict):
            return record
        own = {name: record.get(column) for name, column in self.columns.items()}
        return {**{name: value for name, value in record.items() if name not in self.columns.values()}, **own}


@dataclass(frozen=True)
class SourceFile:
    """A file of a benchmark and the split it is declared to be (None: undeclared).

    Attributes:
        topic: name of its subtask: the file's name without the split, or its folder's where the file is named for one.
        given: the user said which split it is, and not its name.
    """

    path: Path
    label: str | None
    topic: str
    given: bool = False


def source_files(sources: Sequence[str]) -> list[SourceFile]:
    """The files of ``sources``: paths of files or folders, each with an optional ``SPLIT=`` in front.

    A file's name says its split where other files say another one; a single file is of no split, whatever its name.

    Raises:
        ConfigError: a path does not exist, a split has no such name, or nothing readable is there.
    """
    files: list[SourceFile] = []
    for source in sources:
        label, separator, path_text = source.partition("=")
        if separator and label not in _LABELS and not expanded(source).exists():
            raise ConfigError(f"--source {source}: '{label}' is no split; use one of {', '.join(sorted(_LABELS))}.")
        given = _LABELS.get(label) if separator else None
        path = expanded(path_text if given else source)
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
            files += [_file(file, given) for file in inside]
        elif path.is_file() and path.suffix.lower() in SUFFIXES:
            files.append(_file(path, given))
        elif path.exists():
            raise ConfigError(f"--source {source}: files end in {', '.join(SUFFIXES)}; rename or convert it.")
        else:
            raise ConfigError(f"--source {source}: no such file or folder.")
    if not files:
        raise ConfigError(f"--source {' '.join(sources)}: no file that ends in {', '.join(SUFFIXES)}.")
    labels = {file.label for file in files if file.path.suffix.lower() != ".txt"}
    if len(labels) == 1:  # names that all say the same say nothing
        files = [file if file.given else replace(file, label=None) for file in files]
    return files


def _file(path: Path, given: str | None) -> SourceFile:
    match = re.fullmatch(
        r"(?:(.*?)[._-])?(train|dev|val|valid|validation|test|target|main)(?:[._-]\d.*)?", path.stem, re.I
    )
    stem = match.group(2).lower() if match else None
    parent = path.parent.name.lower()
    label = given or (_LABELS.get(stem) if stem else None) or _LABELS.get(parent)
    topic = (match.group(1) or path.parent.name) if match else path.stem
    return SourceFile(path, label, topic, given is not None)


def records(file: SourceFile, reading: ReadingOptions | None = None) -> Iterator[Any]:
    """The records of a file: objects, or rows of a CSV file without a header as lists of cells.

    Raises:
        ConfigError: the file is not what its name says, or it has none of the mapped columns.
    """
    reading = reading or ReadingOptions()
    missing = set(reading.columns.values())
    names: list[str] = []
    for record in _records(file, reading):
        if missing and isinstance(record, dict):
            missing -= record.keys()
            names = names or list(record)
        yield reading.named(record)
    if missing:
        raise ConfigError(
            f"--map: {file.path} has no column '{min(missing)}'{suggestion(min(missing), names)}"
            if names
            else f"--map: {file.path} has no named columns."
        )


def _records(file: SourceFile, reading: ReadingOptions) -> Iterator[Any]:
    path, suffix = file.path, file.path.suffix.lower()
    if suffix == ".parquet":
        yield from _parquet(path)
        return
    text = _text_of(path, reading.encoding)
    if suffix == ".csv":
        yield from _csv(text, path, reading)
    elif suffix == ".txt":
        yield from _worked_examples(text)
    else:
        yield from _json(text, path)


def _text_of(path: Path, given: str | None) -> str:
    content = path.read_bytes()
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return content.decode(given or ("utf-16" if marked else "utf-8-sig")).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        if given is None and not marked and path.suffix.lower() == ".csv":
            return _guessed(content, path)
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise ConfigError(
            f"{path}:{line}: not {given or 'UTF-8'} text (byte 0x{byte:02x}); save the file as UTF-8, or name its encoding "
            "with --encoding."
        ) from None


def _guessed(content: bytes, path: Path) -> str:
    """The text of a table that spreadsheets wrote in their old encoding, as for pools; what was guessed is reported."""
    try:
        seen = survey(io.BytesIO(content), path, None)
        text = content.decode(seen.encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: not UTF-8 text (byte 0x{content[error.start]:02x}); save the file as UTF-8, or name its "
            "encoding with --encoding."
        ) from None
    except PoolError as error:
        raise ConfigError(str(error).replace(" (in a configuration: pool.ingest.encoding)", "")) from None
    console.say(
        f"{path} is not UTF-8 and was read as Windows-1252 ({seen.guessed}): if that is wrong, give --encoding."
    )
    return text


def _parquet(path: Path) -> Iterator[Any]:
    import polars

    try:
        yield from polars.read_parquet(path).iter_rows(named=True)
    except polars.exceptions.PolarsError as error:
        raise ConfigError(f"{path}: not readable as Parquet ({' '.join(str(error).split())[:160]}).") from None


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _json(text: str, path: Path) -> Iterator[Any]:
    """The records of one document, or of JSON lines, whatever the file is called."""
    try:
        document = _loaded(text)
    except ValueError as problem:
        yield from _json_lines(text, path, problem)
        return
    if isinstance(document, dict):
        for key in ("examples", "data", "questions"):
            if isinstance(document.get(key), list):
                document = document[key]
                break
        else:
            whole = all(isinstance(entry, dict) for entry in document.values())
            document = list(document.values()) if whole and document else [document]
    yield from document if isinstance(document, list) else [document]


def _json_lines(text: str, path: Path, of_document: ValueError) -> Iterator[Any]:
    read = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = _loaded(line)
        except ValueError as problem:
            whole = read == 0 and isinstance(of_document, json.JSONDecodeError)  # one document over many lines
            problem, number = (of_document, of_document.lineno) if whole else (problem, number)  # type: ignore[attr-defined]
            reason = problem.msg if isinstance(problem, json.JSONDecodeError) else str(problem)[:160]
            raise ConfigError(
                f"{path}:{number}: not valid JSON ({reason}); the file may be cut off: fetch it again, or fix the line."
            ) from None
        read += 1
        yield record


def _is_headless(row: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether a first row is an item, which ends in an answer letter as in MMLU's files, and no header that ends in one.

    A header that ends in a letter has columns named A, B, … up to it (an item of three options has no answer D), or
    names a question and an answer, or what ``columns`` are mapped.
    """
    cells = [cell.strip() for cell in row]
    if len(cells) < 4 or not re.fullmatch("[A-J]", cells[-1]):
        return False
    letters = [chr(code) for code in range(ord("A"), ord(cells[-1]) + 1)]
    named = {"question", "answer"} <= {cell.casefold() for cell in cells} or (columns and set(columns) <= set(row))
    return not (named or (len(letters) > 1 and cells[-len(letters) :] == letters))


def _csv(text: str, path: Path, reading: ReadingOptions) -> Iterator[Any]:
    """Objects under a header; lists of cells where there is none."""
    try:
        delimiter = reading.delimiter or sniff_delimiter(text[:_HEAD], path, ",")
    except PoolError:
        raise ConfigError(f"{path}:1: the delimiter cannot be recognized: name it with --delimiter.") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    header: list[str] | None = None
    headless = False
    start = 1
    try:
        for row in reader:
            line, start = start, reader.line_num + 1
            if not row:
                continue
            if header is None:
                header = row
                headless = _is_headless(row, list(reading.columns.values()))
            elif not headless and len(row) != len(header):
                raise ConfigError(
                    f"{path}:{line}: {len(row)} cells under a header of {len(header)}; a stray quote or comma: fix the line."
                )
            if swallowed := _swallowed(row, len(header), delimiter):
                raise ConfigError(
                    f"{path}:{line}: a quoted cell holds {swallowed} lines that look like rows; a stray quote: fix the line."
                )
            if headless:
                yield row
            elif row is not header:
                yield dict(zip(header, row, strict=True))
    except csv.Error as problem:
        raise ConfigError(f"{path}:{start}: not valid CSV ({problem}); a stray quote: fix the line.") from None


def _swallowed(row: Sequence[str], cells: int, delimiter: str) -> int:
    """Lines inside of cells that look like rows, if they are most of them; 0 where that may be chance."""
    inside = [line for cell in row if "\n" in cell for line in cell.split("\n")[1:-1]]
    alike = sum(line.count(delimiter) == cells - 1 for line in inside)
    return alike if cells > 1 and alike >= 2 and 2 * alike >= len(inside) else 0


def _worked_examples(text: str) -> Iterator[dict[str, str]]:
    """Questions and worked answers of a chain-of-thought prompt file (``Q: …`` and ``A: …``)."""
    body = text.rsplit("-----", 1)[-1]
    for block in re.split(r"^Q:", body, flags=re.MULTILINE)[1:]:
        question, separator, answer = block.partition("\nA:")
        if separator:
            yield {"question": question.strip(), "worked": answer.strip()}
