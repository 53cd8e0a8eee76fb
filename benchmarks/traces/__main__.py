"""Synthetic traces with planted faults: what ``trace_faults`` finds of them, its false alarms, and how long it takes.

    python -m benchmarks.traces --rows 20000 [--seed 0] [--held-out] [--time 100000] [--json] [--show KIND]

Half of the traces are clean, half of these look odd on purpose; each of the others has one fault, of all kinds in equal
parts. A fault is *found* if the column of its kind counts it, and *flagged* if any column does; a clean trace with any
count is a false alarm. The words and forms of the traces are written apart from the detector: it shares no pattern with
them. ``--held-out 1``, ``2`` and ``3`` take tools, words and forms of faults that were written after the detector was done. ``--time``
writes that many traces to a file, reads them into a pool and scores it by the command line's own function.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from autoselection.conversation import Conversation
from autoselection.pool import Pool, ingest
from autoselection.signals import SignalsConfig, score_pool
from autoselection.signals.registry import default_registry
from benchmarks.traces import make, plant
from benchmarks.traces.held_out import HELD_OUT
from benchmarks.traces.held_out_again import HELD_OUT_AGAIN
from benchmarks.traces.held_out_third import HELD_OUT_THIRD
from benchmarks.traces.surfaces import USUAL

Planted = tuple[str, str | None, Conversation]


def traces(rows: int, seed: int, *, held_out: int = 0) -> Iterator[Planted]:
    """``rows`` traces: the column of the fault ("" if clean), how a clean one looks odd (None: it does not), the row."""
    words = (USUAL, HELD_OUT, HELD_OUT_AGAIN, HELD_OUT_THIRD)[held_out]
    rng = Random(seed)
    maker, looks = make.Maker(rng, words), make.odd_kinds(words)
    kinds = list(plant.PLANT)
    for i in range(rows):
        if i % 2:
            kind = kinds[(i // 2) % len(kinds)]
            yield kind, None, make.written(plant.PLANT[kind](maker), rng)
        elif i % 4:
            odd = looks[(i // 4) % len(looks)]
            yield "", odd, make.written(make.odd(maker, odd), rng)
        else:
            yield "", None, make.written(maker.trace(), rng)


def measured(rows: int, seed: int, *, held_out: int = 0) -> tuple[dict[str, Any], list[tuple[str, Planted]]]:
    """Shares found, flagged and wrongly flagged; and the rows that were taken wrongly, each with what is wrong."""
    made = list(traces(rows, seed, held_out=held_out))
    shard = default_registry().kind("trace_faults")().compute([row for _, _, row in made])
    planted, found, flagged = Counter[str](), Counter[str](), Counter[str]()
    looks, alarms, alarm_kinds = Counter[str](), Counter[str](), Counter[str]()
    wrong: list[tuple[str, Planted]] = []
    for i, one in enumerate(made):
        kind, odd, _ = one
        counts = {
            name: int(column[i]) for name, column in shard.arrays.items() if column[i] and name.startswith("fault_")
        }
        if kind:
            planted[kind] += 1
            found[kind] += kind in counts
            flagged[kind] += bool(counts)
            if kind not in counts:
                wrong.append((f"missed {kind}, counted {counts}", one))
        else:
            looks[odd or "plain"] += 1
            alarms[odd or "plain"] += bool(counts)
            alarm_kinds.update(counts.keys())
            if counts:
                wrong.append((f"false alarm {counts}", one))
    clean = sum(looks.values())
    report = {
        "rows": rows,
        "seed": seed,
        "held_out": held_out,
        "kinds": {
            kind: {"planted": n, "found": found[kind] / n, "flagged": flagged[kind] / n} for kind, n in planted.items()
        },
        "clean": clean,
        "false_alarms": sum(alarms.values()) / clean,
        "false_alarms_by_look": {look: [alarms[look], n] for look, n in sorted(looks.items())},
        "false_alarms_by_kind": dict(alarm_kinds),
    }
    return report, wrong


def timed(rows: int, seed: int) -> dict[str, Any]:
    """Seconds to score ``rows`` traces of a pool."""
    with tempfile.TemporaryDirectory() as folder:
        raw, path = Path(folder) / "traces.jsonl", Path(folder) / "pool"
        with raw.open("w", encoding="utf-8") as stream:
            for _, _, row in traces(rows, seed):
                tools = None if row.tools is None else json.loads(row.tools)
                stream.write(json.dumps({"messages": row.messages, **({"tools": tools} if tools else {})}) + "\n")
        ingest([raw], path)
        pool = Pool.open(path)
        started = time.perf_counter()
        score_pool(pool, SignalsConfig(), signals=["trace_faults", "traces"])
        seconds = time.perf_counter() - started
        megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"rows": len(pool), "megabytes": raw.stat().st_size / 1e6, "seconds": seconds, "peak_rss_mb": megabytes}


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", type=int, choices=(0, 1, 2, 3), default=0, help="a held-out set")
    parser.add_argument("--time", type=int, default=0, metavar="ROWS", help="time this many traces instead")
    parser.add_argument("--show", metavar="KIND", help="print ten rows that were taken wrongly, of this kind")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.time:
        print(json.dumps(timed(options.time, options.seed)))
        return
    report, wrong = measured(options.rows, options.seed, held_out=options.held_out)
    if options.show is not None:
        for why, (_, odd, row) in [one for one in wrong if options.show in one[0]][:10]:
            print(
                f"--- {why} {odd or ''}",
                json.dumps({"messages": row.messages, "tools": row.tools}, ensure_ascii=False),
                sep="\n",
            )
    elif options.json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        for kind, shares in report["kinds"].items():
            print(
                f"{kind:24} {shares['planted']:6} planted, {shares['found']:7.2%} found, {shares['flagged']:7.2%} flagged"
            )
        print(
            f"{'clean':24} {report['clean']:6} traces, {report['false_alarms']:.2%} false alarms {report['false_alarms_by_kind']}"
        )
        print(json.dumps(report["false_alarms_by_look"]))


if __name__ == "__main__":
    main()
