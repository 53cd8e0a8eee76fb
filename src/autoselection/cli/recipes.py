"""Commands about recipes: recipes, materialize, apply."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from autoselection.cli import _completion
from autoselection.cli._common import (
    RECIPES,
    HtmlOption,
    Json,
    PoolOption,
    Verbose,
    alone,
    app,
    emit,
    output,
    say_written,
    seed_option,
    warn,
    words,
)
from autoselection.errors import ConfigError
from autoselection.files import together
from autoselection.files import write_text as write_file
from autoselection.terminal import write_text

if TYPE_CHECKING:
    from autoselection.config import StudyConfig
    from autoselection.export import FormatName

ConfigOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        help="Study configuration that names the model, SAE and tasks of signals that the recipe needs.",
        autocompletion=_completion.config,
    ),
]


RecipeArgument = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Argument(
        metavar="RECIPE",
        help="Recipe YAML, or name of a ready recipe; with --locked it may be left out.",
        autocompletion=_completion.recipe,
    ),
]
SeedOption = Annotated[
    Optional[int],  # noqa: UP045
    seed_option("Seed of the random steps (default: 0, or that of the lock)."),
]
DroppedOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(metavar="FILE", help="Write the rows left out here, each with the step that dropped it."),
]
WhyOption = Annotated[
    bool,
    typer.Option("--why", help="Show some rows that each step drops, and by how much they miss; also in --dropped."),
]
LockOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(metavar="FILE", help="Write all that the selection depends on here, such as recipe.lock.yaml."),
]
LockedOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(metavar="LOCK", help="Select the very rows of this lock, or say which input differs."),
]


class ExportFormat(str, Enum):
    """Formats in which a subset is written."""

    messages = "messages"
    sharegpt = "sharegpt"
    alpaca = "alpaca"
    prompt_completion = "prompt-completion"
    hf = "hf"
    axolotl = "axolotl"


@app.command(rich_help_panel=RECIPES, epilog="Example: autoselection recipes high-ifd > my-recipe.yaml")
def recipes(
    name: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(help="Ready recipe to print as YAML.", autocompletion=_completion.ready_recipe),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of recipe files instead, for editors.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the ready recipes, or print one, to be saved and changed. Their names serve wherever a recipe file does."""
    from autoselection.recipes import ready_recipe, ready_recipes

    if schema:
        alone("--schema", {"NAME": name})
        from autoselection.recipes.recipe_schema import recipe_schema

        write_text(json.dumps(recipe_schema(), indent=2) + "\n")
        return
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
    places: PoolOption,
    recipe: RecipeArgument = None,
    seed: SeedOption = None,
    ids: Annotated[Optional[Path], typer.Option(help="Write the ordered row ids here, one JSON list.")] = None,  # noqa: UP045
    html: HtmlOption = None,
    dropped: DroppedOption = None,
    why: WhyOption = False,
    lock: LockOption = None,
    locked: LockedOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what --dropped and --lock name.")] = False,
    config: ConfigOption = None,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Run a recipe and describe the realized subset; missing signals that it needs are computed."""
    from autoselection.export import export_dropped, export_target
    from autoselection.inspection import dropped_examples
    from autoselection.recipes import lineage_remarks, rows_by_step, state_vector
    from autoselection.report import print_dropped, print_selection, view_selection, write_selection_page
    from autoselection.study.locked import run_named_recipe

    if dropped is not None:
        export_target(dropped, "messages", overwrite=overwrite, file=True)
    outputs = {"--ids": ids, "--html": html, "--dropped": dropped, "--lock": lock}
    _distinct(outputs)
    _free("--lock", lock, overwrite)
    _check_not_read(outputs, places, None, [recipe, config, locked])
    found = run_named_recipe(recipe, places, _config(config), seed=seed, locked=locked)
    place, result, cache = found.place, found.result, found.cache
    document: dict[str, Any] = {
        "recipe": found.recipe.describe(),
        "rows": len(result.rows),
        "distinct_rows": result.distinct,
        "subset_hash": result.subset_hash,
        "ordered_hash": result.ordered_hash,
        "state": state_vector(result.rows, place.table).to_dict(),
        "lineage": [step.to_dict() for step in result.lineage],
        "warnings": [*lineage_remarks(result.lineage), *found.remarks],
    }
    shown = dropped_examples(found.recipe, place.table, seed=found.seed, cache=cache) if why else ()
    steps = (
        rows_by_step(found.recipe, place.table, seed=found.seed, cache=cache) if html is not None or not as_json else []
    )
    with together():  # no output without the others
        if ids is not None:
            write_file(ids, json.dumps(place.pool.row_ids(result.rows)) + "\n")
        if lock is not None:
            found.lock().write(lock)
        if dropped is not None:
            rest = export_dropped(
                place.pool,
                found.recipe,
                place.table,
                dropped,
                seed=found.seed,
                overwrite=overwrite,
                cache=cache,
                with_why=why,
            )
            document["dropped"] = rest.to_dict()
        if html is not None:
            title = f"{found.name} on {place.name}"
            view = view_selection(result, steps, place.table, place.pool, seed=found.seed, cache=cache)
            write_selection_page(view, title, html)
    if as_json:
        emit({**document, **({"why": [each.to_dict() for each in shown]} if why else {})}, True, "")
    else:
        print_selection(result, place.pool, place.table, output, title=found.name, steps=steps, verbose=verbose)
        print_dropped(shown, output)
        _say_dropped(dropped, document)
        say_written({"the ids": ids, "the page": html, "the lock": lock})
    warn(document["warnings"])


def _say_dropped(path: Path | None, document: Mapping[str, Any]) -> None:
    if path is not None:
        output.say(f"Wrote the {document['dropped']['rows']:,} rows left out to {path}.")


def _config(path: Path | None) -> StudyConfig | None:
    from autoselection.config import load_config

    return None if path is None else load_config(path)


@app.command(
    "apply",
    rich_help_panel=RECIPES,
    epilog="Example: autoselection apply high-ifd --pool pool --out subset.jsonl",
)
def apply_command(
    places: PoolOption,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="File (.jsonl, .json, .csv, .parquet; also .gz, .zst), or a name without suffix: a dataset folder.",
        ),
    ],
    recipe: RecipeArgument = None,
    export_format: Annotated[
        Optional[ExportFormat],  # noqa: UP045
        typer.Option(
            "--format",
            help="Form of the rows (default: messages; a folder: hf). With a folder sharegpt is for LLaMA-Factory.",
        ),
    ] = None,
    columns: Annotated[
        str,
        typer.Option(
            metavar="all|none|NAME,…", help="Own columns to write; _file and _line are where the row was read."
        ),
    ] = "all",
    dropped: DroppedOption = None,
    why: WhyOption = False,
    lock: LockOption = None,
    locked: LockedOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files and folders that are there.")] = False,
    seed: SeedOption = None,
    against: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Show what changed against this pool, or this study's pool and signals."),
    ] = None,
    report_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--report", help="Write what changed here, with the ids of all rows (JSON)."),
    ] = None,
    config: ConfigOption = None,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Run a recipe and write the selected rows; missing signals that it needs are computed."""
    from autoselection.export import DatasetCard, export_dropped, export_subset, export_target
    from autoselection.inspection import dropped_examples
    from autoselection.recipes import lineage_remarks, rows_by_step, state_vector, transfer
    from autoselection.report import print_dropped, print_selection, print_transfer
    from autoselection.study.locked import run_named_recipe
    from autoselection.study.named_pools import open_scored_pool

    if report_file is not None and against is None:
        raise ConfigError("--report writes what changed: name the pool or study to compare with by --against.")
    form: FormatName | None = None if export_format is None else export_format.value
    target = export_target(
        out, form, overwrite=overwrite
    )  # what cannot be written is refused before anything is computed
    if dropped is not None:
        export_target(dropped, "messages", overwrite=overwrite, file=True)
    outputs = {"--out": out, "--dropped": dropped, "--report": report_file, "--lock": lock}
    _distinct(outputs)
    _free("--report", report_file, overwrite)
    _free("--lock", lock, overwrite)
    _check_not_read(outputs, places, against, [recipe, config, locked])
    wanted = {"all": None, "none": ()}.get(columns.strip().lower(), words(columns))
    if wanted == []:
        raise ConfigError(f"--columns {columns!r} names no column: give all, none, or names with commas between.")
    # Where the folder has none, columns that are named are those of --dropped.
    own = wanted if target.has_columns or dropped is None else ()
    target.check_columns(own)
    settings = _config(config)
    found = run_named_recipe(recipe, places, settings, seed=seed, locked=locked)
    loaded, place, result, cache = found.recipe, found.place, found.result, found.cache
    pool, table, seed = place.pool, place.table, found.seed
    other = None if against is None else open_scored_pool(against, loaded, settings, found.name)
    changed = None if other is None else transfer(loaded, other, place, seed=seed)
    shown = dropped_examples(loaded, table, seed=seed, cache=cache) if why else ()
    lineage = [step.to_dict() for step in result.lineage]
    card = DatasetCard(
        title=loaded.name or "subset",
        recipe=loaded.to_dict(),
        recipe_hash=loaded.hash,
        subset_hash=result.subset_hash,
        lineage=lineage,
        state=state_vector(result.rows, table).to_dict(),
        seed=seed,
    )
    with together():  # no output without the others
        report = export_subset(pool, result.rows, out, form, card=card, columns=own, overwrite=overwrite)
        document: dict[str, Any] = {
            "rows": len(result.rows),
            "distinct_rows": result.distinct,
            "subset_hash": result.subset_hash,
            "out": str(out),
            "lineage": lineage,
            "export": report.to_dict(),
            "warnings": [*lineage_remarks(result.lineage), *found.remarks],
            **({"why": [each.to_dict() for each in shown]} if why else {}),
        }
        if lock is not None:
            found.lock().write(lock)
        if dropped is not None:
            rest = export_dropped(
                pool,
                loaded,
                table,
                dropped,
                seed=seed,
                left_out=report.left_out,
                columns=wanted,
                overwrite=overwrite,
                cache=cache,
                with_why=why,
            )
            document["dropped"] = rest.to_dict()
        if changed is not None:
            document["changes"] = changed.summary()
            if report_file is not None:
                write_file(report_file, json.dumps(changed.to_dict(), indent=1, ensure_ascii=False) + "\n")
    if as_json:
        emit(document, True, "")
    else:
        steps = rows_by_step(loaded, table, seed=seed, cache=cache)
        print_selection(result, pool, table, output, title=found.name, steps=steps, verbose=verbose)
        print_dropped(shown, output)
        output.say(f"Wrote {report.rows:,} rows to {out}.")
        _say_dropped(dropped, document)
        say_written({"the lock": lock, "what changed": report_file})
        if changed is not None:
            print_transfer(changed, output)
    warn([*document["warnings"], *report.sentences()])


def _distinct(paths: Mapping[str, Path | None]) -> None:
    """Refuse one place for two outputs."""
    seen: dict[Path, str] = {}
    for option, path in paths.items():
        if path is not None and seen.setdefault(path.resolve(), option) != option:
            raise ConfigError(f"{seen[path.resolve()]} and {option} both name {path}: give each a file of its own.")


def _check_not_read(
    outputs: Mapping[str, Path | None], places: Sequence[Path], against: Path | None, read: Sequence[Path | None]
) -> None:
    """Refuse outputs that would replace what the command reads, or what its pools were made from."""
    from autoselection.export import check_not_read
    from autoselection.study.named_pools import open_named_pool, own_files

    named = [*places, *([] if against is None else [against])]
    check_not_read(outputs, [*(path for place in named for path in own_files(place)), *read])
    sources = [open_named_pool(places), *([] if against is None else [open_named_pool(against)])]
    check_not_read(outputs, [], [record for source in sources for record in source.pool.manifest.files])


def _free(option: str, path: Path | None, overwrite: bool) -> None:
    if path is not None and path.exists() and not overwrite:
        raise ConfigError(f"{option}: {path} exists; name another file, or pass --overwrite.")
