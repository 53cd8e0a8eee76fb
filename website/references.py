"""Pages written from the code: every command with its options, every signal with its columns, the Python functions.

The references of operators and of configuration keys are pages of ``docs/`` with commands and tests of their own.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

import autoselection
from autoselection.cli import app
from autoselection.signals.contract import Signal
from autoselection.signals.registry import SignalRegistry

#: Modules whose public names have a section of their own on the Python page, with what the section is about.
SECTIONS = (
    ("autoselection.inspection", "Looking at rows"),
    ("autoselection.recipes", "Recipes"),
    ("autoselection.signals", "Signals"),
    ("autoselection.operators", "Operators"),
    ("autoselection.search", "Search"),
    ("autoselection.mixture", "Mixtures"),
    ("autoselection.export", "Export"),
    ("autoselection.evaluation", "Evaluation"),
    ("autoselection.compare", "Comparing search methods"),
    ("autoselection.diagnose", "Diagnosis"),
    ("autoselection.report", "Reports"),
    ("autoselection.statistics", "Statistics"),
    ("autoselection.testing", "Contract tests for plugins"),
)


def write_references(folder: Path) -> None:
    """Write ``commands.md``, ``signals.md``, ``python.md`` and ``python-modules.md`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in (
        ("commands.md", commands()),
        ("signals.md", signals()),
        ("python.md", python()),
        ("python-modules.md", modules()),
    ):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def commands() -> Iterator[str]:
    """Every command: what it does, how it is called, its arguments and options."""
    yield from (
        "# All options",
        "",
        "What `--help` says of every command. An overview is in [commands](../commands.md).",
    )
    yield from _command(typer.main.get_command(app), "autoselection")


def _command(command: Any, name: str) -> Iterator[str]:
    if below := getattr(command, "commands", None):
        for word in command.list_commands(None):
            if not below[word].hidden:
                yield from _command(below[word], f"{name} {word}")
        return
    usage = command.collect_usage_pieces(command.context_class(command, info_name=name))
    yield from ("", f"## {name.removeprefix('autoselection ')}", "", inspect.cleandoc(command.help or ""), "")
    yield from ("```", f"{name} {' '.join(usage)}", "```", "")
    params = [param for param in command.params if not param.hidden]
    if params:
        yield from ("| option | default | meaning |", "| --- | --- | --- |")
        yield from map(_param, params)
    if command.epilog:
        yield from ("", inspect.cleandoc(command.epilog).replace("Example: ", "Example: `", 1) + "`")


def _param(param: Any) -> str:
    argument = param.opts[0][:1] != "-"
    words = [param.metavar or param.name.upper()] if argument else [*param.opts, *param.secondary_opts]
    value = "" if argument or param.is_flag else param.metavar or _values(param.type_descriptor.annotation)
    named = " ".join([", ".join(f"`{word}`" for word in words), *([f"`{value}`"] if value else [])])
    meaning = param.help or ""
    if not argument and param.multiple and "repeat" not in meaning:
        meaning += " May be repeated."
    return f"| {_cell(named)} | {_cell(_default(param))} | {_cell(meaning)} |"


def _values(annotation: Any) -> str:
    """What may stand behind an option: the words of a choice, or the kind of value."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "|".join(str(member.value) for member in annotation)
    names = {int: "N", float: "X", Path: "PATH"}
    return next((word for kind, word in names.items() if kind.__name__ in str(annotation)), "TEXT")


def _default(param: Any) -> str:
    if param.required:
        return "required"
    default = param.default
    if default is None or default is False or default in ((), [], "") or callable(default):
        return ""
    return f"`{default.value if isinstance(default, Enum) else default}`"


def signals() -> Iterator[str]:
    """Every signal: columns, what it needs, what it is made from, its options."""
    yield from (
        "# All signals",
        "",
        "Every signal with its columns. What they mean is in [signals](../signals.md), their options are in",
        "[configuration](../configuration.md#signalsoptions).",
        "",
    )
    for kind in SignalRegistry().kinds():
        yield from _signal(kind)


def _signal(kind: type[Signal]) -> Iterator[str]:
    first = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0]
    asked = [kind.name] if kind.asked_as is None else [name for name in kind.asked_as if name != kind.name]
    columns = [*kind.columns, *(f"{prefix}…" for prefix in kind.column_prefixes)]
    facts = {
        "asked for as": ", ".join(f"`{name}`" for name in asked),
        "columns": ", ".join(f"`{name}`" for name in columns) or "none",
        "needs": ", ".join(f"`{need.option}`" for need in kind.needs) or "nothing but the rows",
        "made from": ", ".join(f"`{name}`" for name in kind.made_from),
        "computed by default": "yes" if kind.by_default else "no, only on request",
        "options": ", ".join(f"`{name}`" for name in kind.options_model.model_fields),
        "package": f"{kind.package[1]} (extra `{kind.package[2]}`)" if kind.package else "",
        "version": str(kind.version),
    }
    yield from (f"## {kind.name}", "", first, "", "| about | is |", "| --- | --- |")
    yield from (f"| {name} | {value} |" for name, value in facts.items() if value)
    yield ""


def python() -> Iterator[str]:
    """The names on the package itself."""
    yield from (
        "# Python",
        "",
        "What `import autoselection as au` offers. [In a notebook](../python.md) shows it at work;",
        "[more modules](python-modules.md) has what is needed less often.",
        "",
    )
    for name in sorted(autoselection.__all__, key=str.lower):
        if name != "__version__":
            yield from _documented(f"au.{name}", getattr(autoselection, name), level=2)


def modules() -> Iterator[str]:
    """The public names of the modules that users and plugins import from."""
    yield from ("# Python: more modules", "", "What is not on the package itself; [the rest](python.md) is.", "")
    on_the_package = {id(getattr(autoselection, name)) for name in autoselection.__all__}
    for module_name, title in SECTIONS:
        module = import_module(module_name)
        yield from (f"## {title}: `{module_name}`", "", (module.__doc__ or "").strip().split("\n\n")[0], "")
        for name in sorted(module.__all__, key=str.lower):
            value = getattr(module, name)
            if id(value) not in on_the_package and _is_documented(value):
                yield from _documented(name, value, level=3)


def _is_documented(value: Any) -> bool:
    return (inspect.isclass(value) or inspect.isfunction(value)) and bool(value.__doc__)


def _documented(name: str, value: Any, level: int) -> Sequence[str]:
    """What mkdocstrings replaces by the docstring of a function or class."""
    options = f"{{show_root_heading: true, heading_level: {level}, heading: '{name}'}}"
    return (f"::: {value.__module__}.{value.__qualname__}", f"    options: {options}", "")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
