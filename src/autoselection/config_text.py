"""A configuration as text for people: a commented file to fill in, and the page of all keys."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from autoselection.config import NO_LOGIN, StudyConfig, load_config
from autoselection.documents import dump_yaml
from autoselection.errors import ConfigError
from autoselection.pool.addresses import absolute_place, has_login, matching, shown
from autoselection.pool.destination import is_pool
from autoselection.schema import Configured
from autoselection.signals.config import OWN_KEYS
from autoselection.signals.registry import default_registry
from autoselection.validation import nested_model
from autoselection.wording import clipped

#: The keys that decide most studies, which ``autoselection init`` writes; all others have defaults that seldom need a change.
MAIN_KEYS = (
    "pool.files",
    "model.path",
    "sae",
    "tasks",
    "search.evaluations",
    "evaluation.sft.method",
    "evaluation.sft.epochs",
    "evaluation.sft.learning_rate",
    "evaluation.sft.batch_size",
    "evaluation.sft.max_length",
    "evaluation.seeds",
    "executor.workers",
    "incumbent.recipe",
)


def commented_yaml(values: Mapping[str, Any], keys: Sequence[str] | None = None) -> str:
    """A configuration with every key documented; ``values`` fills the required keys and overrides defaults.

    Args:
        keys: dotted names of the keys to write, such as ``MAIN_KEYS``; None writes all of them.
    """
    return "\n".join(_commented(StudyConfig, values, 0, None if keys is None else set(keys))) + "\n"


def draft(
    folder: Path,
    pool: Sequence[Path] = (),
    model: str | None = None,
    tasks: Sequence[Path] = (),
    keys: Sequence[str] | None = MAIN_KEYS,
) -> str:
    """A configuration with every key documented, filled in as far as it is known; placeholders stand for the rest.

    Args:
        folder: where the configuration will lie; its paths are relative to that.
        pool: a pool folder, a study (its pool is meant), or raw files: paths, patterns, addresses, data sets of the hub.
        model: a folder, or a hub id.
        tasks: folders that ``autoselection benchmark`` made.
        keys: as of :func:`commented_yaml`.

    Raises:
        ConfigError: something named is not there, is no such folder, or cannot stand in a configuration.
        PoolError: a pattern matches no file.
    """

    def place(path: Path) -> str:
        return _from_folder(path, folder)

    pool = [_pool_of_study(path) for path in pool]
    made = any(map(is_pool, pool))
    if made and len(pool) > 1:
        raise ConfigError(
            f"--pool {next(filter(is_pool, pool))}: a study has one pool, so name it alone; only raw files go together."
        )
    rows = {"path": place(pool[0])} if made else {"files": [_rows(path, place) for path in pool] or ["pool.jsonl"]}
    base = place(Path(model)) if model and Path(model).exists() else model or "models/base"
    values = {
        "pool": rows,
        "model": {"path": base},
        "tasks": [_task(path, place) for path in tasks]
        or [{"name": "my_task", "target": "tasks/target.jsonl", "dev": "tasks/dev.jsonl", "test": "tasks/test.jsonl"}],
    }
    if made and keys is not None:
        keys = ["pool.path" if key == "pool.files" else key for key in keys]
    return commented_yaml(values, keys)


def _pool_of_study(path: Path) -> Path:
    """The pool of a study; what is no study, as it is."""
    if not (path / "journal.jsonl").is_file():
        return path
    own = path / "pool"
    return own if is_pool(own) else load_config(path / "config.yaml").pool.path or own


def _rows(path: Path, place: Callable[[Path], str]) -> str:
    """An entry of ``pool.files``."""
    if has_login(path):
        raise ConfigError(f"--pool {shown(path)}: {NO_LOGIN}.")
    elsewhere = absolute_place(path, Path())
    if elsewhere is not None:
        return shown(elsewhere)
    if not path.exists() and matching(path) == [path]:
        raise ConfigError(f"--pool {path}: there is no such pool and no such file.")
    return place(path)


def _from_folder(path: Path, folder: Path) -> str:
    """How a path is written in a configuration that lies in ``folder``: through the links that were named, if that leads there."""
    here = os.path.realpath(folder)
    way = os.path.relpath(path, here)
    if os.path.realpath(Path(here, way)) != os.path.realpath(path):
        way = os.path.relpath(os.path.realpath(path), here)
    try:
        way.encode()
    except UnicodeEncodeError:
        name = os.fsencode(path).decode("utf-8", "replace")
        raise ConfigError(f"{name}: the name is not UTF-8, as a configuration is: rename the file or folder.") from None
    return way


def _task(folder: Path, place: Callable[[Path], str]) -> dict[str, str]:
    """The entry of a folder of task files: as its manifest says, else by the names of the files."""
    found = {split: place(path) for split in ("target", "dev", "test") if (path := folder / f"{split}.jsonl").is_file()}
    if "dev" not in found:
        raise ConfigError(f"--task {folder}: there is no dev.jsonl; 'autoselection benchmark' makes such folders.")
    try:
        written: dict[str, str] = dict(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["config"])
    except (OSError, ValueError, KeyError, TypeError):
        written = {"name": folder.resolve().name}
    return written | found


def key_reference() -> str:
    """All keys by section, with their defaults and what they decide, as Markdown."""
    return "\n".join([*_HEAD, *_reference(StudyConfig, "", ())]) + "\n"


_HEAD = (
    "# Configuration: all keys",
    "",
    "One YAML file says what a study is. `autoselection init` writes the keys that most studies set; every other key has a",
    "default, and stands here. Any of them can be set on the command line: `--set search.evaluations=30`.",
    "`autoselection config study.yaml` prints a configuration with its defaults, `autoselection config --keys` this page.",
)


def key_tables(model: type[BaseModel], level: int) -> str:
    """The keys of a document of its own by section, as Markdown below a heading of ``level - 1`` marks."""
    return "\n".join(_reference(model, "", (), level)).strip("\n") + "\n"


def key_list() -> list[dict[str, Any]]:
    """All keys by dotted names (of entries of a list with ``[]``): ``key``, ``default``, ``required``, ``description``."""
    return list(_listed_keys(StudyConfig, ""))


def _listed_keys(model: type[BaseModel], section: str) -> Iterator[dict[str, Any]]:
    for name, field in model.model_fields.items():
        if _section(field) is None:
            yield _told(f"{section}{name}", field)
        if (inside := nested_model(field.annotation)) is not None:
            listed = "" if _section(field) or not _is_list(field) else "[]"
            yield from _listed_keys(inside, f"{section}{name}{listed}.")
    for name, options in _options(model):
        yield from _listed_keys(options, f"{section}{name}.")
    if section == "signals.":
        for name, field in _signal_options():
            yield _told(f"signals.options.{name}", field)


def _told(key: str, field: FieldInfo) -> dict[str, Any]:
    default = json.loads(json.dumps(_default(field), default=_plain))
    return {"key": key, "default": default, "required": field.is_required(), "description": field.description or ""}


def _reference(model: type[BaseModel], key: str, said: Sequence[str], level: int = 2) -> Iterator[str]:
    """The part of a section: a table of its own keys, then its sections."""
    if key:
        yield from ("", f"{'#' * min(level + key.count('.'), 4)} `{key}`", "", *said)
    rows, sections = [], []
    for name, field in model.model_fields.items():
        if (section := nested_model(field.annotation)) is not None:
            listed = "" if _section(field) or not _is_list(field) else "[]"
            sections.append((section, f"{name}{listed}", field.description or ""))
        if _section(field) is None:
            rows.append(_row(name, field))
    yield from _table(rows)
    if key == "signals":
        yield from _options_of_signals()
    for name, options in _options(model):
        sections.append((options, name, _first_line(options)))
    for section, name, description in sections:
        yield from _reference(section, f"{key}.{name}" if key else name, [description], level)


def _options_of_signals() -> Iterator[str]:
    yield from ("", "### `signals.options`", "", "Options of single signals, as `NAME: {OPTION: VALUE}`.")
    yield from _table([_row(name, field) for name, field in _signal_options()])


def _signal_options() -> Iterator[tuple[str, FieldInfo]]:
    """Options of single signals as ``NAME.OPTION``, but those that have a key of their own."""
    own = {(signal, option) for _, signal, option in OWN_KEYS}
    for kind in default_registry().kinds():
        for option, field in kind.options_model.model_fields.items():
            if (kind.name, option) not in own:
                yield f"{kind.name}.{option}", field


def _table(rows: Sequence[str]) -> Iterator[str]:
    if rows:
        yield from ("", "| key | default | |", "| --- | --- | --- |", *rows)


def _row(key: str, field: FieldInfo) -> str:
    cells = (f"`{key}`", _shown_default(field), field.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _is_list(field: FieldInfo) -> bool:
    return "tuple" in str(field.annotation)


def _shown_default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return f"`{clipped(_inline(_default(field)), 30)}`"


def _options(model: type[BaseModel]) -> Sequence[tuple[str, type[BaseModel]]]:
    """Sections of options besides the model's fields."""
    return tuple(model.sections().items()) if issubclass(model, Configured) else ()


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").partition("\n")[0]


