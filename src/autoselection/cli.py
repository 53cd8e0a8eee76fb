"""The ``autoselection`` command line. Every command is a thin call of a public function.

Standard output carries results: tables for people, or with ``--json`` exactly one JSON document. Progress, notices and
errors go to standard error. Exit codes: 0 done, 2 wrong configuration or usage, 3 pool, 4 signals, 5 recipe,
6 evaluation, 7 study, 8 missing package, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autoselection import __version__
from autoselection.errors import AutoSelectionError, ConfigError
from autoselection.progress import console

app = typer.Typer(
    name="autoselection",
    help="Find the best ordered recipe for cutting a fine-tuning set out of a fixed pool of instructions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
sae_app = typer.Typer(help="Sparse autoencoders.", no_args_is_help=True)
app.add_typer(sae_app, name="sae")
pool_app = typer.Typer(help="What is in a pool.", no_args_is_help=True)
app.add_typer(pool_app, name="pool")
reproduce_app = typer.Typer(help="Published tables from one configuration.", no_args_is_help=True)
app.add_typer(reproduce_app, name="reproduce")

#: Width of tables in files and pipes, where there is no terminal to fit (characters).
_PLAIN_WIDTH = 180
output = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)

Number = TypeVar("Number", int, float)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Set = Annotated[
    Optional[list[str]],  # noqa: UP045 - Typer evaluates annotations on Python 3.10
    typer.Option("--set", metavar="KEY=VALUE", help="Override a configuration key, e.g. search.evaluations=10."),
]
PoolDir = Annotated[Path, typer.Argument(help="Pool directory made by 'autoselection ingest'.")]


class PoolFormat(str, Enum):
    """Row formats of raw pool files."""

    auto = "auto"
    messages = "messages"
    sharegpt = "sharegpt"
    alpaca = "alpaca"
    prompt_completion = "prompt-completion"


class ExportFormat(str, Enum):
    """Formats in which a subset is written."""

    messages = "messages"
    sharegpt = "sharegpt"
    hf = "hf"


class EvaluationSplit(str, Enum):
    """Splits a subset can be scored on."""

    dev = "dev"
    test = "test"


def _words(text: str) -> list[str]:
    """What stands between the commas of an option."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(option: str, text: str, kind: Callable[[str], Number]) -> list[Number]:
    """The numbers between the commas of an option.

    Raises:
        ConfigError: something else stands there.
    """
    try:
        return [kind(word) for word in _words(text)]
    except ValueError as error:
        what = "whole numbers" if kind is int else "numbers"
        raise ConfigError(f"{option} {text}: expected {what} with commas between them, such as 1,2.") from error


def _emit(document: Mapping[str, Any], as_json: bool, title: str) -> None:
    """Print a result: the JSON document itself, or its top level as a table."""
    if as_json:
        sys.stdout.write(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n")
        return
    table = Table(title=title, show_header=False, title_justify="left")
    for key, value in document.items():
        shown = (
            value if isinstance(value, (str, int, float)) or value is None else json.dumps(value, ensure_ascii=False)
        )
        table.add_row(key, escape(str(shown)))
    output.print(table)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Configuration file to write.")] = Path("autoselection.yaml"),
    force: Annotated[bool, typer.Option(help="Overwrite an existing file.")] = False,
) -> None:
    """Write a configuration with every key documented."""
    from autoselection.config import commented_yaml

    if path.exists() and not force:
        raise ConfigError(f"{path} exists; name another file or pass --force.")
    values = {
        "pool": {"files": ["pool.jsonl"]},
        "model": {"path": "models/base"},
        "tasks": [
            {"name": "my_task", "target": "tasks/target.jsonl", "dev": "tasks/dev.jsonl", "test": "tasks/test.jsonl"}
        ],
    }
    path.write_text(commented_yaml(values), encoding="utf-8")
    console.print(f"Wrote {path}. Edit pool, model and tasks, then run: autoselection search {path} --out STUDY_DIR")


@app.command("config")
def config_command(
    path: Annotated[Optional[Path], typer.Argument(help="Configuration file to check.")] = None,  # noqa: UP045
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema instead.")] = False,
    overrides: Set = None,
) -> None:
    """Check a configuration and print it with all defaults filled in, or print the schema."""
    from autoselection.config import config_schema, load_config, to_yaml

    if schema:
        sys.stdout.write(json.dumps(config_schema(), indent=2) + "\n")
    elif path is None:
        raise ConfigError("Name a configuration file, or pass --schema.")
    else:
        sys.stdout.write(to_yaml(load_config(path, overrides or ())))


