"""Operators, kernels, copies and host synchronisations of the passes of a training step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from benchmarks.throughput.names import OURS, PACKED, PLAIN
from benchmarks.throughput.trainers import TRAINERS
from benchmarks.throughput.work import Work

#: Methods whose operators are counted.
COUNTED = (OURS, PLAIN, PACKED)
_SYNCS = (
    *("aten::_local_scalar_dense", "aten::item", "aten::nonzero"),
    *("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize"),
)
_LAUNCHES = ("cudaLaunchKernel", "cudaLaunchCooperativeKernel", "cuLaunchKernel", "cuLaunchCooperativeKernel")


def dispatch(work: Work, name: str) -> Iterator[dict[str, Any]]:
    """Operators of the passes of one training step; a step of the same rows goes before.

    On a GPU one ``cudaDeviceSynchronize`` of those counted is the profiler's own: it waits for the device before it stops.
    """
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if work.device.startswith("cuda") else [])
    step = work.rows[: work.batch_size]
    events: list[Mapping[str, int]] = []

    @contextmanager
    def profiled() -> Iterator[None]:
        if not events:
            events.append({})
            yield
            return
        with profile(activities=activities) as found:
            yield
        events.append({event.key: event.count for event in found.key_averages()})

    twice = replace(work, rows=[*step, *step], batch_size=len(step), passes=profiled)
    ran = TRAINERS[name](twice, work.model())
    yield {
        "part": "dispatch",
        "method": name,
        "tokens": sum(len(row.ids) for row in step),
        "passes": ran.passes // 2,
        **counted_events(events[-1]),
    }


def counted_events(events: Mapping[str, int]) -> dict[str, Any]:
    """Operators, kernels, copies to and from a device and host synchronisations among a profiler's events."""
    return {
        "operators": sum(count for key, count in events.items() if key.startswith("aten::")),
        "kernels": sum(count for key, count in events.items() if key.startswith(_LAUNCHES)),
        "copies": {key: count for key, count in events.items() if key.startswith(("Memcpy", "cudaMemcpy"))},
        "host_syncs": {key: events[key] for key in _SYNCS if key in events},
    }