def _below(wanted: set[str] | None, name: str) -> set[str] | None:
    """The keys wanted of the section ``name``, without its name; None for all of them."""
    if wanted is None or name in wanted:
        return None
    return {key.partition(".")[2] for key in wanted if key.partition(".")[0] == name}


def _commented(model: type[BaseModel], values: Mapping[str, Any], depth: int, wanted: set[str] | None) -> Iterator[str]:
    indent = "  " * depth
    for name, field in model.model_fields.items():
        below = _below(wanted, name)
        if below is not None and not below:
            continue
        nested = _section(field)
        if depth == 0 or nested:
            yield ""
        yield from _comment(field, indent)
        if nested is None and "None" in str(field.annotation) and nested_model(field.annotation) is not None:
            yield f"{indent}# Its keys: autoselection config --keys"
        if nested:
            yield f"{indent}{name}:"
            yield from _commented(nested, values.get(name, {}), depth + 1, below)
            continue
        value = values[name] if name in values else _default(field)
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"{indent}{name}:"
            yield from _listed(field, value, depth + 1, every_key=wanted is None)
        else:
            yield f"{indent}{name}: {_inline(value)}"
    for name, options in _options(model):
        below = _below(wanted, name)
        if below is None or below:
            yield f"\n{indent}# {_first_line(options)}"
            yield f"{indent}{name}:"
            yield from _commented(options, values.get(name, {}), depth + 1, below)


