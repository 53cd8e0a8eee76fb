"""Time until the package is there: ``import autoselection`` and ``autoselection --help``, beside an empty program.

    python -m benchmarks.startup --runs 15

One line each: the median of the runs in seconds and in processor seconds, which other work on the machine changes less,
and both over those of ``python -c pass``. The commands take turns. Aims on an idle machine: 0.05 s for the import, 0.3 s
for the help.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import autoselection": ["-c", "import autoselection"],
    "autoselection --help": ["-m", "autoselection", "--help"],
    "import autoselection.pool": ["-c", "import autoselection as au; au.ingest"],
    "import autoselection.search": ["-c", "import autoselection as au; au.SearchController"],
}


def measured(arguments: list[str]) -> tuple[float, float]:
    """Seconds and processor seconds of a fresh interpreter."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="fresh interpreters of each command (count)")
    parser.add_argument("--json", action="store_true", help="print one JSON line a command")
    given = parser.parse_args()
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(given.runs + 1):
        for name, arguments in COMMANDS.items():
            runs[name].append(measured(arguments))
    empty: tuple[float, float] | None = None
    for name, found in runs.items():
        seconds, cpu = (statistics.median(column) for column in zip(*found[1:], strict=True))  # the first one warms up
        empty = empty or (seconds, cpu)
        record = {"command": name, "seconds": round(seconds, 4), "processor_seconds": round(cpu, 4)}
        record |= {"ratio": round(seconds / empty[0], 1), "processor_ratio": round(cpu / empty[1], 1)}
        if given.json:
            print(json.dumps(record))
        else:
            print(
                f"{name:30} {seconds:7.3f} s {cpu:7.3f} s of a processor   {record['ratio']:5} times an empty program"
            )


if __name__ == "__main__":
    main()
