"""A synthetic pool's signals, written once to a folder and memory-mapped from there, as a study's signals are.

Rows as in the published code's timings: 120 words (Zipf vocabulary of 20,000 words), 5% near duplicates with 3% of the
words changed, 4 relevance scores, IFD, varentropy, n-gram entropy, branching, and about 150 active SAE features of
65,536 (Zipf exponent 0.7). With ``shared``, 110 of these features are the same in all rows, in nearly the same strengths:
the median cosine of two rows is then 0.96. (SmolLM2-135M's features with attention sinks had 0.97, and have 0.38 without.)
The text itself is not kept: only what duplicates are found by.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from autoselection.signals.arrays import MinHashParams, SparseRows
from autoselection.signals.families.minhash import minhash_signatures
from autoselection.signals.families.near_duplicates import DEFAULT_RECALL, JACCARD_FLOOR, near_duplicates
from autoselection.signals.pairs import Edges, NearDuplicates
from autoselection.signals.table import SignalTable
from benchmarks.synthetic import texts

TASKS = ("bbh", "gpqa", "gsm8k", "mmlu")
SCORES = ("ifd", "varentropy", "ngram_entropy", "action_object_branching")
SOURCES = 12
FEATURES, ACTIVE, EXPONENT = 65_536, 150, 0.7
SHARED, SPREAD = 110, 0.15
NEAR_DUPLICATES, CHANGED = 0.05, 0.03
_CHUNK = 50_000


def write_table(
    folder: Path, rows: int, *, features: bool = True, text: bool = True, shared: bool = False, seed: int = 0
) -> None:
    """Write the columns of ``rows`` rows; the same seed gives the same rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for task in TASKS:
        np.save(folder / f"mona_{task}.npy", rng.beta(2, 5, rows).astype(np.float32))
    for name in SCORES:
        np.save(folder / f"{name}.npy", rng.gamma(4, 0.25, rows).astype(np.float32))
    np.save(folder / "n_tokens.npy", rng.integers(100, 220, rows).astype(np.float32))
    np.save(folder / "source.npy", np.minimum(rng.geometric(0.25, rows) - 1, SOURCES - 1).astype(np.int32))
    np.save(folder / "text_hash.npy", _text_hash(rng, rows))
    if features:
        _write_features(folder, rows, rng, shared)
    if text:
        _write_near_duplicates(folder, rows, seed)
    facts = {"rows": rows, "features": features, "text": text, "seed": seed} | ({"shared": True} if shared else {})
    (folder / "table.json").write_text(json.dumps(facts))


def ensure_table(folder: Path, rows: int, *, features: bool = True, text: bool = True, shared: bool = False) -> Path:
    """The folder of a table like this, written by a process of its own if it is not there yet."""
    name = f"{rows}{'-sae' if features else ''}{'-shared' if shared else ''}{'-text' if text else ''}"
    target = folder / name
    if not (target / "table.json").exists():
        code = f"from pathlib import Path; from benchmarks.tables import write_table; write_table(Path({str(target)!r}), {rows}, features={features}, text={text}, shared={shared})"
        subprocess.run([sys.executable, "-c", code], check=True)
    return target


def load_table(folder: Path) -> SignalTable:
    """The table in ``folder``; scores in memory, features memory-mapped, as :func:`autoselection.signals.load_table`."""
    facts = json.loads((folder / "table.json").read_text())
    columns = {name: np.load(folder / f"{name}.npy") for name in (*SCORES, "n_tokens")}
    columns |= {f"mona/{task}": np.load(folder / f"mona_{task}.npy") for task in TASKS}
    sae = None
    if facts["features"]:
        arrays = [np.load(folder / f"sae_{name}.npy", mmap_mode="r") for name in ("indptr", "indices", "values")]
        sae = SparseRows(*arrays, FEATURES)
    return SignalTable(
        n=facts["rows"],
        source=np.load(folder / "source.npy"),
        source_names=tuple(f"source_{i:02d}" for i in range(SOURCES)),
        columns=columns,
        text_hash=np.load(folder / "text_hash.npy", mmap_mode="r"),
        sae=sae,
        near_duplicates=_near_duplicates(folder) if facts["text"] else None,
        folder=folder / "signals",
        keys={"benchmark": str(facts)},
    )


