"""The command for agents: mcp."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from autoselection.cli import _completion
from autoselection.cli._common import SEARCH, Set, alone, app
from autoselection.errors import ConfigError, MissingExtraError
from autoselection.terminal import write_text

if TYPE_CHECKING:
    from autoselection.agents.session import AgentSession


@app.command(rich_help_panel=SEARCH, epilog="Example: autoselection mcp study.yaml --out study")
def mcp(
    place: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(
            metavar="STUDY|CONFIG",
            help="Study directory, or the configuration of one (with --out).",
            autocompletion=_completion.study_or_config,
        ),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="With a configuration: study directory, begun if there is none."),
    ] = None,
    evaluations: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--evaluations", min=0, help="Most evaluations for agents (default: all that the study's budget leaves)."
        ),
    ] = None,
    skill: Annotated[
        bool, typer.Option("--skill", help="Print a skill file for coding agents instead, to be saved as SKILL.md.")
    ] = False,
    overrides: Set = None,
) -> None:
    """Serve a study's tools to an agent over standard input and output (Model Context Protocol; extra: mcp)."""
    if skill:
        alone("--skill", {"STUDY": place, "--out": out, "--evaluations": evaluations is not None, "--set": overrides})
        from autoselection.agents.skill import skill_text

        write_text(skill_text())
        return
    if place is None:
        raise ConfigError("Name a study directory or a configuration, or print the skill file with --skill.")
    if importlib.util.find_spec("mcp") is None:
        raise MissingExtraError("mcp", "mcp", "The server for agents")
    if not place.exists():
        raise ConfigError(f"{place}: there is no such study directory or configuration.")
    from autoselection.agents.server import serve

    def make() -> AgentSession:
        from autoselection.agents.opening import open_session

        return open_session(place, out, overrides or (), evaluations)

    if code := serve(make):
        raise typer.Exit(code)
