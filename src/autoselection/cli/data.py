"""Commands about pools: ingest, pool show, stats and verify, sae train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from autoselection import notebook
from autoselection.cli._common import (
    DATA,
    ChatTemplate,
    Delimiter,
    Encoding,
    HtmlOption,
    Json,
    PoolPlace,
    app,
    emit,
    output,
    say_written,
    seed_option,
    words,
)
from autoselection.errors import ConfigError
from autoselection.terminal import Terminal

if TYPE_CHECKING:
    from autoselection.pool import Fault, IngestReport

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
    glaive = "glaive"
    xlam = "xlam"
    api_log = "api-log"
    anthropic = "anthropic"
    gemini = "gemini"
    ultrachat = "ultrachat"
    texts = "texts"
    turn_pairs = "turn-pairs"
    input_output = "input-output"
    reasoned = "reasoned"
    smoltalk = "smoltalk"


class Parsed(str, Enum):
    """What is parsed from marked-up texts."""

    think = "think"
    tool_calls = "tool_calls"


class Arithmetic(str, Enum):
    """Kinds of numbers a model computes with."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


class BadRows(str, Enum):
    """What a row that cannot be used does."""

    skip = "skip"
    refuse = "refuse"


class RowsFrom(str, Enum):
    """What rows are taken for."""

    auto = "auto"
    sft = "sft"
    chosen = "preference:chosen"
    wanted = "kto:true"


class SpecialTokens(str, Enum):
    """What is done with control words inside row text."""

    keep = "keep"
    remove = "strip"
    refuse = "refuse"


class CsvQuotes(str, Enum):
    """What quotes in CSV files are worth."""

    check = "check"
    trust = "trust"
    none = "none"


