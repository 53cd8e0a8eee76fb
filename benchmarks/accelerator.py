"""Everything that has to be measured on a GPU, in nine minutes: one command, one JSON line a finding, printed when it is found.

    python -m benchmarks.accelerator --out DIR [--model FOLDER --pool FILE --tasks DIR] [--seconds 540]

0. ``preflight``: the device, versions, packages that are missing, and what is therefore left out.
1. ``packed``: whether packed passes give what the model alone gives, with their gradients (:mod:`benchmarks.packed`).
2. ``small``: rates of training, and operators and host synchronisations of its passes, for SmolLM2-135M's shape (or ``--model``),
   beside plain loops and TRL (:mod:`benchmarks.throughput`).
3. ``signals``: rates of signals and scoring for the same model.
4. ``large``: rates of training for Qwen2.5-1.5B's shape, with its share of the peak.
5. ``search``: 15 evaluations of a million tokens over 16,000 rows, as many as fit (:mod:`benchmarks.accelerator_search`).

PyTorch, transformers, accelerate and numpy are enough for 1 and for the loops of 2 and 4; what else a step needs, the preflight
names. Nothing is fetched. Each step is a process of its own with a share of the time that is left, and ends by itself; one that
does not is cut off, and what it had printed stays. ``--out`` gets two files, ``accelerator.jsonl`` and ``accelerator.log``; weights,
pool and study lie in ``--work`` (default: a temporary folder). The exit code is 1 only where nothing could be measured.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.accelerator_options import add_search_options
from benchmarks.throughput.names import FROZEN, OURS, PACKED, PLAIN, TRL

ROOT = Path(__file__).resolve().parents[1]
SMALL, LARGE = "smollm2-135m", "qwen2.5-1.5b"
#: What of the time that is left a step gets, beside those behind it.
SHARES = {"packed": 0.08, "small": 0.16, "signals": 0.09, "large": 0.14, "search": 0.53}

#: Modules and the distributions that have them: what the package needs, and what its extra for training adds.
CORE = {
    "numpy": "numpy", "scipy": "scipy", "sklearn": "scikit-learn", "polars": "polars", "pyarrow": "pyarrow",
    "pydantic": "pydantic", "yaml": "pyyaml", "typer": "typer", "rich": "rich",
}  # fmt: skip
TRAIN = {
    "torch": "torch", "transformers": "transformers", "trl": "trl", "peft": "peft", "accelerate": "accelerate",
    "datasets": "datasets", "lm_eval": "lm-eval", "math_verify": "math-verify", "safetensors": "safetensors",
}  # fmt: skip
BARE = frozenset({"torch", "transformers", "numpy"})
PACKAGE = frozenset(CORE) | BARE
TRAINER = BARE | {"trl", "datasets", "accelerate"}
EVERYTHING = frozenset({**CORE, **TRAIN})
#: What parts need, by step (methods of training by their names).
NEEDS: Mapping[str, frozenset[str]] = {
    "packed": BARE,
    PLAIN: BARE,
    PACKED: BARE,
    OURS: PACKAGE | TRAINER | {"safetensors"},
    FROZEN: PACKAGE | TRAINER | {"safetensors"},
    TRL: TRAINER,
    "signals": PACKAGE,
    "scoring": EVERYTHING,
    "search": EVERYTHING,
}

LOOK = """
import inspect, json, sys, torch
found = {"torch": torch.__version__, "cuda": torch.version.cuda, "device": None}
if sys.argv[1] == "cpu":
    found["device"] = "cpu"
elif torch.cuda.is_available():
    about = torch.cuda.get_device_properties(0)
    found |= {"device": about.name, "memory_gb": round(about.total_memory / 1e9, 1)}
    found["compute_capability"] = list(torch.cuda.get_device_capability())
    torch.ones(8, device="cuda").sum().item()
try:
    from torch.nn.attention.varlen import varlen_attn
    found["varlen_attn"] = str(inspect.signature(varlen_attn))