@app.command()
def ingest(
    files: Annotated[
        list[Path], typer.Argument(help="JSONL, JSON, CSV, Parquet (also .gz, .zst), or dataset folders.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Pool directory to write.")],
    row_format: Annotated[PoolFormat, typer.Option("--format", help="Row format.")] = PoolFormat.auto,
    on_bad_row: Annotated[str, typer.Option(help="What a bad row does: 'skip' (counted) or 'refuse'.")] = "skip",
    special_tokens: Annotated[
        str, typer.Option(help="Control words inside row text: 'keep' as plain text, 'strip', or 'refuse' the row.")
    ] = "keep",
    overwrite: Annotated[bool, typer.Option(help="Replace a pool of other content in --out.")] = False,
    append: Annotated[
        bool, typer.Option("--append", help="Add the rows behind those of the pool in --out; its signals stay.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read raw files once into a canonical pool."""
    from autoselection.pool import IngestConfig
    from autoselection.pool import ingest as ingest_files
    from autoselection.validation import validate

    settings = {"format": row_format.value, "on_bad_row": on_bad_row, "special_tokens": special_tokens}
    config = validate(IngestConfig, settings, "command line")
    report = ingest_files(files, out, config, overwrite=overwrite, append=append)
    _emit(report.to_dict(), as_json, f"Pool {out}")


@app.command()
def score(
    pool_dir: PoolDir,
    model: Annotated[Optional[str], typer.Option(help="Base model folder or hub id.")] = None,  # noqa: UP045
    sae: Annotated[Optional[Path], typer.Option(help="SAE in sparsify format.")] = None,  # noqa: UP045
    signals: Annotated[Optional[str], typer.Option(help="Comma-separated signals (default: all possible).")] = None,  # noqa: UP045
    embedding_model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Sentence-transformers or static embedding model, folder or hub id."),
    ] = None,
    reward_model: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Sequence classifier that judges rows, folder or hub id."),
    ] = None,
    reward_label: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The classifier's label whose score is the reward (none: a regression head)."),
    ] = None,
    trajectory_model: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Checkpoint for the loss trajectory (repeatable, in the order of training)."),
    ] = None,
    target: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="TASK=FILE", help="Target samples of a task, for MONA (repeatable)."),
    ] = None,
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Study configuration whose model, SAE, tasks and signal settings are used."),
    ] = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Compute and cache the signals of a pool."""
    from autoselection.pool import Pool
    from autoselection.signals import SignalsConfig, score_pool

    pool = Pool.open(pool_dir)
    names = _words(signals) if signals else None
    study = None
    if config is not None:
        from autoselection.config import load_config

        study = load_config(config, overrides or ())
    elif overrides:
        raise ConfigError("--set overrides keys of a configuration: name one with --config.")
    tasks = (*(study.tasks if study else ()), *(_target_task(text) for text in target or ()))
    settings = study.signals if study else SignalsConfig()
    given = {
        "embedding_model": embedding_model,
        "reward_model": reward_model,
        "reward_label": reward_label,
        "trajectory_models": tuple(trajectory_model) if trajectory_model else None,
    }
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    report = score_pool(
        pool,
        settings,
        model=model or (study.model.path if study else None),
        sae=sae or (study.sae if study else None),
        tasks=tasks,
        signals=names,
        chat_template=study.model.chat_template if study else None,
        trust_remote_code=study.model.trust_remote_code if study else False,
    )
    _emit(report.to_dict(), as_json, f"Signals of {pool_dir}")


def _target_task(text: str) -> Any:
    from autoselection.tasks import TaskConfig
    from autoselection.validation import validate

    name, separator, path = text.partition("=")
    if not separator:
        raise ConfigError(f"--target {text}: expected TASK=FILE.")
    return validate(TaskConfig, {"name": name, "target": path, "dev": path}, "--target")


@app.command()
def recipes(
    name: Annotated[Optional[str], typer.Argument(help="Ready recipe to print as YAML.")] = None,  # noqa: UP045
    as_json: Json = False,
) -> None:
    """List the ready recipes, or print one, to be saved and changed. Their names serve wherever a recipe file does."""
    from autoselection.recipes import ready_recipe, ready_recipes

    if name is not None:
        found = ready_recipe(name)
        if as_json:
            _emit(found.to_dict(), True, "")
        else:
            sys.stdout.write(found.text)
        return
    if as_json:
        _emit({"recipes": [entry.to_dict() for entry in ready_recipes().values()]}, True, "")
        return
    table = Table(title="Ready recipes", title_justify="left", show_lines=True)
    for heading in ("name", "for", "signals", "source"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "name")
    for entry in ready_recipes().values():
        table.add_row(entry.name, escape(entry.purpose), ", ".join(entry.needs()), escape(entry.source))
    output.print(table)


@app.command()
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
    _emit(document, as_json, str(recipe))


@app.command("apply")
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
        _emit(document, as_json, str(recipe))
        return
    if report_file is not None:
        report_file.write_text(json.dumps(changed.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if as_json:
        _emit({**document, "changes": changed.summary()}, True, "")
        return
    from autoselection.report import print_transfer

    _emit(document, False, str(recipe))
    print_transfer(changed, output)


@app.command()
def search(
    config: Annotated[Path, typer.Argument(help="Study configuration.")],
    out: Annotated[Path, typer.Option("--out", help="Study directory; an unfinished study there goes on.")],
    rescore_test: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="REASON", help="Score test again, by another final plan; recorded and reported."),
    ] = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Run the whole job: pool, signals, search, test, exports. Running it again goes on where it stopped."""
    from autoselection.config import load_config
    from autoselection.study import run_study

    given = [*(overrides or ()), *([f"final.rescore={json.dumps(rescore_test)}"] if rescore_test is not None else ())]
    _finish(run_study(load_config(config, given), out), as_json)


