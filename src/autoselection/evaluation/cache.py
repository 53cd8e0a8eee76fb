"""Scores on disk, by what they depend on: the model or adapter, the task's items, and how they are scored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoselection import files
from autoselection.errors import EvaluationError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from autoselection.evaluation.harness import TaskScores

#: Part of every key; raised when what a score means changes.
CACHE_VERSION = 4


def weights_fingerprint(model: PreTrainedModel) -> str:
    """32 hex digits that identify a model's weights, all of them (about a second per gigabyte)."""
    import torch

    digest = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(memoryview(raw.numpy()))
    return digest.hexdigest()


class ScoreCache:
    """A folder of one JSON file per (model, task, settings); written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: Mapping[str, Any]) -> TaskScores | None:
        """The stored scores of ``key``, or None.

        Raises:
            EvaluationError: the stored file is damaged.
        """
        from autoselection.evaluation.harness import TaskScores

        path = self._path(key)
        if not path.is_file():
            return None
        try:
            stored, _ = files.read_sealed(path)
            return TaskScores(stored["metrics"], stored["items"], stored["generated"])
        except (ValueError, KeyError, TypeError) as error:
            raise EvaluationError(f"The cached scores in {path} are damaged: delete the file.") from error

    def put(self, key: Mapping[str, Any], scores: TaskScores) -> None:
        """Store scores."""
        path = self._path(key)
        files.write_sealed(path, {"key": dict(key), **asdict(scores)})

    def _path(self, key: Mapping[str, Any]) -> Path:
        text = json.dumps({"version": CACHE_VERSION, **key}, sort_keys=True, default=str)
        name = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return self._folder / name[:2] / f"{name}.json"
