"""Commands about evidence: compute, diagnose, compare, reproduce paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from autoselection.cli import _completion
from autoselection.cli._common import (
    EVIDENCE,
    EvaluationSplit,
    Json,
    Set,
    app,
    emit,
    failed,
    numbers,
    output,
    read_seeds,
    seed_option,
    words,
)
from autoselection.errors import ConfigError
from autoselection.progress import console
from autoselection.terminal import styled

reproduce_app = typer.Typer(help="Published tables from one configuration.", no_args_is_help=True)
app.add_typer(reproduce_app, name="reproduce", rich_help_panel=EVIDENCE)


@app.command(rich_help_panel=EVIDENCE, epilog="Example: autoselection compute study --budgets 0.25,0.5,1,2")
def compute(
    study_dir: Annotated[
        Path,
        typer.Argument(
            help="Study directory, or folder of a reproduction's model, whose search has ended.",
            autocompletion=_completion.study,
        ),
    ],
    budgets: Annotated[str, typer.Option(help="Token budgets, in multiples of what a training of the winner took.")],
    seeds: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Training seeds (default: those of the study; of a reproduction its final_seeds, each raised by the replicate)."
        ),
    ] = None,
    split: Annotated[EvaluationSplit, typer.Option("--split", help="Which items to score.")] = EvaluationSplit.dev,
    rescore_test: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="REASON", help="Why the curves are scored on test; recorded in the study."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure how much training compute the winner saves: winner, full and random data at several token budgets."""
    from autoselection.report import write_compute_page
    from autoselection.reproduce import measure_reproduced_compute
    from autoselection.study.compute import measure_compute
    from autoselection.study.curves import FOLDER
    from autoselection.study.kind import reproduced_models

    models = reproduced_models(study_dir)
    multiples = numbers("--budgets", budgets, float)
    chosen = None if seeds is None else read_seeds("--seeds", seeds)
    measure = measure_reproduced_compute if models else measure_compute
    document = measure(study_dir, multiples, chosen, "test" if split.value == "test" else "dev", rescore_test)
    write_compute_page(document, (models[0] if models else study_dir) / FOLDER / "curves.html")
    if as_json:
        emit(document, True, "")
        return
    lines = [
        (arm, f"{tokens:,.0f}", f"{sum(scores) / len(scores):.4f}", str(len(scores)))
        for arm, curve in document["curves"].items()
        for tokens, scores in zip(curve["tokens"], zip(*curve["scores"], strict=True), strict=True)
    ]
    title = f"Score on {document['split']} over training tokens (mean of {document['units']})"
    output.table(title, ("arm", "tokens", "score", document["units"]), lines, numbers=True)
    for sentence in document["sentences"]:
        output.say(f"- {sentence}")


@app.command(rich_help_panel=EVIDENCE, epilog="Example: autoselection diagnose study --table proxies.md")
def diagnose(
    study_dir: Annotated[
        Path,
        typer.Argument(help="Study directory, or folder of a reproduction's model.", autocompletion=_completion.study),
    ],
    table: Annotated[Optional[Path], typer.Option(help="Also write the table to this .md or .csv file.")] = None,  # noqa: UP045
    seed: Annotated[int, seed_option("Seed of the bootstrap.")] = 0,
    as_json: Json = False,
) -> None:
    """Correlate cheap numbers of a study or a reproduction with the score of the full evaluation, with 95% intervals."""
    from autoselection.diagnose import diagnose_study, write_table
    from autoselection.report import print_diagnosis
    from autoselection.study import Study
    from autoselection.study.kind import reproduced_models

    if reproduced_models(study_dir):
        from autoselection.reproduce import diagnose_reproduction

        found = diagnose_reproduction(study_dir, seed=seed)
    else:
        found = diagnose_study(Study(study_dir.resolve()), seed=seed)
    if table is not None:
        write_table(found, table)
    if as_json:
        emit(found.to_dict(), True, "")
    else:
        print_diagnosis(found, output)


