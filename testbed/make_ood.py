"""Make the demo's tasks out of distribution: skills of the pool that no target task asks for.

    python -m testbed.make_ood

Writes ``ood/<task>/{test,dev}.jsonl`` into the package's demo data. No item is a question of the pool, and no dev item one of test.
"""

from __future__ import annotations

import json
import random

from testbed.make_pool import DATA, SEED, write_jsonl
from testbed.skills import OFF_TASK

TASKS = ("reversing", "shouting")
SPLITS = {"test": (100, 10), "dev": (60, 20)}
"""Items of each split, and what tells its random numbers from others."""


def main() -> None:
    lines = (DATA / "pool.jsonl").read_text(encoding="utf-8").split("\n")
    asked = {json.loads(line)["messages"][0]["content"] for line in lines if line}
    for number, task in enumerate(TASKS):
        for split, (count, stream) in SPLITS.items():
            rng = random.Random(SEED + stream + number)
            items: dict[str, dict[str, object]] = {}
            while len(items) < count:
                problem = OFF_TASK[task](rng)
                if asked.isdisjoint((problem.prompt, *problem.rewordings)):
                    name = f"{task}-{split}-{len(items):03d}"
                    items.setdefault(
                        problem.prompt, {"id": name, "task": task, "prompt": problem.prompt, "answer": problem.response}
                    )
            write_jsonl(DATA / "ood" / task / f"{split}.jsonl", list(items.values()))
            asked |= items.keys()


if __name__ == "__main__":
    main()