except ImportError:
    found["varlen_attn"] = None
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Step:
    """A process.

    Attributes:
        share: of the time that is left, beside the shares of later steps.
        command: without the interpreter; ``--seconds`` is added where ``timed``.
    """

    name: str
    share: float
    command: tuple[str, ...]
    timed: bool = True


def missing_modules() -> frozenset[str]:
    """Modules of the package and of its extra for training that are not installed."""
    return frozenset(name for name in EVERYTHING if importlib.util.find_spec(name) is None)


def planned(options: argparse.Namespace, missing: Collection[str]) -> tuple[list[Step], dict[str, list[str]]]:
    """The steps that can be made, in order, and what is left out, with the distributions that it lacks."""
    lacks = {part: sorted({**CORE, **TRAIN}[name] for name in needs & set(missing)) for part, needs in NEEDS.items()}
    if options.pool is not None:  # a pool file is read by the package; drawn rows are not
        for part in (PLAIN, PACKED, TRL):
            lacks[part] = sorted({*lacks[part], *lacks["signals"]})
    left_out = {part: names for part, names in lacks.items() if names}
    rates = ("-m", "benchmarks.throughput", "--json", "--device", options.device, "--dtype", "bfloat16")
    rates += ("--batch-size", str(options.batch_size), "--drawn", str(options.drawn))
    pool = ("--pool", str(options.pool)) if options.pool else ()
    small = ("--model", str(options.model)) if options.model else ("--shape", options.small)
    template = ("--chat-template", options.chat_template) if options.chat_template else ()
    small += template

    def able(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name not in left_out)

    steps = []
    if "packed" not in left_out:
        command = (
            "-m",
            "benchmarks.packed",
            "--json",
            "--device",
            options.device,
            "--shape",
            options.small,
            options.large,
            "windowed",
        )
        steps.append(Step("packed", SHARES["packed"], command, timed=False))
    if methods := able((OURS, PLAIN, PACKED, FROZEN, TRL)):
        command = (*rates, *small, *pool, "--parts", "training", "dispatch", "--methods", *methods)
        steps.append(Step("small", SHARES["small"], command))
    if parts := able(("signals", "scoring")):
        steps.append(Step("signals", SHARES["signals"], (*rates, *small, *pool, "--parts", *parts)))
    if methods := able((OURS, PACKED, PLAIN)):
        command = (*rates, "--shape", options.large, *pool, "--parts", "training")
        steps.append(Step("large", SHARES["large"], (*command, "--methods", *methods)))
    if "search" not in left_out:
        named = {"model": options.model, "pool": options.pool, "tasks": options.tasks, "sae": options.sae}
        command = ("-m", "benchmarks.accelerator_search", "--device", options.device, "--shape", options.small)
        command += ("--work", str(options.work / "search"), "--workers", str(options.workers))
        command += ("--rows", str(options.rows), "--evaluations", str(options.evaluations))
        command += ("--tokens", str(options.tokens), *template)
        command += tuple(word for name, path in named.items() if path for word in (f"--{name}", str(path)))
        steps.append(Step("search", SHARES["search"], command))
    return [step for step in steps if step.name in options.steps], left_out


def allotted(steps: Sequence[Step], number: int, left: float) -> float:
    """Seconds that step ``number`` gets of those left; all of them if it is the last."""
    return left * steps[number].share / sum(step.share for step in steps[number:])


def run(command: Sequence[str], seconds: float, log: Path, take: Callable[[dict[str, Any]], None]) -> str:
    """Run a command of Python; its JSON lines are handed on as they come, everything else goes to the log.

    Returns:
        How it ended.
    """
    paths = [str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        **dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"), "1"),
    }
    cut = threading.Event()
    with log.open("a", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
            start_new_session=True,  # so that what it starts ends with it
        )
        timer = threading.Timer(seconds, lambda: (cut.set(), _kill(process)))
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if (found := _document(line)) is not None:
                    take(found)
                else:
                    errors.write(line)
            process.wait()
        finally:
            timer.cancel()
            _kill(process)
            process.wait()
    return f"cut off after {seconds:.0f} s" if cut.is_set() else f"exit code {process.returncode}"


