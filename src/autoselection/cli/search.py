"""Commands about searches: init, config, search, demo, report, evaluate, benchmark, doctor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from autoselection import __version__, files
from autoselection.cli import _completion
from autoselection.cli._common import (
    DATA,
    SEARCH,
    Delimiter,
    Encoding,
    EvaluationSplit,
    Json,
    Set,
    Verbose,
    alone,
    app,
    emit,
    failed,
    output,
    price_option,
    seed_option,
    warn,
    words,
)
from autoselection.errors import ConfigError
from autoselection.progress import console
from autoselection.terminal import styled, write_text

if TYPE_CHECKING:
    from autoselection.config import StudyConfig
    from autoselection.study import Study


@app.command(
    rich_help_panel=SEARCH,
    epilog="Example: autoselection init study.yaml --pool pool --model models/base --task tasks/quiz",
)
def init(
    path: Annotated[Path, typer.Argument(help="Configuration file to write.")] = Path("autoselection.yaml"),
    pool: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option("--pool", help="Pool folder, study, or a raw file (repeat it for several)."),
    ] = None,
    model: Annotated[Optional[str], typer.Option("--model", help="Base model folder or hub id.")] = None,  # noqa: UP045
    tasks: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option("--task", metavar="FOLDER", help="Folder that `autoselection benchmark` made (repeatable)."),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="Write every key (but those within search.llm and signals.options), not only those that most studies set.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    as_json: Json = False,
) -> None:
    """Write a configuration to fill in: the keys that most studies set, each documented, or all of them (--full)."""
    from autoselection.config_text import MAIN_KEYS, draft

    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists: name another file, or replace it with --overwrite.")
    text = draft(path.resolve().parent, pool or (), model, tasks or (), None if full else MAIN_KEYS)
    files.write_text(path, text)
    open_keys = [name for name, given in (("pool", pool), ("model", model), ("tasks", tasks)) if not given]
    if as_json:
        emit({"file": str(path), "to_fill_in": open_keys}, True, "")
        return
    fill = f"Fill in {' and '.join(', '.join(open_keys).rsplit(', ', 1))}, then run" if open_keys else "Now run"
    console.say(f"Wrote {path}. {fill}: autoselection doctor {path}, then autoselection search {path} --out STUDY_DIR")


@app.command("config", rich_help_panel=SEARCH, epilog="Example: autoselection config study.yaml")
def config_command(
    path: Annotated[Optional[Path], typer.Argument(help="Configuration file to check.")] = None,  # noqa: UP045
    keys: Annotated[bool, typer.Option("--keys", help="Print all keys and what they decide instead.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema instead.")] = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Check a configuration and print it with all defaults filled in, or print what configurations may hold."""
    from autoselection.config import config_schema, load_config, to_yaml
    from autoselection.config_text import key_list, key_reference

    if keys or schema:
        file = {"CONFIG": path, "--set": overrides}
        alone("--keys" if keys else "--schema", {"--schema": keys and schema, **file})
    if keys and as_json:
        emit({"keys": key_list()}, True, "")
    elif keys:
        write_text(key_reference())
    elif schema:
        write_text(json.dumps(config_schema(), indent=2) + "\n")
    elif path is None:
        raise ConfigError("Name a configuration file, or pass --keys or --schema.")
    elif as_json:
        emit(load_config(path, overrides or ()).model_dump(mode="json"), True, "")
    else:
        write_text(to_yaml(load_config(path, overrides or ())))


@app.command(
    rich_help_panel=SEARCH,
    epilog="Example: autoselection search study.yaml --out study --set search.evaluations=10",
)
def search(
    config: Annotated[Path, typer.Argument(help="Study configuration.", autocompletion=_completion.config)],
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--out", help="Study directory; an unfinished study in it is continued.", autocompletion=_completion.study
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Begin nothing: measure a sample, and print what each stage will take."),
    ] = False,
    price: Annotated[
        Optional[float],  # noqa: UP045
        price_option("With --dry-run, the price of an hour of one device: costs are printed too."),
    ] = None,
    rescore_test: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="REASON", help="Score test again, by another final plan; recorded and reported."),
    ] = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Run the whole job: pool, signals, search, test, exports. Run it again to continue where it stopped."""
    from autoselection.config import load_config
    from autoselection.study import run_study

    given = [*(overrides or ()), *([f"final.rescore={json.dumps(rescore_test)}"] if rescore_test is not None else ())]
    loaded = load_config(config, given)
    if dry_run:
        _estimate(loaded, str(config), out, price, as_json)
        return
    if price is not None:
        raise ConfigError("--price is for --dry-run: add it, or leave --price out.")
    if out is None:
        raise ConfigError("Name the study directory with --out, or estimate what it will take with --dry-run.")
    _finish(run_study(loaded, out), as_json)


def _estimate(config: StudyConfig, name: str, out: Path | None, price: float | None, as_json: bool) -> None:
    from autoselection.report import print_estimate
    from autoselection.study.estimate import estimate_study

    found = estimate_study(config, out=out, price=price)
    if as_json:
        emit(found.to_dict(), True, "")
    else:
        print_estimate(found, name, output)


@app.command(rich_help_panel=SEARCH, epilog="Example: autoselection demo --out demo-study")
def demo(
    out: Annotated[Path, typer.Option("--out", help="Study directory.")] = Path("demo-study"),
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Run the whole job on the embedded tiny model, pool and tasks (minutes on two cores)."""
    from autoselection.config import load_config
    from autoselection.demo import config_path
    from autoselection.study import run_study

    _finish(run_study(load_config(config_path(), overrides or ()), out), as_json)


