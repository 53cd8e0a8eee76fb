"""Fill ``reachable.json``: what recipes reach in each world of the synthetic family.

python -m benchmarks.worlds.reach --seeds 50 --split tune
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from benchmarks.worlds.climb import climb
from benchmarks.worlds.synthetic import REACHABLE, ROWS, VERSION, SyntheticWorld, world_seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--split", choices=("tune", "heldout"), default="tune")
    options = parser.parse_args()
    for place in range(options.seeds):
        seed = world_seed(options.split, place)
        key = f"{VERSION}/{ROWS}/{seed}"
        stored = json.loads(REACHABLE.read_text("utf-8")) if REACHABLE.is_file() else {}
        if key in stored:
            continue
        world = SyntheticWorld(seed)

        def truths(subsets: list[np.ndarray], world: SyntheticWorld = world) -> np.ndarray:
            return np.array([world.truth(rows) for rows in subsets])

        score, recipe, rows = climb(world.table, truths, world.min_rows, seed)
        stored[key] = {"truth": round(score, 6), "rows": len(rows), "recipe": recipe.describe()}
        REACHABLE.write_text(json.dumps(dict(sorted(stored.items())), indent=0) + "\n", "utf-8")
        print(f"{key}: {score:.4f} with {len(rows)} rows", flush=True)


if __name__ == "__main__":
    main()
