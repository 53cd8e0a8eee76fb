"""Whether everything that a study names exists, judged by file names and headers alone."""

from __future__ import annotations

import importlib.util
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoselection.config import StudyConfig
from autoselection.recipes import is_ready_name
from autoselection.reproduce.config import ReproductionConfig, TransferTarget
from autoselection.system import expanded

#: Packages, each with the extra that installs it.
_ENGINES: dict[str, dict[str, str]] = {"transformers": {}, "vllm": {"vllm": "vllm"}, "openai": {"openai": "llm"}}
_TRAINING = dict.fromkeys(("torch", "transformers", "trl", "lm_eval"), "train")


@dataclass(frozen=True)
class Check:
    """One thing that has to be there.

    Attributes:
        what: what it is for.
        where: path, or name.
        state: ``found``, ``missing``, ``optional`` (missing, and left out) or ``hub`` (a hub id: fetched when used).
        note: how to get it.
    """

    what: str
    where: str
    state: str
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return dict(vars(self))


def study_checks(config: ReproductionConfig, study: StudyConfig) -> Iterator[Check]:
    """Everything that a model's study and the tasks out of distribution name."""
    yield model_check("base model", study.model.path)
    template = study.model.chat_template
    if template is not None and ("/" in template or Path(template).suffix):
        yield _file("chat template", Path(template))
    if study.pool.path is not None:
        yield _file("pool", study.pool.path / "manifest.json", "made by 'autoselection ingest'")
    for path in study.pool.files:
        yield _file("pool", path)
    if study.sae is not None:
        inner = [study.sae, *sorted(study.sae.glob("*/"))] if study.sae.is_dir() else [study.sae]
        there = any((folder / "cfg.json").is_file() and (folder / "sae.safetensors").is_file() for folder in inner)
        yield Check("SAE", str(study.sae), "found" if there else "missing", "cfg.json and sae.safetensors (sparsify)")
    for task in study.tasks:
        if task.lm_eval is not None:
            there = importlib.util.find_spec("lm_eval") is not None
            yield Check(f"task {task.name}", task.lm_eval, "found" if there else "missing", "package lm-eval")
            continue
        for split in ("target", "dev", "test"):
            path = getattr(task, split)
            if path is not None:
                yield _file(f"task {task.name}, {split}", path, "made by 'autoselection benchmark'")
            elif split == "test":
                yield Check(f"task {task.name}, test", "not set", "missing", "set tasks[].test")
    for extra in config.ood:
        yield _file(f"out of distribution: {extra.name}", extra.test, "made by 'autoselection benchmark'")
    for name in ("reward_model", "embedding_model"):
        value = getattr(study.signals, name)
        if value is not None:
            yield model_check(f"signals.{name}", value)
    for what, name in (("fixed default", config.default), *(("fixed recipe", recipe) for recipe in config.recipes)):
        if not is_ready_name(name):
            yield _file(what, Path(name))
    for package, brings in (_TRAINING | _ENGINES[study.evaluation.engine]).items():
        there = importlib.util.find_spec(package) is not None
        yield Check("package", package, "found" if there else "missing", f"extra {brings}")


def target_check(target: TransferTarget) -> Check:
    """The model of a transfer."""
    found = model_check(f"transfer to {target.name}", target.model, target.hint)
    if found.state == "missing" and target.optional:
        return Check(found.what, found.where, "optional", found.note)
    return found


def model_check(what: str, path: str, note: str = "") -> Check:
    """A model's folder, with its configuration and weights."""
    folder = expanded(path)
    if folder.is_dir():
        there = (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
        return Check(what, path, "found" if there else "missing", note or "config.json and *.safetensors")
    if not path.startswith((".", "/", "~")) and path.count("/") == 1:
        return Check(what, path, "hub", "a hub id: fetched when it is used")
    return Check(what, path, "missing", note)


def _file(what: str, path: Path, note: str = "") -> Check:
    return Check(what, str(path), "found" if path.exists() else "missing", note)


def parameters_of(path: str) -> int | None:
    """Number of parameters of a local model, from the headers of its safetensors files; None if there are none."""
    files = sorted(expanded(path).glob("*.safetensors"))
    total = 0
    for file in files:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        for name, tensor in header.items():
            if name != "__metadata__":
                size = 1
                for extent in tensor["shape"]:
                    size *= extent
                total += size
    return total or None


def pool_size(study: StudyConfig) -> tuple[int, float] | None:
    """Rows of the pool and bytes of a row, from the manifest or by counting lines; None if that is unknown."""
    if study.pool.path is not None:
        manifest = study.pool.path / "manifest.json"
        tables = sorted(study.pool.path.glob("pool*.arrow"))
        if not manifest.is_file() or not tables:
            return None
        rows = int(json.loads(manifest.read_text(encoding="utf-8"))["rows"])
        return rows, sum(path.stat().st_size for path in tables) / max(1, rows)
    if not study.pool.files or any(path.suffix != ".jsonl" or not path.is_file() for path in study.pool.files):
        return None
    rows = sum(count_lines(path) for path in study.pool.files)
    return rows, sum(path.stat().st_size for path in study.pool.files) / max(1, rows)


def count_lines(path: Path) -> int:
    """Lines of a file that are not blank."""
    with path.open("rb") as stream:
        return sum(bool(line.strip()) for line in stream)
