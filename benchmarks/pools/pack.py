"""Pack the tables of the family for the repository, and unpack them where a build begins.

    python -m benchmarks.pools.pack --work runs/pools

One file a cell in ``benchmarks/pools/data``: ``POOL-MODEL.jsonl.gz``, in the form of :mod:`benchmarks.recipebench.pack`
(every subset once, losses to six digits). Short trainings are runs of the same subsets, with the share of steps as a
third part of their key. A file's bytes depend on the tables alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.pools.models import MODELS
from benchmarks.pools.specification import NAMES
from benchmarks.recipebench.pack import pack, unpack

DATA = Path(__file__).with_name("data")


def shipped(pool: str, model: str) -> Path:
    """The packed table of a cell."""
    return DATA / f"{pool}-{model}.jsonl.gz"


def pack_cell(folder: Path, target: Path) -> dict[str, int]:
    """Pack the tables of a cell's folder; counts of what was written."""
    sources = [folder / name for name in ("evaluations.jsonl", "short.jsonl")]
    together = "".join(path.read_bytes().rpartition(b"\n")[0].decode() + "\n" for path in sources if path.is_file())
    merged = target.with_suffix(".part")
    merged.parent.mkdir(parents=True, exist_ok=True)
    merged.write_text("".join(line + "\n" for line in together.splitlines() if line), "utf-8")
    try:
        return pack(merged, target)
    finally:
        merged.unlink()


def unpack_cell(packed: Path, folder: Path) -> int:
    """Write a packed table's runs as a build writes them, full and short ones apart; their number."""
    whole = folder / "packed.jsonl"
    count = unpack(packed, whole)
    lines = whole.read_text("utf-8").splitlines()
    whole.unlink()
    for name, parts in (("short", 2), ("evaluations", 1)):
        own = [line for line in lines if str(json.loads(line)["key"]).count("/") == parts]
        (folder / f"{name}.jsonl").write_text("".join(line + "\n" for line in own), "utf-8")
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=DATA)
    options = parser.parse_args()
    for pool in NAMES:
        for model in MODELS:
            folder = options.work / pool / model
            if (folder / "evaluations.jsonl").is_file():
                told = pack_cell(folder, options.out / shipped(pool, model).name)
                print(json.dumps({"pool": pool, "model": model, **told}), flush=True)


if __name__ == "__main__":
    main()
