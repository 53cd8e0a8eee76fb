"""Commands about the rows that recipes keep and drop: explain, diff."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from autoselection.cli import _completion
from autoselection.cli._common import RECIPES, Json, app, emit, output, seed_option, warn
from autoselection.cli.recipes import ConfigOption

if TYPE_CHECKING:
    from autoselection.study.named_subsets import NamedSubset

PoolsOption = Annotated[
    Optional[list[Path]],  # noqa: UP045 - Typer evaluates annotations on Python 3.10
    typer.Option("--pool", help="Pool or study directory, or raw files (repeat it); a study has one of its own."),
]
SeedOption = Annotated[
    Optional[int],  # noqa: UP045
    seed_option("Seed of the random steps (default: that of the study, else 0)."),
]


@app.command(rich_help_panel=RECIPES, epilog="Example: autoselection explain high-ifd r7 r12 --pool pool")
def explain(
    named: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE|STUDY",
            autocompletion=_completion.recipe_or_study,
            help="Recipe, study (its best trial) or STUDY:TRIAL, such as study:t012.",
        ),
    ],
    rows: Annotated[list[str], typer.Argument(metavar="ROW…", help="Ids, or numbers, of rows.")],
    pool: PoolsOption = None,
    config: ConfigOption = None,
    seed: SeedOption = None,
    most: Annotated[int, typer.Option(min=0, help="Duplicates, and target items of each task, to name (count).")] = 5,
    full: Annotated[bool, typer.Option("--full", help="Whole texts, however long.")] = False,
    as_json: Json = False,
) -> None:
    """Say why a recipe kept or dropped rows, with their signals, duplicates and nearest target items."""
    from autoselection.errors import ConfigError
    from autoselection.inspection import explain as explain_rows
    from autoselection.report import print_explanations

    found = _open(named, pool, config, seed)
    if found.recipe is None:
        raise ConfigError(f"{named} is a list of ids: name a recipe or a study, which says why rows are in or not.")
    remarks = [*found.remarks, *found.task_remarks]
    told = explain_rows(found.recipe, found.place.table, rows, seed=found.seed, targets=found.tasks, most=most)
    if as_json:
        emit({**told.to_dict(), "warnings": remarks}, True, "")
    else:
        print_explanations(told, found.name, output, full=full)
    warn(remarks)


@app.command("diff", rich_help_panel=RECIPES, epilog="Example: autoselection diff high-ifd text-only --pool pool")
def diff_command(
    first: Annotated[
        str,
        typer.Argument(
            metavar="A",
            autocompletion=_completion.recipe_or_study,
            help="Recipe, study (its best trial), STUDY:TRIAL, or a file of row ids.",
        ),
    ],
    second: Annotated[
        str, typer.Argument(metavar="B", autocompletion=_completion.recipe_or_study, help="Another one.")
    ],
    pool: PoolsOption = None,
    config: ConfigOption = None,
    seed: SeedOption = None,
    examples: Annotated[int, typer.Option(min=0, help="Rows of each alone to show (count).")] = 5,
    as_json: Json = False,
) -> None:
    """Say what two subsets differ in: rows, sources, signals, state vectors, scores, and why one dropped the other's rows."""
    from autoselection.inspection import Side, difference
    from autoselection.report import print_difference

    sides = [_open(named, pool, config, seed) for named in (first, second)]
    one, two = (Side(side.name, side.rows, side.place.table, side.recipe, side.seed, side.scores) for side in sides)
    found = difference(one, two, examples=examples, seed=seed or 0)
    remarks = [said for side in sides for said in side.remarks]
    if as_json:
        emit({**found.to_dict(), "warnings": remarks}, True, "")
    else:
        print_difference(found, output)
    warn(remarks)


def _open(named: str, pool: list[Path] | None, config: Path | None, seed: int | None) -> NamedSubset:
    from autoselection.config import load_config
    from autoselection.study.named_subsets import open_named_subset

    return open_named_subset(named, pool or (), None if config is None else load_config(config), seed=seed)
