"""The surroundings of an evaluation: quiet libraries, untouched global generators, and kinds of failures."""

from __future__ import annotations

import gc
import importlib.util
import logging
import os
import random
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from autoselection.errors import MissingExtraError
from autoselection.evaluation.job import FailureKind
from autoselection.evaluation.memory import asked_bytes, blame, gpu_memory, system_memory
from autoselection.seeds import SEEDS_END
from autoselection.system import MACHINE_ERRNOS, lacks_memory, machine_error, unmasked

_PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "lm_eval", "math_verify", "safetensors")
_NOISY = ("lm_eval", "lm-eval", "transformers", "trl", "peft", "accelerate", "datasets")

#: Messages about a GPU: of CUDA, its libraries (cuBLAS, cuDNN, …) or ROCm's.
_GPU_WORDS = re.compile(r"\b(?:cuda|cudnn|cublas|cusolver|cusparse|cufft|hip|rocblas|miopen)", re.IGNORECASE)
#: cuDNN says of main memory CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED.
_HOST_WORDS = re.compile(r"host_allocation", re.IGNORECASE)


class TrainingFailure(Exception):
    """Training or scoring gave no usable model: the subset or the settings are to blame, not the machine."""


class MachineFailure(Exception):
    """A command that trains was ended by the machine (killed, disk full), not by what it was asked."""


def require_packages() -> None:
    """Raise MissingExtraError for the first missing package of the ``train`` extra."""
    for package in _PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "train", "Evaluating a subset")


def failures() -> tuple[type[BaseException], ...]:
    """The exceptions that :func:`failure_of` may recognise."""
    from safetensors import SafetensorError

    from autoselection.language.models import LoadFailure

    system = (MemoryError, OSError, RuntimeError, ImportError)  # the last two may hide a system's error
    return (LoadFailure, TrainingFailure, MachineFailure, *system, SafetensorError)


def failure_of(error: BaseException) -> tuple[str, FailureKind] | None:
    """Tell an evaluation that failed from a mistake of ours: (reason, kind), or None if the error must be raised.

    Called while the error's frames still hold what the evaluation had allocated: lack of memory is the recipe's failure
    if the evaluation would not have fitted alone, and the machine's if others took the room (see ``memory``).
    """
    import torch
    from safetensors import SafetensorError

    from autoselection.language.models import LoadFailure

    if isinstance(error, LoadFailure):
        cause = machine_error(error)
        if cause is not None and lacks_memory(cause):
            return _out_of_memory(cause)
        return f"The machine failed: {error}", "infrastructure"
    if isinstance(error, TrainingFailure):
        return str(error), "training"
    if isinstance(error, MachineFailure):
        return str(error), "infrastructure"
    text = " ".join(str(error).split())
    if lacks_memory(error):
        return _out_of_memory(error)
    system = unmasked(error) if isinstance(error, (RuntimeError, ImportError)) else error
    if isinstance(system, OSError) and system.errno in MACHINE_ERRNOS:
        return f"The system failed: {text}.", "infrastructure"
    if isinstance(error, SafetensorError):
        return f"Saving the model failed: {text}.", "infrastructure"
    if isinstance(error, RuntimeError):
        accelerator_error: type[BaseException] | None = getattr(torch, "AcceleratorError", None)
        if accelerator_error is not None and isinstance(error, accelerator_error):
            return f"The accelerator failed: {text[:200]}.", "infrastructure"
    return None


def _out_of_memory(error: BaseException) -> tuple[str, FailureKind]:
    import torch

    text = " ".join(str(error).split()) or "the system refused an allocation"
    gpu = isinstance(error, RuntimeError) and _GPU_WORDS.search(text) and not _HOST_WORDS.search(text)
    on_gpu = bool(gpu) and torch.cuda.is_available()
    use = gpu_memory() if on_gpu else system_memory()
    kind = blame(use, asked_bytes(text))
    own, others, total = (f"{size / 2**30:.1f} GiB" for size in (use.own, use.others, use.total))
    share = f"{own} of {total} held here, {others} by others"
    if kind == "infrastructure":
        return f"Out of memory taken by others ({share}): {text[:200]}.", kind
    return (
        f"Out of memory ({share}; {text[:200]}); lower evaluation.sft.micro_batch_tokens, or switch "
        "evaluation.sft.gradient_checkpointing on, with which a study can go on (a lower max_length is for a new one).",
        kind,
    )


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence progress bars, warnings and log lines below ERROR of the training libraries, and restore them."""
    # Read when tqdm is first imported, which in a worker process happens below.
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    levels = {name: logging.getLogger(name).level for name in _NOISY}
    try:
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(transformers|trl|peft|accelerate|datasets|lm_eval|torch)\b")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def borrowed_process(seed: int, threads: int | None) -> Iterator[None]:
    """Seed the global generators that the libraries draw from, set PyTorch's threads, and restore both.

    Objects that are there already are left out of garbage collection meanwhile: the trainer and the end of an evaluation
    collect everything, which takes a second where the libraries alone have a million objects.
    """
    import torch

    python_state, numpy_state, old_threads = random.getstate(), np.random.get_state(), torch.get_num_threads()
    frozen_elsewhere = gc.get_freeze_count() > 0  # unfreezing would undo it
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        try:
            seed_generators(seed)
            if threads is not None:
                torch.set_num_threads(threads)
            if not frozen_elsewhere:
                gc.freeze()
            yield
        finally:
            if not frozen_elsewhere:
                gc.unfreeze()
            random.setstate(python_state)
            np.random.set_state(numpy_state)
            torch.set_num_threads(old_threads)


def seed_generators(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators (any non-negative seed)."""
    import torch

    random.seed(seed)
    np.random.seed(seed % SEEDS_END)
    torch.manual_seed(seed)
