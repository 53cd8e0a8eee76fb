"""Which rows an evaluation trains on, in which order, and how many steps that makes.

Training order is an endless stream: a seeded permutation of the subset, then another one, and so on. The stream is cut
into batches of exactly ``batch_size`` rows (a batch may span two permutations), so that every optimiser step weighs the
same whatever the size of the subset. The budget decides where the stream ends:

- ``epochs``: after ``round(epochs * rows)`` rows;
- ``max_steps``: after ``max_steps * batch_size`` rows;
- ``max_tokens``: with the row whose tokens reach the budget (all tokens, or those with a loss: ``budget_counts``).

The last batch may be shorter, except with ``max_steps``. Within a batch, rows are sorted by length, longest first: this
changes no gradient (the loss is a mean over the response tokens of the whole batch), only the padding of micro-batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoselection.evaluation.config import DEFAULT_EPOCHS, SFTConfig

#: Batches among which ``group_by_length`` sorts rows: enough to even out lengths, few enough to keep batches mixed.
GROUPED_BATCHES = 16

#: First entry of the seed sequence of the training order, so that it differs from other uses of the same seed.
_ORDER_STREAM = 7


@dataclass(frozen=True)
class TrainingSchedule:
    """Rows in the order of training.

    Attributes:
        order: positions in the encoded subset, in the order in which they are trained on.
        steps: optimiser steps.
        tokens: tokens of all rows of ``order`` together.
    """

    order: NDArray[np.int64]
    steps: int
    tokens: int


def training_schedule(
    lengths: NDArray[np.int64], config: SFTConfig, seed: int, *, responses: NDArray[np.int64] | None = None
) -> TrainingSchedule:
    """Plan training on rows of the given ``lengths`` (tokens, shape ``(rows,)``, at least one row).

    Args:
        responses: tokens of each row that have a loss, at least one a row; needed where the budget counts these.
    """
    rng = np.random.default_rng([_ORDER_STREAM, seed])
    counted = lengths
    if config.budget_counts == "response":
        if responses is None:
            raise ValueError("a budget of response tokens needs their number in every row")
        counted = responses
    order = _stream(counted, config, rng)
    size = config.batch_size
    if config.group_by_length:
        order = _grouped(order, lengths, size, rng)
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    order = np.concatenate([batch[np.argsort(-lengths[batch], kind="stable")] for batch in batches])
    return TrainingSchedule(order, len(batches), int(lengths[order].sum()))


def _stream(lengths: NDArray[np.int64], config: SFTConfig, rng: np.random.Generator) -> NDArray[np.int64]:
    rows = len(lengths)
    if config.max_tokens is not None:
        parts, tokens = [], 0
        while tokens < config.max_tokens:
            part = rng.permutation(rows)
            reached = tokens + np.cumsum(lengths[part])
            parts.append(part[: int(np.searchsorted(reached, config.max_tokens)) + 1])
            tokens = int(reached[-1])
        return np.concatenate(parts)
    if config.max_steps is not None:
        total = config.max_steps * config.batch_size
    else:
        total = max(1, round((config.epochs or DEFAULT_EPOCHS) * rows))
    return np.concatenate([rng.permutation(rows) for _ in range(math.ceil(total / rows))])[:total]


def _grouped(
    order: NDArray[np.int64], lengths: NDArray[np.int64], size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Sort windows of the stream by length and shuffle their batches; the last, shorter batch stays last."""
    window = GROUPED_BATCHES * size
    whole = len(order) - len(order) % size
    parts: list[NDArray[np.int64]] = []
    for start in range(0, whole, window):
        rows = order[start : min(start + window, whole)]
        batches = rows[np.argsort(lengths[rows], kind="stable")].reshape(-1, size)
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
