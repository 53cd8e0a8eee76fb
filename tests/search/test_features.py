from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from autoselection.recipes import state_vectors
from autoselection.search.features import FLOOR, SubsetFeatures
from autoselection.signals.table import SignalTable


def table(n: int = 200) -> SignalTable:
    rng = np.random.default_rng(3)
    ifd = rng.normal(size=n)
    ifd[5] = np.nan
    return SignalTable.from_arrays(
        {"n_tokens": rng.integers(1, 90, n), "ifd": ifd, "varentropy": np.ones(n)},
        source=np.arange(n) % 3,
    )


def described(signals: SignalTable, rows: np.ndarray) -> dict[str, float]:
    features = SubsetFeatures(signals, ("ifd", "varentropy", "missing"))
    (state,) = state_vectors([rows], signals, cost_ratio=0.0)
    return dict(zip(features.names, features(rows, state), strict=True))


def test_features_agree_with_their_definition():
    signals = table()
    rows = np.flatnonzero((np.arange(200) % 3 < 2) & (np.arange(200) % 4 > 0))
    found = described(signals, rows)
    assert found["log_kept"] == pytest.approx(np.log(len(rows) / 200 + FLOOR))
    for code, name in enumerate(signals.source_names):
        share = (signals.source[rows] == code).sum() / (signals.source == code).sum()
        assert found[f"log_kept/source/{name}"] == pytest.approx(np.log(share + FLOOR))
    ifd = signals.column("ifd").astype(float)
    ranks = np.full(200, 0.5)
    known = np.isfinite(ifd)
    ranks[known] = (rankdata(ifd[known]) - 0.5) / known.sum()
    assert found["mean/ifd"] == pytest.approx(ranks[rows].mean(), abs=1e-6)
    assert found["spread/ifd"] == pytest.approx(ranks[rows].std(), abs=1e-5)
    inside = ranks.copy()
    for code in range(3):
        members = (signals.source == code) & known
        inside[members] = (rankdata(ifd[members]) - 0.5) / members.sum()
    assert found["mean/ifd/within source"] == pytest.approx(inside[rows].mean(), abs=1e-6)


def test_scores_that_never_vary_or_are_missing_are_left_out_and_order_does_not_matter():
    signals = table()
    rows = np.arange(40)
    found = described(signals, rows)
    assert not any("varentropy" in name or "missing" in name for name in found)
    assert described(signals, rows[::-1].copy()) == pytest.approx(found, nan_ok=True)


def test_ranks_do_not_depend_on_units_or_outliers():
    signals = table()
    stretched = SignalTable.from_arrays(
        {name: np.exp(5 * signals.column(name)) if name == "ifd" else signals.column(name) for name in signals.columns},
        source=signals.source,
    )
    rows = np.arange(0, 200, 3)
    one, two = described(signals, rows), described(stretched, rows)
    for name in one:
        if name.startswith(("mean", "spread", "log")):
            assert one[name] == pytest.approx(two[name], abs=1e-6)


def test_subsets_described_together_have_exactly_the_features_of_each_alone():
    signals = table(5000)
    features = SubsetFeatures(signals, ("ifd", "n_tokens"))
    rng = np.random.default_rng(0)
    subsets = [rng.permutation(5000)[:size] for size in (1, 40, 700, 2500, 5000)]
    states = state_vectors(subsets, signals)
    together = features.many(subsets)
    for rows, state, found in zip(subsets, states, together, strict=True):
        assert found.tolist() == pytest.approx(features(rows, state).tolist(), abs=0, rel=0, nan_ok=True)


def test_rows_of_one_rank_have_no_spread():
    signals = SignalTable.from_arrays({"ifd": np.repeat([0.1, 0.2, 0.7], 100)})
    assert described(signals, np.arange(100, 200))["spread/ifd"] == pytest.approx(0.0, abs=1e-7)
