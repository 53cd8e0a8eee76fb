"""Regressions from shares to losses, on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from autoselection.search.mixture_fits import by_boosting, by_mixing_law, leading_mean, predicted_mean


def mixtures(count: int, sources: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(sources), count)


def test_the_mixing_law_finds_its_own_curve():
    shares, wanted = mixtures(40, 3), mixtures(20, 3, seed=1)

    def law(x):
        return 1.5 + np.exp(0.3 - 2.0 * x[:, 0] + 1.0 * x[:, 1])

    found = by_mixing_law(shares, law(shares), wanted)
    assert found == pytest.approx(law(wanted), rel=0.015)
    assert by_mixing_law(shares, np.full(40, 2.5), wanted).tolist() == [2.5] * 20


def test_the_mixing_law_by_hand():
    # Two mixtures and a law through both: with hardly a penalty, log(loss - c) is a line between them.
    shares, losses = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1.0, 3.0])
    low, middle, high = by_mixing_law(shares, losses, np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]]))
    assert low < middle < high and 0.5 < low < high < 3.1


def test_boosting_ranks_mixtures():
    shares, wanted = mixtures(200, 3), mixtures(50, 3, seed=1)
    found = by_boosting(shares, shares[:, 0] ** 2, wanted)
    assert np.corrcoef(found, wanted[:, 0] ** 2)[0, 1] > 0.95
    # Two groups of runs: trees split between them and predict their means.
    runs = np.repeat([[0.2, 0.8], [0.8, 0.2]], 20, axis=0)
    values = np.repeat([1.0, 2.0], 20)
    assert by_boosting(runs, values, np.array([[0.1, 0.9], [0.9, 0.1]])) == pytest.approx([1.0, 2.0], abs=1e-3)


def test_means_of_columns_and_of_leading_mixtures():
    shares = mixtures(30, 2)
    losses = np.column_stack([shares[:, 0], np.full(30, 7.0)])
    found = predicted_mean(lambda x, y, wanted, seed: wanted[:, 0], shares, losses, np.array([0.5, 0.5]), shares)
    assert found == pytest.approx(0.5 * shares[:, 0])
    candidates = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.2, 0.8]])
    assert leading_mean(candidates, np.array([3.0, 1.0, 1.0, 2.0]), 2).tolist() == [0.25, 0.75]


def test_losses_that_differ_by_rounding_are_alike():
    shares = mixtures(30, 2)
    losses = np.where(shares[:, 0] < 0.5, 0.1 + 0.2, 0.3)
    assert by_mixing_law(shares, losses, shares).tolist() == [losses.mean()] * 30
    found = predicted_mean(lambda x, y, wanted, seed: wanted[:, 0], shares, losses[:, None], np.ones(1), shares)
    assert not found.any()
