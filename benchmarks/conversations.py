"""A search on a pool with tools and reasoning, end to end, with the demo's tiny model.

    python -m benchmarks.conversations --out DIR [--evaluations 15] [--rows 2000] [--seed 0] [--turns each] [--workers 2]

The pool is made from the demo's: sums are worked out by a call of a tool, its result and an answer; other answers are
thought about first; some rows are conversations of two questions. A part of the traces is faulty: arguments that are no
JSON or miss a parameter, calls without a result, reasoning that never closes. Rows are written as OpenAI messages with
tools, read by ``autoselection ingest``, rendered by a chat template that cuts reasoning from earlier turns, scored,
searched, and the winner is exported. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from autoselection.demo import TASKS, model_dir, pool_file, task_file
from autoselection.pool import Pool
from autoselection.recipes import Recipe
from autoselection.study import Study

TEMPLATE = (
    "{% if tools %}{{ '<|system|>' }}{% for t in tools %}{{ t.function.name + ' ' }}{% endfor %}{{ '<|end|>' }}{% endif %}"
    "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}"
    "{% endif %}{% endfor %}{% for m in messages %}{% if m.role == 'tool' %}{{ '<|user|>=' + m.content + '<|end|>' }}"
    "{% else %}{{ '<|' + m.role + '|>' }}{% if m.reasoning_content and loop.index0 > ns.last %}"
    "{{ '{' + m.reasoning_content + '} ' }}{% endif %}{{ m.content }}{% for c in m.tool_calls or [] %}"
    "{{ c.function.name + c.function.arguments|string }}{% endfor %}{{ '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}
FAULTS = ("no JSON", "a parameter missing", "no result", "never closed")


def make_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of OpenAI messages, made from the demo's pool; ``fault`` tells what was planted, if anything."""
    draw = random.Random(seed)
    demo = [json.loads(line) for line in pool_file().read_text().splitlines()]
    rows = []
    for row in draw.sample(demo, min(count, len(demo))):
        question, answer = (turn["content"] for turn in row["messages"])
        made: dict[str, Any] = {
            "id": row["id"],
            "source": row["source"],
            "messages": [{"role": "user", "content": question}],
        }
        numbers = re.findall(r"\d+", question)
        thought, _, last = answer.rpartition("\n")
        fault = draw.choice(FAULTS) if draw.random() < 0.15 else None
        if re.match(r"(?:.*\b)?(?:Add|Sum)\b", question) and len(numbers) == 2:
            made["tools"] = [ADD]
            made["messages"] += _called(numbers, last, thought, fault)
        elif fault == "never closed":
            made["messages"].append({"role": "assistant", "content": f"<think>so {answer}"})
        else:
            fault = None
            made["messages"].append(
                {"role": "assistant", "content": answer, "reasoning_content": f"{len(question)} letters"}
            )
        if draw.random() < 0.3:
            other = draw.choice(demo)["messages"]
            made["messages"] = [*other, *made["messages"]]
        made["fault"] = fault
        rows.append(made)
    return rows


def _called(numbers: Sequence[str], answer: str, thought: str, fault: str | None) -> list[dict[str, Any]]:
    arguments = json.dumps({"a": int(numbers[0]), "b": int(numbers[1])})
    if fault == "no JSON":
        arguments = arguments[:-1]
    if fault == "a parameter missing":
        arguments = json.dumps({"a": int(numbers[0])})
    call = {"id": "call00001", "type": "function", "function": {"name": "add", "arguments": arguments}}
    asked = {"role": "assistant", "content": "", "tool_calls": [call], "reasoning_content": thought or "add them"}
    result = {"role": "tool", "content": answer, "tool_call_id": "call00001"}
    told = {"role": "assistant", "content": f"<think>{thought}" if fault == "never closed" else answer}
    return [asked, told] if fault == "no result" else [asked, result, told]


def configuration(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The study's configuration."""
    return {
        "name": "tools-and-reasoning",
        "pool": {"files": [str(folder / "pool.jsonl")]},
        "model": {"path": str(model_dir()), "chat_template": str(folder / "template.jinja")},
        "sae": None,
        "tasks": [
            {"name": task, **{split: str(task_file(task, split)) for split in ("target", "dev", "test")}}
            for task in TASKS
        ],
        "signals": {"turns": options.turns},
        "evaluation": {
            "threads": 1,
            "device": "cpu",
            "sft": {
                "max_steps": options.steps,
                "batch_size": 16,
                "learning_rate": 1e-3,
                "max_length": 256,
                "turns": options.turns,
            },
        },
        "search": {"evaluations": options.evaluations, "seed": options.seed, "include_full": True},
        "executor": {"workers": options.workers},
        "final": {"single_operators": 2, "recipes": ["clean-traces"]},
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Make the pool, search, and tell what came of it."""
    folder = options.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    rows = make_rows(options.rows, options.seed)
    (folder / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "template.jinja").write_text(TEMPLATE)
    (folder / "study.yaml").write_text(yaml.safe_dump(configuration(folder, options), sort_keys=False))
    started = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "autoselection",
        "search",
        str(folder / "study.yaml"),
        "--out",
        str(folder / "study"),
    ]
    subprocess.run(command, check=True)
    study = Study(folder / "study")
    pool = Pool.open(study.path / "pool")
    faulty = {row["id"] for row in rows if row["fault"]}
    best = study.best()
    assert best is not None, "no evaluation came to its end"
    kept = set(pool.row_ids(study.rows(best.id)))
    full = next((trial.score for trial in study.subsets() if len(study.rows(trial.id)) == len(pool)), None)
    return {
        "rows": len(pool),
        "faulty": len(faulty & set(pool.row_ids())),
        "with_tools": sum(row.tools is not None for row in pool.conversations()),
        "evaluations": len(study.trials),
        "seconds": round(time.perf_counter() - started, 1),
        "best": Recipe.from_dict(best.record["recipe"]).describe(),
        "best_score": best.score,
        "full_score": full,
        "kept_rows": len(kept),
        "kept_faulty": len(kept & faulty),
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conversations", description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, help="Folder for the pool and the study; an unfinished one goes on."
    )
    parser.add_argument("--rows", type=int, default=2000, help="Rows of the pool.")
    parser.add_argument("--evaluations", type=int, default=15, help="Full evaluations of the search.")
    parser.add_argument("--steps", type=int, default=200, help="Steps of a training.")
    parser.add_argument("--turns", default="each", choices=("all", "last", "each"), help="Turns that have a loss.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of pool and search.")
    parser.add_argument("--workers", type=int, default=2, help="Evaluations side by side.")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it and print one line of JSON."""
    print(json.dumps(run(_options(arguments))), flush=True)


if __name__ == "__main__":
    main()
