"""Commands about recipes: recipes, materialize, apply."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from autoselection.cli._common import RECIPES, Json, app, emit, output
from autoselection.errors import ConfigError
from autoselection.progress import console
from autoselection.recipes import StepLineage, lineage_remarks
from autoselection.terminal import styled, write_text


class ExportFormat(str, Enum):
    """Formats in which a subset is written."""

    messages = "messages"
    sharegpt = "sharegpt"
    hf = "hf"


@app.command(rich_help_panel=RECIPES, epilog="Example: autoselection recipes high-ifd > my-recipe.yaml")
def recipes(
    name: Annotated[Optional[str], typer.Argument(help="Ready recipe to print as YAML.")] = None,  # noqa: UP045
    as_json: Json = False,
) -> None:
    """List the ready recipes, or print one, to be saved and changed. Their names serve wherever a recipe file does."""
    from autoselection.recipes import ready_recipe, ready_recipes

    if name is not None:
        found = ready_recipe(name)
        if as_json:
            emit(found.to_dict(), True, "")
        else:
            write_text(found.text)
        return
    if as_json:
        emit({"recipes": [entry.to_dict() for entry in ready_recipes().values()]}, True, "")
        return
    lines = [(entry.name, entry.purpose, ", ".join(entry.needs()), entry.source) for entry in ready_recipes().values()]
    output.table("Ready recipes", ("name", "for", "signals", "source"), lines, fixed=1, ruled=True)


@app.command(rich_help_panel=RECIPES, epilog="Example: autoselection materialize high-ifd --pool pool")
def materialize(
    recipe: Annotated[Path, typer.Argument(help="Recipe YAML, or name of a ready recipe.")],
    pool_dir: Annotated[Path, typer.Option("--pool", help="Pool directory with cached signals.")],
    seed: Annotated[int, typer.Option(help="Seed of the random steps.")] = 0,
    ids: Annotated[Optional[Path], typer.Option(help="Write the ordered row ids here, one JSON list.")] = None,  # noqa: UP045
    as_json: Json = False,
) -> None:
    """Run a recipe over cached signals and describe the realized subset."""
    from autoselection.pool import Pool
    from autoselection.recipes import load_recipe, state_vector
    from autoselection.recipes import materialize as run_recipe
    from autoselection.signals import load_table

    loaded = load_recipe(recipe)
    pool = Pool.open(pool_dir)
    table = load_table(pool)
    result = run_recipe(loaded, table, seed=seed)
    if ids is not None:
        ids.write_text(json.dumps([str(pool.ids[int(row)]) for row in result.rows]) + "\n", encoding="utf-8")
    document = {
        "recipe": loaded.describe(),
        "rows": len(result.rows),
        "subset_hash": result.subset_hash,
        "ordered_hash": result.ordered_hash,
        "state": state_vector(result.rows, table).to_dict(),
        "lineage": [step.to_dict() for step in result.lineage],
    }
    emit(document, as_json, str(recipe))
    _say(result.lineage)


def _say(lineage: Sequence[StepLineage]) -> None:
    """What has to be known besides the numbers, on standard error."""
    for said in lineage_remarks(lineage):
        console.say(styled("warning:", "yellow"), f" {said}")


@app.command(
    "apply",
    rich_help_panel=RECIPES,
    epilog="Example: autoselection apply high-ifd --pool pool --out subset.jsonl",
)
def apply_command(
    recipe: Annotated[Path, typer.Argument(help="Recipe YAML, or name of a ready recipe.")],
    pool_dir: Annotated[Path, typer.Option("--pool", help="Pool directory with cached signals.")],
    out: Annotated[Path, typer.Option("--out", help="File (messages) or folder (sharegpt, hf) to write.")],
    export_format: Annotated[ExportFormat, typer.Option("--format", help="Output format.")] = ExportFormat.messages,
    seed: Annotated[int, typer.Option(help="Seed of the random steps.")] = 0,
    against: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Tell what changed against this pool, or this study's pool and signals."),
    ] = None,
    report_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--report", help="Write what changed here, with the ids of all rows (JSON)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a recipe over a pool and write the selected rows; --pool may be a study: its pool, its signals."""
    from autoselection.export import DatasetCard, export_hf_dataset, export_messages, export_sharegpt
    from autoselection.recipes import load_recipe, state_vector, transfer
    from autoselection.recipes import materialize as run_recipe
    from autoselection.study.reuse import open_place

    if report_file is not None and against is None:
        raise ConfigError("--report tells what changed: name the pool or study to compare with by --against.")
    loaded = load_recipe(recipe)
    place = open_place(pool_dir)
    pool, table = place.pool, place.table
    changed = None if against is None else transfer(loaded, open_place(against), place, seed=seed)
    result = run_recipe(loaded, table, seed=seed) if changed is None else changed.after
    lineage = [step.to_dict() for step in result.lineage]
    if export_format is ExportFormat.messages:
        export_messages(pool, result.rows, out)
    elif export_format is ExportFormat.sharegpt:
        export_sharegpt(pool, result.rows, out, "subset")
    else:
        card = DatasetCard(
            title=loaded.name or "subset",
            recipe=loaded.to_dict(),
            recipe_hash=loaded.hash,
            subset_hash=result.subset_hash,
            lineage=lineage,
            state=state_vector(result.rows, table).to_dict(),
            seed=seed,
        )
        export_hf_dataset(pool, result.rows, out, card)
    document = {"rows": len(result.rows), "subset_hash": result.subset_hash, "out": str(out), "lineage": lineage}
    if changed is None:
        emit(document, as_json, str(recipe))
        _say(result.lineage)
        return
    if report_file is not None:
        report_file.write_text(json.dumps(changed.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    _say(result.lineage)
    if as_json:
        emit({**document, "changes": changed.summary()}, True, "")
        return
    from autoselection.report import print_transfer

    emit(document, False, str(recipe))
    print_transfer(changed, output)