@app.command(
    rich_help_panel=DATA,
    epilog="Example: autoselection ingest chats.jsonl faq.csv --out pool --map prompt=Question,response=Answer",
)
def ingest(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="JSONL, JSON, CSV, Parquet, Arrow (also .gz, .zst), .xlsx, DuckDB, Lance, dataset folders, patterns, addresses, data sets of the hub, or Axolotl's YAML."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Pool directory to write.")],
    row_format: Annotated[PoolFormat, typer.Option("--format", help="Row format.")] = PoolFormat.auto,
    columns: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--map",
            metavar="ROLE=COLUMN,…",
            help="Own column names: prompt and response (also input, reasoning, history), or messages; also system, tools, source, id.",
        ),
    ] = None,
    rows_from: Annotated[
        RowsFrom,
        typer.Option(
            "--from",
            help="What rows are taken for: auto leaves out rows of other kinds and counts them, sft takes all, "
            "preference:chosen the chosen side of pairs, kto:true answers not labelled false.",
        ),
    ] = RowsFrom.auto,
    source_field: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="COLUMN", help="Column that names each row's source (default: source)."),
    ] = None,
    sources: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--source", metavar="NAME=GLOB", help="Source of the files that match a pattern (repeatable)."),
    ] = None,
    split: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Split of a dataset folder, data set of a LLaMA-Factory folder, or sheet, where there are several."
        ),
    ] = None,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    quotes: Annotated[
        CsvQuotes,
        typer.Option(help="Quotes in CSV: refuse files where a stray one swallows rows, trust them, or plain text."),
    ] = CsvQuotes.check,
    parse: Annotated[
        Optional[list[Parsed]],  # noqa: UP045
        typer.Option(help="Parse <think>, or <tool_call>, <tool_response> and <tools>, from texts (repeatable)."),
    ] = None,
    on_bad_row: Annotated[
        BadRows, typer.Option(help="A row that cannot be used is skipped (and counted), or refused.")
    ] = BadRows.skip,
    assistant_opens: Annotated[
        bool, typer.Option("--assistant-opens", help="Take conversations that the assistant opens.")
    ] = False,
    special_tokens: Annotated[
        SpecialTokens,
        typer.Option(help="Control words inside row text: kept as plain text, removed, or the row is bad."),
    ] = SpecialTokens.keep,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a pool of other content in --out.")] = False,
    append: Annotated[
        bool, typer.Option("--append", help="Add the rows behind those of the pool in --out; its signals stay.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read raw files once into a canonical pool."""
    from autoselection.pool import IngestConfig, parse_map
    from autoselection.pool import ingest as ingest_files
    from autoselection.validation import validate

    settings = {
        "format": row_format.value,
        "map": parse_map(columns) if columns else {},
        "from": rows_from.value,
        "source_field": source_field or "source",
        "sources": _source_patterns(sources or ()),
        "split": split,
        "delimiter": delimiter,
        "encoding": encoding,
        "quotes": quotes.value,
        "parse": tuple(dict.fromkeys(kind.value for kind in parse or ())),
        "on_bad_row": on_bad_row.value,
        "assistant_opens": assistant_opens,
        "special_tokens": special_tokens.value,
    }
    config = validate(IngestConfig, settings, "command line")
    report = ingest_files(files, out, config, overwrite=overwrite, append=append)
    if as_json:
        emit(report.to_dict(), True, "")
    else:
        _print_ingest(report, output)


def _source_patterns(entries: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in entries:
        name, separator, pattern = entry.partition("=")
        if not separator or not name.strip() or not pattern:
            raise ConfigError(f"--source {entry}: expected NAME=GLOB, such as math='data/math/*.jsonl'.")
        if name in found:
            raise ConfigError(f"--source {entry}: '{name}' is given twice; one pattern may match many files.")
        found[name] = pattern
    return found


def _print_ingest(report: IngestReport, terminal: Terminal) -> None:
    """Print what was read: rows, sources, and why rows were skipped."""
    state = "existed already and was not changed" if report.unchanged else "is new"
    if report.appended and report.appended < report.rows:
        state = f"grew by {notebook.counted(report.appended, 'row')}"
    lines = [
        ("pool", f"{report.path} ({state})"),
        ("rows", f"{report.rows:,}"),
        ("skipped", f"{report.skipped:,}" + (f", listed in {report.path / 'skipped.jsonl'}" if report.skipped else "")),
        ("row format", report.format),
        ("sources", _listed(report.sources)),
        ("special tokens in texts", _listed(report.special_tokens) or "none"),
        ("parts of turns not kept", _listed(report.ignored) or "none"),
        ("fingerprint", report.fingerprint),
        ("seconds", f"{report.seconds:.1f}"),
    ]
    terminal.table(f"Pool {report.path}", None, lines)
    if report.faults:
        names = {Path(record.path).name for record in report.files}
        alone = len(names) == len(report.files)  # then a file's name tells it without its folder
        rows = [_fault_line(fault, alone) for fault in report.faults]
        headings = ("kind", "rows", "first at", "field", "what is wrong there", "what would read it")
        terminal.table("Skipped rows by kind", headings, rows, fixed=3)


def _fault_line(fault: Fault, alone: bool) -> tuple[str, ...]:
    first = fault.first
    file = Path(first.file).name if alone else first.file
    return first.kind, f"{fault.rows:,}", f"{file}:{first.line}", first.field, first.reason, first.hint


def _listed(counts: Mapping[str, int], limit: int = 12) -> str:
    """Names with their counts, the largest first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(ordered) - limit:,} more" if len(ordered) > limit else ""
    return ", ".join(f"{name} {count:,}" for name, count in ordered[:limit]) + more


@sae_app.command("train", epilog="Example: autoselection sae train pool --model models/base --out sae")
def sae_train(
    places: PoolPlace,
    model: Annotated[str, typer.Option(help="Base model folder or hub id.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the checkpoint (sparsify format).")],
    features: Annotated[int, typer.Option(min=1, help="Width of the SAE (features).")] = 4096,
    k: Annotated[int, typer.Option(min=1, help="Active features a token (count).")] = 32,
    layer: Annotated[Optional[int], typer.Option(help="Layer read (default: the last but one).")] = None,  # noqa: UP045
    tokens: Annotated[int, typer.Option(min=1, help="Training tokens.")] = 1_000_000,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences a step (of --context tokens).")] = 8,
    context: Annotated[int, typer.Option(min=2, help="Tokens a sequence.")] = 128,
    dtype: Annotated[Arithmetic, typer.Option(help="Arithmetic of the base model.")] = Arithmetic.auto,
    seed: Annotated[int, seed_option("Seed.")] = 0,
    chat_template: ChatTemplate = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a checkpoint in --out.")] = False,
    as_json: Json = False,
) -> None:
    """Train a small k-sparse SAE on the pool, so that no released checkpoint is needed."""
    from autoselection.signals import train_sae
    from autoselection.study.named_pools import open_named_pool

    result = train_sae(
        open_named_pool(places).pool,
        model,
        out,
        num_latents=features,
        k=k,
        layer=layer,
        max_tokens=tokens,
        batch_size=batch_size,
        context=context,
        dtype=dtype.value,
        seed=seed,
        chat_template=chat_template,
        overwrite=overwrite,
    )
    emit(result.to_dict(), as_json, f"SAE {out}")


@pool_app.command("stats", epilog="Example: autoselection pool stats pool")
def pool_stats_command(places: PoolPlace, html: HtmlOption = None, as_json: Json = False) -> None:
    """Describe a pool: sources, lengths, turns, duplicates, and the mean of its cached signals in each source."""
    from autoselection.export import check_not_read
    from autoselection.report import print_pool_stats, write_pool_page
    from autoselection.signals import pool_stats
    from autoselection.study.named_pools import open_named_pool, own_files

    check_not_read({"--html": html}, [path for place in places for path in own_files(place)])
    source = open_named_pool(places)
    check_not_read({"--html": html}, [], source.pool.manifest.files)
    stats = pool_stats(source.pool)
    if html is not None:
        write_pool_page(stats, source.name, html)
    if as_json:
        emit(stats.to_dict(), True, "")
    else:
        print_pool_stats(stats, Path(source.name), output)
        say_written({"the page": html})


@pool_app.command("show", epilog="Example: autoselection pool show pool --where 'n_tokens < 20' --sample 5")
def pool_show(
    place: Annotated[Path, typer.Argument(metavar="POOL", help="Pool or study directory, or a raw file.")],
    ids: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="[ID…]", help="Ids, or numbers, of rows (default: the first that fit the options)."),
    ] = None,
    where: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="CONDITION", help="Rows to choose: \"ifd < 0.3 and source in ('a', 'b')\"."),
    ] = None,
    source: Annotated[Optional[str], typer.Option(help="Only rows of this source.")] = None,  # noqa: UP045
    sample: Annotated[Optional[int], typer.Option(min=1, help="Show so many of them at random.")] = None,  # noqa: UP045
    limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=0, help="Without --sample, show the first so many (default: 5, or all that are named)."),
    ] = None,
    seed: Annotated[int, seed_option("Seed of the sample.")] = 0,
    signals: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME,…", help="Signals to show (default: all that the pool has); none shows none."),
    ] = None,
    brief: Annotated[bool, typer.Option("--brief", help="One line for each row.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Whole texts, however long.")] = False,
    as_json: Json = False,
) -> None:
    """Show rows: their turns, own columns, and every signal with its percentiles in the pool and in its source."""
    from autoselection.inspection import SHOWN, show_rows
    from autoselection.report import print_rows
    from autoselection.study.named_pools import open_scored_pool

    if brief and full:
        raise ConfigError("--brief and --full: give one of them.")
    scored = open_scored_pool(place)
    for name in ids or ():
        if name not in scored.pool and Path(name).exists():
            raise ConfigError(
                f"pool show takes one place, {place}, and behind it ids of rows, and {name} is a file or folder: leave it out, or make "
                "one pool of both with autoselection ingest."
            )
    names = None if signals is None else [] if signals.strip().lower() == "none" else words(signals)
    first = (None if ids else SHOWN) if limit is None else limit
    shown = show_rows(
        scored.pool,
        ids or None,
        where=where,
        source=source,
        sample=sample,
        limit=first,
        seed=seed,
        signals=scored.table,
        columns=names,
    )
    if as_json:
        emit(shown.to_dict(), True, "")
    else:
        print_rows(shown, scored.name, output, brief=brief, full=full)


@pool_app.command("verify", epilog="Example: autoselection pool verify pool")
def pool_verify(places: PoolPlace, as_json: Json = False) -> None:
    """Read a pool's rows and its cached signals again and compare their checksums."""
    from autoselection.signals.store import SignalStore
    from autoselection.study.named_pools import open_named_pool

    source = open_named_pool(places)
    source.pool.verify()
    counted = {"rows": len(source.pool), "signals": SignalStore.of(source.pool).verify()}
    emit(counted, as_json, f"Pool {source.name} is sound")
