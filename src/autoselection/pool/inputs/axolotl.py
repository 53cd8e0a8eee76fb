"""The data sets that a YAML file of Axolotl (or of a LLaMA-Factory training) names, with what it says of their turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autoselection.documents import read_yaml
from autoselection.errors import PoolError
from autoselection.pool.dialects import Dialect
from autoselection.pool.inputs.base import Input, is_there, texts, turns_of
from autoselection.pool.inputs.llamafactory import llamafactory_inputs
from autoselection.pool.json_reader import Record
from autoselection.pool.row_error import RowError
from autoselection.pool.tags import Parsed
from autoselection.pool.turns import ROLES
from autoselection.pool.values import is_missing

#: The YAML file of a folder that ``export`` writes for Axolotl.
AXOLOTL_FILE = "axolotl.yaml"

#: Roles of Axolotl's chat templates, by the names that a turn may give them.
_ROLES: Mapping[str, str] = {
    "human": "user",
    "user": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "system": "system",
    "tool": "tool",
}
_KINDS = {"json", "jsonl", "csv", "parquet", "arrow", "text"}
#: Types of which no supervised rows are made, and why.
_NOT_READ = (
    (("completion", "pretrain"), "holds text for pre-training, not conversations"),
    (("input_output",), "holds segments without roles: no template could be applied to them"),
    (("chatml.", "llama3.", "zephyr.", "user_defined", "orpo"), "holds preference pairs"),
    (("stepwise_supervised", "bradley_terry"), "is for reward models"),
)
#: Types whose rows are read by their fields.
_BY_FIELDS = ("alpaca", "sharegpt", "gpteacher", "chat_template", "instruct", "alpaca_chat", "context_qa", "metharme")
_FORMATS_OF_INSTRUCTION = (None, "{instruction}", "{instruction}\n{input}", "{instruction} {input}")


#: Makes the files to read of a named path and a split.
Expand = Callable[[Path, str | None], list[Input]]


def yaml_inputs(path: Path, wanted: str | None, expand: Expand) -> list[Input]:
    """The files that a YAML file of a training names, each path in it made into files by ``expand``.

    Raises:
        PoolError: it names none, or one that is not there or not read.
    """
    document, _ = read_yaml(path, PoolError)
    if isinstance(document, dict) and isinstance(document.get("dataset"), str):
        folder = _near(path, str(document.get("dataset_dir") or "data"))
        if folder is None or not (folder / "dataset_info.json").is_file():
            raise PoolError(
                f"{path} names data sets of LLaMA-Factory, but there is no dataset_info.json in its dataset_dir."
            )
        return llamafactory_inputs(folder, wanted or document["dataset"])
    entries = document.get("datasets") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise PoolError(
            f"{path} is a YAML file without a list 'datasets' as Axolotl's have it: name the files of rows, or for a "
            "configuration of a study `autoselection search`."
        )
    if document.get("rl"):
        raise PoolError(
            f"{path} describes a training on preferences (rl: {document['rl']}): its rows are not read as conversations."
        )
    inputs: list[Input] = []
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            raise PoolError(f"{path}: entry {number} of 'datasets' must be an object with 'path' and 'type'.")
        inputs += _entry(path, number, entry, wanted, expand)
    if wanted is not None and all(one.split != wanted and one.path.is_file() for one in inputs):
        raise PoolError(
            f"--split {wanted} (in a configuration: pool.ingest.split): no data set that {path} names is a folder with splits: "
            "leave it out."
        )
    return inputs


def _near(path: Path, name: str) -> Path | None:
    """A file named in a YAML file: beside it, where the command runs, or, if both were moved together, beside it still."""
    places = (path.parent / name, Path(name), path.parent / Path(name).name)
    return next((found for found in places if is_there(found)), None)


def _entry(path: Path, number: int, entry: Mapping[str, Any], wanted: str | None, expand: Expand) -> list[Input]:
    where = f"{path}: entry {number} of 'datasets'"
    named = entry.get("path")
    files = entry.get("data_files")
    names = [files] if isinstance(files, str) else files if isinstance(files, list) else []
    if not isinstance(named, str) or not all(isinstance(name, str) for name in names):
        raise PoolError(f"{where} must have a 'path', and 'data_files' only as a list of names.")
    if not names:
        names = [named]
    elif named not in _KINDS:
        names = [f"{named}/{name}" for name in names]
    dialect, parse, notes = _reading(where, entry)
    split = entry.get("split")
    if split is not None and (not isinstance(split, str) or "[" in split):
        raise PoolError(f"{where}: the split {split!r} cannot be taken: name a whole split, and cut by a recipe.")
    inputs: list[Input] = []
    for name in names:
        found = _near(path, name)
        if found is None:
            raise PoolError(
                f"{where} names {name!r}, which is neither beside the file nor here: if it is an address or a data set of a "
                "hub, nothing is fetched; download it and name the copy."
            )
        for one in expand(found, wanted or split if found.is_dir() else None):
            own_split = one.split or (wanted or split if found.is_dir() else None)
            inputs.append(
                Input(
                    one.path,
                    own_split,
                    one.format,
                    dialect or one.dialect,
                    parse,
                    (*one.notes, *(() if inputs else notes)),
                )
            )
    return inputs


def _reading(where: str, entry: Mapping[str, Any]) -> tuple[Dialect | None, tuple[Parsed, ...], list[str]]:
    kind = entry.get("type")
    notes = [f"{where}: all rows are read, not one of {entry['shards']} shards." for _ in [0] if entry.get("shards")]
    if isinstance(kind, Mapping):
        return _instructions(where, kind, notes), (), notes
    if not isinstance(kind, str):
        raise PoolError(f"{where} must say its 'type', such as chat_template or alpaca.")
    for starts, why in _NOT_READ:
        if kind.startswith(starts):
            raise PoolError(f"{where} has the type {kind!r}, which {why}: leave it out of the file that is read.")
    if not kind.startswith("chat_template"):
        if not kind.startswith(_BY_FIELDS):
            notes.append(f"{where}: the type {kind!r} is not known; its rows are read by their fields.")
        return None, (), notes
    parse: tuple[Parsed, ...] = ("think",) if entry.get("split_thinking") else ()
    return _chat(where, entry, notes), parse, notes


def _instructions(where: str, kind: Mapping[str, Any], notes: list[str]) -> Dialect:
    """Rows of instructions whose fields are named one by one."""
    names = {key: kind.get(f"field_{key}") for key in ("instruction", "input", "output", "system")}
    for key, value in names.items():
        if value is not None and not isinstance(value, str):
            raise PoolError(f"{where}: 'field_{key}' must be a name.")
    fields = {key: str(value or key) for key, value in names.items()}
    if any(kind.get(key) not in _FORMATS_OF_INSTRUCTION for key in ("format", "no_input_format")):
        notes.append(f"{where}: its 'format' has no part in the rows; the model's chat template is used.")
    prompt = kind.get("system_prompt")

    def rewrite(record: Record, ignored: Counter[str]) -> Record:
        row = {key: record.get(name) for key, name in fields.items()}
        if is_missing(row["system"]) and isinstance(prompt, str) and prompt.strip():
            row["system"] = prompt
        return row

    field, systems = fields["instruction"], (fields["system"],)
    used = frozenset(fields.values())
    return Dialect(
        "alpaca", field, used, lambda record: field in record, rewrite, base="alpaca", systems=systems, named=fields
    )


def _roles(where: str, given: Any) -> dict[str, str]:
    """From the names of a row to roles: Axolotl has a list of names a role."""
    if given is None:
        return dict(_ROLES)
    if not isinstance(given, Mapping):
        raise PoolError(f"{where}: 'roles' must give each role the list of its names.")
    found: dict[str, str] = {}
    for role, names in given.items():
        for name in [names] if isinstance(names, str) else names if isinstance(names, list) else [None]:
            if not isinstance(name, str):
                raise PoolError(f"{where}: 'roles' must give {role!r} the list of its names.")
            found[name] = str(role)
    return {**_ROLES, **found}


def _chat(where: str, entry: Mapping[str, Any], notes: list[str]) -> Dialect:
    field = str(entry.get("field_messages") or "messages")
    tools = str(entry.get("field_tools") or "tools")
    system = str(entry.get("field_system") or "system")
    mapping = {
        "role": entry.get("message_field_role"),
        "content": entry.get("message_field_content"),
        "reasoning_content": entry.get("field_thinking"),
    }
    mapping = {key: str(value) for key, value in mapping.items() if value}
    mapping |= texts(entry.get("message_property_mappings"), (), f"{where}: 'message_property_mappings'")
    training = entry.get("message_field_training")
    detail = entry.get("message_field_training_detail")
    roles = _roles(where, entry.get("roles"))
    trained = _trained_roles(where, entry.get("roles_to_train"), roles, notes)
    if trained is not None and not trained and not training:
        raise PoolError(
            f"{where}: no turn of an assistant would be trained: name it in 'roles_to_train', or the field that says which "
            "turns are trained in 'message_field_training'."
        )
    drop_system = bool(entry.get("drop_system_message"))
    renamed = {name: key for key, name in mapping.items()}

    def turn(given: Mapping[str, Any], number: int) -> dict[str, Any]:
        row = {
            renamed.get(name, name): value for name, value in given.items() if name not in mapping or name in renamed
        }
        said = row.pop(training, None) if training else None
        if detail and row.pop(detail, None):
            raise RowError(
                f"turn {number} of '{field}' has a '{detail}': a loss on parts of a turn cannot be held",
                "loss on parts of a turn",
                f"{field}[{number - 1}].{detail}",
            )
        role = next((key for key in ("role", "from") if not is_missing(row.get(key))), "role")
        name = row.get(role)
        canonical = roles.get(name, name) if isinstance(name, str) else name
        row[role] = canonical
        if _answers(canonical):
            if said is not None:
                row["weight"] = said
            elif trained is not None and canonical not in trained:
                row["weight"] = 0
        return row

    def rewrite(record: Record, ignored: Counter[str]) -> Record:
        turns = [turn(given, number) for number, given in enumerate(turns_of(record.get(field), field), start=1)]
        if drop_system:
            kept = [one for one in turns if "system" not in (one.get("role"), one.get("from"))]
            ignored["system prompts dropped (drop_system_message)"] += len(turns) - len(kept)
            turns = kept
        row = {"messages": turns, "tools": record.get(tools)}
        return row if drop_system else {**row, "system": record.get(system)}

    used = frozenset((field, tools, system))
    named = {"tools": tools}
    return Dialect("messages", field, used, lambda record: field in record, rewrite, systems=(system,), named=named)


def _answers(role: Any) -> bool:
    """Whether turns of a role are the model's own: its answers and its calls."""
    return isinstance(role, str) and ROLES.get(role.strip().lower()) == "assistant"


def _trained_roles(where: str, given: Any, roles: Mapping[str, str], notes: list[str]) -> frozenset[str] | None:
    """The roles that are trained, as ``roles`` calls them; None for all of the model's own."""
    if given is None:
        return None
    names: Sequence[Any] = [given] if isinstance(given, str) else given if isinstance(given, list) else [None]
    if not all(isinstance(name, str) for name in names):
        raise PoolError(f"{where}: 'roles_to_train' must be a list of roles.")
    found = {roles.get(name, name) for name in names}
    others = sorted(role for role in found if not _answers(role))
    if others:
        notes.append(
            f"{where}: only turns of an assistant are trained; {', '.join(others)} in 'roles_to_train' are context."
        )
    return frozenset(role for role in found if _answers(role))
