"""Means of the same numbers are ties, whatever their last bits are."""

from __future__ import annotations

import itertools

import numpy as np

from autoselection.statistics import all_alike, shared_chance, without_rounding

#: What three seeds of 50 items get right, 92 of 150 in all.
SEEDS = [[right / 50 for right in counts] for counts in itertools.product(range(24, 38), repeat=3) if sum(counts) == 92]
#: The same mean, in two spellings of its last bit.
MEANS = np.array([np.mean(seeds) for seeds in SEEDS])


def test_means_of_the_same_numbers_are_alike() -> None:
    assert len(set(MEANS.tolist())) > 1
    assert all_alike(MEANS) and len(set(without_rounding(MEANS).tolist())) == 1


def test_what_differs_by_more_than_rounding_stays_as_it_is() -> None:
    values = np.array([1.0, 1.0 + 3e-12, -1e-20, -2e-20, 0.0, 5e300, -np.inf, np.inf, np.nan, 1e-300, 2e-300])
    assert np.array_equal(without_rounding(values), values, equal_nan=True)
    assert not all_alike([1.0, 1.0 + 3e-12]) and not all_alike([0.0, 1e-300])
    assert without_rounding([]).tolist() == [] and all_alike([0.3])


def test_no_last_digit_parts_two_sides_of_it() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=2000) * 10.0 ** rng.integers(-9, 9, 2000)
    beside = np.nextafter(np.nextafter(values, np.inf), np.inf)
    found = without_rounding(np.append(values, beside)).reshape(2, -1)
    assert (found[0] == found[1]).all() and len(set(found[0].tolist())) == 2000


def test_seeds_that_gave_the_same_say_nothing_of_chance() -> None:
    first, last = MEANS.min(), MEANS.max()
    same, nearly = ([{0: first, 1: one}, {0: first, 1: first}] for one in (first, last))
    similarity = np.array([[1.0, 0.4], [0.4, 1.0]])
    assert first != last and shared_chance(nearly, similarity) == shared_chance(same, similarity)
