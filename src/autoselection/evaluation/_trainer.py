"""TRL's trainer on a planned sequence of token rows. Imports torch and TRL: imported when training starts."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch
from transformers import PrinterCallback
from trl import SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from autoselection.evaluation.encoding import IGNORED, EncodedRow
from autoselection.evaluation.runtime import TrainingFailure
from autoselection.evaluation.schedule import TrainingSchedule, micro_batches

#: What one more forward and backward pass costs, in tokens: measured on a CPU; a GPU is idle during small passes.
_PASS_COST = {"cpu": 64, "cuda": 4096}


class SubsetTrainer(SFTTrainer):  # type: ignore[misc]
    """``SFTTrainer`` that trains on a schedule and stops at the first loss that is not finite.

    The Trainer's own gradient accumulation takes micro-batches of a fixed number of rows, which the longest row of the
    pool would dictate. Here a batch arrives whole, longest rows first, and is cut by tokens instead.

    Attributes:
        losses: mean loss per response token of every optimiser step.
        forward_passes: forward passes so far.
    """

    def __init__(
        self,
        *,
        model: Any,
        arguments: Any,
        tokenizer: Any,
        rows: Sequence[EncodedRow],
        schedule: TrainingSchedule,
        micro_rows: int | None,
        micro_tokens: int,
        adapters: Any | None,
    ) -> None:
        self.losses: list[float] = []
        self.forward_passes = 0
        self._micro_rows = micro_rows
        self._micro_tokens = micro_tokens
        self._order: list[int] = schedule.order.tolist()
        if arguments.n_gpu > 1:
            # Evaluations use one GPU each; the Trainer would otherwise wrap the model in DataParallel.
            arguments._n_gpu = 1
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=_dataset(rows),
            # Passed explicitly, so that TRL changes neither the tokenizer's nor the model's padding token.
            data_collator=DataCollatorForLanguageModeling(pad_token_id=padding or 0),
            processing_class=tokenizer,
            peft_config=adapters,
        )
        self.remove_callback(PrinterCallback)
        self._plain_head = (
            arguments.device.type != "cuda" and "logits_to_keep" in inspect.signature(model.forward).parameters
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> Sequence[int]:
        return self._order

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """TRL's loss, off the GPU without its detour.

        TRL's chunked head skips prompt tokens on a GPU only; elsewhere it projects every position on the vocabulary,
        twice, which costs as much as the rest of a small model. Micro-batches bound the memory of plain logits.
        """
        if not self._plain_head or return_outputs or self.aux_loss_enabled:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs["labels"][:, 1:]
        positions = (labels != IGNORED).any(0).nonzero()[:, 0]
        outputs = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            use_cache=False,
            logits_to_keep=positions,
        )
        labels = labels[:, positions].flatten()
        trained = labels != IGNORED
        logits = outputs.logits.flatten(0, 1)[trained].float()
        loss = torch.nn.functional.cross_entropy(logits, labels[trained], reduction="sum")
        return loss / (trained.sum() if num_items_in_batch is None else num_items_in_batch)

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: the Trainer would walk through all modules in every step for a number nobody reads."""
        return 0

    def training_step(
        self, model: Any, inputs: dict[str, torch.Tensor], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Accumulate the gradients of one batch; every micro-batch counts by its share of the response tokens."""
        total = torch.zeros((), device=self.args.device)
        for micro_batch in self._micro_batches(inputs):
            total = total + super().training_step(model, micro_batch, num_items_in_batch)
            self.forward_passes += 1
        value = total.item()
        if not math.isfinite(value):
            raise TrainingFailure(
                f"Training diverged: the loss became {value} in step {self.state.global_step + 1} of "
                f"{self.state.max_steps}; lower evaluation.sft.learning_rate."
            )
        self.losses.append(value)
        return total

    def _micro_batches(self, inputs: dict[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
        lengths = inputs["attention_mask"].sum(1).numpy(force=True)
        pieces = micro_batches(
            lengths,
            max_rows=self._micro_rows,
            max_tokens=self._micro_tokens,
            pass_cost=_PASS_COST.get(self.args.device.type, 1024),
        )
        for start, end in pieces:
            yield {name: tensor[start:end, : int(lengths[start])] for name, tensor in inputs.items()}


def _dataset(rows: Sequence[EncodedRow]) -> datasets.Dataset:
    """Rows as the two columns that TRL takes without preparing them."""
    offsets = np.concatenate([[0], np.cumsum([len(row.input_ids) for row in rows])])
    columns = {
        name: pa.LargeListArray.from_arrays(
            pa.array(offsets, pa.int64()), pa.array(np.concatenate([getattr(row, name) for row in rows]))
        )
        for name in ("input_ids", "labels")
    }
    return datasets.Dataset(pa.table(columns))
