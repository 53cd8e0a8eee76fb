"""Ingest of a large compressed file: rows a second and peak memory.

    python -m benchmarks.ingest --rows 1000000 --json

writes a synthetic ``.jsonl.gz`` (rows of about ``--words`` words, prompt and response together), reads it into a pool
in a process of its own, and prints one JSON line: rows, seconds, rows_per_second, peak_rss_mb and cpu_seconds (of that
process; on a busy machine only the latter can be compared). ``--append`` then appends a tenth as many rows and tells its time as well.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

_BLOCK = 10_000
_VOCABULARY = 20_000

#: Runs in a process of its own, so that its peak memory is that of ingest alone.
_CHILD = """
import json, resource, sys, time
from autoselection.pool import ingest
started = time.perf_counter()
report = ingest([sys.argv[1]], sys.argv[2], append=sys.argv[3] == "append")
seconds = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_SELF)
cpu = used.ru_utime + used.ru_stime
print(json.dumps({"rows": report.appended, "seconds": seconds, "cpu": cpu, "peak": used.ru_maxrss}))
"""


def write_rows(path: Path, start: int, rows: int, words: int, seed: int = 0) -> None:
    """Write ``rows`` synthetic rows with ids from ``start`` on: Zipf-like words, a third of them in the prompt."""
    rng = np.random.default_rng([seed, start])
    vocabulary = np.asarray(["".join(rng.choice(list("etaoinshrdlu"), 2 + i % 9)) for i in range(_VOCABULARY)])
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
        for first in range(start, start + rows, _BLOCK):
            count = min(_BLOCK, start + rows - first)
            lengths = rng.integers(words // 2, words * 3 // 2 + 1, count)
            drawn = vocabulary[(rng.random(int(lengths.sum())) ** 3 * _VOCABULARY).astype(np.int64)].tolist()
            end = 0
            for number, length in enumerate(lengths.tolist(), start=first):
                text, end = drawn[end : end + length], end + length
                cut = length // 3
                row = {
                    "id": f"row-{number}",
                    "source": f"source-{number % 20}",
                    "messages": [
                        {"role": "user", "content": " ".join(text[:cut])},
                        {"role": "assistant", "content": " ".join(text[cut:])},
                    ],
                }
                file.write(json.dumps(row) + "\n")


def measure(file: Path, pool: Path, mode: str = "new") -> dict[str, Any]:
    """Ingest ``file`` in a child process."""
    command = [sys.executable, "-c", _CHILD, str(file), str(pool), mode]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    peak = result["peak"] / (1024 if sys.platform != "darwin" else 1024**2)  # Linux counts in KiB, macOS in bytes
    return {
        "rows": result["rows"],
        "seconds": round(result["seconds"], 2),
        "rows_per_second": round(result["rows"] / result["seconds"]),
        "peak_rss_mb": round(peak, 1),
        "cpu_seconds": round(result["cpu"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Ingest a large synthetic file.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--words", type=int, default=120, help="mean words of a row")
    parser.add_argument("--append", action="store_true", help="append a tenth as many rows afterwards")
    parser.add_argument("--json", action="store_true", help="one JSON line instead of text")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-ingest-") as scratch:
        folder = Path(scratch)
        write_rows(folder / "rows.jsonl.gz", 0, options.rows, options.words)
        size = (folder / "rows.jsonl.gz").stat().st_size
        result = {**measure(folder / "rows.jsonl.gz", folder / "pool"), "file_mb": round(size / 1e6, 1)}
        if options.append:
            write_rows(folder / "more.jsonl.gz", options.rows, max(1, options.rows // 10), options.words)
            result["append"] = measure(folder / "more.jsonl.gz", folder / "pool", "append")
    if options.json:
        print(json.dumps(result))
    else:
        print(f"{result['rows']:,} rows in {result['seconds']} s: {result['rows_per_second']:,} rows/s, ", end="")
        print(f"peak memory {result['peak_rss_mb']:,} MB")


if __name__ == "__main__":
    main()
