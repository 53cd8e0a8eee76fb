"""Seconds, tokens a second and memory, and runs that grow into the time there is."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.throughput.work import Work

#: Seconds of wall time and of processor time.
Seconds = tuple[float, float]


def clock(device: str) -> Seconds:
    """Wall and processor seconds, when the device has done what it was given."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


def since(started: Seconds, device: str) -> Seconds:
    """Wall and processor seconds that have passed."""
    now = clock(device)
    return now[0] - started[0], now[1] - started[1]


def memory(device: str) -> dict[str, float]:
    """The most that was held on a GPU since :func:`freed` (GB)."""
    import torch

    return {"memory_gb": torch.cuda.max_memory_allocated() / 1e9} if device.startswith("cuda") else {}


def freed(device: str) -> None:
    """Give back what nobody holds any more; from here on :func:`memory` counts."""
    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def rate(part: str, method: str, times: Sequence[Seconds], tokens: int, work: Work) -> dict[str, Any]:
    """The line of a method: the rate of the fastest of its runs of so many tokens."""
    wall, busy = (min(run[index] for run in times) for index in (0, 1))
    return {
        "part": part,
        "method": method,
        "tokens": tokens,
        "tokens_per_s": tokens / (busy if work.device == "cpu" else wall),
        "wall_tokens_per_s": tokens / wall,
        "spread": statistics.pstdev(run[1] for run in times) / statistics.fmean(run[1] for run in times),
        "device": work.device,
        "dtype": str(work.dtype).removeprefix("torch."),
    }


def failure(part: str, method: str, error: Exception) -> dict[str, Any]:
    """The line of a method that failed."""
    reason = " ".join(str(error).split())[:300]
    return {"part": part, "method": method, "failure": f"{type(error).__name__}: {reason}"}


@dataclass(frozen=True)
class Timed:
    """The longest of several runs of different sizes.

    Attributes:
        size: units of work (steps, rows, questions).
        seconds: of that run.
        result: what it gave.
        unit: wall seconds that one more unit takes; None where all runs were of one size.
    """

    size: int
    seconds: Seconds
    result: Any
    unit: float | None


def grown(make: Callable[[int], Callable[[], Any]], seconds: float, most: int, now: Callable[[], Seconds]) -> Timed:
    """Run once to warm up, and then with ever more units, as long as the next run is likely to end in time.

    Args:
        make: gives what does so many units of work; making it is not in the seconds of the run.
        seconds: wall time for all runs together.
        most: units.
        now: wall and processor time.
    """
    began = now()[0]
    make(1)()
    size, last = 1, None
    while True:
        asked = now()[0]
        work = make(size)
        started = now()
        result = work()
        ended = now()
        del work  # a model, say, before the next is made
        took = (ended[0] - started[0], ended[1] - started[1])
        unit = None if last is None else max(1e-9, (took[0] - last.seconds[0]) / (size - last.size))
        found = Timed(size, took, result, unit)
        slope = took[0] / size if unit is None else unit
        once = started[0] - asked + took[0] - slope * size
        more = min(most, 8 * size, int((0.9 * (seconds - (ended[0] - began)) - once) / slope))
        if more < 2 * size:
            return found
        size, last = more, found
