"""``python -m tests.fuzz``: every target, in as many processes as there are cores."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.fuzz.harness import Target, attack, make_input, run_named, targets

_CHUNK = 500


def shares(chosen: Sequence[Target], inputs: int) -> dict[str, int]:
    """How many of ``inputs`` each target gets."""
    whole = sum(target.share for target in chosen)
    return {target.name: round(inputs * target.share / whole) for target in chosen}


def main() -> int:
    """Run the targets; 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=200_000, help="inputs of all targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", help="only this target (repeatable)")
    parser.add_argument("--only", type=int, help="only the input of this number, with its traceback")
    options = parser.parse_args()
    chosen = [target for target in targets() if not options.target or target.name in options.target]
    if not chosen:
        parser.error(f"--target: known are {', '.join(target.name for target in targets())}")
    if options.only is not None:
        data = make_input(chosen[0], options.seed, options.only)
        print(repr(data), attack(chosen[0], data) or "is taken", sep="\n")
        return 0
    started = time.monotonic()
    failed = 0
    counts = shares(chosen, options.inputs)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        jobs = {
            target.name: [
                pool.submit(
                    run_named, target.name, range(start, min(start + _CHUNK, counts[target.name])), options.seed
                )
                for start in range(0, counts[target.name], _CHUNK)
            ]
            for target in chosen
        }
        for name, chunks in jobs.items():
            failures = [failure for chunk in chunks for failure in chunk.result()]
            failed += len(failures)
            print(
                f"{name}: {counts[name]:,} inputs, {len(failures)} failures, {time.monotonic() - started:.0f} s",
                flush=True,
            )
            for failure in failures[:3]:
                print(failure, flush=True)
    print(f"{sum(counts.values()):,} inputs in {time.monotonic() - started:.0f} s, {failed} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
