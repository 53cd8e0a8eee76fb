"""Make the demo's tasks out of distribution: skills of the pool that no target task asks for.

    python -m testbed.make_ood

Writes ``ood/<task>/test.jsonl`` into the package's demo data. No item is a question of the pool.
"""

from __future__ import annotations

import json
import random

from testbed.make_pool import DATA, SEED, write_jsonl
from testbed.skills import OFF_TASK

TASKS = ("reversing", "shouting")
ITEMS = 100


def main() -> None:
    lines = (DATA / "pool.jsonl").read_text(encoding="utf-8").split("\n")
    asked = {json.loads(line)["messages"][0]["content"] for line in lines if line}
    for number, task in enumerate(TASKS):
        rng = random.Random(SEED + 10 + number)
        items: dict[str, dict[str, object]] = {}
        while len(items) < ITEMS:
            problem = OFF_TASK[task](rng)
            if asked.isdisjoint((problem.prompt, *problem.rewordings)):
                name = f"{task}-test-{len(items):03d}"
                items.setdefault(
                    problem.prompt, {"id": name, "task": task, "prompt": problem.prompt, "answer": problem.response}
                )
        write_jsonl(DATA / "ood" / task / "test.jsonl", list(items.values()))


if __name__ == "__main__":
    main()
