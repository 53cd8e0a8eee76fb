"""Commands about pools: ingest, pool stats, sae train."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer

from autoselection.cli._common import DATA, Json, PoolPlace, app, emit, output

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


@sae_app.command("train", epilog="Example: autoselection sae train pool --model models/base --out sae")
def sae_train(
    places: PoolPlace,
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
    from autoselection.signals import train_sae
    from autoselection.study.places import open_source

    result = train_sae(
        open_source(places).pool,
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
def pool_stats_command(places: PoolPlace, as_json: Json = False) -> None:
    """Describe a pool: sources, lengths, turns, duplicates, and what its cached signals say of each source."""
    from autoselection.report import print_pool_stats
    from autoselection.signals import pool_stats
    from autoselection.study.places import open_source

    source = open_source(places)
    stats = pool_stats(source.pool)
    if as_json:
        emit(stats.to_dict(), True, "")
    else:
        print_pool_stats(stats, Path(source.name), output)


@pool_app.command("verify", epilog="Example: autoselection pool verify pool")
def pool_verify(places: PoolPlace, as_json: Json = False) -> None:
    """Read a pool's rows and its cached signals anew and compare their checksums, whatever was checked before."""
    from autoselection.signals.store import SignalStore
    from autoselection.study.places import open_source

    source = open_source(places)
    source.pool.verify()
    counted = {"rows": len(source.pool), "signals": SignalStore.of(source.pool).verify()}
    emit(counted, as_json, f"Pool {source.name} is sound")
