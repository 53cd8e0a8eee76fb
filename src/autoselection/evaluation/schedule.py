"""Which rows an evaluation trains on, in which order, and how many steps that makes.

Training order is an endless stream of passes over the subset, without the rows that cannot be trained on. Within a pass
rows come in the order of their keys (:mod:`autoselection.evaluation.row_keys`): the pass of a smaller subset is that of a
larger one without the rows it lacks. The stream is cut into batches of exactly ``batch_size`` rows (a batch may span two
passes), so that every optimiser step weighs the same whatever the size of the subset. A row's tokens are counted
when the stream reaches it: rows behind the end of the budget are never encoded. The budget decides where that is:

- ``epochs``: after ``round(epochs * rows)`` rows;
- ``max_steps``: after ``max_steps * batch_size`` rows;
- ``max_tokens``: with the row whose tokens reach the budget (all tokens, or those with a loss: ``budget_counts``).

The last batch may be shorter, except with ``max_steps``. Within a batch, rows are sorted by length, longest first: this
changes no gradient (the loss is a mean over the response tokens of the whole batch), only the padding of micro-batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from autoselection.evaluation.config import SFTConfig
from autoselection.evaluation.encoding import DROPPED, EncodedSubset
from autoselection.evaluation.row_keys import training_keys
from autoselection.evaluation.runtime import TrainingFailure
from autoselection.hashing import Hashes

#: Batches among which ``group_by_length`` sorts rows: enough to even out lengths, few enough to keep batches mixed.
GROUPED_BATCHES = 16

#: Rows whose tokens are counted at once, until all have been: encoding many together is faster than one by one.
_READ_AT_ONCE = 256

#: First entry of the seed sequence of the order of grouped batches, so that it differs from other uses of the same seed.
_GROUPED_STREAM = 8


@dataclass(frozen=True)
class TrainingSchedule:
    """Rows in the order of training.

    Attributes:
        order: positions in the subset, in the order in which they are trained on.
        steps: optimiser steps.
        tokens: tokens of all rows of ``order`` together.
    """

    order: NDArray[np.int64]
    steps: int
    tokens: int


class Countable(Protocol):
    """Rows whose tokens can be counted, by their positions in the subset."""

    @property
    def identities(self) -> Hashes:
        """What the order of training knows rows by, see :func:`autoselection.evaluation.row_keys.identities`."""
        ...

    def __len__(self) -> int:
        """Rows of the subset."""
        ...

    def lengths(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of each row at ``positions``; 0 for one that cannot be trained on."""
        ...

    def responses(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of each row at ``positions`` that have a loss."""
        ...


def plan(subset: EncodedSubset, config: SFTConfig, seed: int) -> TrainingSchedule:
    """The schedule of training on ``subset``.

    Raises:
        TrainingFailure: no row can be trained on.
    """
    schedule = training_schedule(subset, config, seed)
    if not schedule.steps:
        raise TrainingFailure(
            "No row of the subset can be trained on: "
            + (
                "; ".join(f"{rows:,} because {DROPPED[name]}" for name, rows in subset.dropped.items() if rows)
                or "it has none"
            )
            + "."
        )
    return schedule


def training_schedule(rows: Countable, config: SFTConfig, seed: int) -> TrainingSchedule:
    """Plan training on ``rows``; an empty schedule if none can be trained on."""
    order = _stream(rows, config, seed)
    if not len(order):
        return TrainingSchedule(order, 0, 0)
    lengths = rows.lengths(order)
    size = config.batch_size
    places = np.arange(len(order))
    if config.group_by_length:
        places = _grouped(places, lengths, size, seed)
    batches = [places[start : start + size] for start in range(0, len(places), size)]
    places = np.concatenate([batch[np.argsort(-lengths[batch], kind="stable")] for batch in batches])
    return TrainingSchedule(order[places], len(batches), int(lengths.sum()))


def _stream(rows: Countable, config: SFTConfig, seed: int) -> NDArray[np.int64]:
    """Positions in the order of the stream, up to the end of the budget."""
    places = len(rows)
    budget, total = config.max_tokens, None
    if config.max_steps is not None:
        total = config.max_steps * config.batch_size
    elif budget is None:
        trainable = int(np.count_nonzero(rows.lengths(np.arange(places))))
        total = max(1, round(config.passes * trainable)) if trainable else 0
    parts: list[NDArray[np.int64]] = []
    taken, tokens = 0, 0
    chunk = _READ_AT_ONCE
    for part in passes(rows, seed):
        for start in range(0, places, chunk):
            read = part[start : start + chunk]
            lengths = rows.lengths(read)
            read, lengths = read[lengths > 0], lengths[lengths > 0]
            if budget is not None:
                reached = tokens + np.cumsum(rows.responses(read) if config.budget_counts == "response" else lengths)
                tokens = int(reached[-1]) if len(reached) else tokens
                read = read[: int(np.searchsorted(reached, budget)) + 1]
            elif total is not None:
                read = read[: total - taken]
            parts.append(read)
            taken += len(read)
            if tokens >= budget if budget is not None else taken == total:
                return np.concatenate(parts)
        if not taken:
            break
        chunk = places  # every row has been counted
    return np.zeros(0, np.int64)


def passes(rows: Countable, seed: int) -> Iterator[NDArray[np.int64]]:
    """Positions of all rows in the order of their keys, pass after pass."""
    for number in count():
        yield np.argsort(training_keys(rows.identities, seed, number), kind="stable")


def _grouped(order: NDArray[np.int64], lengths: NDArray[np.int64], size: int, seed: int) -> NDArray[np.int64]:
    """Sort windows of the stream by length and shuffle their batches; the last, shorter batch stays last.

    The shuffle depends on the seed and the window alone: for every subset the shortest rows of a window come at the same
    step. One row more or less moves rows between neighbouring batches.
    """
    window = GROUPED_BATCHES * size
    whole = len(order) - len(order) % size
    parts: list[NDArray[np.int64]] = []
    for start in range(0, whole, window):
        rows = order[start : min(start + window, whole)]
        batches = rows[np.argsort(lengths[rows], kind="stable")].reshape(-1, size)
        rng = np.random.default_rng([_GROUPED_STREAM, seed, start // window])
        parts.extend(batches[rng.permutation(len(batches))])
    return np.concatenate([*parts, order[whole:]])


def packed_batches(lengths: NDArray[np.int64], *, max_rows: int | None, max_tokens: int) -> list[tuple[int, int]]:
    """Cut a batch into as few pieces as possible of at most ``max_tokens`` tokens (a single row may have more).

    Returns:
        (start, end) of each piece.
    """
    pieces: list[tuple[int, int]] = []
    start, tokens = 0, 0
    for row, length in enumerate(lengths.tolist()):
        if row > start and (tokens + length > max_tokens or row - start == max_rows):
            pieces.append((start, row))
            start, tokens = row, 0
        tokens += length
    return [*pieces, (start, len(lengths))]


def micro_batches(
    lengths: NDArray[np.int64], *, max_rows: int | None, max_tokens: int, pass_cost: int
) -> list[tuple[int, int]]:
    """Cut a batch into micro-batches so that the padded tokens and the passes together cost least.

    Minimises ``sum(rows * longest + pass_cost)`` over contiguous pieces by dynamic programming.

    Args:
        lengths: tokens of each row of the batch, longest first.
        max_rows: most rows of a micro-batch; None is no limit.
        max_tokens: most padded tokens of a micro-batch; a single row may have more.
        pass_cost: what a further forward and backward pass costs, in tokens.

    Returns:
        (start, end) of each micro-batch.
    """
    rows = len(lengths)
    cost = np.full(rows + 1, np.iinfo(np.int64).max, np.int64)
    cost[0] = 0
    begin = np.zeros(rows + 1, np.int64)
    for end in range(1, rows + 1):
        starts = np.arange(max(0, end - (max_rows or rows)), end)
        tokens = (end - starts) * lengths[starts]
        allowed = (tokens <= max_tokens) | (starts == end - 1)
        totals = cost[starts[allowed]] + tokens[allowed] + pass_cost
        chosen = int(np.argmin(totals))
        cost[end], begin[end] = totals[chosen], starts[allowed][chosen]
    pieces = []
    end = rows
    while end:
        pieces.append((int(begin[end]), end))
        end = int(begin[end])
    return pieces[::-1]
