"""LLaMA-Factory's ``dataset_info.json``: the files of its data sets, and what their columns and roles are called.

Without ``columns`` a data set is read by its own fields. With ``columns`` those that it names, and no others, are the
conversation, as LLaMA-Factory has it; roles are called by ``tags``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoselection.documents import parse_json
from autoselection.errors import AutoSelectionError, PoolError
from autoselection.pool.dialects import Dialect, OtherFields
from autoselection.pool.formats import RowFormat
from autoselection.pool.inputs.base import Input, is_there, texts, turns_of
from autoselection.pool.json_reader import Record
from autoselection.pool.row_error import RowError
from autoselection.pool.turns import as_context
from autoselection.pool.values import is_missing

INFO_FILE = "dataset_info.json"

_COLUMNS = (
    *("prompt", "query", "response", "history", "messages", "system", "tools", "images", "videos", "audios"),
    *("chosen", "rejected", "kto_tag"),
)
_TAGS = ("role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag")
_DEFAULT_TAGS: Mapping[str, Mapping[str, str]] = {
    "sharegpt": dict(
        zip(_TAGS, ("from", "value", "human", "gpt", "observation", "function_call", "system"), strict=True)
    ),
    "openai": dict(
        zip(_TAGS, ("role", "content", "user", "assistant", "tool", "function_call", "system"), strict=True)
    ),
}
#: From the columns to the fields that the formats read.
_FIELDS: Mapping[str, str] = {
    "prompt": "instruction", "query": "input", "response": "output", "history": "history", "system": "system",
    "tools": "tools",
}  # fmt: skip
_MEDIA = (("image", "images"), ("video", "videos"), ("audio", "audios"))
#: What a data set has without ``columns``: turns, or (alpaca) an instruction.
_DEFAULT_COLUMNS: tuple[dict[str, str], ...] = (
    {"messages": "conversations", "system": "system", "tools": "tools"},
    {"prompt": "instruction", "query": "input", "response": "output", "history": "history", "system": "system"},
)
_HUBS = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")


def llamafactory_inputs(folder: Path, wanted: str | None) -> list[Input]:
    """The files of the data sets that ``wanted`` names (several with commas between), or of the only one.

    Raises:
        PoolError: the list is damaged, names no such data set, or describes one that is not read.
    """
    info = folder / INFO_FILE
    try:
        document = parse_json(info.read_bytes(), str(info), PoolError)
    except (OSError, AutoSelectionError) as error:
        raise PoolError(_damaged(info, " ".join(str(error).split())[:200])) from error
    if not isinstance(document, dict) or not all(isinstance(entry, dict) for entry in document.values()):
        raise PoolError(_damaged(info, "it is no object of data sets"))
    files = {
        name: entry
        for name, entry in document.items()
        if isinstance(entry.get("file_name"), str) and entry["file_name"]
    }
    if not files:
        raise PoolError(f"{info} names no data set with a 'file_name': give the files by name.")
    inputs = []
    for name in _chosen(info, files, document, wanted):
        inputs += _inputs_of(info, name, files[name])
    return inputs


def _damaged(info: Path, reason: str) -> str:
    return (
        f"{info} does not list data sets as LLaMA-Factory's does ({reason.removesuffix('.')}): fix it, or give the files in "
        "the folder by name."
    )


def _chosen(info: Path, files: Mapping[str, Any], document: Mapping[str, Any], wanted: str | None) -> list[str]:
    if wanted is None:
        if len(files) == 1:
            return list(files)
        raise PoolError(
            f"The dataset {info.parent} has several splits: name one of {', '.join(sorted(files))} with --split, or several "
            "with commas between (in a configuration: pool.ingest.split)."
        )
    names = [wanted] if wanted in files else [name.strip() for name in wanted.split(",")]
    for name in names:
        if name in document and name not in files:
            hub = next((key for key in _HUBS if document[name].get(key)), "no 'file_name'")
            raise PoolError(
                f"{info}: the data set {name!r} is not in a file here ({hub}): nothing is fetched; download it and name the copy."
            )
        if name not in files:
            raise PoolError(
                f"The dataset {info.parent} has no split '{name}': name one of {', '.join(sorted(files))} with --split (in a "
                "configuration: pool.ingest.split)."
            )
    return list(dict.fromkeys(names))


def _inputs_of(info: Path, name: str, entry: Mapping[str, Any]) -> list[Input]:
    where = f"{info}, {name!r}"
    file = info.parent / entry["file_name"]
    if not is_there(file):
        raise PoolError(f"{info} names the file {file}, which does not exist: restore it, or fix the entry.")
    formatting = entry.get("formatting") or "alpaca"
    if formatting not in ("alpaca", *_DEFAULT_TAGS):
        raise PoolError(f"{where}: the formatting {formatting!r} is unknown: expected alpaca, sharegpt or openai.")
    columns = texts(entry.get("columns"), _COLUMNS, f"{where}: 'columns'")
    tags = texts(entry.get("tags"), _TAGS, f"{where}: 'tags'")
    ranking = bool(entry.get("ranking"))
    if ranking:
        columns = {
            **(columns or _DEFAULT_COLUMNS[formatting == "alpaca"]),
            "chosen": "chosen",
            "rejected": "rejected",
            **columns,
        }
    notes = []
    if entry.get("num_samples") is not None:
        notes.append(f"{where}: all rows are read, not {entry['num_samples']!r} drawn at random (num_samples).")
    row_format: RowFormat | None = None
    dialect = None
    if columns or tags:
        others = _other_fields(columns, ranking)
        dialect = (
            _alpaca(columns, others)
            if formatting == "alpaca"
            else _turns(columns, {**_DEFAULT_TAGS[formatting], **tags}, others)
        )
    elif entry.get("formatting"):
        row_format = "alpaca" if formatting == "alpaca" else None
    split = entry.get("split") if file.is_dir() and isinstance(entry.get("split"), str) else None
    if file.is_dir() and not (file / "state.json").is_file() and not (file / "dataset_dict.json").is_file():
        paths = sorted(path for path in file.iterdir() if path.is_file() and not path.name.startswith("."))
    else:
        paths = [file]
    return [Input(path, split, row_format, dialect, notes=tuple(notes) if path == paths[0] else ()) for path in paths]


def _other_fields(columns: Mapping[str, str], ranking: bool) -> OtherFields:
    return OtherFields(
        (columns["chosen"], columns["rejected"]) if ranking else None,
        columns.get("kto_tag"),
        tuple((medium, columns[role]) for medium, role in _MEDIA if role in columns),
    )


def _alpaca(columns: Mapping[str, str], others: OtherFields) -> Dialect:
    def rewrite(record: Record, ignored: Counter[str]) -> Record:
        row = _named(record, columns)
        return {**row, "output": record.get(others.sides[0])} if others.sides is not None else row

    field = columns.get("prompt", "instruction")
    used = frozenset(name for role, name in columns.items() if role in (*_FIELDS, "chosen"))
    names = _names(columns)
    if others.sides is not None:
        names["output"] = others.sides[0]
    return Dialect(
        *("alpaca", field, used, lambda record: field in record, rewrite),
        base="alpaca",
        others=others,
        systems=(names.get("system", "system"),),
        named=names,
    )


def _names(columns: Mapping[str, str]) -> dict[str, str]:
    """From the names of the formats to the columns."""
    return {_FIELDS[role]: column for role, column in columns.items() if role in _FIELDS}


def _named(record: Record, columns: Mapping[str, str]) -> Record:
    """The row under the names of the formats; its other columns have no part in the conversation."""
    found = {name: record.get(column) for name, column in _names(columns).items()}
    return {name: value for name, value in found.items() if not is_missing(value)}


def _turns(columns: Mapping[str, str], tags: Mapping[str, str], others: OtherFields) -> Dialect:
    field = columns.get("messages", "messages" if tags["role_tag"] == "role" and not columns else "conversations")
    roles = {
        tags["user_tag"]: "user",
        tags["assistant_tag"]: "assistant",
        tags["observation_tag"]: "tool",
        tags["function_tag"]: "function_call",
        tags["system_tag"]: "system",
    }

    def turn(given: Mapping[str, Any], number: int) -> dict[str, Any]:
        role = given.get(tags["role_tag"])
        if is_missing(role):
            raise RowError(
                f"turn {number} of '{field}' has no role (field '{tags['role_tag']}')",
                "turn without role",
                f"{field}[{number - 1}].{tags['role_tag']}",
            )
        content = given.get(tags["content_tag"])
        others = {key: value for key, value in given.items() if key not in (tags["role_tag"], tags["content_tag"])}
        return {"role": roles.get(role, role) if isinstance(role, str) else role, "content": content, **others}

    def rewrite(record: Record, ignored: Counter[str]) -> Record:
        messages = [turn(given, number) for number, given in enumerate(turns_of(record.get(field), field), start=1)]
        row: Record = _named(record, columns) if columns else {
            name: record.get(name) for name in ("system", "tools") if not is_missing(record.get(name))
        }  # fmt: skip
        if others.sides is not None:
            better = record.get(others.sides[0])
            if not isinstance(better, dict):
                raise RowError(f"field '{others.sides[0]}' is no turn", "not a turn", others.sides[0])
            messages = [*as_context(messages), turn(better, len(messages) + 1)]
        return {**row, "messages": messages}

    texts_in = [name for role, name in columns.items() if role in ("messages", "system", "tools", "chosen")]
    used = frozenset((field, *texts_in, *(() if columns else ("system", "tools"))))
    names = _names(columns)
    return Dialect(
        *("sharegpt", field, used, lambda record: field in record, rewrite),
        others=others,
        systems=(names.get("system", "system"),),
        named=names,
    )
