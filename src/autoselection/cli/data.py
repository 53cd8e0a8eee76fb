"""Commands about pools: ingest, score, pool stats, sae train."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from autoselection.cli._common import DATA, Json, PoolDir, Set, app, emit, output, words
from autoselection.errors import ConfigError

sae_app = typer.Typer(help="Sparse autoencoders.", no_args_is_help=True)
app.add_typer(sae_app, name="sae", rich_help_panel=DATA)
pool_app = typer.Typer(help="What is in a pool.", no_args_is_help=True)
app.add_typer(pool_app, name="pool", rich_help_panel=DATA)


class PoolFormat(str, Enum):
    """Row formats of raw pool files."""

    auto = "auto"
    messages = "messages"
    sharegpt = "sharegpt"
    alpaca = "alpaca"
    prompt_completion = "prompt-completion"


@app.command(rich_help_panel=DATA, epilog="Example: autoselection ingest chats.jsonl --out pool")
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
    emit(report.to_dict(), as_json, f"Pool {out}")


@app.command(rich_help_panel=DATA, epilog="Example: autoselection score pool --model models/base")
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
    names = words(signals) if signals else None
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
    emit(report.to_dict(), as_json, f"Signals of {pool_dir}")


def _target_task(text: str) -> Any:
    from autoselection.tasks import TaskConfig
    from autoselection.validation import validate

    name, separator, path = text.partition("=")
    if not separator:
        raise ConfigError(f"--target {text}: expected TASK=FILE.")
    return validate(TaskConfig, {"name": name, "target": path, "dev": path}, "--target")


@sae_app.command("train", epilog="Example: autoselection sae train pool --model models/base --out sae")
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
    emit(result.to_dict(), as_json, f"SAE {out}")


@pool_app.command("stats", epilog="Example: autoselection pool stats pool")
def pool_stats_command(pool_dir: PoolDir, as_json: Json = False) -> None:
    """Describe a pool: sources, lengths, turns, duplicates, and what its cached signals say of each source."""
    from autoselection.pool import Pool
    from autoselection.report import print_pool_stats
    from autoselection.signals import pool_stats

    stats = pool_stats(Pool.open(pool_dir))
    if as_json:
        emit(stats.to_dict(), True, "")
    else:
        print_pool_stats(stats, pool_dir, output)


@pool_app.command("verify", epilog="Example: autoselection pool verify pool")
def pool_verify(pool_dir: PoolDir, as_json: Json = False) -> None:
    """Read a pool's rows and its cached signals anew and compare their checksums, whatever was checked before."""
    from autoselection.pool import Pool
    from autoselection.signals.store import SignalStore

    pool = Pool.open(pool_dir)
    pool.verify()
    emit({"rows": len(pool), "signals": SignalStore.of(pool).verify()}, as_json, f"Pool {pool_dir} is sound")
