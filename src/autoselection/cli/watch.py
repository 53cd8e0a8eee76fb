"""The commands about looking: watch, track."""

from __future__ import annotations

import importlib.util
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from autoselection.cli import _completion
from autoselection.cli._common import SEARCH, Json, app, emit, output
from autoselection.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from autoselection.watch import StudyFolder


@app.command(rich_help_panel=SEARCH, epilog="Example: autoselection watch study")
def watch(
    study_dir: Annotated[
        Path,
        typer.Argument(help="Study directory: running, finished, or a copy of one.", autocompletion=_completion.study),
    ],
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


@app.command(rich_help_panel=SEARCH, epilog="Example: autoselection track study --to mlflow --uri sqlite:///mlflow.db")
def track(
    study_dir: Annotated[
        Path, typer.Argument(help="Study directory, finished or not.", autocompletion=_completion.study)
    ],
    to: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="mlflow, wandb, trackio or tensorboard (default: the one of the study's configuration).",
            autocompletion=_completion.tracker,
        ),
    ] = None,
    uri: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Server, file, Space or folder (default: what the configuration or the tracker says)."),
    ] = None,
    project: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Project or experiment (default: that of the configuration)."),
    ] = None,
    texts: Annotated[
        Optional[bool],  # noqa: UP045
        typer.Option("--texts/--no-texts", help="The report that is sent shows rows of the pool."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Send a study's trials to MLflow, W&B, trackio or TensorBoard: what is missing there, and nothing twice."""
    from autoselection.config import TrackingConfig
    from autoselection.study import Study
    from autoselection.tracking import track_study
    from autoselection.validation import validate

    study = Study(study_dir.resolve())
    given = {"to": to, "uri": uri, "project": project, "texts": texts}
    own = study.config.tracking.model_dump()
    if to is not None and to != own["to"]:
        own["uri"] = None  # of another tracker
    settings = {**own, **{name: value for name, value in given.items() if value is not None}}
    found = track_study(study, validate(TrackingConfig, settings, "command line"))
    if as_json:
        emit(found.to_dict(), True, "")
        return
    lines = [
        ("tracker", f"{found.to}: {found.where}"),
        ("runs sent", f"{len(found.sent):,}"),
        ("runs there already", f"{found.there:,}"),
        ("files attached", ", ".join(found.files) or "none"),
    ]
    output.table(f"Study {study_dir}", None, lines)