def _finish(study: Study, as_json: bool, price: float | None = None) -> None:
    from autoselection.report import print_study, write_report
    from autoselection.report.study_page import cost_sheet
    from autoselection.report.study_report import page_of
    from autoselection.study import summary

    view = write_report(study, price=price)
    if as_json:
        emit({**summary(study), "report": {"page": str(page_of(study)), **view.to_dict()}}, True, "")
    else:
        print_study(study, output)
        if price is not None and view.stages:
            cost_sheet(view.stages).print(output)
        console.say(f"The same with plots: {page_of(study)}")


@app.command(rich_help_panel=SEARCH, epilog="Example: autoselection report study")
def report(
    study_dir: Annotated[Path, typer.Argument(help="Study directory.", autocompletion=_completion.study)],
    price: Annotated[
        Optional[float],  # noqa: UP045
        price_option("What an hour of the machine costs, in your currency: costs are then told in money too."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a study, finished or not: tables here, and STUDY/report.html with plots, rows and the answer first."""
    from autoselection.study import Study

    _finish(Study(study_dir.resolve()), as_json, price)


@app.command(rich_help_panel=SEARCH, epilog="Example: autoselection repair STUDY_DIR/journal.jsonl")
def repair(
    file: Annotated[Path, typer.Argument(help="A damaged journal.jsonl or llm.jsonl.")],
    as_json: Json = False,
) -> None:
    """Keep the undamaged first lines of a damaged journal; the damaged file is kept beside it."""
    from autoselection.ledger.journal import repair as repair_file

    lines, damaged = repair_file(file)
    shown = {"file": str(file), "lines": lines, "damaged": None if damaged is None else str(damaged)}
    emit(shown, as_json, f"Kept {lines} lines of {file}" if damaged else f"Nothing in {file} is damaged")


@app.command(rich_help_panel=SEARCH, epilog="Example: autoselection evaluate study.yaml --subset ids.json --split dev")
def evaluate(
    config: Annotated[Path, typer.Argument(help="Study configuration.", autocompletion=_completion.config)],
    subset: Annotated[Path, typer.Option("--subset", help="Row ids: JSON list, JSONL with 'id', or one id a line.")],
    split: Annotated[EvaluationSplit, typer.Option("--split", help="Which items to score.")] = EvaluationSplit.dev,
    seed: Annotated[int, seed_option("Training seed.")] = 0,
    work_dir: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Keep the trained model and per-item scores here."),
    ] = None,
    overrides: Set = None,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Train on a subset and score it, outside of any study."""
    from autoselection.config import load_config
    from autoselection.report import print_evaluation
    from autoselection.study import evaluate_subset

    result = evaluate_subset(load_config(config, overrides or ()), subset, split.value, seed, work_dir)
    if as_json:
        emit({**result.to_dict(), **failed(6, result.failure)}, True, "")
    else:
        print_evaluation(result, f"{subset} on {split.value}", output, verbose=verbose)
    if result.failure:
        console.say(styled("error:", "red"), f" {result.failure}")
        raise typer.Exit(6)


@app.command(
    rich_help_panel=DATA,
    epilog="Example: autoselection benchmark short_answer --source quiz.jsonl --name quiz --out tasks/quiz",
)
def benchmark(
    name: Annotated[
        str,
        typer.Argument(
            help="Benchmark format, e.g. gsm8k; 'list' names all of them.", autocompletion=_completion.benchmark
        ),
    ],
    source: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            metavar="[SPLIT=]PATH", help="File or folder (repeatable). A single file is cut into target, dev and test."
        ),
    ] = None,
    split: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="SPLIT=PATH", help="File or folder of one split: train, target, dev, validation or test."),
    ] = None,
    task: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--name", help="What the task is called (default: the benchmark's name)."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for target.jsonl, dev.jsonl and test.jsonl.")] = Path(
        "tasks"
    ),
    seed: Annotated[int, seed_option("Seed of the splits and of shuffled options.")] = 0,
    target: Annotated[int, typer.Option(min=0, help="Most target items (count).")] = 100,
    dev: Annotated[int, typer.Option(min=1, help="Most dev items (count).")] = 300,
    test: Annotated[Optional[int], typer.Option(min=1, help="Most test items (default: all).")] = None,  # noqa: UP045
    columns: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--map", metavar="NAME=COLUMN,…", help="Own column names: question=Frage,answer=Antwort."),
    ] = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    keep_constant: Annotated[
        bool, typer.Option(help="Keep yes/no subtasks that have one answer for all items.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace the task files in --out.")] = False,
    as_json: Json = False,
) -> None:
    """Convert a benchmark's public files into task files, offline."""
    from autoselection.pool import IngestConfig
    from autoselection.tasks import few_items
    from autoselection.tasks.convert import BENCHMARKS, ReadingOptions, convert
    from autoselection.validation import validate

    if name == "list":
        emit({entry.name: entry.files for entry in BENCHMARKS.values()}, as_json, "Benchmark formats")
        return
    for entry in split or ():
        if "=" not in entry:
            raise ConfigError(f"--split {entry}: expected SPLIT=PATH, such as --split test=test.jsonl.")
    pairs = [entry.partition("=")[::2] for entry in words(columns or "")]
    named = dict(pairs)
    if not all(named) or not all(named.values()):
        raise ConfigError(f"--map {columns}: expected NAME=COLUMN with commas between, such as question=Frage.")
    if len(named) < len(pairs):
        raise ConfigError(f"--map {columns}: a name is given twice.")
    read = validate(IngestConfig, {"encoding": encoding, "delimiter": delimiter}, "command line")
    sources = [*(source or ()), *(split or ())]
    if not sources:
        raise ConfigError("Name the benchmark's files with --source.")
    report = convert(
        name,
        sources,
        out,
        seed=seed,
        target=target,
        dev=dev,
        test=test,
        keep_constant=keep_constant,
        overwrite=overwrite,
        task=task,
        reading=ReadingOptions(named, read.encoding, read.delimiter),
    )
    if as_json:
        emit(report.to_dict(), True, "")
        return
    left_out = {f"left out: {reason}": count for reason, count in report.unusable.items()}
    left_out |= {f"left out: {name} has one answer for all items": count for name, count in report.constant.items()}
    left_out |= {"left out: stands twice": report.duplicates, "beyond the limits of the splits": report.unused}
    rows = {
        **{f"{part} items": count for part, count in report.items.items()},
        "items with several accepted answers": report.aliases,
        **left_out,
    }
    shown = [(what, f"{count:,}") for what, count in rows.items() if count or what.endswith("test items")]
    shown.append(("share of the most common answer", f"{report.most_common_answer:.1%}"))
    output.table(f"{report.config['name']} in {report.out}", None, shown)
    few = few_items(report.items["dev"])
    if few is not None:
        spare = report.items["target"] > report.items["dev"]
        more = (
            f" Of the {report.items['target']} items of target, --target 10 would leave most to dev and test."
            if spare
            else ""
        )
        warn([*report.refused, f"'{report.config['name']}' {few}{more}"])
    else:
        warn(report.refused)
    console.say("Entry for 'tasks' of a configuration:")
    console.say(f"  - {json.dumps(dict(report.config), ensure_ascii=False)}")