@app.command(
    rich_help_panel=EVIDENCE, epilog="Example: autoselection whatif study --weights gsm8k=2 --better t003,t007"
)
def whatif(
    study_dir: Annotated[
        Path, typer.Argument(help="Study directory, finished or not.", autocompletion=_completion.study)
    ],
    weights: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--weights", help="Weights of tasks, such as gsm8k=2,mmlu=0.5; others keep their own."),
    ] = None,
    better: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--better", help="Two trials or recipes, such as t003,new.yaml: which is better, if that is known."
        ),
    ] = None,
    sure: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="With --better: probability from which an answer is given (default: 0.9)."),
    ] = None,
    proposals: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, help="Recipes that were not tried to look at, too, without --better (default: 160)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell which trial, or recipe not tried yet, would win if tasks counted otherwise, or which of two is better, without training."""
    from autoselection.diagnose import parse_weights, what_if, which_is_better
    from autoselection.diagnose.whatif import PROPOSALS
    from autoselection.report.whatif import whatif_sheets
    from autoselection.search.preference import SURE
    from autoselection.study import Study

    if weights is None and better is None:
        raise ConfigError(
            "Say what is asked: --weights TASK=NUMBER, or --better ONE,OTHER (trials or recipes; with --weights by these)."
        )
    if better is None and sure is not None:
        raise ConfigError("--sure has no effect: it is for --better.")
    if better is not None and proposals is not None:
        raise ConfigError("--proposals has no effect: with --better two are compared.")
    study, weighed = Study(study_dir.resolve()), {} if weights is None else parse_weights(weights)
    if better is not None:
        pair = words(better)
        if len(pair) != 2:
            raise ConfigError(f"--better takes two trials or recipes, such as t003,t007, not {len(pair)}.")
        answer = which_is_better(study, *pair, weights=weighed, sure=SURE if sure is None else sure)
        if as_json:
            emit(answer.to_dict(), True, "")
        for sentence in () if as_json else answer.sentences:
            output.say(f"- {sentence}")
        return
    found = what_if(study, weighed, proposals=PROPOSALS if proposals is None else proposals)
    if as_json:
        emit(found.to_dict(), True, "")
        return
    for sheet in whatif_sheets(found):
        sheet.print(output)
    for sentence in found.sentences:
        output.say(f"- {sentence}")


@app.command(
    rich_help_panel=EVIDENCE,
    epilog="Example: autoselection compare study.yaml --methods random,ours --budget 15 --out comparison",
)
def compare(
    config: Annotated[
        Path,
        typer.Argument(
            help="Study configuration whose pool, signals and evaluator are used.", autocompletion=_completion.config
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Output folder; an unfinished comparison in it is continued.")],
    methods: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Comma-separated methods (default: all that need no further package and keep to --budget)."),
    ] = None,
    budget: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Evaluations of each method and seed (default: search.evaluations)."),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Comma-separated seeds of the methods.")] = "0",
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Run search methods under one budget on a study's own pool and evaluator. Run it again to continue."""
    from autoselection.compare import DEFAULT, print_comparison, run_compare
    from autoselection.config import load_config
    from autoselection.report import write_comparison_page

    loaded = load_config(config, overrides or ())
    names = words(methods) if methods is not None else list(DEFAULT)
    method_seeds = read_seeds("--seeds", seeds)
    found = run_compare(loaded, names, loaded.search.evaluations if budget is None else budget, method_seeds, out)
    write_comparison_page(found, out / "comparison.html")
    if as_json:
        emit(found.to_dict(), True, "")
    else:
        print_comparison(found, output)


@reproduce_app.command("paper", epilog="Example: autoselection reproduce paper tiny --out paper")
def reproduce_paper(
    config: Annotated[str, typer.Argument(help="Reproduction file, or a name: tiny, qwen2.5-1.5b, …")],
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="Output folder; an unfinished run in it is continued."),
    ] = None,
    sections: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Comma-separated: main, ood, ablation, transfer (default: those of the configuration)."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every path and estimate costs; run nothing.")
    ] = False,
    report_only: Annotated[bool, typer.Option("--report-only", help="Write the tables from what is in --out.")] = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Main table, out of distribution, ablation and transfer, with intervals. Run it again to continue."""
    from autoselection import reproduce
    from autoselection.report import write_paper_page

    loaded = reproduce.load_reproduction(config, overrides or ())
    if dry_run:
        found = reproduce.dry_run(loaded, words(sections or ""))
        if as_json:
            emit({**found, **failed(2, "; ".join(found["missing"]))}, True, "")
        else:
            reproduce.print_dry_run(found, output)
        if found["missing"]:
            console.say(styled("missing:", "red"), f" {'; '.join(found['missing'])}")
            raise typer.Exit(2)
        return
    if out is None:
        raise ConfigError("Name a folder with --out, or pass --dry-run.")
    if report_only:
        document = reproduce.write_paper(loaded, out)
    else:
        document = reproduce.run_reproduction(loaded, out, words(sections or ""))
    write_paper_page(document, out / "paper.html")
    if as_json:
        emit(document, True, "")
    else:
        reproduce.print_paper(document, output)
