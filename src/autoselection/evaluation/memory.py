"""Whose fault it is that memory ran out: the evaluation's own, or that of others on the machine."""

from __future__ import annotations

import os
import re
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

#: An evaluation that would take more than this share of the memory does not fit, whoever else runs.
_FULL = 0.9
#: Others that hold less than this share are not the reason: allocators leave gaps, drivers and systems take a little.
_LITTLE = 0.1

#: Evaluations that plan for the same GPU, this one counted: executors say so to the processes they start.
_sharers = 1

_ASKED = re.compile(r"(?:allocate|allocating)\D{0,20}([\d.]+)\s*(bytes|[KMGT]i?B)", re.IGNORECASE)
_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class MemoryUse:
    """Bytes of one kind of memory.

    Attributes:
        own: held by this process.
        others: held by everybody else.
        total: all there is, or all this process may have.
    """

    own: int
    others: int
    total: int


def share_gpu(evaluations: int) -> None:
    """Let this process plan for a GPU that so many evaluations use side by side."""
    global _sharers
    _sharers = max(1, evaluations)


def planned_gpu_bytes(device: Any) -> int:
    """What one kind of large tensors of one evaluation may take of a GPU: a quarter of its memory, shared by the evaluations on it.

    By what is configured, not by what is free: then passes are cut alike in every run.
    """
    import torch

    return int(torch.cuda.get_device_properties(device).total_memory) // 4 // _sharers


def blame(use: MemoryUse, asked: int) -> Literal["training", "infrastructure"]:
    """``training`` if the evaluation would not have fitted alone, ``infrastructure`` if others took its room."""
    if use.own + asked > _FULL * use.total or use.others < _LITTLE * use.total:
        return "training"
    return "infrastructure"


def asked_bytes(message: str) -> int:
    """The size of the allocation that an error message names, 0 if it names none."""
    found = _ASKED.search(message)
    return int(float(found[1]) * _UNITS[found[2][0].lower()]) if found else 0


def gpu_memory() -> MemoryUse:
    """Memory of the current CUDA device."""
    import torch

    free, total = torch.cuda.mem_get_info()
    own = torch.cuda.memory_reserved()
    return MemoryUse(own, max(0, total - free - own), total)


def system_memory() -> MemoryUse:
    """Main memory, within the limits of the container and of the process."""
    own = _status("VmRSS") + _status("VmSwap")
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    others = max(0, total - _available(total) - own)
    limit = _number(_CGROUP / "memory.max")
    if limit is not None and limit < total:
        total, others = limit, max(0, (_number(_CGROUP / "memory.current") or 0) - own)
    allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
    if allowed != resource.RLIM_INFINITY and allowed < total:
        return MemoryUse(_status("VmSize"), 0, allowed)  # others cannot take room under a limit of our own
    return MemoryUse(own, others, total)


def held_memory() -> dict[str, int]:
    """Bytes that this process holds and that there are: ``resident`` of ``total``, on a GPU ``device`` of ``device_total``.

    From any thread, at any time: nothing is imported, no device is started or waited for.
    """
    use = system_memory()
    found = {"resident": use.own, "total": use.total}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        devices = range(torch.cuda.device_count())
        found["device"] = sum(torch.cuda.memory_reserved(device) for device in devices)
        found["device_total"] = sum(torch.cuda.get_device_properties(device).total_memory for device in devices)
    return found


_TOLD = {
    "total": re.compile(r"total capacity of ([\d.]+) ([KMGT]iB)"),
    "own": re.compile(r"this process has ([\d.]+) ([KMGT]iB) memory in use"),
    "others": re.compile(r"Process \d+ has ([\d.]+) ([KMGT]iB) memory in use"),
}


def told_memory(message: str) -> MemoryUse | None:
    """The use of a GPU that PyTorch's message of another process tells, or None."""
    sizes = {
        name: sum(int(float(number) * _UNITS[unit[0].lower()]) for number, unit in pattern.findall(message))
        for name, pattern in _TOLD.items()
    }
    return MemoryUse(**sizes) if sizes["total"] and sizes["own"] else None


def _status(name: str) -> int:
    """A size from the process's status file (Linux); elsewhere the peak of resident memory."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if name == "VmRSS" else 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def _available(total: int) -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return total
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), total)


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
