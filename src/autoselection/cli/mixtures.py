"""Commands about mixtures of sources: mixture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from autoselection.cli._common import EVIDENCE, HtmlOption, Json, app, emit, output, say_written, seed_option, words
from autoselection.errors import ConfigError
from autoselection.wording import named_numbers


@app.command(
    rich_help_panel=EVIDENCE,
    epilog="Example: autoselection mixture runs.csv --share 'share/*' --score 'loss/*:min' --level model --target 1B "
    "--cost 1M=1,60M=20,1B=400",
)
def mixture(
    table: Annotated[Path, typer.Argument(metavar="RUNS.csv", help="Table of runs: shares of sources, and scores.")],
    share: Annotated[list[str], typer.Option(help="Columns of shares: a name or a pattern; repeat it for more.")],
    score: Annotated[
        list[str], typer.Option(help="Score columns, with :min where lower is better, such as 'loss/*:min'; repeat it.")
    ],
    level: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Column that names the level of a run, such as its model."),
    ] = None,
    target: Annotated[Optional[str], typer.Option(help="Level that is decided for (default: the dearest).")] = None,  # noqa: UP045
    cost: Annotated[Optional[str], typer.Option(help="Cost of a run at every level: LEVEL=COST,…")] = None,  # noqa: UP045
    weights: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Weights of score columns in the objective, such as github=2,pile_cc=0 (default: 1 each)."),
    ] = None,
    what_if: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--what-if", help="Other weights to answer for, as --weights; repeat it for more."),
    ] = None,
    pareto: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Two or more score columns, with commas, whose trade-off to show."),
    ] = None,
    following: Annotated[int, typer.Option("--next", min=0, max=50, help="How many next runs to name.")] = 3,
    normalise: Annotated[
        bool, typer.Option("--normalise", help="Divide the shares of every run by their sum.")
    ] = False,
    missing: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Words in score cells that mean that there is none, such as nan,NA (an empty cell always does)."
        ),
    ] = None,
    html: HtmlOption = None,
    seed: Annotated[int, seed_option("Seed of the mixtures that are drawn.")] = 0,
    as_json: Json = False,
) -> None:
    """Learn from runs you already have how to mix your sources: effects, best mixtures, what to run next."""
    from autoselection.mixture import ScoreColumns, analyse, column_place, column_weights, parse_costs, read_runs

    runs = read_runs(
        table,
        share,
        [ScoreColumns.parse(text) for text in score],
        level,
        target,
        parse_costs(cost) if cost is not None else None,
        normalise=normalise,
        missing=frozenset({"", *(word.lower() for word in words(missing or ""))}),
    )
    named = words(pareto or "")
    places = list(dict.fromkeys(column_place(runs, name, "--pareto") for name in named))
    if named and len(places) < 2:
        raise ConfigError("--pareto: name two score columns or more, such as github,pile_cc.")
    found = analyse(
        runs,
        column_weights(runs, _weights("--weights", weights)),
        pareto=places,
        following=following,
        what_if=[column_weights(runs, _weights("--what-if", text), "--what-if") for text in what_if or ()],
        seed=seed,
    )
    if html is not None:
        from autoselection.report.mixture import mixture_page
        from autoselection.report.page import write_page

        write_page(mixture_page(found), html)
    if as_json:
        emit(found.to_dict(), True, "")
        return
    from autoselection.report import print_mixture

    print_mixture(found, output)
    say_written({"the page": html})


def _weights(option: str, text: str | None) -> dict[str, float]:
    """Weights by column, from ``NAME=NUMBER,…``; ConfigError if something else stands there."""
    return named_numbers(text or "", option, "COLUMN=WEIGHT", "github=2")