@app.command()
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


def _finish(study: Any, as_json: bool) -> None:
    from autoselection.report import print_study, write_report
    from autoselection.study import summary

    write_report(study)
    if as_json:
        _emit(summary(study), True, "")
    else:
        print_study(study, output)


@app.command()
def report(
    study_dir: Annotated[Path, typer.Argument(help="Study directory.")],
    as_json: Json = False,
) -> None:
    """Show a study as tables, finished or not."""
    from autoselection.study import Study

    _finish(Study(study_dir.resolve()), as_json)


@app.command()
def evaluate(
    config: Annotated[Path, typer.Argument(help="Study configuration.")],
    subset: Annotated[Path, typer.Option("--subset", help="Row ids: JSON list, JSONL with 'id', or one id a line.")],
    split: Annotated[EvaluationSplit, typer.Option("--split", help="Which items to score.")] = EvaluationSplit.dev,
    seed: Annotated[int, typer.Option(help="Training seed.")] = 0,
    work_dir: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Keep the trained model and per-item scores here."),
    ] = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Train on a subset and score it, outside of any study."""
    from autoselection.config import load_config
    from autoselection.study import evaluate_subset

    result = evaluate_subset(load_config(config, overrides or ()), subset, split.value, seed, work_dir)
    _emit(result.to_dict(), as_json, f"{subset} on {split.value}")
    if result.failure:
        console.print(f"[red]error:[/] {escape(result.failure)}")
        raise typer.Exit(6)


@sae_app.command("train")
def sae_train(
    pool_dir: PoolDir,
    model: Annotated[str, typer.Option(help="Base model folder or hub id.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the checkpoint (sparsify format).")],
    features: Annotated[int, typer.Option(help="Width of the SAE (features).")] = 4096,
    k: Annotated[int, typer.Option(help="Active features a token (count).")] = 32,
    layer: Annotated[Optional[int], typer.Option(help="Layer read (default: the last but one).")] = None,  # noqa: UP045
    tokens: Annotated[int, typer.Option(help="Training tokens.")] = 1_000_000,
    batch_size: Annotated[int, typer.Option(help="Sequences a step (of --context tokens).")] = 8,
    context: Annotated[int, typer.Option(help="Tokens a sequence.")] = 128,
    dtype: Annotated[str, typer.Option(help="Arithmetic of the base model: auto, float32 or bfloat16.")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed.")] = 0,
    chat_template: Annotated[Optional[str], typer.Option(help="Named template or Jinja file.")] = None,  # noqa: UP045
    as_json: Json = False,
) -> None:
    """Train a small k-sparse SAE on the pool, so that no released checkpoint is needed."""
    from autoselection.pool import Pool
    from autoselection.signals import train_sae

    result = train_sae(
        Pool.open(pool_dir),
        model,
        out,
        num_latents=features,
        k=k,
        layer=layer,
        max_tokens=tokens,
        batch_size=batch_size,
        context=context,
        dtype=dtype,
        seed=seed,
        chat_template=chat_template,
    )
    _emit(result.to_dict(), as_json, f"SAE {out}")


@pool_app.command("stats")
def pool_stats_command(pool_dir: PoolDir, as_json: Json = False) -> None:
    """Describe a pool: sources, lengths, turns, duplicates, and what its cached signals say of each source."""
    from autoselection.pool import Pool
    from autoselection.report import print_pool_stats
    from autoselection.signals import pool_stats

    stats = pool_stats(Pool.open(pool_dir))
    if as_json:
        _emit(stats.to_dict(), True, "")
    else:
        print_pool_stats(stats, pool_dir, output)


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Argument(help="Configuration whose benchmarks and pool are checked.")] = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Tell what is installed and what will be slow; with a configuration, whether its benchmarks can be trusted."""
    from autoselection.doctor import examine, examine_config

    if config is not None:
        from autoselection.config import load_config

        checked = examine_config(load_config(config, overrides or ()))
        _emit(checked, as_json, str(config))
        if checked["problems"]:
            raise typer.Exit(2)
        return
    found = examine()
    if as_json:
        _emit(found, True, "")
        return
    table = Table(title=f"autoselection {__version__} on Python {found['python']}", title_justify="left")
    for heading in ("for", "package", "version"):
        table.add_column(heading)
    for package in found["packages"]:
        table.add_row(package["for"], package["name"], package["version"] or "[red]not installed[/]")
    output.print(table)
    for remark in found["remarks"]:
        output.print(f"- {remark}", highlight=False)


