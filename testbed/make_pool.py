"""Make the demo's pool, tasks and truth flags.

    python -m testbed.make_pool

Writes ``pool.jsonl`` and ``tasks/<task>/{target,dev,test}.jsonl`` into the package's demo data, and
``testbed/truth.csv.gz`` (never read by the package): id, skill, fault, on_target, oracle.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from testbed.skills import OFF_TASK, TARGETS, Problem, near_copy, truncated

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / "src" / "autoselection" / "demo" / "data"
SEED = 20240501
SPLITS = {"target": 60, "dev": 120, "test": 240}  # items a task


@dataclass(frozen=True)
class Source:
    """One source of the pool: how many rows, which skills, and what share of them carries which fault."""

    name: str
    rows: int
    skills: tuple[str, ...]
    faults: tuple[tuple[str, float], ...] = ()
    copies: int = 1  # near copies of each question, the first included
    rewording: float = 0.3  # share of questions not asked in the benchmark's words


ALL = tuple(TARGETS)
SOURCES = (
    Source("arithmetic", 400, ("addition",), (("convention", 0.45),)),
    Source("letters", 400, ("sorting",), (("convention", 0.45),)),
    Source("logic", 400, ("boolean",), (("convention", 0.4),)),
    Source("tally", 400, ("counting",), (("convention", 0.4),)),
    Source("notes", 300, ALL, (("truncated", 0.5),)),
    Source("forum", 900, ALL, (("convention", 0.4), ("slip", 0.1)), copies=18),
    Source("chatter", 900, tuple(OFF_TASK)),
)


@dataclass(frozen=True)
class Row:
    """A pool row and its hidden truth."""

    source: str
    prompt: str
    response: str
    skill: str
    fault: str

    @property
    def on_target(self) -> bool:
        return self.skill in TARGETS


def question(problem: Problem) -> str:
    """The prompt without options, as task files hold it."""
    return problem.stem or problem.prompt


def task_items(rng: random.Random) -> dict[str, dict[str, list[dict[str, object]]]]:
    """Distinct items for every task and split; boolean gold answers are balanced by rejection."""
    tasks: dict[str, dict[str, list[dict[str, object]]]] = {}
    for task, skill in TARGETS.items():
        seen: set[str] = set()
        tasks[task] = {}
        for split, size in SPLITS.items():
            items: list[dict[str, object]] = []
            left = dict.fromkeys("AB", size // 2)
            while len(items) < size:
                problem = skill(rng)
                if problem.prompt in seen:
                    continue
                item: dict[str, object] = {"id": f"{task}-{split}-{len(items):03d}", "task": task}
                item["prompt"] = question(problem)
                if problem.choices:
                    letter = problem.response[0]
                    if not left[letter]:
                        continue
                    left[letter] -= 1
                    item |= {"answer": letter, "choices": list(problem.choices)}
                else:
                    *steps, answer = problem.response.split("\n")
                    item["answer"] = answer
                    if steps:
                        item["rationale"] = "\n".join(steps)
                seen.add(problem.prompt)
                items.append(item)
            tasks[task][split] = items
    return tasks


def reserved_prompts(tasks: dict[str, dict[str, list[dict[str, object]]]]) -> set[str]:
    """Every task prompt, without options: neither pool nor pre-training may hold these questions."""
    return {str(item["prompt"]) for splits in tasks.values() for items in splits.values() for item in items}


def respond(problem: Problem, fault: str, rng: random.Random) -> str:
    """The response of ``problem`` spoilt by ``fault``."""
    if fault == "truncated":
        return truncated(problem.response, rng)
    return {"": problem.response, "convention": problem.convention, "slip": problem.slip}[fault]


def draw_fault(source: Source, rng: random.Random) -> str:
    """A fault by the source's shares, or ``""``."""
    point = rng.random()
    for fault, share in source.faults:
        if point < share:
            return fault
        point -= share
    return ""


def source_rows(source: Source, reserved: set[str], rng: random.Random) -> Iterator[Row]:
    """Rows of one source; with copies, each question comes back ``copies`` times in slightly other words."""
    made = 0
    while made < source.rows:
        name = source.skills[(made // source.copies) % len(source.skills)]
        problem = (TARGETS | OFF_TASK)[name](rng)
        if question(problem) in reserved:
            continue
        prompt = rng.choice(problem.rewordings) if rng.random() < source.rewording else problem.prompt
        fault = draw_fault(source, rng)
        for copy in range(min(source.copies, source.rows - made)):
            text = near_copy(prompt, rng) if source.copies > 1 else prompt
            label = fault or ("near_copy" if copy else "")
            yield Row(source.name, text, respond(problem, fault, rng), name, label)
            made += 1


def make_rows(reserved: set[str], rng: random.Random) -> list[Row]:
    """The whole pool, shuffled."""
    rows = [row for source in SOURCES for row in source_rows(source, reserved, rng)]
    rng.shuffle(rows)
    return rows


def write_jsonl(path: Path, records: list[dict[str, object]]) -> None:
    """One compact JSON object a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n" for record in records)
    path.write_text(text, encoding="utf-8", newline="\n")


def write_truth(path: Path, rows: list[Row]) -> None:
    """Truth flags by row id; gzip without a time stamp so that the bytes are reproducible."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "skill", "fault", "on_target", "oracle"])
    for number, row in enumerate(rows):
        oracle = row.on_target and not row.fault
        writer.writerow([f"demo-{number:04d}", row.skill, row.fault, int(row.on_target), int(oracle)])
    with path.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
        packed.write(text.getvalue().encode())


def main() -> None:
    tasks = task_items(random.Random(SEED))
    for task, splits in tasks.items():
        for split, items in splits.items():
            write_jsonl(DATA / "tasks" / task / f"{split}.jsonl", items)
    rows = make_rows(reserved_prompts(tasks), random.Random(SEED + 1))
    records: list[dict[str, object]] = [
        {
            "id": f"demo-{number:04d}",
            "source": row.source,
            "messages": [{"role": "user", "content": row.prompt}, {"role": "assistant", "content": row.response}],
        }
        for number, row in enumerate(rows)
    ]
    write_jsonl(DATA / "pool.jsonl", records)
    write_truth(HERE / "truth.csv.gz", rows)
    oracle = sum(row.on_target and not row.fault for row in rows)
    print(
        f"{len(rows)} rows, {oracle} in the oracle subset, {sum(len(s) for t in tasks.values() for s in t.values())} items"
    )


if __name__ == "__main__":
    main()
