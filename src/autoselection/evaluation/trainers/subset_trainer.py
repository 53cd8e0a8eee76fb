"""TRL's trainer on a planned sequence of token rows. Imports torch and TRL: imported when training starts."""

from __future__ import annotations

import inspect
import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import torch
from transformers import PrinterCallback
from trl import SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from autoselection.activity import tell_loss
from autoselection.evaluation.encoding import IGNORED, EncodedRow, EncodedSubset
from autoselection.evaluation.runtime import TrainingFailure
from autoselection.evaluation.schedule import TrainingSchedule, micro_batches, packed_batches

#: What one more forward and backward pass costs, in tokens: measured on a CPU; a GPU is idle during small passes.
_PASS_COST = {"cpu": 64, "cuda": 4096}

#: Steps whose mean loss tells divergence: one step may be an odd batch.
_WATCHED_STEPS = 5


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
        subset: EncodedSubset,
        schedule: TrainingSchedule,
        micro_rows: int | None,
        micro_tokens: int,
        adapters: Any | None,
        packing: bool = False,
        divergence: float | None = None,
    ) -> None:
        self.losses: list[float] = []
        self._packing = packing
        self._divergence = divergence
        self._uniform = math.log(model.config.get_text_config().vocab_size)
        self._latest: deque[float] = deque(maxlen=_WATCHED_STEPS)
        self.forward_passes = 0
        self._micro_rows = micro_rows
        self._micro_tokens = micro_tokens
        trained, order = np.unique(schedule.order, return_inverse=True)
        self._order: list[int] = order.tolist()
        if arguments.n_gpu > 1:
            # Evaluations use one GPU each; the Trainer would otherwise wrap the model in DataParallel.
            arguments._n_gpu = 1
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=_dataset(subset.trainable(trained)),
            # Passed explicitly, so that TRL changes neither the tokenizer's nor the model's padding token.
            data_collator=DataCollatorForLanguageModeling(pad_token_id=padding or 0),
            processing_class=tokenizer,
            peft_config=adapters,
        )
        self.remove_callback(PrinterCallback)
        self._plain_head = (
            arguments.device.type != "cuda" and "logits_to_keep" in inspect.signature(model.forward).parameters
        )

    def _send_telemetry(self) -> None:
        """TRL reports every trainer to the hub; what a study trains is nobody else's business."""

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
        where = {name: inputs[name] for name in ("attention_mask", "position_ids") if name in inputs}
        outputs = model(input_ids=inputs["input_ids"], **where, use_cache=False, logits_to_keep=positions)
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
        pieces = self._micro_batches(inputs)
        for number, micro_batch in enumerate(pieces, start=1):
            # DeepSpeed would take a step after every backward pass; this is how the Trainer itself tells it the last.
            self.accelerator.gradient_state._set_sync_gradients(number == len(pieces))
            total = total + super().training_step(model, micro_batch, num_items_in_batch)
            self.forward_passes += 1
        self._watch(total.item())
        return total

    def _watch(self, loss: float) -> None:
        """Take note of a step's loss, and fail if training has diverged."""
        step = f"step {self.state.global_step + 1} of {self.state.max_steps}"
        advice = "lower evaluation.sft.learning_rate"
        if not math.isfinite(loss):
            raise TrainingFailure(f"Training diverged: the loss became {loss} in {step}; {advice}.")
        self.losses.append(loss)
        tell_loss(loss)
        self._latest.append(loss)
        mean = sum(self._latest) / len(self._latest)
        start = max(self.losses[0], self._uniform)
        if self._divergence and len(self._latest) == _WATCHED_STEPS and mean > self._divergence * start:
            raise TrainingFailure(
                f"Training diverged: the mean loss of {_WATCHED_STEPS} steps rose to {mean:.3g} in {step} (it began at "
                f"{self.losses[0]:.3g}; a uniform guess has {self._uniform:.3g}); {advice}."
            )

    def _micro_batches(self, inputs: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        lengths = inputs["attention_mask"].sum(1).numpy(force=True)
        if self._packing:
            packs = packed_batches(lengths, max_rows=self._micro_rows, max_tokens=self._micro_tokens)
            return [_packed(inputs, lengths, start, end) for start, end in packs]
        pieces = micro_batches(
            lengths,
            max_rows=self._micro_rows,
            max_tokens=self._micro_tokens,
            pass_cost=_PASS_COST.get(self.args.device.type, 1024),
        )
        return [
            {name: tensor[start:end, : int(lengths[start])] for name, tensor in inputs.items()} for start, end in pieces
        ]


def _packed(
    inputs: dict[str, torch.Tensor], lengths: np.ndarray[Any, Any], start: int, end: int
) -> dict[str, torch.Tensor]:
    """Rows start to end as one row without padding, in the form of TRL's padding-free collator.

    Positions start again with every row, which is what keeps attention within it; a row's first token has no label, so
    that it is not predicted from the row before.
    """
    kept = inputs["attention_mask"][start:end].bool()
    labels = inputs["labels"][start:end].clone()
    labels[:, 0] = IGNORED
    positions = torch.cat([torch.arange(int(length)) for length in lengths[start:end]])
    return {
        "input_ids": inputs["input_ids"][start:end][kept][None],
        "labels": labels[kept][None],
        "position_ids": positions[None].to(kept.device),
    }


def attends_across(model: Any) -> bool:
    """Whether a row packed behind another one sees it: the logits of the second change with the first."""
    vocabulary = int(model.config.get_text_config().vocab_size)
    generator = torch.Generator().manual_seed(0)
    first, other, second = (torch.randint(vocabulary, (length,), generator=generator) for length in (9, 9, 7))
    positions = torch.cat([torch.arange(9), torch.arange(7)])[None].to(model.device)
    training = model.training
    model.eval()
    with torch.no_grad():
        seen = [
            model(
                input_ids=torch.cat([before, second])[None].to(model.device), position_ids=positions, use_cache=False
            ).logits[0, 9:]
            for before in (first, other)
        ]
    model.train(training)
    # Nothing of the first row reaches the second: the very same sums, up to the order a GPU adds in.
    return not torch.allclose(seen[0], seen[1], rtol=1e-4, atol=1e-4 * float(seen[0].abs().max()))


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
