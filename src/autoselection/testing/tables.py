"""Small signal tables to test operators on."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from autoselection.signals.table import SignalTable

_SCORES = ("ifd", "varentropy", "ngram_entropy", "action_object_branching", "mona/a", "mona/b")


def signal_table(
    seed: int, n: int = 60, sources: int = 3, missing: float = 0.1, columns: Iterable[str] = ()
) -> SignalTable:
    """Every signal that our operators read, of rows without texts.

    Scores lie on a coarse grid in [0, 1], so that there are many ties; some are missing; sources have unequal sizes; some rows
    are near copies of others in features, signatures and embeddings. The same arguments give the same table.

    Args:
        seed: of all values.
        n: rows.
        sources: at most so many.
        missing: share of rows that lack a score, a score at a time.
        columns: names of further columns of such scores, as of a signal of one's own.
    """
    rng = np.random.default_rng(seed)
    scores = {name: np.round(rng.random(n), 1) for name in _SCORES}
    for values in scores.values():
        values[rng.random(n) < missing] = np.nan
    scores["rsr"] = np.roll(scores["varentropy"], 1) * 20
    scores["n_tokens"] = rng.integers(1, 90, n).astype(float)
    features = np.round(rng.random((n, 12)), 1) * (rng.random((n, 12)) < 0.4)
    signatures = rng.integers(0, 3, (n, 32)).astype(np.uint32)
    for _ in range(n // 3):  # near copies
        old, new = rng.integers(0, n, 2)
        features[new] = features[old] * rng.choice([1.0, 1.0, 2.0]) + (rng.random(12) < 0.1) * 0.1
        changed = rng.random(32) < rng.choice([0.0, 0.1, 0.3])
        signatures[new] = np.where(changed, signatures[new], signatures[old])
    more = np.random.default_rng([seed, 1])
    scores["n_response_tokens"] = np.where(more.random(n) < missing, np.nan, np.ceil(scores["n_tokens"] / 2))
    scores["reward"] = np.where(more.random(n) < missing, np.nan, more.integers(-3, 4, n))
    scores["contamination"] = np.where(more.random(n) < 0.8, 0.0, np.round(more.random(n), 1))
    embeddings = more.normal(size=(n, 6))
    embeddings[more.random(n) < missing] = 0.0  # no direction: no embedding
    copies = more.integers(0, n, (n // 5, 2))
    embeddings[copies[:, 0]] = embeddings[copies[:, 1]]
    own = np.random.default_rng([seed, 2])  # so that the other scores are the same with and without
    for name in columns:
        scores[name] = np.where(own.random(n) < missing, np.nan, np.round(own.random(n), 1))
    return SignalTable.from_arrays(
        scores,
        embeddings=embeddings,
        source=np.array([f"s{i}" for i in range(sources)])[np.minimum(rng.geometric(0.5, n) - 1, sources - 1)],
        text_hash=rng.integers(0, n // 2 + 1, n),
        minhash=signatures,
        sae=features,
    )
