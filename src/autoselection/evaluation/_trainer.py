"""TRL's trainer on a planned sequence of token rows. Imports torch and TRL: imported when training starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch
from transformers import PrinterCallback
from trl import SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from autoselection.evaluation.encoding import EncodedRow
from autoselection.evaluation.runtime import TrainingFailure
from autoselection.evaluation.schedule import TrainingSchedule


class SubsetTrainer(SFTTrainer):  # type: ignore[misc]
    """``SFTTrainer`` that trains on a schedule and stops at the first loss that is not finite.

    Attributes:
        losses: mean loss per response token of every optimiser step.
    """

    def __init__(
        self,
        *,
        model: Any,
        arguments: Any,
        tokenizer: Any,
        rows: Sequence[EncodedRow],
        schedule: TrainingSchedule,
        adapters: Any | None,
    ) -> None:
        self.losses: list[float] = []
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

    def _get_train_sampler(self, train_dataset: Any = None) -> Sequence[int]:
        return self._order

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: the Trainer would walk through all modules in every step for a number nobody reads."""
        return 0

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        value = float(loss)
        step = self.state.global_step
        if not math.isfinite(value):
            raise TrainingFailure(
                f"Training diverged: the loss became {value} in step {step + 1} of {self.state.max_steps}; "
                "lower evaluation.sft.learning_rate."
            )
        # Micro-batches of one step are weighted by the tokens of the whole batch: their losses add up to its mean.
        if len(self.losses) == step:
            self.losses.append(0.0)
        self.losses[step] += value
        return loss


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
