"""The contract of trainers, checked by small trainings of the demo's model on the demo's rows (a few seconds)."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoselection.demo import model_dir, pool_file
from autoselection.evaluation.config import SFTConfig
from autoselection.evaluation.encoding import RowCache
from autoselection.evaluation.runtime import quiet_libraries, require_packages, seed_generators
from autoselection.evaluation.schedule import plan
from autoselection.evaluation.trainers.contract import Trained, Trainer, TrainingPlan
from autoselection.plugins import has_members
from autoselection.pool import Pool, ingest
from autoselection.testing.factories import made_by

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

#: Rows of the demo's pool that are trained on: of several kinds, so that two halves teach different things.
_ROWS = 48
_MAX_LENGTH = 128
_SETTINGS: Mapping[str, Any] = {"max_steps": 3, "batch_size": 4, "learning_rate": 1e-2, "max_length": _MAX_LENGTH}


def check_trainer(make: Callable[[SFTConfig], Trainer], *, settings: Mapping[str, Any] | None = None) -> None:
    """See that a trainer keeps the contract of :mod:`autoselection.evaluation.trainers.contract`.

    Args:
        make: the trainer for settings: its class, with its options filled in if it has some.
        settings: of ``evaluation.sft``, besides three steps of four rows, such as ``{"method": "lora"}``.

    Raises:
        AssertionError: it does not; the sentence says where.
        MissingExtraError: the ``train`` extra is not installed.
    """
    require_packages()
    config = SFTConfig.model_validate({**_SETTINGS, **(settings or {})})
    trainer = made_by(make, config)
    assert has_members(trainer, Trainer), f"{trainer!r} lacks a member of Trainer."
    trainer.check_settings()
    trainer.check()
    with tempfile.TemporaryDirectory() as folder, quiet_libraries():
        trial = _Trial(make, config, Path(folder))
        first = trial.trained("first", slice(0, None, 2))
        trial.check_result(first)
        again = trial.trained("again", slice(0, None, 2), drawn=1)
        assert _equal(first, again), (
            "The same plan gave two models: draw everything random from plan.seed, not from what the process drew before."
        )
        assert first.losses == again.losses, "The same plan gave two lists of losses."
        other = trial.trained("other", slice(1, None, 2))
        assert not _equal(first, other), "Other rows gave the same model: train on plan.schedule.order of plan.subset."


class _Trial:
    """One trainer's rows, and trainings on some of them."""

    def __init__(self, make: Callable[[SFTConfig], Trainer], config: SFTConfig, folder: Path) -> None:
        from autoselection.language.chat import ConversationEncoder
        from autoselection.language.models import load_model, load_tokenizer

        self._make, self._config, self._folder = make, config, folder
        source = folder / "rows.jsonl"
        with pool_file().open(encoding="utf-8") as lines:
            source.write_text("".join(islice(lines, _ROWS)), encoding="utf-8")
        ingest([source], folder / "pool")
        self._pool = Pool.open(folder / "pool")
        self._tokenizer = load_tokenizer(str(model_dir()))
        self._load: Callable[[], PreTrainedModel] = lambda: load_model(model_dir(), "cpu", "float32")
        self._encoder = ConversationEncoder(self._tokenizer, max_length=_MAX_LENGTH, turns=config.turns)
        self.steps = 0

    def trained(self, name: str, some: slice, drawn: int = 0) -> Trained:
        """Train on every other row, after the process drew something."""
        trainer = self._make(self._config)
        rows = np.arange(len(self._pool), dtype=np.int64)[some]
        kept, said = trainer.holdable(self._pool, rows)
        assert kept.shape == rows.shape and kept.dtype == bool, (
            "holdable tells of every row whether it can be trained on."
        )
        assert kept.all() or said, "holdable says why it leaves rows out."
        subset = RowCache().subset(self._pool, rows[kept], self._encoder, self._config.completion_only)
        schedule = plan(subset, self._config, seed=3)
        self.steps = schedule.steps
        work = self._folder / name
        work.mkdir()
        adapters = self._folder / f"{name}-adapters" if self._config.method == "lora" else None
        seed_generators(drawn)
        found = trainer.train(
            TrainingPlan(
                base=str(model_dir()),
                model=self._load() if trainer.in_process else None,
                tokenizer=self._tokenizer,
                pool=self._pool,
                subset=subset,
                schedule=schedule,
                seed=3,
                device="cpu",
                dtype=_float32(),
                max_length=_MAX_LENGTH,
                work_dir=work,
                adapter_dir=adapters,
            )
        )
        assert isinstance(found, Trained), (
            f"{type(trainer).__name__}.train() returned a {type(found).__name__}: let it return Trained(model, losses, "
            "forward_passes, trainable_parameters)."
        )
        left = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
        weights = (model_dir() / "model.safetensors").stat().st_size
        assert left < weights, f"Training left {left:,} bytes in plan.work_dir: remove what is large again."
        assert adapters is None or (adapters / "adapter_config.json").is_file(), (
            "Adapters were asked for (plan.adapter_dir) and there are none."
        )
        return found

    def check_result(self, found: Trained) -> None:
        """See that a result is whole, and another model than the base model."""
        base, state = self._load().state_dict(), found.model.state_dict()
        assert {name: tensor.shape for name, tensor in state.items()} == {
            name: tensor.shape for name, tensor in base.items()
        }, "The trained model has other parameters than the base model: merge adapters."
        assert not found.model.training, "The trained model is not ready to be scored: call eval()."
        assert any(not _same(tensor, base[name]) for name, tensor in state.items()), "Training changed nothing."
        assert len(found.losses) == self.steps, (
            f"There are {len(found.losses)} losses of {self.steps} steps: one step, one loss, and all steps of the schedule."
        )
        assert all(map(math.isfinite, found.losses)), "A loss is not finite: raise TrainingFailure."
        assert found.forward_passes >= self.steps and found.trainable_parameters > 0, (
            "forward_passes and trainable_parameters are counts of what was done."
        )


def _float32() -> torch.dtype:
    import torch

    return torch.float32


def _same(left: torch.Tensor, right: torch.Tensor) -> bool:
    return bool((left == right).all())


def _equal(left: Trained, right: Trained) -> bool:
    other = right.model.state_dict()
    return all(_same(tensor, other[name]) for name, tensor in left.model.state_dict().items())