def _kill(process: subprocess.Popen[str]) -> None:
    """End a process and all that it has started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _document(line: str) -> dict[str, Any] | None:
    """A line that is a JSON object."""
    if not line.startswith("{"):
        return None
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return found


def last_line(log: Path) -> str:
    """What was written last, such as an error."""
    return next((line for line in reversed(log.read_text("utf-8", "replace").splitlines()) if line.strip()), "")[:300]


def versions() -> dict[str, str]:
    """Installed versions of what is used."""
    found = {}
    for name in {**CORE, **TRAIN}.values():
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print and keep the lines; 1 where nothing could be measured."""
    options = _options(arguments)
    end = time.monotonic() + options.seconds
    options.out.mkdir(parents=True, exist_ok=True)
    lines, log = options.out / "accelerator.jsonl", options.out / "accelerator.log"
    measured = 0

    def say(line: Mapping[str, Any]) -> None:
        print(json.dumps(line), flush=True)
        with lines.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    with tempfile.TemporaryDirectory() as folder:
        options.work = Path(folder) if options.work is None else options.work
        missing = missing_modules()
        steps, left_out = planned(options, missing)
        seen: dict[str, Any] = {}
        if "torch" not in missing:
            run(["-c", LOOK, options.device], 90, log, seen.update)
        say({
            "step": "preflight", "python": platform.python_version(), **seen, "packages": versions(),
            "missing": sorted({**CORE, **TRAIN}[name] for name in missing), "left_out": left_out,
            "steps": {step.name: round(allotted(steps, place, 1.0), 2) for place, step in enumerate(steps)},
        })  # fmt: skip
        if not seen.get("device"):
            say({"step": "end", "failure": f"PyTorch sees no device '{options.device}' here: nothing was measured"})
            return 1

        for number, step in enumerate(steps):
            seconds = allotted(steps, number, end - time.monotonic() - 2)
            if seconds < 5:
                say({"step": step.name, "ended": "no time was left"})
                continue
            started, found = time.monotonic(), 0

            def take(line: dict[str, Any], step: Step = step) -> None:
                nonlocal found
                found += "failure" not in line
                say({"step": step.name, **line})

            # A step that knows its time ends before it is cut off.
            own = ("--seconds", f"{max(0.8 * seconds, seconds - 15):.1f}") if step.timed else ()
            ended = run([*step.command, *own], seconds, log, take)
            took = round(time.monotonic() - started, 1)
            said = {"step": step.name, "seconds": took, "of": round(seconds, 1), "measured": found, "ended": ended}
            say(said if found else {**said, "last_of_log": last_line(log)})
            measured += found
    say({"step": "end", "measured": measured, "log": log.name})
    return 0 if measured else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    def path(text: str) -> Path:
        return Path(text).expanduser().resolve()  # a study reads paths from its file's folder, not from here

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accelerator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=path, required=True, help="folder of accelerator.jsonl and accelerator.log")
    parser.add_argument("--work", type=path, help="folder of weights, pool and study (default: a temporary one)")
    add_search_options(parser, path)
    parser.add_argument("--seconds", type=float, default=540.0, help="for everything")
    parser.add_argument("--steps", nargs="+", default=list(SHARES), choices=list(SHARES))
    parser.add_argument("--small", default=SMALL, help="shape by name or numbers (benchmarks.stand_ins)")
    parser.add_argument("--large", default=LARGE)
    parser.add_argument(
        "--batch-size", type=int, default=144, help="rows of a training step of the rates (about 17,000 tokens)"
    )
    parser.add_argument("--drawn", type=int, default=10_000, help="drawn rows of the rates (about 1.2 million tokens)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
