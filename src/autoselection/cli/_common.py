"""What all commands share: the application, option types, and how results are printed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional, TypeVar

import typer
from typer.core import TyperGroup

from autoselection.cli import _completion
from autoselection.errors import ConfigError
from autoselection.progress import console
from autoselection.seeds import SEEDS_END, check_seeds
from autoselection.terminal import output as output  # commands print here
from autoselection.terminal import styled, write_json

#: Groups of commands in ``--help``, in the order of their use.
DATA = "Data"
RECIPES = "Recipes"
SEARCH = "Search"
EVIDENCE = "Evidence"


class _Ordered(TyperGroup):
    """Commands in the order of their panels, not of the modules that register them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the commands, as ``--help`` lists them."""
        order = {DATA: 0, RECIPES: 1, SEARCH: 2, EVIDENCE: 3}
        return sorted(self.commands, key=lambda name: order.get(getattr(self.commands[name], "rich_help_panel", ""), 4))


app = typer.Typer(
    name="autoselection",
    cls=_Ordered,
    help="Find the best ordered recipe for cutting a fine-tuning set out of a fixed pool of instructions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Number = TypeVar("Number", int, float)

ChatTemplate = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        help="One of the model's own templates by name (default, tool_use, …), chatml, plain or a Jinja file."
    ),
]
HtmlOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--html", help="Also write one HTML file with plots, which needs no network (extra: report)."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Delimiter = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="What separates CSV cells: a character, or tab (default: read from each header)."),
]
Encoding = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Encoding of text files, such as cp1252 (default: recognized in each file)."),
]
Set = Annotated[
    Optional[list[str]],  # noqa: UP045 - Typer evaluates annotations on Python 3.10
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a configuration key, e.g. search.evaluations=10.",
        autocompletion=_completion.key,
    ),
]
_PLACE = "Pool or study directory, or raw files (read into a cache, see docs/data.md)."
PoolPlace = Annotated[list[Path], typer.Argument(metavar="POOL…", help=_PLACE)]
PoolOption = Annotated[list[Path], typer.Option("--pool", help=f"{_PLACE[:-1]}; repeat it for several raw files.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print the details too.")]


class EvaluationSplit(str, Enum):
    """Splits a subset can be scored on."""

    dev = "dev"
    test = "test"


def words(text: str) -> list[str]:
    """What stands between the commas of an option."""
    return [word.strip() for word in text.split(",") if word.strip()]


def numbers(option: str, text: str, kind: Callable[[str], Number]) -> list[Number]:
    """The numbers between the commas of an option.

    Raises:
        ConfigError: something else stands there.
    """
    try:
        found = [kind(word) for word in words(text)]
        if not all(map(math.isfinite, found)):
            raise ValueError("not finite")
        return found
    except ValueError as error:
        what = "whole numbers" if kind is int else "numbers"
        raise ConfigError(f"{option} {text}: expected {what} with commas between them, such as 1,2.") from error


def say_written(outputs: Mapping[str, Path | None]) -> None:
    """Say where a command wrote what besides its tables; nothing of what was not asked for."""
    for what, path in outputs.items():
        if path is not None:
            output.say(f"Wrote {what} to {path}.")


def alone(option: str, others: Mapping[str, object]) -> None:
    """See that nothing was given besides an option that does something else.

    Args:
        others: what was given for each, by how it is written.

    Raises:
        ConfigError: something was.
    """
    given = [name for name, value in others.items() if value]
    if given:
        raise ConfigError(f"{option} goes without {given[0]}: give one of them.")


def price_option(about: str) -> Any:
    """The declaration of ``--price``: of an hour, and no more than can be multiplied by hours and written down."""
    return typer.Option("--price", min=0.0, max=1e9, help=about)


def seed_option(about: str) -> Any:
    """The declaration of ``--seed``."""
    return typer.Option("--seed", min=0, max=SEEDS_END - 1, help=about)


def read_seeds(option: str, text: str) -> list[int]:
    """The seeds between the commas of an option.

    Raises:
        ConfigError: something else stands there, or one stands there twice.
    """
    found = numbers(option, text, int)
    try:
        check_seeds(found)
    except ValueError as error:
        raise ConfigError(f"{option} {text}: {error}.") from None
    return found


def warn(sentences: Iterable[str]) -> None:
    """Say on standard error what has to be known besides the numbers."""
    for said in sentences:
        console.say(styled("warning:", "yellow"), f" {said}")


def failed(code: int, message: str | None) -> dict[str, Any]:
    """What a result that is also an error holds besides under ``--json``; nothing without a message."""
    return {"error": {"code": code, "message": message, "hint": None}} if message else {}


def emit(document: Mapping[str, Any], as_json: bool, title: str) -> None:
    """Print a result: the JSON document itself, or its top level as a table."""
    if as_json:
        write_json(document)
        return
    lines = []
    for key, value in document.items():
        shown = (
            value if isinstance(value, (str, int, float)) or value is None else json.dumps(value, ensure_ascii=False)
        )
        lines.append((key, str(shown)))
    output.table(title, None, lines)
