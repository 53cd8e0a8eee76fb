"""Make the pools of the family: rows, tasks and hidden truth flags, from seeds alone.

    python -m benchmarks.pools.make --work runs/pools [--pool NAME]

Writes ``WORK/NAME/{pool.jsonl, tasks/TASK/{target,dev,test}.jsonl, truth.csv.gz, specification.json}``. The truth flags
(id, skill, fault, on_target, copy) are for reports; nothing that searches or trains reads them.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.pools.faults import answer, near_copy
from benchmarks.pools.problems import Problem
from benchmarks.pools.specification import NAMES, SKILLS, Source, Specification, specification

SPLITS = {"target": 60, "dev": 80, "test": 160}
"""Items a task."""

ATTEMPTS = 200
"""Draws of a question that is not taken yet, before a source of a small skill may repeat itself."""


@dataclass(frozen=True)
class Row:
    """A pool row and its hidden truth."""

    source: str
    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...]
    skill: str
    fault: str
    on_target: bool
    copy: bool

    @property
    def good(self) -> bool:
        return self.on_target and not self.fault and not self.copy


Items = dict[str, dict[str, list[dict[str, Any]]]]


def task_items(spec: Specification) -> Items:
    """Distinct items for every task and split; options are right equally often."""
    rng = random.Random(f"{spec.seed}/tasks")
    return {task: _items(task, rng) for task in spec.targets}


def _items(task: str, rng: random.Random) -> dict[str, list[dict[str, Any]]]:
    seen: set[str] = set()
    splits: dict[str, list[dict[str, Any]]] = {}
    for split, size in SPLITS.items():
        items: list[dict[str, Any]] = []
        right: dict[str, int] = {}
        while len(items) < size:
            problem = SKILLS[task](rng)
            if problem.prompt in seen:
                continue
            item: dict[str, Any] = {"id": f"{task}-{split}-{len(items):03d}", "task": task, "prompt": problem.prompt}
            if problem.choices:
                letter = problem.response[0]
                if right.get(letter, 0) >= -(-size // len(problem.choices)):
                    continue
                right[letter] = right.get(letter, 0) + 1
                item |= {"answer": letter, "choices": list(problem.choices)}
            else:
                *steps, result = problem.response.split("\n")
                item["answer"] = result
                if steps:
                    item["rationale"] = "\n".join(steps)
            seen.add(problem.prompt)
            items.append(item)
        splits[split] = items
    return splits


def reserved_prompts(items: Items) -> set[str]:
    """Every task prompt, without options: neither pool nor pre-training may hold these questions."""
    return {str(item["prompt"]) for splits in items.values() for split in splits.values() for item in split}


def make_rows(spec: Specification, reserved: set[str]) -> list[Row]:
    """The whole pool, shuffled."""
    rng = random.Random(f"{spec.seed}/rows")
    taken = set(reserved)
    rows = [row for source in spec.sources for row in _source_rows(spec, source, taken, rng)]
    rng.shuffle(rows)
    return rows


def _source_rows(spec: Specification, source: Source, taken: set[str], rng: random.Random) -> Iterator[Row]:
    """Rows of one source; a copy asks a question again that the source has asked, with the same answer. A fault that
    leaves the answer right is none."""
    firsts: list[Row] = []
    for _ in range(source.rows):
        if firsts and rng.random() < source.copied:
            first = rng.choice(firsts)
            head = {"role": "user", "content": near_copy(first.messages[0]["content"], rng)}
            row = Row(
                source.name, (head, *first.messages[1:]), first.tools, first.skill, first.fault, first.on_target, True
            )
        else:
            off_target = rng.random() < source.off_target
            problem = _fresh(spec.off_target if off_target else source.skills, taken, rng)
            other = SKILLS[problem.skill](rng)
            fault = _fault(source, rng)
            wording = rng.choice(problem.rewordings) if rng.random() < source.rewording else problem.prompt
            head = {"role": "user", "content": problem.asked(wording)}
            tools = problem.exchange.tools if problem.exchange else ()
            right, turns = (answer(problem, label, other, rng) for label in ("", fault))
            label = fault if turns != right else ""
            row = Row(source.name, (head, *turns), tools, problem.skill, label, not off_target, False)
            taken.add(problem.prompt)
            firsts.append(row)
        yield row


def _fresh(skills: Sequence[str], taken: set[str], rng: random.Random) -> Problem:
    """A question that neither a task nor another row asks, as far as the skill has any left."""
    for _ in range(ATTEMPTS):
        problem = SKILLS[rng.choice(skills)](rng)
        if problem.prompt not in taken:
            return problem
    raise ValueError(f"the skills {', '.join(skills)} have no question left that is not taken")


def _fault(source: Source, rng: random.Random) -> str:
    point = rng.random()
    for fault, share in source.faults:
        if point < share:
            return fault
        point -= share
    return ""


def records(name: str, rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Rows as a file holds them."""
    for number, row in enumerate(rows):
        tools = {"tools": list(row.tools)} if row.tools else {}
        yield {"id": f"{name}-{number:05d}", "source": row.source, "messages": list(row.messages), **tools}


def write_pool(spec: Specification, folder: Path) -> list[Row]:
    """Write a pool's files; its rows."""
    items = task_items(spec)
    for task, splits in items.items():
        for split, listed in splits.items():
            _write_lines(folder / "tasks" / task / f"{split}.jsonl", listed)
    rows = make_rows(spec, reserved_prompts(items))
    _write_lines(folder / "pool.jsonl", records(spec.name, rows))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "skill", "fault", "on_target", "copy"])
    for number, row in enumerate(rows):
        writer.writerow([f"{spec.name}-{number:05d}", row.skill, row.fault, int(row.on_target), int(row.copy)])
    (folder / "truth.csv.gz").write_bytes(gzip.compress(text.getvalue().encode(), 9, mtime=0))
    (folder / "specification.json").write_text(json.dumps(asdict(spec), indent=1) + "\n", "utf-8")
    return rows


def _write_lines(path: Path, lines: Sequence[dict[str, Any]] | Iterator[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--pool", choices=NAMES, help="only this one")
    options = parser.parse_args()
    for name in [options.pool] if options.pool else NAMES:
        spec = specification(name)
        rows = write_pool(spec, options.work / name)
        told = {
            "pool": name,
            "sources": len(spec.sources),
            "rows": len(rows),
            "tasks": list(spec.targets),
            "faulty": round(sum(bool(row.fault) for row in rows) / len(rows), 3),
            "off_target": round(sum(not row.on_target for row in rows) / len(rows), 3),
            "copies": round(sum(row.copy for row in rows) / len(rows), 3),
            "good": round(sum(row.good for row in rows) / len(rows), 3),
        }
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
