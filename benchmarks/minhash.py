"""Near duplicates of a synthetic pool, by this package and by others, side by side on the same rows.

    python -m benchmarks.minhash --rows 100000 [--json] [--engines autoselection,datasketch] [--rounds 3] [--python PYTHON]

Every engine starts from the texts, makes word 5-gram MinHash signatures of 128 values and finds the near duplicates with
23 bands of 3 values, which find a pair of Jaccard similarity 0.5 with probability 0.95 (semhash: its own way). Each runs
in a process of its own, first on 5,000 rows, where what it finds is compared with the exact Jaccard similarities of all
pairs, then on all rows; seconds are medians, ``cpu_seconds`` the processor time of a run (for text-dedup and semhash with
what is not in ``seconds``: loading and saving, and looking up the rows that were dropped). With ``--rounds`` the engines
take turns, so that a machine that is busy for a while does not slow one of them alone; medians are over all rounds.
``threads`` is how many an engine uses for most of its work. An engine that is not installed is reported as such.
``--python`` names the interpreter of an environment in which others than this package are installed.

What ``recall`` means: of the pairs with a Jaccard similarity of at least 0.5, the share that an engine lists; for
text-dedup, which gives clusters, the share inside one; for semhash, which gives rows to drop, the share of which one is
dropped. ``precision`` is the share of the pairs listed, or in clusters, that are true (null for semhash).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.synthetic import texts as synthetic_texts
from benchmarks.synthetic import vocabulary

NGRAM, PLACES, BANDS, WIDTH, JACCARD = 5, 128, 23, 3, 0.5
CHECKED_ROWS = 5_000
#: An engine that needs longer than this (seconds) runs once.
_PATIENCE = 30.0


@dataclass
class Found:
    """What an engine found: pairs int[m, 2], or a cluster of each row, or which rows it drops; and its times."""

    signatures: float | None
    total: float
    pairs: NDArray[Any] | None = None
    clusters: NDArray[Any] | None = None
    dropped: NDArray[np.bool_] | None = None


def ngrams(text: str) -> list[str]:
    """The shingles that every engine compares."""
    from autoselection.signals.families.minhash import shingles

    return shingles(text, NGRAM)


def run_autoselection(texts: Sequence[str]) -> Found:
    from autoselection.signals.arrays import MinHashParams
    from autoselection.signals.families.minhash import minhash_signatures
    from autoselection.signals.families.near_duplicates import near_duplicates

    started = time.perf_counter()
    signatures = minhash_signatures(texts, MinHashParams(NGRAM, PLACES, 0))
    middle = time.perf_counter()
    found = near_duplicates(signatures, lambda rows: [texts[row] for row in rows.tolist()], NGRAM, recall=0.95)
    total = time.perf_counter() - started
    pairs = np.stack([found.edges.left, found.edges.right], axis=1)
    copies = np.flatnonzero(found.node != np.arange(len(texts)))
    return Found(middle - started, total, np.concatenate([pairs, np.stack([found.node[copies], copies], axis=1)]))


def run_datasketch(texts: Sequence[str]) -> Found:
    from datasketch import MinHash, MinHashLSH

    started = time.perf_counter()
    sets = ([gram.encode() for gram in ngrams(text)] for text in texts)
    signatures = MinHash.bulk(sets, num_perm=PLACES)
    middle = time.perf_counter()
    index = MinHashLSH(num_perm=PLACES, params=(BANDS, WIDTH))
    with index.insertion_session() as session:
        for row, signature in enumerate(signatures):
            session.insert(row, signature)
    pairs = [
        (other, row) for row, signature in enumerate(signatures) for other in index.query(signature) if other < row
    ]
    return Found(middle - started, time.perf_counter() - started, np.array(pairs).reshape(-1, 2))


def run_rensa(texts: Sequence[str]) -> Found:
    from rensa import RMinHash, RMinHashLSH

    used = BANDS * WIDTH  # its bands share out all values of a signature
    started = time.perf_counter()
    signatures = RMinHash.from_token_sets([ngrams(text) for text in texts], used, 0)
    middle = time.perf_counter()
    index = RMinHashLSH(JACCARD, used, BANDS)
    index.insert_pairs(list(enumerate(signatures)))
    found = index.query_all(signatures)
    pairs = [(other, row) for row, others in enumerate(found) for other in others if other < row]
    return Found(middle - started, time.perf_counter() - started, np.array(pairs).reshape(-1, 2))


def run_fastsketchlsh(texts: Sequence[str]) -> Found:
    from FastSketchLSH import LSH, FastSimilaritySketch

    # Its sketches have a power of two of values: 64 bands of two, of which one is equal at 0.5 with probability 1.
    started = time.perf_counter()
    sketch = FastSimilaritySketch(PLACES, 0)
    signatures = np.asarray(sketch.batch([ngrams(text) for text in texts]))
    middle = time.perf_counter()
    index = LSH(PLACES, PLACES // 2)
    index.insert(signatures)
    flat, offsets = index.query(signatures, "csr")
    rows = np.repeat(np.arange(len(texts)), np.diff(np.asarray(offsets).astype(np.int64)))
    pairs = np.stack([np.asarray(flat).astype(np.int64), rows], axis=1)
    pairs = np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)
    return Found(middle - started, time.perf_counter() - started, pairs)


def run_text_dedup(texts: Sequence[str]) -> Found:
    """Its command line, in this process, so that the clusters can be read; loading and saving are not counted."""
    import datasets
    from text_dedup import minhash

    clocks: dict[str, float] = {}

    class Clock:
        """Stands in for its timer, to read the phases."""

        def __call__(self, name: str) -> Clock:
            self.name = name
            return self

        def __enter__(self) -> None:
            clocks[self.name] = time.perf_counter()
            self.open = [*getattr(self, "open", []), self.name]

        def __exit__(self, *_: object) -> None:
            name = self.open.pop()
            clocks[name] = time.perf_counter() - clocks[name]

        def report(self, **_: Any) -> None:
            pass

    minhash.Timer = Clock
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        datasets.Dataset.from_dict({"text": list(texts)}).save_to_disk(f"{folder}/in")
        minhash.main.main(
            f"--path {folder}/in --local --output {folder}/out --cache_dir {folder}/cache --column text "
            f"--ngram {NGRAM} --min_length 1 --num_perm {PLACES} --b {BANDS} --r {WIDTH} --hash_func xxh3 "
            f"--num_proc {os.cpu_count() or 1} --no-debug --no-clean_cache".split(),
            standalone_mode=False,
        )
    clusters = np.array([minhash.uf.find(row) for row in range(len(texts))])
    return Found(clocks["MinHashing"], clocks["MinHashing"] + clocks["Clustering"], clusters=clusters)


def run_semhash(texts: Sequence[str]) -> Found:
    """With a static model of random word vectors, as fast as a real one; rare words weigh more, as in those."""
    from model2vec import StaticModel
    from semhash import SemHash
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[UNK]", "[PAD]", *vocabulary()]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    rank = np.maximum(1, np.arange(len(words)) - 1)[:, None]
    vectors = np.random.default_rng(0).standard_normal((len(words), 256)) * np.log1p(rank)
    model = StaticModel(vectors.astype(np.float32), tokenizer)
    started = time.perf_counter()
    index = SemHash.from_records(list(texts), model=model)
    result = index.self_deduplicate(threshold=0.8)
    total = time.perf_counter() - started
    # It drops equal texts unseen and gives texts, not rows: a row is dropped if its text is, or an earlier row has it.
    selected = set(result.selected)
    dropped = np.array([text not in selected for text in texts])
    seen: set[str] = set()
    for row, text in enumerate(texts):
        dropped[row] |= text in seen
        seen.add(text)
    return Found(None, total, dropped=dropped)


ENGINES: dict[str, tuple[str, Callable[[Sequence[str]], Found], bool]] = {
    "autoselection": ("autoselection", run_autoselection, True),
    "datasketch": ("datasketch", run_datasketch, False),
    "rensa": ("rensa", run_rensa, False),
    "fastsketchlsh": ("FastSketchLSH", run_fastsketchlsh, False),
    "text-dedup": ("text-dedup", run_text_dedup, True),
    "semhash": ("semhash", run_semhash, True),
}
"""Package, how to run it, and whether it uses all cores."""


def true_pairs(texts: Sequence[str]) -> dict[tuple[int, int], float]:
    """All pairs with a Jaccard similarity of at least 0.5, by counting common shingles of every pair."""
    index: dict[str, list[int]] = {}
    result: dict[tuple[int, int], float] = {}
    sizes: list[int] = []
    for row, text in enumerate(texts):
        grams = set(ngrams(text))
        sizes.append(len(grams))
        common: dict[int, int] = {}
        for gram in grams:
            others = index.setdefault(gram, [])
            for other in others:
                common[other] = common.get(other, 0) + 1
            others.append(row)
        for other, count in common.items():
            jaccard = count / (sizes[other] + sizes[row] - count)
            if jaccard >= JACCARD:
                result[other, row] = jaccard
    return result


def quality(found: Found, truth: dict[tuple[int, int], float]) -> dict[str, float | None]:
    """Recall and precision, as the module's docstring defines them."""
    true = np.array(sorted(truth)).reshape(-1, 2)
    if found.dropped is not None:
        return {"recall": float(found.dropped[true].any(axis=1).mean()), "precision": None}
    if found.clusters is not None:
        together = found.clusters[true[:, 0]] == found.clusters[true[:, 1]]
        sizes = np.unique(found.clusters, return_counts=True)[1]
        pairs = int((sizes * (sizes - 1) // 2).sum())
        return {"recall": float(together.mean()), "precision": float(together.sum() / max(pairs, 1))}
    assert found.pairs is not None
    listed = set(map(tuple, found.pairs.tolist()))
    right = len(listed & set(truth))
    return {"recall": right / len(truth), "precision": right / max(len(listed), 1)}


def count(found: Found) -> int:
    """Pairs listed, rows beyond the first of their cluster, or rows dropped."""
    if found.pairs is not None:
        return len(found.pairs)
    if found.clusters is not None:
        return len(found.clusters) - len(np.unique(found.clusters))
    assert found.dropped is not None
    return int(found.dropped.sum())


def cpu_seconds() -> float:
    """Processor time of this process and those it has ended: what a busy machine does not change."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in usage)


def measure(engine: str, rows: int, runs: int, seed: int) -> dict[str, Any]:
    """Run one engine in this process."""
    package, run, parallel = ENGINES[engine]
    checked = synthetic_texts(min(rows, CHECKED_ROWS), seed=seed)
    facts: dict[str, Any] = quality(run(checked), true_pairs(checked))
    texts = synthetic_texts(rows, seed=seed)
    times: list[tuple[float | None, float]] = []
    processor: list[float] = []
    for _ in range(runs):
        before = cpu_seconds()
        found = run(texts)
        processor.append(cpu_seconds() - before)
        times.append((found.signatures, found.total))
        if found.total > _PATIENCE:
            break
    total = float(np.median([total for _, total in times]))
    signatures = [part for part, _ in times if part is not None]
    part = float(np.median(signatures)) if signatures else None
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {
        "engine": engine,
        "version": importlib.metadata.version(package),
        "rows": rows,
        "runs": len(times),
        "threads": (os.cpu_count() or 1) if parallel else 1,
        "seconds": round(total, 3),
        "seconds_signatures": None if part is None else round(part, 3),
        "seconds_pairs": None if part is None else round(total - part, 3),
        "cpu_seconds": round(float(np.median(processor)), 3),
        "rows_per_second": round(rows / total),
        "pairs": count(found),
        "recall": round(facts["recall"], 4),
        "precision": None if facts["precision"] is None else round(facts["precision"], 4),
        "peak_rss_mb": round(memory / (1024 if sys.platform != "darwin" else 1 << 20)),
    }


def in_own_process(engine: str, rows: int, runs: int, seed: int, python: str) -> dict[str, Any]:
    """The facts of one engine; what went wrong if it is not installed or failed."""
    command = [python, "-m", "benchmarks.minhash", "--child", engine, "--rows", str(rows), "--runs", str(runs)]
    done = subprocess.run([*command, "--seed", str(seed)], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode == 0 and lines:
        result: dict[str, Any] = json.loads(lines[-1])
        return result
    last = (done.stderr.strip().splitlines() or ["no output"])[-1]
    missing = "ModuleNotFoundError" in last or "PackageNotFoundError" in last
    return {"engine": engine, "rows": rows, "error": "not installed" if missing else last}


def medians(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One engine's facts over several rounds: the median of every time, the rest as in the last round."""
    result = dict(rounds[-1])
    if any("error" in facts for facts in rounds):
        return next(facts for facts in rounds if "error" in facts)
    for key in ("seconds", "seconds_signatures", "seconds_pairs", "cpu_seconds"):
        if result[key] is not None:
            result[key] = round(float(np.median([facts[key] for facts in rounds])), 3)
    result["runs"] = sum(facts["runs"] for facts in rounds)
    result["rows_per_second"] = round(result["rows"] / result["seconds"])
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.minhash", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3, help="runs a round of the engines that need less than 30 s")
    parser.add_argument("--rounds", type=int, default=1, help="how often the engines take turns")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--python", default=sys.executable, help="interpreter that has the other engines")
    parser.add_argument("--json", action="store_true", help="one JSON line an engine")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(measure(options.child, options.rows, options.runs, options.seed)), flush=True)
        return
    engines = options.engines.split(",")
    found: dict[str, list[dict[str, Any]]] = {engine: [] for engine in engines}
    for turn in range(options.rounds):
        for engine in engines:
            found[engine].append(
                in_own_process(engine, options.rows, options.runs, options.seed, str(Path(options.python)))
            )
            if turn == options.rounds - 1:
                report(
                    medians(found[engine]),
                    medians(found["autoselection"]) if found.get("autoselection") else {},
                    options,
                )


def report(facts: dict[str, Any], ours: dict[str, Any], options: argparse.Namespace) -> None:
    """Print one engine's line, with how many times slower than this package it was."""
    if facts["engine"] != "autoselection" and "seconds" in facts and "seconds" in ours:
        facts["times_slower"] = round(facts["seconds"] / ours["seconds"], 1)
        facts["times_more_cpu"] = round(facts["cpu_seconds"] / ours["cpu_seconds"], 1)
    print(
        json.dumps(facts) if options.json else "  ".join(f"{key} {value}" for key, value in facts.items()), flush=True
    )


if __name__ == "__main__":
    main()