@app.command(rich_help_panel=SEARCH, epilog="Example: autoselection doctor study.yaml")
def doctor(
    config: Annotated[Path | None, typer.Argument(help="Configuration whose benchmarks and pool are checked.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not load the model to see whether it knows anything of the tasks.")
    ] = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Show what is installed and what will be slow; with a configuration, check its benchmarks, pool and model."""
    from autoselection.doctor import examine, examine_config
    from autoselection.report import print_checks

    if config is None and (quick or overrides):
        raise ConfigError(
            f"{'--quick' if quick else '--set'} has no effect: it is for a configuration, and none is named."
        )
    if config is not None:
        from autoselection.config import load_config

        checked = examine_config(load_config(config, overrides or ()), quick=quick)
        if as_json:
            emit({**checked, **failed(2, " ".join(checked["problems"]))}, True, "")
        else:
            print_checks(checked, str(config), output)
        if checked["problems"]:
            raise typer.Exit(2)
        return
    found = examine()
    if as_json:
        emit(found, True, "")
        return
    lines = [
        (package["for"], package["name"], package["version"] or styled("not installed", "red"))
        for package in found["packages"]
    ]
    title = f"autoselection {__version__} on Python {found['python']}"
    output.table(title, ("for", "package", "version"), lines)
    for remark in found["remarks"]:
        output.say(f"- {remark}")
