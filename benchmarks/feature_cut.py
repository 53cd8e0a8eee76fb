"""How much the cut to a row's strongest SAE features matters to ``distribution_drift``.

    python -m benchmarks.feature_cut --pool DIR --model MODEL --sae SAE [--joined 6] [--features 256] [--json]

Features are computed twice from one pass over the pool: all that are active in a row, and the strongest of them, as they are
stored. For subsets that favour some sources and lengths (drawn with a fixed seed) it compares the drift of both: rank
correlation, and the ratio of one to the other. ``--joined`` makes rows longer: so many consecutive rows of a source are one.
A sample of the features, counted before the cut, is compared too: 1,024 of them take 128 bytes a row as bits.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.language.chat import ConversationEncoder
from autoselection.language.models import load_model, load_tokenizer
from autoselection.pool import Pool
from autoselection.recipes.drift import drift, feature_counts
from autoselection.signals import SignalTable
from autoselection.signals.arrays import SparseRows
from autoselection.signals.families.sae import FeatureSums, SparseEncoder, SparseVector, read_sae_info
from autoselection.signals.model_pass import capture

Rows = NDArray[np.int64]
BATCH = 32
SUBSETS = 250
SAMPLED = 1024


def joined_rows(sources: NDArray[Any], count: int) -> list[list[int]]:
    """Rows of the pool that become one row each: ``count`` consecutive ones of a source."""
    found = []
    for code in np.unique(sources):
        own = np.flatnonzero(sources == code)
        found += [own[start : start + count].tolist() for start in range(0, len(own), count)]
    return found


def sums_of(pool: Pool, model_path: str, sae: Path, groups: Sequence[Sequence[int]]) -> Iterator[FeatureSums]:
    """All features of each group's conversation, in their order."""
    import torch

    model, tokenizer = load_model(model_path, "cpu", "float32"), load_tokenizer(model_path, None, False)
    info = read_sae_info(sae)
    encoder = SparseEncoder(info, model, max_features=info.num_latents)
    chats = ConversationEncoder(tokenizer, max_length=1 << 20)
    for start in range(0, len(groups), BATCH):
        part = [
            [token for row in chats.encode_batch(pool.conversations(list(rows))) if row for token in row.input_ids]
            for rows in groups[start : start + BATCH]
        ]
        ids = torch.zeros(len(part), max(map(len, part)), dtype=torch.long)
        mask = torch.zeros_like(ids, dtype=torch.bool)
        for place, tokens in enumerate(part):
            ids[place, : len(tokens)] = torch.tensor(tokens)
            mask[place, : len(tokens)] = True
        with torch.inference_mode(), capture(model, {encoder.hookpoint}) as states:
            model.base_model(input_ids=ids, attention_mask=mask.long(), use_cache=False)
            found = encoder.sum_features(states[encoder.hookpoint], [len(tokens) for tokens in part])
            yield from (text.fetched() for text in found)


def strongest(sums: FeatureSums, most: int) -> SparseVector:
    """What is kept of a row's features."""
    indices, values = sums[:2]
    kept = np.sort(np.argsort(-values, kind="stable")[:most])
    return indices[kept], values[kept]


def table_of(rows: Iterable[SparseVector], d: int, picked: NDArray[np.int64] | None = None) -> SignalTable:
    """A table of these features, or of the picked ones alone."""
    rows = list(rows)
    if picked is not None:
        place = np.full(d, -1, np.int32)
        place[picked] = np.arange(len(picked), dtype=np.int32)
        kept = [place[indices] >= 0 for indices, _ in rows]
        rows = [(place[indices][keep], values[keep]) for (indices, values), keep in zip(rows, kept, strict=True)]
        d = len(picked)
    indptr = np.concatenate([[0], np.cumsum([len(indices) for indices, _ in rows])]).astype(np.int64)
    indices = np.concatenate([indices for indices, _ in rows])
    values = np.concatenate([values for _, values in rows])
    return SignalTable.from_arrays({"n": np.ones(len(rows))}, sae=SparseRows(indptr, indices, values, d))


def drawn_subsets(sources: NDArray[Any], lengths: NDArray[Any]) -> list[Rows]:
    """Subsets that favour some sources, and long or short rows."""
    rng = np.random.default_rng(0)
    standard = (lengths - lengths.mean()) / max(lengths.std(), 1e-9)
    found = []
    for _ in range(SUBSETS):
        shares = rng.random(int(sources.max()) + 1) ** 2
        tilt = rng.normal() + 2 * rng.normal() * standard
        rows = np.flatnonzero(
            (rng.random(len(sources)) < shares[sources]) & (rng.random(len(sources)) < 1 / (1 + np.exp(-tilt)))
        )
        if 32 <= len(rows) < len(sources):
            found.append(rows)
    return found


def drifts(table: SignalTable, subsets: Sequence[Rows]) -> NDArray[np.float64]:
    """``distribution_drift`` of each subset."""
    counted = zip(feature_counts(subsets, table), subsets, strict=True)
    return np.array([drift(counts, len(rows), table) for counts, rows in counted])


def compared(sums: Sequence[FeatureSums], sources: NDArray[Any], d: int, most: int) -> dict[str, Any]:
    """What the cut, and a sample instead of it, do to the drift of subsets."""
    from scipy.stats import spearmanr

    active, tokens = np.array([len(indices) for indices, _, _ in sums]), np.array([count for _, _, count in sums])
    subsets = drawn_subsets(sources, tokens)
    whole = [(indices, values) for indices, values, _ in sums]
    full = drifts(table_of(whole, d), subsets)
    found: dict[str, Any] = {
        "rows": len(sums),
        "features": d,
        "tokens_a_row": float(np.median(tokens)),
        "active_a_row": float(np.median(active)),
        "rows_cut": float(np.mean(active > most)),
        "subsets": len(subsets),
    }
    others = {f"strongest {most}": table_of([strongest(one, most) for one in sums], d)}
    if d > SAMPLED:
        others[f"sample of {SAMPLED}"] = table_of(whole, d, np.arange(SAMPLED) * d // SAMPLED)
    for name, table in others.items():
        own = drifts(table, subsets)
        low, middle, high = np.quantile(own / full, [0.1, 0.5, 0.9]).tolist()
        rank = float(spearmanr(full, own).statistic)
        found[name] = {"rank_correlation": rank, "ratio": middle, "ratio_10_90": [low, high]}
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--sae", type=Path, required=True)
    parser.add_argument("--joined", type=int, default=1, help="consecutive rows of a source that become one (count)")
    parser.add_argument("--features", type=int, default=256, help="features kept a row (count)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    pool = Pool.open(options.pool)
    groups = joined_rows(np.asarray(pool.source_codes), options.joined)
    sources = np.array([pool.source_codes[rows[0]] for rows in groups])
    sums = list(sums_of(pool, options.model, options.sae, groups))
    found = compared(sums, sources, read_sae_info(options.sae).num_latents, options.features)
    print(json.dumps(found, indent=None if options.json else 1))


if __name__ == "__main__":
    main()