def _comment(field: FieldInfo, indent: str) -> Iterator[str]:
    return (f"{indent}# {line}" for line in wrap(field.description or "", 110 - len(indent)))


def _listed(field: FieldInfo, values: Sequence[Mapping[str, Any]], depth: int, every_key: bool) -> Iterator[str]:
    """Entries of a list of models: keys of the first are documented, the others only named.

    Args:
        every_key: the first entry has its further keys, too, with their defaults.
    """
    indent = "  " * depth
    model = nested_model(field.annotation)
    for position, entry in enumerate(values):
        if every_key and position == 0 and model is not None:
            entry = {**entry, **{key: _default(known) for key, known in model.model_fields.items() if key not in entry}}
        for number, (key, value) in enumerate(entry.items()):
            known = model.model_fields.get(key) if model else None
            if position == 0 and known is not None:
                yield from _comment(known, indent if number == 0 else f"{indent}  ")
            yield f"{indent}{'- ' if number == 0 else '  '}{key}: {_inline(value)}"


def _section(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _default(field: FieldInfo) -> Any:
    if field.default is not PydanticUndefined:
        return field.default
    return field.default_factory() if field.default_factory is not None else None  # type: ignore[call-arg]


def _inline(value: Any) -> str:
    plain = json.loads(json.dumps(value, default=_plain))
    return dump_yaml(plain, default_flow_style=True, width=10_000).removesuffix("...\n").strip()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return str(value)
