from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from autoselection.evaluation import SFTConfig
from autoselection.evaluation.schedule import micro_batches, packed_batches, training_schedule
from autoselection.hashing import mixed


@dataclass
class Counted:
    """Rows of known lengths that remember which of them were counted; ``numbers`` tells them apart."""

    tokens: NDArray[np.int64]
    with_loss: NDArray[np.int64] | None = None
    read: set[int] = field(default_factory=set)
    numbers: NDArray[np.int64] | None = None

    @property
    def identities(self) -> NDArray[np.uint64]:
        numbers = np.arange(len(self.tokens)) if self.numbers is None else self.numbers
        return mixed(numbers.astype(np.uint64) + np.uint64(1))

    def __len__(self) -> int:
        return len(self.tokens)

    def lengths(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        self.read |= set(positions.tolist())
        return self.tokens[positions]

    def responses(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        assert self.with_loss is not None
        return self.with_loss[positions]


LENGTHS = st.lists(st.integers(2, 60), min_size=1, max_size=70).map(lambda values: np.array(values, np.int64))


@given(LENGTHS, st.integers(1, 30), st.integers(1, 9), st.booleans(), st.integers(0, 3))
def test_max_steps_takes_the_same_steps_of_full_batches_whatever_the_subset(lengths, steps, size, grouped, seed):
    config = SFTConfig(max_steps=steps, batch_size=size, group_by_length=grouped)
    schedule = training_schedule(Counted(lengths), config, seed)
    assert schedule.steps == steps
    assert len(schedule.order) == steps * size
    assert schedule.tokens == lengths[schedule.order].sum()
    counts = np.bincount(schedule.order, minlength=len(lengths))
    assert counts.max() - counts.min() <= 1  # every row is seen before any is seen again


@given(LENGTHS, st.sampled_from([0.5, 1.0, 2.0, 3.0]), st.integers(1, 9), st.booleans())
def test_epochs_see_every_row_that_often(lengths, epochs, size, grouped):
    config = SFTConfig(epochs=epochs, batch_size=size, group_by_length=grouped)
    schedule = training_schedule(Counted(lengths), config, 0)
    total = max(1, round(epochs * len(lengths)))
    assert len(schedule.order) == total
    assert schedule.steps == -(-total // size)
    if epochs >= 1:
        assert (np.bincount(schedule.order, minlength=len(lengths)) == epochs).all()


@given(st.lists(st.sampled_from([0, 3, 9]), min_size=1, max_size=70), st.sampled_from([0.5, 1.0, 2.0]))
def test_epochs_are_of_the_rows_that_can_be_trained_on(lengths, epochs):
    trainable = [place for place, length in enumerate(lengths) if length]
    schedule = training_schedule(Counted(np.array(lengths)), SFTConfig(epochs=epochs, batch_size=4), 0)
    assert len(schedule.order) == (max(1, round(epochs * len(trainable))) if trainable else 0)
    if epochs >= 1:
        assert sorted(schedule.order) == sorted(int(epochs) * trainable)


@given(LENGTHS, st.integers(1, 3000), st.integers(1, 9))
def test_max_tokens_stops_with_the_row_that_reaches_the_budget(lengths, budget, size):
    schedule = training_schedule(Counted(lengths), SFTConfig(max_tokens=budget, batch_size=size), 0)
    assert budget <= schedule.tokens < budget + lengths.max()
    assert schedule.steps == -(-len(schedule.order) // size)


def test_the_order_is_a_seeded_shuffle():
    lengths = np.full(40, 5, np.int64)
    config = SFTConfig(epochs=1, batch_size=4)
    first, again, other = (training_schedule(Counted(lengths), config, seed).order for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()
    assert (first != np.arange(40)).any()


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=8),
    st.integers(1, 8) | st.none(),
    st.integers(10, 120),
    st.integers(0, 40),
)
def test_micro_batches_are_the_cheapest_allowed_cuts(lengths, max_rows, max_tokens, pass_cost):
    lengths = np.sort(np.array(lengths, np.int64))[::-1]

    def cost(pieces):
        return sum((end - start) * lengths[start] + pass_cost for start, end in pieces)

    def allowed(pieces):
        return all(
            end - start <= (max_rows or 8) and ((end - start) * lengths[start] <= max_tokens or end - start == 1)
            for start, end in pieces
        )

    every = []
    for cuts in product([False, True], repeat=len(lengths) - 1):
        edges = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), len(lengths)]
        every.append(list(pairwise(edges)))
    found = micro_batches(lengths, max_rows=max_rows, max_tokens=max_tokens, pass_cost=pass_cost)
    assert found in every
    assert allowed(found)
    assert cost(found) == min(cost(pieces) for pieces in every if allowed(pieces))


@given(st.lists(st.integers(0, 60), min_size=1, max_size=70), st.integers(1, 3000), st.booleans())
def test_rows_that_cannot_be_trained_on_are_passed_over(lengths, budget, steps):
    lengths = np.array(lengths, np.int64)
    config = SFTConfig(max_steps=budget % 20 + 1, batch_size=3) if steps else SFTConfig(max_tokens=budget)
    schedule = training_schedule(Counted(lengths), config, 0)
    trainable = np.flatnonzero(lengths)
    assert bool(schedule.steps) == bool(len(trainable))
    assert np.isin(schedule.order, trainable).all()
    if steps and len(trainable):
        assert len(schedule.order) == 3 * schedule.steps
        counts = np.bincount(schedule.order, minlength=len(lengths))[trainable]
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("budget", [{"max_tokens": 900}, {"max_steps": 4}])
def test_rows_behind_the_end_of_the_budget_are_not_counted(budget):
    lengths = np.random.default_rng(0).integers(5, 50, 5000)
    rows = Counted(lengths)
    schedule = training_schedule(rows, SFTConfig(batch_size=16, **budget), 0)
    assert set(schedule.order.tolist()) <= rows.read
    assert len(rows.read) <= 256
    everything = Counted(lengths)
    training_schedule(everything, SFTConfig(epochs=1), 0)
    assert len(everything.read) == 5000


def test_the_order_of_a_budget_is_the_order_of_a_larger_one():
    """So that a longer training on the same subset goes on where the shorter one ended."""
    lengths = np.random.default_rng(0).integers(5, 50, 700)
    orders = [
        training_schedule(Counted(lengths), SFTConfig(batch_size=1, max_tokens=budget), 0).order
        for budget in (2_000, 40_000)
    ]
    assert (orders[1][: len(orders[0])] == orders[0]).all()
    assert len(orders[1]) > 700


SUBSETS = st.sets(st.integers(0, 99), min_size=1, max_size=60).map(sorted)


def _trained(rows: list[int], config: SFTConfig, seed: int = 0) -> list[int]:
    """Numbers of the rows in the order of training; the tokens of a row are a matter of its number."""
    numbers = np.array(rows, np.int64)
    schedule = training_schedule(Counted(5 + numbers % 7, numbers=numbers), config, seed)
    return numbers[schedule.order].tolist()


@given(SUBSETS, st.randoms(use_true_random=False), st.integers(1, 4), st.booleans())
def test_the_order_in_which_rows_are_given_does_not_matter(rows, random, seed, grouped):
    shuffled = random.sample(rows, len(rows))
    for budget in ({"epochs": 2.5}, {"max_steps": 7}, {"max_tokens": 400}):
        config = SFTConfig(**budget, batch_size=3, group_by_length=grouped)
        assert _trained(rows, config, seed) == _trained(shuffled, config, seed)


@given(SUBSETS, st.data(), st.integers(0, 3))
def test_each_pass_of_a_smaller_subset_is_that_of_a_larger_one_without_the_rows_it_lacks(rows, data, seed):
    kept = sorted(data.draw(st.sets(st.sampled_from(rows), min_size=1)))
    config = SFTConfig(epochs=3, batch_size=1)
    large, small = _trained(rows, config, seed), _trained(kept, config, seed)
    for number in range(3):
        whole = large[number * len(rows) : (number + 1) * len(rows)]
        assert small[number * len(kept) : (number + 1) * len(kept)] == [row for row in whole if row in set(kept)]


@given(SUBSETS, SUBSETS, st.integers(1, 600), st.integers(0, 3))
def test_up_to_the_end_of_a_budget_overlapping_subsets_train_on_what_they_share_in_one_order(one, other, budget, seed):
    """In the first pass, whatever the budget: one's shared rows are the beginning of the other's, or the reverse."""
    config = SFTConfig(max_tokens=budget, batch_size=1)
    shared = set(one) & set(other)
    orders = [_trained(rows, config, seed)[: len(rows)] for rows in (one, other)]
    first, second = sorted(([row for row in order if row in shared] for order in orders), key=len)
    assert second[: len(first)] == first


def test_every_pass_and_every_seed_has_an_order_of_its_own():
    rows = list(range(40))
    order = _trained(rows, SFTConfig(epochs=2, batch_size=1))
    assert order[:40] != order[40:]
    assert order[:40] != rows
    assert order != _trained(rows, SFTConfig(epochs=2, batch_size=1), seed=1)


def test_rows_come_at_any_time_of_a_pass_alike():
    """The order is random: a row's mean place over many seeds is the middle, whatever its number."""
    config = SFTConfig(epochs=1, batch_size=1)
    places = np.array([np.argsort(_trained(list(range(30)), config, seed)) for seed in range(400)])
    assert np.abs(places.mean(axis=0) - 14.5).max() < 4 * np.sqrt((30**2 - 1) / 12 / 400)
    assert np.abs(np.corrcoef(places.T) - np.eye(30)).max() < 0.3


def test_a_row_more_shifts_batches_of_similar_length_by_that_row_at_most():
    """Grouping keeps which lengths come when; rows may move to the neighbouring batch of their window."""
    config = SFTConfig(epochs=1, batch_size=4, group_by_length=True)
    rows = list(range(96))
    without = [row for row in rows if row != 50]
    batches, fewer = (
        [set(order[start : start + 4]) for start in range(0, 64, 4)]
        for order in (_trained(rows, config), _trained(without, config))
    )
    moved = [len(batch - other) for batch, other in zip(batches, fewer, strict=True)]
    assert max(moved) <= 2


def test_three_epochs_are_the_default_budget():
    assert len(training_schedule(Counted(np.full(10, 5, np.int64)), SFTConfig(), 0).order) == 30


def test_batches_are_sorted_by_length_inside_so_that_micro_batches_pad_little():
    lengths = np.arange(2, 66, dtype=np.int64)
    schedule = training_schedule(Counted(lengths), SFTConfig(epochs=1, batch_size=16), 0)
    for start in range(0, 64, 16):
        assert (np.diff(lengths[schedule.order[start : start + 16]]) <= 0).all()


def test_group_by_length_narrows_batches():
    lengths = np.random.default_rng(0).integers(2, 200, 512)

    def spread(grouped: bool) -> float:
        order = training_schedule(
            Counted(lengths), SFTConfig(epochs=1, batch_size=16, group_by_length=grouped), 0
        ).order
        return float(np.ptp(lengths[order].reshape(-1, 16), axis=1).mean())

    assert spread(True) < spread(False) / 5


def test_batches_grouped_by_length_come_in_random_order():
    lengths = np.random.default_rng(0).permutation(np.arange(1, 257))  # one window of 16 batches
    config = SFTConfig(epochs=1, batch_size=16, group_by_length=True)
    longest = [
        lengths[training_schedule(Counted(lengths), config, seed).order].reshape(16, 16).max(axis=1) for seed in (0, 1)
    ]
    for found in longest:
        assert sorted(found) == list(range(16, 257, 16)), "each batch holds neighbours by length"
        assert 3 <= np.count_nonzero(np.diff(found) > 0) <= 12, "short and long ones come mixed"
    assert (longest[0] != longest[1]).any()


def test_two_budgets_are_refused():
    with pytest.raises(ValidationError, match="exactly one budget, not epochs and max_steps"):
        SFTConfig(epochs=1, max_steps=5)


@given(LENGTHS, st.integers(1, 3000), st.integers(1, 9), st.data())
def test_a_budget_may_count_responses_only(lengths, budget, size, data):
    responses = np.array([data.draw(st.integers(1, int(length))) for length in lengths[:8]], np.int64)
    lengths = lengths[:8]
    config = SFTConfig(max_tokens=budget, batch_size=size, budget_counts="response")
    schedule = training_schedule(Counted(lengths, responses), config, 0)
    assert budget <= responses[schedule.order].sum() < budget + responses.max()
    assert schedule.tokens == lengths[schedule.order].sum()


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=20),
    st.integers(1, 8) | st.none(),
    st.integers(10, 120),
)
def test_packs_hold_every_row_once_within_the_limits_and_are_as_few_as_can_be(lengths, max_rows, max_tokens):
    lengths = np.sort(np.array(lengths, np.int64))[::-1]
    pieces = packed_batches(lengths, max_rows=max_rows, max_tokens=max_tokens)
    assert [row for start, end in pieces for row in range(start, end)] == list(range(len(lengths)))

    def fits(start, end):
        within = lengths[start:end].sum() <= max_tokens and end - start <= (max_rows or end)
        return end - start == 1 or within

    assert all(fits(*piece) for piece in pieces)
    fewest = [0] + [len(lengths)] * len(lengths)
    for end in range(1, len(lengths) + 1):
        fewest[end] = min(fewest[start] + 1 for start in range(end) if fits(start, end))
    assert len(pieces) == fewest[-1]
