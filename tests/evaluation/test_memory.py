"""Out of memory: the recipe's failure where it would not have fitted alone, the machine's where others took the room."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import SafetensorError

from autoselection.errors import EvaluationError
from autoselection.evaluation import evaluate, runtime
from autoselection.evaluation.memory import MemoryUse, asked_bytes, blame, system_memory
from autoselection.evaluation.runtime import failure_of
from autoselection.language.models import load_tokenizer, model_fingerprint

GB = 1 << 30


@pytest.mark.parametrize(
    ("use", "asked", "kind"),
    [
        (MemoryUse(own=70, others=2, total=80), 12, "training"),  # would not fit an empty device
        (MemoryUse(own=70, others=9, total=80), 12, "training"),  # nor would it without the others
        (MemoryUse(own=40, others=38, total=80), 6, "infrastructure"),  # the others took its room
        (MemoryUse(own=60, others=2, total=80), 6, "training"),  # nobody else to blame: gaps of the allocator
        (MemoryUse(own=1, others=79, total=80), 2, "infrastructure"),
    ],
)
def test_blame(use, asked, kind):
    assert blame(MemoryUse(use.own * GB, use.others * GB, use.total * GB), asked * GB) == kind


@pytest.mark.parametrize(
    ("message", "asked"),
    [
        ("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.15 GiB", int(2.5 * GB)),
        ("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried to allocate "
         "123456789 bytes. Error code 12", 123_456_789),
        ("Unable to allocate 3.00 MiB for an array with shape (3,)", 3 << 20),
        ("Cannot allocate memory", 0),
    ],
)  # fmt: skip
def test_the_size_asked_for_is_read(message, asked):
    assert asked_bytes(message) == asked


@pytest.mark.parametrize("kind", ["training", "infrastructure"])
@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
     RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), MemoryError(), OSError(12, "ENOMEM")],
)  # fmt: skip
def test_failures_of_memory_are_told_apart(error, kind, monkeypatch):
    others = 0 if kind == "training" else 60 * GB
    use = MemoryUse(own=20 * GB, others=others, total=80 * GB)
    monkeypatch.setattr(runtime, "system_memory", lambda: use)
    monkeypatch.setattr(runtime, "gpu_memory", lambda: use)
    reason, found = failure_of(error) or ("", "")
    assert found == kind
    assert "20.0 GiB of 80.0 GiB held here" in reason
    assert ("lower evaluation.sft.micro_batch_tokens" in reason) == (kind == "training")


@pytest.mark.parametrize(
    ("message", "measured"),
    [
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "gpu"),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "gpu"),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", "gpu"),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED", "system"),
        ("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`", "gpu"),
        ("HIP out of memory. Tried to allocate 2.00 GiB", "gpu"),
        ("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.", "system"),
    ],
)
def test_the_libraries_of_a_gpu_run_out_of_its_memory(message, measured, monkeypatch):
    taken, free = MemoryUse(20 * GB, 55 * GB, 80 * GB), MemoryUse(20 * GB, 0, 80 * GB)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(runtime, "gpu_memory", lambda: taken if measured == "gpu" else free)
    monkeypatch.setattr(runtime, "system_memory", lambda: free if measured == "gpu" else taken)
    reason, kind = failure_of(RuntimeError(message)) or ("", "")
    assert kind == "infrastructure" and "taken by others" in reason


def failing(error: BaseException, cause: BaseException | None = None) -> Any:
    def load(*_: Any, **__: Any) -> Any:
        raise error from cause

    return load


@pytest.mark.parametrize(
    ("error", "cause", "told"),
    [
        (OSError(errno.EMFILE, "Too many open files"), None, "Too many open files"),
        (OSError("Can't load the model"), OSError(errno.EIO, "Input/output error"), "Can't load the model"),
        (SafetensorError("I/O error: Input/output error (os error 5)"), None, "os error 5"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), None, "Out of memory taken by others"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), None, "Out of memory taken by others"),
        (ValueError("cannot be loaded"), MemoryError(), "Out of memory taken by others"),
    ],
)
@pytest.mark.parametrize("loads", ["AutoModelForCausalLM", "AutoTokenizer", "AutoConfig"])
def test_a_machine_that_gives_out_while_loading_is_no_broken_model(loads, error, cause, told, make_job, monkeypatch):
    use = MemoryUse(20 * GB, 55 * GB, 80 * GB)
    monkeypatch.setattr(runtime, "system_memory", lambda: use)
    monkeypatch.setattr(runtime, "gpu_memory", lambda: use)
    monkeypatch.setattr(getattr(transformers, loads), "from_pretrained", failing(error, cause))
    result = evaluate(make_job(rows=None))
    assert result.failure_kind == "infrastructure"
    assert told in (result.failure or "")


def test_weights_that_cannot_be_opened_for_want_of_handles_are_there(make_job, monkeypatch):
    """safetensors says of every file that it cannot open that it is not there."""
    missing = FileNotFoundError("No such file or directory: model.safetensors")
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", failing(missing))
    with pytest.raises(EvaluationError, match="cannot be loaded: No such file"):
        evaluate(make_job(rows=None))
    opened = Path.open

    def refused(path: Path, *given: Any, **more: Any) -> Any:
        if path.suffix == ".safetensors" and given == ("rb",):
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(path, *given, **more)

    evaluate_job = make_job(rows=None)
    load_tokenizer(evaluate_job.model)
    model_fingerprint(evaluate_job.model)  # kept: the weights are not read for it again
    monkeypatch.setattr(Path, "open", refused)
    assert evaluate(evaluate_job).failure_kind == "infrastructure"


def test_system_memory_is_measured():
    use = system_memory()
    assert 10 << 20 < use.own < use.total
    assert 0 <= use.others < use.total
    held = torch.ones(64 << 20, dtype=torch.uint8)
    assert system_memory().own - use.own > 50 << 20
    del held


SCRIPT = """
import json, pickle, resource, sys
from pathlib import Path
from autoselection.evaluation import evaluate
job = pickle.loads(Path(sys.argv[1]).read_bytes())
import dataclasses
import autoselection.evaluation.trainers.subset_trainer, lm_eval.models.huggingface
evaluate(dataclasses.replace(job, rows=None))
from autoselection.evaluation.memory import _status
limit = _status("VmSize") + (48 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(json.dumps(evaluate(job).to_dict()))
"""


def test_a_training_that_needs_more_memory_than_there_is_fails_with_its_reason(make_job, tmp_path):
    """A real lack of memory: the process may take 48 MiB more, and a batch of all rows in one pass needs more."""
    import pickle

    job = make_job(sft={"batch_size": 512, "micro_batch_tokens": 200_000, "max_steps": 1})
    (tmp_path / "job.pickle").write_bytes(pickle.dumps(job))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "job.pickle")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["failure_kind"] == "training"
    assert result["failure"].startswith("Out of memory (")
    assert result["score"] is None
    assert Path(tmp_path / "work").is_dir()
