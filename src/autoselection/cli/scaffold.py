"""The command that begins a package: new."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from autoselection.cli._common import DATA, Json, app, emit, output


class Kind(str, Enum):
    """What a package can add from a template."""

    operator = "operator"
    signal = "signal"
    trainer = "trainer"


@app.command(rich_help_panel=DATA, epilog="Example: autoselection new operator short_rows")
def new(
    kind: Annotated[Kind, typer.Argument(help="What to add.")],
    name: Annotated[str, typer.Argument(help="Its name: small letters, digits and '_'.")],
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="Folder to write, which must not exist (default: autoselection-NAME)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a package with an operator, a signal or a trainer of your own, registered, with tests that pass."""
    from autoselection.scaffold import write_plugin

    folder = write_plugin(kind.value, name, out)
    if as_json:
        emit({"folder": str(folder), "kind": kind.value, "name": name}, True, "")
        return
    output.say(f"Wrote {folder}. Next: cd {folder}, pip install --editable '.[test]', pytest.")
