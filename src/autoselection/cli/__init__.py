"""The ``autoselection`` command line. Every command is a thin call of a public function.

Standard output carries results: tables for people, or with ``--json`` exactly one JSON document. Progress, notices and
errors go to standard error. Exit codes: 0 done, 2 wrong configuration or usage, 3 pool, 4 signals, 5 recipe,
6 evaluation, 7 study, 8 missing package, 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.markup import escape

from autoselection import __version__
from autoselection.cli import data, evidence, recipes, search  # each registers its commands
from autoselection.cli._common import app
from autoselection.errors import AutoSelectionError
from autoselection.progress import console

__all__ = ["app", "data", "evidence", "main", "recipes", "search"]


def _version(value: bool) -> None:
    if value:
        sys.stdout.write(f"autoselection {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find the best ordered recipe for cutting a fine-tuning set out of a fixed pool of instructions."""


def main() -> None:
    """Entry point: errors a user can act on become one sentence and an exit code."""
    try:
        app()
    except AutoSelectionError as error:
        console.print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.print("[yellow]interrupted[/]: run the same command again to go on")
        sys.exit(130)
