"""The ``autoselection`` command line. Every command is a thin call of a public function.

Standard output carries results: tables for people, or with ``--json`` exactly one JSON document, which is
``{"error": {"code", "message", "hint"}}`` if the command fails. Progress, notices and errors go to standard error.

Exit codes: 0 done, 2 wrong configuration or usage, 3 pool, 4 signals, 5 recipe, 6 evaluation, 7 study, 8 missing package,
130 interrupted, 141 the reader of a pipe went away, 143 terminated. An error of the system (disk full, no permission, no
memory) has the code of what the command was about: 3 for ``ingest``, 4 for ``score``, 5 for ``apply``, and so on.
"""

from __future__ import annotations

from autoselection.cli import _early  # before all others, which take a while

# isort: split
import sys
from typing import Annotated

import typer

from autoselection import __version__
from autoselection.cli import (  # each registers its own
    agents,
    data,
    evidence,
    exchange,
    handing_on,
    mixtures,
    recipes,
    rows,
    scaffold,
    scoring,
    search,
    watch,
)
from autoselection.cli._common import app
from autoselection.cli._outcome import run
from autoselection.terminal import write_text

__all__ = [
    "agents",
    "app",
    "data",
    "evidence",
    "exchange",
    "handing_on",
    "main",
    "mixtures",
    "recipes",
    "rows",
    "scaffold",
    "scoring",
    "search",
    "watch",
]


def _version(value: bool) -> None:
    if value:
        write_text(f"autoselection {__version__}\n")
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
    _early.end()
    sys.exit(run(app, sys.argv[1:]))
