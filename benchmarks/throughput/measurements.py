"""What is measured in turn: everything once at the sizes given, or each as long as its share of the time lasts."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.throughput.dispatch import COUNTED, dispatch
from benchmarks.throughput.names import OURS
from benchmarks.throughput.scoring import scoring
from benchmarks.throughput.signals import signals
from benchmarks.throughput.timing import failure, freed
from benchmarks.throughput.training import training, training_for
from benchmarks.throughput.work import Work

PARTS = ("training", "dispatch", "signals", "scoring")


def measurements(work: Work, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All lines."""
    return _once(work, options) if options.seconds is None else _in_time(work, options)


def _once(work: Work, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Methods alternate, at the sizes given."""
    for part in options.parts:
        if part == "training":
            yield from training(work, options.repeats, options.methods)
        elif part == "dispatch":
            for name in (name for name in options.methods if name in COUNTED):
                yield from dispatch(work, name)
        elif part == "signals":
            yield from signals(work, options.repeats, options.rows, None)
        else:
            yield from scoring(work, options.repeats, options.questions, None)


def _in_time(work: Work, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Each method with its share of the seconds; what fails has a line that says why."""
    end = options.started + options.seconds
    first: dict[str, float] = {}
    for part, name, share in _shares(options.parts, options.methods):
        left = end - time.monotonic()
        if left <= 1:
            yield {"part": part, "method": name, "failure": "no time was left"}
            continue
        try:
            if part == "training":
                yield from training_for(work, left * share, name, first)
            elif part == "dispatch":
                yield from dispatch(work, name)
            elif part == "signals":
                yield from signals(work, 1, 0, left * share)
            else:
                yield from scoring(work, 1, 0, left * share)
        except Exception as error:  # noqa: BLE001 - one method that fails must not cost the others their time on the device
            yield failure(part, name, error)
        freed(work.device)


def _shares(parts: Sequence[str], methods: Sequence[str]) -> list[tuple[str, str, float]]:
    """What is measured in turn, each with its share of the time that is left then; methods beside the main ones come last."""
    weights: list[tuple[str, str, float]] = []
    for part in parts:
        if part == "training":  # the first imports TRL
            weights += [(part, name, 2.0 if name == OURS else 1.0) for name in methods]
        elif part == "dispatch":
            weights += [(part, name, 0.3) for name in methods if name in COUNTED]
        else:
            weights.append((part, OURS, 1.0))
    weights.sort(key=lambda each: each[1] not in COUNTED)
    rest = np.cumsum([weight for *_, weight in weights][::-1])[::-1]
    return [(part, name, weight / total) for (part, name, weight), total in zip(weights, rest.tolist(), strict=True)]
