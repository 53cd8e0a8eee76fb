"""The command about looking: watch."""

from __future__ import annotations

import importlib.util
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from autoselection.cli._common import SEARCH, Json, app, emit, output
from autoselection.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from autoselection.watch import StudyFolder


@app.command(rich_help_panel=SEARCH, epilog="Example: autoselection watch study")
def watch(
    study_dir: Annotated[Path, typer.Argument(help="Study directory: running, finished, or a copy of one.")],
    terminal: Annotated[
        bool, typer.Option("--terminal", help="Show it here instead of on a page; once, if this is no terminal.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes a free one.")] = 8760,
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine it takes a token.")
    ] = "127.0.0.1",
    token: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(envvar="AUTOSELECTION_WATCH_TOKEN", help="Who looks has to bring it; new makes one."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Watch a study on a page of this machine's (extra: watch), or in the terminal, without locking or slowing it."""
    from autoselection.watch import StudyFolder

    if terminal and as_json:
        raise ConfigError("--terminal and --json are two ways to show a study: choose one.")
    folder = StudyFolder(study_dir.resolve())
    if as_json:
        emit(folder.look().to_dict(), True, "")
    elif terminal:
        from autoselection.watch.terminal import watch_terminal

        watch_terminal(folder, output)
    else:
        _serve(folder, host, port, secrets.token_urlsafe(24) if token == "new" else token)


def _serve(folder: StudyFolder, host: str, port: int, token: str | None) -> None:
    for package in ("starlette", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "watch", "The page of 'autoselection watch' (--terminal needs none)")
    from autoselection.watch.access import Access, check_token, own_names, shown_address
    from autoselection.watch.web import bound_socket, serve

    with bound_socket(host, port) as bound:
        address, taken = bound.getsockname()[:2]
        check_token(token, address, host)
        output.say(f"Watching {folder.path} at {shown_address(address, taken, token)}")
        output.say("Ctrl-C ends the watching; the study goes on.")
        serve(folder, bound, Access(token, own_names(address, host)))
