"""A search on one GPU against the clock: 15 evaluations of a million tokens over 16,000 rows, as many as fit in the time.

    python -m benchmarks.accelerator_search --work DIR --seconds 540 [--model FOLDER --pool FILE --tasks DIR [--sae FOLDER]]

``--model``, ``--pool`` and ``--tasks`` make it a real one (folders as ``examples/smollm2/prepare.py`` writes them); without,
weights are random and rows are drawn (:mod:`benchmarks.stand_ins`), which costs the same. Evaluations run side by side. There
is no test pass, no incumbent and no generation. A line is printed for the signals and for every evaluation when it ends, read
from the study's journal, and one at the end, also where time ran out first: ``projected_s`` is what all evaluations would have
taken at the rate of those that ended.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from autoselection.jsonl import LineTail
from autoselection.ledger.journal import journal_tail
from benchmarks.accelerator_options import add_search_options
from benchmarks.stand_ins import drawn_rows, parse_shape, random_weights

SIGNALS = ("tokens", "lengths", "ngram_entropy", "repetition", "text_hash", "minhash", "ifd", "varentropy")
_GRACE = 5.0


def task_files(folder: Path) -> dict[str, dict[str, str]]:
    """Dev and target of every folder below that has both, by its name.

    Raises:
        ValueError: there is none.
    """
    found = {
        path.name: {split: str(path / f"{split}.jsonl") for split in ("target", "dev")}
        for path in sorted(folder.iterdir())
        if all((path / f"{split}.jsonl").is_file() for split in ("target", "dev"))
    }
    if not found:
        raise ValueError(
            f"{folder} has no folder with target.jsonl and dev.jsonl: one a task, as prepare.py writes them"
        )
    return found


def study(
    options: argparse.Namespace, model: Path, pool: Path, tasks: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """The configuration of the search; all paths are absolute, as those of a file are read from its own folder."""
    signals: dict[str, Any] = {"max_length": 512, "signals": list(SIGNALS), "device": options.device}
    document: dict[str, Any] = {
        "name": "accelerator",
        "pool": {"files": [str(pool.resolve())]},
        "model": {"path": str(model.resolve()), "chat_template": options.chat_template},
        "tasks": [
            {"name": name, **{split: str(Path(path).resolve()) for split, path in files.items()}, "dev_limit": 100}
            for name, files in tasks.items()
        ],
        "signals": signals,
        "evaluation": {
            "device": options.device,
            "threads": 1,
            "sft": {
                "max_tokens": options.tokens,
                "batch_size": options.batch_size,
                "learning_rate": 1e-4,
                "max_length": 512,
                "divergence": None,  # random weights may do as they like
            },
        },
        "search": {
            "evaluations": options.evaluations,
            "batch": options.workers,
            "min_rows": max(1, min(600, options.rows // 4)),
        },
        "executor": {"workers": options.workers},
        "incumbent": {"recipe": "none"},
        "final": {"enabled": False},
    }
    if options.sae is not None:
        document["sae"] = str(options.sae.resolve())
        signals["signals"] += ["sae", "mona"]
    return document


def prepare(options: argparse.Namespace) -> Path:
    """The configuration's file, with what it names."""
    from autoselection import demo

    work = options.work
    work.mkdir(parents=True, exist_ok=True)
    model, pool = options.model, options.pool
    if model is None:
        model = work / "model"
        random_weights(model, parse_shape(options.shape))
    if pool is None:
        pool = work / "drawn.jsonl"
        pool.write_text("".join(json.dumps(row) + "\n" for row in drawn_rows(options.rows)), "utf-8")
    if options.tasks is None:
        tasks = {name: {s: str(demo.task_file(name, s)) for s in ("target", "dev")} for name in demo.TASKS}
    else:
        tasks = task_files(options.tasks)
    config = work / "study.json"
    config.write_text(json.dumps(study(options, model, pool, tasks)), "utf-8")
    return config


def new_events(journal: LineTail) -> list[dict[str, Any]]:
    """Events since the last look; none as long as there is no journal."""
    found: list[dict[str, Any]] = []
    with suppress(FileNotFoundError):
        journal.follow(found.clear, found.append)
    return found


class Told:
    """What is to be said of a journal as it grows.

    Args:
        wanted: evaluations of the search.

    Attributes:
        ended: seconds after the start at which evaluations ended.
    """

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.ended: list[float] = []
        self.ready: float | None = None

    def lines(self, event: Mapping[str, Any], now: float) -> Iterator[dict[str, Any]]:
        """Lines about an event that was seen ``now`` seconds after the start."""
        if event["event"] == "study":
            self.ready = now
            report = event.get("signal_report") or {}
            yield {
                "part": "search",
                "stage": "signals",
                "after_s": now,
                "signals_s": report.get("seconds"),
                "rows": event.get("rows"),
            }
        elif event["event"] == "evaluation":
            result = event["result"]
            self.ended.append(now)
            yield {
                "part": "search",
                "stage": "evaluation",
                "number": len(self.ended),
                "after_s": now,
                "seconds": result["seconds"],
                "tokens": result["train_tokens"],
                "settings": result["settings"],
                **({"failure": result["failure"]} if result.get("failure") else {}),
            }

    def last(self, now: float, finished: bool) -> dict[str, Any]:
        """The line at the end."""
        projected = now if finished else None
        if not finished and self.ended and self.ready is not None:
            projected = self.ready + (self.ended[-1] - self.ready) / len(self.ended) * self.wanted
        line = {"part": "search", "stage": "end", "evaluations": len(self.ended), "of": self.wanted, "seconds": now}
        line |= {"finished": finished, "projected_s": projected}
        return line if self.ended else {**line, "failure": "no evaluation ended"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; the exit code is 1 where not one evaluation ended."""
    options = _options(arguments)
    started = time.monotonic()
    config = prepare(options)
    out = config.parent / "study"
    command = [sys.executable, "-m", "autoselection", "search", str(config), "--out", str(out), "--json"]
    told, journal = Told(options.evaluations), journal_tail(out / "journal.jsonl")
    # What it prints is the study's own; the lines of this script come from its journal.
    process = subprocess.Popen(command, stdout=sys.stderr)
    try:
        while True:
            code = process.poll()
            now = round(time.monotonic() - started, 1)
            for event in new_events(journal):
                for line in told.lines(event, now):
                    print(json.dumps(line), flush=True)
            if code is not None or now > options.seconds - _GRACE:
                break
            time.sleep(0.5)
        print(
            json.dumps({**told.last(now, finished=code == 0), "workers": options.workers, "rows": options.rows}),
            flush=True,
        )
    finally:
        _stop(process)
    return 0 if told.ended else 1


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the study; its journal keeps what has ended."""
    process.terminate()
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accelerator_search", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for weights, pool and study (gigabytes)")
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--shape", default="smollm2-135m", help="random weights (benchmarks.stand_ins)")
    add_search_options(parser, Path)
    parser.add_argument("--batch-size", type=int, default=64, help="rows of an optimiser step")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
