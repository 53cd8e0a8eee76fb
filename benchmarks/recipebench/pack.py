"""Pack a table of evaluations for the repository: every subset once, losses to six digits, gzip.

    python -m benchmarks.recipebench.pack --evaluations runs/recipebench/evaluations.jsonl

Two kinds of JSON lines: ``{"key", "kind", "recipe", "rows", "mask"}`` for a subset (mask: packed bits, base64), and
``{"key": "HASH/SEED", "dev", "test", "seconds"}`` for a run of it. Failed runs are dropped and counted. The file's
bytes depend on its content alone.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

from benchmarks.recipebench.interpolate import SHIPPED


def pack(source: Path, target: Path) -> dict[str, int]:
    """Write ``target`` from the lines of ``source``; counts of what was written and dropped."""
    subsets: dict[str, dict[str, Any]] = {}
    runs: dict[str, dict[str, Any]] = {}
    failed = 0
    for line in source.read_text("utf-8").splitlines():
        record = json.loads(line)
        key = record["key"].split("/")[0]
        if "dev" not in record:
            failed += 1
            continue
        subsets.setdefault(
            key,
            {
                "key": key,
                "kind": record["kind"],
                "recipe": record["recipe"],
                "rows": record["rows"],
                "mask": record["mask"],
            },
        )
        losses = {
            split: {task: round(loss, 6) for task, loss in sorted(record[split].items())}
            for split in ("dev", "test")
            if split in record
        }
        runs[record["key"]] = {"key": record["key"], **losses, "seconds": record.get("seconds")}
    lines = [*(subsets[key] for key in sorted(subsets)), *(runs[key] for key in sorted(runs))]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    return {"subsets": len(subsets), "runs": len(runs), "failed": failed, "bytes": target.stat().st_size}


def unpack(source: Path, target: Path) -> int:
    """Write the lines that ``pack`` was given, one a run, so that a build goes on from a shipped table; their number."""
    subsets: dict[str, dict[str, Any]] = {}
    lines: list[dict[str, Any]] = []
    for line in gzip.decompress(source.read_bytes()).decode().splitlines():
        record = json.loads(line)
        key, _, run = record["key"].partition("/")
        if run:
            lines.append({**subsets[key], **record, "seed": int(run.partition("/")[0])})
        else:
            subsets[key] = record
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".part")
    temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    temporary.replace(target)
    return len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    options = parser.parse_args()
    print(json.dumps(pack(options.evaluations, options.out)))


if __name__ == "__main__":
    main()
