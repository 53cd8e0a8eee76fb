"""Commands about recipes of other packages: data-juicer import and export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from autoselection.cli import _completion
from autoselection.cli._common import RECIPES, Json, app, emit, warn
from autoselection.errors import ConfigError
from autoselection.files import write_text as write_file
from autoselection.progress import console
from autoselection.terminal import write_text

data_juicer_app = typer.Typer(help="Recipes of Data-Juicer in and out.", no_args_is_help=True)
app.add_typer(data_juicer_app, name="data-juicer", rich_help_panel=RECIPES)

Partial = Annotated[bool, typer.Option("--partial", help="Leave out what has no counterpart, instead of refusing.")]
Out = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--out", help="File to write, which must not exist (default: print it)."),
]


@data_juicer_app.command("import", epilog="Example: autoselection data-juicer import dj.yaml --out mine.yaml")
def import_command(
    file: Annotated[Path, typer.Argument(help="Recipe of Data-Juicer (YAML).", autocompletion=_completion.config)],
    out: Out = None,
    partial: Partial = False,
    as_json: Json = False,
) -> None:
    """Turn a recipe of Data-Juicer into a recipe; operators without a counterpart are named, with the reason."""
    from autoselection.documents import dump_yaml
    from autoselection.recipes.data_juicer import load_data_juicer

    found = load_data_juicer(file, partial=partial)
    _write(dump_yaml(found.recipe.to_dict(), width=120), out, as_json)
    if as_json:
        document = {
            "recipe": found.recipe.to_dict(),
            "configuration": found.signal_options(),
            "left_out": [each.sentence() for each in found.unmapped],
            "remarks": list(found.remarks),
        }
        emit(document, True, "")
    elif options := found.signal_options():
        console.say("Its steps read statistics of Data-Juicer. Add to the configuration that computes signals:")
        for line in dump_yaml(options).splitlines():
            console.say(f"  {line}")
    warn([*(f"left out: {each.sentence()}" for each in found.unmapped), *found.remarks])


@data_juicer_app.command("export", epilog="Example: autoselection data-juicer export mine.yaml --out dj.yaml")
def export_command(
    recipe: Annotated[
        Path, typer.Argument(help="Recipe YAML, or name of a ready recipe.", autocompletion=_completion.recipe)
    ],
    out: Out = None,
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--config",
            help="Configuration whose signals.options.data_juicer has the filters' parameters (default: Data-Juicer's own).",
            autocompletion=_completion.config,
        ),
    ] = None,
    partial: Partial = False,
    as_json: Json = False,
) -> None:
    """Turn a recipe into one of Data-Juicer; steps without a counterpart are named, with the reason."""
    from autoselection.documents import dump_yaml
    from autoselection.recipes import load_recipe
    from autoselection.recipes.data_juicer import configured_filters, to_data_juicer

    filters = () if config is None else configured_filters(config)
    found = to_data_juicer(load_recipe(recipe), filters=filters, partial=partial, where=str(recipe))
    _write(dump_yaml(dict(found.document), width=120), out, as_json)
    if as_json:
        document = {
            "recipe": found.document,
            "left_out": [each.sentence() for each in found.unmapped],
            "remarks": list(found.remarks),
        }
        emit(document, True, "")
    warn([*(f"left out: {each.sentence()}" for each in found.unmapped), *found.remarks])


def _write(text: str, out: Path | None, as_json: bool) -> None:
    if out is None:
        if not as_json:
            write_text(text)
        return
    if out.exists():
        raise ConfigError(f"{out} exists; name another file.")
    write_file(out, text)