@app.command()
def compute(
    study_dir: Annotated[Path, typer.Argument(help="Study directory whose search has ended.")],
    budgets: Annotated[str, typer.Option(help="Token budgets, in multiples of what a training of the winner took.")],
    seeds: Annotated[Optional[str], typer.Option(help="Training seeds (default: those of the study).")] = None,  # noqa: UP045
    split: Annotated[EvaluationSplit, typer.Option("--split", help="Which items to score.")] = EvaluationSplit.dev,
    rescore_test: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="REASON", help="Why the curves are scored on test; recorded in the study."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure how much training compute the winner saves: winner, full and random data at several token budgets."""
    from autoselection.study.compute import measure_compute

    multiples = _numbers("--budgets", budgets, float)
    chosen = None if seeds is None else _numbers("--seeds", seeds, int)
    document = measure_compute(study_dir, multiples, chosen, "test" if split.value == "test" else "dev", rescore_test)
    if as_json:
        _emit(document, True, "")
        return
    table = Table(title=f"Score on {document['split']} over training tokens (mean of seeds)", title_justify="left")
    for heading in ("arm", "tokens", "score", "seeds"):
        table.add_column(heading)
    for arm, curve in document["curves"].items():
        for tokens, scores in zip(curve["tokens"], zip(*curve["scores"], strict=True), strict=True):
            table.add_row(arm, f"{tokens:,.0f}", f"{sum(scores) / len(scores):.4f}", str(len(scores)))
    output.print(table)
    for sentence in document["sentences"]:
        output.print(f"- {escape(sentence)}", highlight=False)


@app.command()
def diagnose(
    study_dir: Annotated[Path, typer.Argument(help="Study directory.")],
    table: Annotated[Optional[Path], typer.Option(help="Also write the table to this .md or .csv file.")] = None,  # noqa: UP045
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    as_json: Json = False,
) -> None:
    """Tell which cheap numbers of a study go with the score of the full evaluation, with bootstrap intervals."""
    from autoselection.diagnose import diagnose_study, write_table
    from autoselection.report import print_diagnosis
    from autoselection.study import Study

    found = diagnose_study(Study(study_dir.resolve()), seed=seed)
    if table is not None:
        write_table(found, table)
    if as_json:
        _emit(found.to_dict(), True, "")
    else:
        print_diagnosis(found, output)


@app.command()
def compare(
    config: Annotated[Path, typer.Argument(help="Study configuration whose pool, signals and evaluator are used.")],
    out: Annotated[Path, typer.Option("--out", help="Folder; an unfinished comparison there goes on.")],
    methods: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Comma-separated methods (default: all that need no further package)."),
    ] = None,
    budget: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(help="Evaluations of each method and seed (default: search.evaluations)."),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Comma-separated seeds of the methods.")] = "0",
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Run search methods under one budget on a study's own pool and evaluator. Running it again goes on."""
    from autoselection.compare import DEFAULT, print_comparison, run_compare
    from autoselection.config import load_config

    loaded = load_config(config, overrides or ())
    names = _words(methods) if methods is not None else list(DEFAULT)
    numbers = _numbers("--seeds", seeds, int)
    found = run_compare(loaded, names, loaded.search.evaluations if budget is None else budget, numbers, out)
    if as_json:
        _emit(found.to_dict(), True, "")
    else:
        print_comparison(found, output)


@reproduce_app.command("paper")
def reproduce_paper(
    config: Annotated[str, typer.Argument(help="Reproduction file, or a name: tiny, qwen2.5-1.5b, …")],
    out: Annotated[Optional[Path], typer.Option("--out", help="Folder; an unfinished run there goes on.")] = None,  # noqa: UP045
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
    """Main table, out of distribution, ablation and transfer, with intervals. Running it again goes on."""
    from autoselection import reproduce

    loaded = reproduce.load_reproduction(config, overrides or ())
    if dry_run:
        found = reproduce.dry_run(loaded, _words(sections or ""))
        if as_json:
            _emit(found, True, "")
        else:
            reproduce.print_dry_run(found, output)
        if found["missing"]:
            console.print(f"[red]missing:[/] {escape('; '.join(found['missing']))}", highlight=False, soft_wrap=True)
            raise typer.Exit(2)
        return
    if out is None:
        raise ConfigError("Name a folder with --out, or pass --dry-run.")
    if report_only:
        document = reproduce.write_paper(loaded, out)
    else:
        document = reproduce.run_reproduction(loaded, out, _words(sections or ""))
    if as_json:
        _emit(document, True, "")
    else:
        reproduce.print_paper(document, output)


@app.command()
def benchmark(
    name: Annotated[str, typer.Argument(help="Benchmark format, e.g. gsm8k; 'list' names all of them.")],
    source: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="[SPLIT=]PATH", help="Public file or folder, e.g. test=test.jsonl (repeatable)."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for target.jsonl, dev.jsonl and test.jsonl.")] = Path(
        "tasks"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the splits and of shuffled options.")] = 0,
    target: Annotated[int, typer.Option(min=0, help="Most target items (count).")] = 100,
    dev: Annotated[int, typer.Option(min=1, help="Most dev items (count).")] = 300,
    test: Annotated[Optional[int], typer.Option(min=1, help="Most test items (default: all).")] = None,  # noqa: UP045
    keep_constant: Annotated[
        bool, typer.Option(help="Keep yes/no subtasks that have one answer for all items.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace the task files in --out.")] = False,
    as_json: Json = False,
) -> None:
    """Convert a benchmark's public files into task files, offline."""
    from autoselection.evaluation.benchmarks import BENCHMARKS, convert

    if name == "list":
        _emit({entry.name: entry.files for entry in BENCHMARKS.values()}, as_json, "Benchmark formats")
        return
    if not source:
        raise ConfigError("Name the benchmark's files with --source.")
    report = convert(
        name,
        source,
        out,
        seed=seed,
        target=target,
        dev=dev,
        test=test,
        keep_constant=keep_constant,
        overwrite=overwrite,
    )
    _emit(report.to_dict(), as_json, f"Benchmark {name}")


def _version(value: bool) -> None:
    if value:
        sys.stdout.write(f"autoselection {__version__}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Find the best ordered recipe for cutting a fine-tuning set out of a fixed pool of instructions."""


def main() -> None:
    """Entry point: errors a user can act on become one sentence and an exit code."""
    try:
        app()
    except AutoSelectionError as error:
        console.print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.print("[yellow]interrupted[/]: run the same command again to go on")
        sys.exit(130)
