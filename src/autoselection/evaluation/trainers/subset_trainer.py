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
from autoselection.language.packed import Layout, Segment

#: What one more forward and backward pass costs, in tokens: measured on a CPU; a GPU is idle during small passes.
_PASS_COST = {"cpu": 64, "cuda": 4096}

#: Steps whose mean loss tells divergence: one step may be an odd batch.
_WATCHED_STEPS = 5


class SubsetTrainer(SFTTrainer):  # type: ignore[misc]
    """``SFTTrainer`` that trains on a schedule and stops at the first loss that is not finite.

    The Trainer's own gradient accumulation takes micro-batches of a fixed number of rows, which the longest row of the
    pool would dictate. Here a batch arrives whole, longest rows first, and is cut by tokens instead: into packed passes
    without padding, or into padded ones of rows of similar length.

    Args:
        packed: whether the model takes packed passes (:mod:`autoselection.language.packed`).

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
        packed: bool,
        divergence: float | None = None,
    ) -> None:
        self.losses: list[float] = []
        self._packed = packed
        self._divergence = divergence
        self._uniform = math.log(model.config.get_text_config().vocab_size)
        self._latest: deque[float] = deque(maxlen=_WATCHED_STEPS)
        self._unseen: tuple[int, torch.Tensor] | None = None
        self.forward_passes = 0
        self._micro_rows = micro_rows
        self._micro_tokens = micro_tokens
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        trained, order = np.unique(schedule.order, return_inverse=True)
        self._order: list[int] = order.tolist()
        rows = subset.trainable(trained)
        if arguments.n_gpu > 1:
            # Evaluations use one GPU each; the Trainer would otherwise wrap the model in DataParallel.
            arguments._n_gpu = 1
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        super().__init__(
            model=model,
            args=arguments,
            # Of packed rows TRL sees the columns of one, and trains on them as they are (below).
            train_dataset=_dataset(rows[:1] if packed else rows),
            # Passed explicitly, so that TRL changes neither the tokenizer's nor the model's padding token.
            data_collator=_collated if packed else DataCollatorForLanguageModeling(pad_token_id=padding or 0),
            processing_class=tokenizer,
            peft_config=adapters,
        )
        if packed:  # a batch of plain lists would be walked through, token by token, on its way to the device
            self.train_dataset = rows
        self.remove_callback(PrinterCallback)

    def _send_telemetry(self) -> None:
        """TRL reports every trainer to the hub; what a study trains is nobody else's business."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Sequence[int]:
        return self._order

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Cross-entropy of the response tokens, from their logits alone: those of prompts are never made."""
        if return_outputs or self.aux_loss_enabled:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs.pop("labels")
        if not self._packed:
            labels = labels[:, 1:]
            inputs["logits_to_keep"] = (labels != IGNORED).any(0).nonzero()[:, 0]
            labels = labels[:, inputs["logits_to_keep"]].flatten()
        positions = inputs["logits_to_keep"] if self._keeps_logits else inputs.pop("logits_to_keep")
        logits = model(**inputs, use_cache=False).logits
        logits = (logits if self._keeps_logits else logits[:, positions]).flatten(0, 1)
        if not self._packed:
            trained = labels != IGNORED
            logits, labels = logits[trained], labels[trained]
        loss = torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
        return loss / (len(labels) if num_items_in_batch is None else num_items_in_batch)

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
        self.watch()
        self._unseen = self.state.global_step + 1, total.detach()
        return total

    def watch(self) -> None:
        """Take note of the loss of the last step, and fail if training has diverged.

        Called a step late, and once more at the end: a GPU is then not waited for at every step.
        """
        if self._unseen is None:
            return
        number, loss = self._unseen[0], self._unseen[1].item()
        self._unseen = None
        step = f"step {number} of {self.state.max_steps}"
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

    def _micro_batches(self, inputs: dict[str, Any]) -> list[dict[str, Any]]:
        if self._packed:
            rows = inputs["rows"]
            lengths = np.array([len(row.input_ids) for row in rows])
            packs = packed_batches(lengths, max_rows=self._micro_rows, max_tokens=self._micro_tokens)
            return [_packed(rows[start:end], self.args.device) for start, end in packs]
        lengths = inputs["attention_mask"].sum(1).numpy(force=True)
        pieces = micro_batches(
            lengths,
            max_rows=self._micro_rows,
            max_tokens=self._micro_tokens,
            pass_cost=_PASS_COST.get(self.args.device.type, 1024),
        )
        return [
            {name: tensor[start:end, : int(lengths[start])] for name, tensor in inputs.items()} for start, end in pieces
        ]


def _collated(rows: list[EncodedRow]) -> dict[str, Any]:
    """A batch for packed passes: the rows as they are, and all labels, whose count the Trainer wants to know."""
    return {"rows": rows, "labels": torch.from_numpy(np.concatenate([row.labels[1:] for row in rows]))}


def _packed(rows: Sequence[EncodedRow], device: torch.device) -> dict[str, Any]:
    """Rows as one pass without padding: what the model is given, and the labels at ``logits_to_keep``.

    A row's first token is not predicted from the row before. Everything is worked out here and not on the device, which
    would otherwise have to be waited for.
    """
    layout = Layout([Segment(row.input_ids) for row in rows], device)
    labels = np.concatenate([np.append(row.labels[1:], IGNORED) for row in rows]).astype(np.int64)
    positions = np.flatnonzero(labels != IGNORED)
    found = {"logits_to_keep": positions, "labels": labels[positions]}
    return {**layout.given(), **{name: torch.from_numpy(values).to(device) for name, values in found.items()}}


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