def _text_hash(rng: np.random.Generator, rows: int) -> np.ndarray:
    """One row in twenty repeats an earlier one."""
    hashes = rng.integers(0, 2**63, rows, dtype=np.int64).astype(np.uint64)
    copies = np.flatnonzero(rng.random(rows) < NEAR_DUPLICATES)[1:]
    hashes[copies] = hashes[(rng.random(len(copies)) * copies).astype(np.int64)]
    return hashes


def _write_near_duplicates(folder: Path, rows: int, seed: int) -> None:
    """The pairs of a pool of texts, found as ``autoselection score`` finds them."""
    pool = texts(rows, seed=seed)
    signatures = minhash_signatures(pool, MinHashParams())
    found = near_duplicates(signatures, lambda wanted: [pool[row] for row in wanted], MinHashParams().ngram_size)
    np.save(folder / "near_node.npy", found.node)
    for name, array in (("left", found.edges.left), ("right", found.edges.right), ("jaccard", found.edges.similarity)):
        np.save(folder / f"near_{name}.npy", array)


def _near_duplicates(folder: Path) -> NearDuplicates:
    node, left, right, jaccard = (
        np.load(folder / f"near_{name}.npy", mmap_mode="r") for name in ("node", "left", "right", "jaccard")
    )
    return NearDuplicates(node, Edges(left, right, jaccard), MinHashParams().ngram_size, JACCARD_FLOOR, DEFAULT_RECALL)


def _write_features(folder: Path, rows: int, rng: np.random.Generator, shared: bool) -> None:
    weights = np.arange(1, FEATURES + 1, dtype=np.float64) ** -EXPONENT
    cumulative = np.cumsum(weights) / weights.sum()
    names = rng.permutation(FEATURES).astype(np.int32)  # frequent features are spread over the width
    strengths = rng.gamma(1.0, 1.0, SHARED) if shared else np.zeros(0)
    counts = np.empty(rows, np.int64)
    with (folder / "indices.raw").open("wb") as indices_file, (folder / "values.raw").open("wb") as values_file:
        for start in range(0, rows, _CHUNK):
            size = min(_CHUNK, rows - start)
            drawn = names[np.minimum(np.searchsorted(cumulative, rng.random((size, ACTIVE))), FEATURES - 1)]
            values = rng.gamma(1.0, 1.0, (size, ACTIVE)).astype(np.float32) + np.float32(0.01)
            if shared:
                drawn[:, :SHARED] = names[:SHARED]
                values[:, :SHARED] = strengths * rng.lognormal(0.0, SPREAD, (size, SHARED))
                values[:, SHARED:] *= np.float32(0.1)
            copies = np.flatnonzero(rng.random(size) < NEAR_DUPLICATES)[1:]
            original = (rng.random(len(copies)) * copies).astype(np.int64)
            changed = rng.random((len(copies), ACTIVE)) < CHANGED
            drawn[copies] = np.where(changed, drawn[copies], drawn[original])
            values[copies] = np.where(changed, values[copies], values[original])
            order = np.argsort(drawn, axis=1)
            drawn = np.take_along_axis(drawn, order, axis=1)
            values = np.take_along_axis(values, order, axis=1)
            first = np.ones(drawn.shape, bool)
            first[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
            counts[start : start + size] = first.sum(axis=1)
            drawn[first].tofile(indices_file)
            values[first].astype(np.float16).tofile(values_file)
    np.save(folder / "sae_indptr.npy", np.append(0, np.cumsum(counts)).astype(np.int64))
    for name, dtype in (("indices", np.int32), ("values", np.float16)):
        np.save(folder / f"sae_{name}.npy", np.memmap(folder / f"{name}.raw", dtype, "r"))
        (folder / f"{name}.raw").unlink()
