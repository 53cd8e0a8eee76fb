"""The methods of training by name: ours as evaluations use it, TRL as shipped, and the loops by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from benchmarks.throughput.by_hand import packed_loop, plain_loop
from benchmarks.throughput.names import FROZEN, OURS, PACKED, PLAIN, TRL
from benchmarks.throughput.work import IGNORED, Ran, Work


def ours(work: Work, model: Any) -> Ran:
    """Training as evaluations do it."""
    from autoselection.evaluation.config import SFTConfig
    from autoselection.evaluation.encoding import EncodedRow
    from autoselection.evaluation.schedule import TrainingSchedule
    from autoselection.evaluation.trainers.contract import TrainingPlan
    from autoselection.evaluation.trainers.subset_trainer import SubsetTrainer
    from autoselection.evaluation.trainers.trl import TRLTrainer

    rows = [EncodedRow(row.ids, row.labels, row.responses, 0) for batch in work.batches for row in batch]

    class Subset:
        def trainable(self, positions: NDArray[np.int64]) -> list[EncodedRow]:
            return [rows[position] for position in positions.tolist()]

    config = SFTConfig(
        max_tokens=max(1, work.tokens), batch_size=work.batch_size, max_length=work.max_length,
        learning_rate=work.learning_rate, freeze_embeddings=work.freeze_embeddings,
    )  # fmt: skip
    plan = TrainingPlan(
        base=work.base, model=model, tokenizer=work.tokenizer, pool=None, subset=Subset(),  # type: ignore[arg-type]
        schedule=TrainingSchedule(np.arange(len(rows)), len(work.batches), work.tokens), seed=0, device=work.device,
        dtype=work.dtype, max_length=work.max_length, work_dir=work.folder,
    )  # fmt: skip
    own = SubsetTrainer.training_step

    def watched(self: Any, *given: Any, **named: Any) -> Any:
        with work.passes():
            return own(self, *given, **named)

    with mock.patch.object(SubsetTrainer, "training_step", watched):
        trained = TRLTrainer(config).train(plan)
    return Ran(trained.losses, trained.forward_passes, trained.packed)


def ours_frozen(work: Work, model: Any) -> Ran:
    """The same with ``freeze_embeddings``: other losses, as it is another training."""
    return ours(replace(work, freeze_embeddings=True), model)


def trl_as_shipped(work: Work, model: Any) -> Ran:
    """TRL's trainer on the same rows, packed by itself."""
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    rows = [row for batch in work.batches for row in batch]
    mean = work.tokens / len(rows)
    sequences = max(1, round(work.batch_size * mean / work.max_length))
    arguments = SFTConfig(
        output_dir=str(work.folder / "trl"), num_train_epochs=1, per_device_train_batch_size=sequences, packing=True,
        max_length=work.max_length, learning_rate=work.learning_rate, lr_scheduler_type="cosine",
        warmup_steps=0.1, bf16=work.dtype == torch.bfloat16, use_cpu=work.device == "cpu", report_to="none",
        save_strategy="no", logging_steps=1, disable_tqdm=True, gradient_checkpointing=False, completion_only_loss=True,
        dataloader_pin_memory=work.device != "cpu",
    )  # fmt: skip
    data = {
        "input_ids": [row.ids.tolist() for row in rows],
        "completion_mask": [(row.labels != IGNORED).astype(int).tolist() for row in rows],
    }
    SFTTrainer._send_telemetry = lambda self: None
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_dict(data), processing_class=work.tokenizer
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return Ran(losses, len(losses))


TRAINERS: Mapping[str, Callable[[Work, Any], Ran]] = {
    OURS: ours,
    FROZEN: ours_frozen,
    PLAIN: plain_loop,
    PACKED: packed_loop,
    TRL: trl_as_shipped,
}
