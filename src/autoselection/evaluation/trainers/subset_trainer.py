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

from autoselection.activity import tell_loss
from autoselection.evaluation.encoding import IGNORED, EncodedRow, EncodedSubset
from autoselection.evaluation.runtime import TrainingFailure
from autoselection.evaluation.schedule import TrainingSchedule, micro_batches, packed_batches
from autoselection.evaluation.trainers.token_loss import summed_cross_entropy
from autoselection.language.packed import Layout, Segment, on_device

#: What one more forward and backward pass costs, in tokens: measured on a CPU; a GPU is idle during small passes.
_PASS_COST = {"cpu": 64, "cuda": 4096}

#: Steps whose mean loss tells divergence: one step may be an odd batch.
_WATCHED_STEPS = 5


class SubsetTrainer(SFTTrainer):  # type: ignore[misc]
    """``SFTTrainer`` that trains on a schedule and stops at the first loss that is not finite.

    The Trainer's own gradient accumulation takes micro-batches of a fixed number of rows, which the longest row of the
    pool would dictate. Here a batch arrives whole, longest rows first, and is cut by tokens instead: into packed passes
    without padding, or into padded ones of rows of similar length.

    The loss of a step is the mean over the trained tokens of its batch. They are counted here: what the Trainer counts
    depends on the model's signature, and on whether labels are shifted.

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
        self._unseen: tuple[int, torch.Tensor, Any] | None = None
        self.forward_passes = 0
        self._micro_rows = micro_rows
        self._micro_tokens = micro_tokens
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        # Before TRL writes into the configuration, which versions do differently.
        self._balance = balance_coefficient(model)
        trained, order = np.unique(schedule.order, return_inverse=True)
        self._order: list[int] = order.tolist()
        rows = subset.trainable(trained)
        if arguments.n_gpu > 1:
            # Evaluations use one GPU each; the Trainer would otherwise wrap the model in DataParallel.
            arguments._n_gpu = 1
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        self._padding = int(padding or 0)
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=_dataset(rows[:1]),  # TRL looks at its columns; trained on are the rows as they are (below)
            data_collator=_collated,
            # Passed explicitly, so that TRL changes neither the tokenizer's nor the model's padding token.
            processing_class=tokenizer,
            peft_config=adapters,
        )
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
        num_items_in_batch: int | None = None,
    ) -> Any:
        """Cross-entropy of the trained tokens, from their logits alone: those of prompts are never made.

        Args:
            inputs: a pass of :func:`_packed` or :func:`_padded`.
            num_items_in_batch: trained tokens of the whole batch; the loss is the pass's share of its mean.
        """
        assert num_items_in_batch is not None and not return_outputs, "the batch is counted in training_step"
        labels, wanted, positions = (inputs.pop(name) for name in ("labels", "wanted", "positions"))
        if self._keeps_logits:
            inputs["logits_to_keep"] = positions
        if self._balance:
            inputs["output_router_logits"] = True
        outputs = model(**inputs, use_cache=False)
        logits = outputs.logits if self._keeps_logits else outputs.logits[:, positions]
        logits = logits.flatten(0, 1)
        if wanted is not None:
            logits = logits.index_select(0, wanted)
        loss = summed_cross_entropy(logits, labels) / num_items_in_batch
        if self._balance:  # a mean of its own, of which each pass has its share
            loss = loss + self._balance * outputs.aux_loss * (len(labels) / num_items_in_batch)
        return loss

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: the Trainer would walk through all modules in every step for a number nobody reads."""
        return 0

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Accumulate the gradients of one batch; every micro-batch counts by its share of the trained tokens.

        Args:
            inputs: the rows of the batch.
            num_items_in_batch: not looked at; see the class.
        """
        total = torch.zeros((), device=self.args.device)
        pieces = self._micro_batches(inputs["rows"])
        trained = sum(len(piece["labels"]) for piece in pieces)
        for number, micro_batch in enumerate(pieces, start=1):
            # DeepSpeed would take a step after every backward pass; this is how the Trainer itself tells it the last.
            self.accelerator.gradient_state._set_sync_gradients(number == len(pieces))
            total = total + super().training_step(model, micro_batch, trained)
            self.forward_passes += 1
        self.watch()
        self._unseen = (self.state.global_step + 1, *_fetched(total.detach()))
        return total

    def watch(self) -> None:
        """Take note of the loss of the last step, and fail if training has diverged.

        Called a step late, and once more at the end: a GPU then has the next step to do while its loss is waited for.
        """
        if self._unseen is None:
            return
        number, value, copied = self._unseen
        self._unseen = None
        if copied is not None:
            copied.synchronize()
        loss = value.item()
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

    def _micro_batches(self, rows: Sequence[EncodedRow]) -> list[dict[str, Any]]:
        lengths = np.array([len(row.input_ids) for row in rows])
        device = self.args.device
        if self._packed:
            packs = packed_batches(lengths, max_rows=self._micro_rows, max_tokens=self._micro_tokens)
            return [_packed(rows[start:end], device) for start, end in packs]
        pieces = micro_batches(
            lengths,
            max_rows=self._micro_rows,
            max_tokens=self._micro_tokens,
            pass_cost=_PASS_COST.get(device.type, 1024),
        )
        return [_padded(rows[start:end], self._padding, device) for start, end in pieces]


def balance_coefficient(model: Any) -> float:
    """Weight of the loss that balances a mixture's experts, from the model's own configuration; 0 where it has no such loss."""
    if "output_router_logits" not in inspect.signature(model.forward).parameters:
        return 0.0
    return float(getattr(model.config.get_text_config(), "router_aux_loss_coef", None) or 0.0)


def _collated(rows: list[EncodedRow]) -> dict[str, Any]:
    """A batch: the rows as they are. Tensors of it would be moved to the device before they are cut into passes."""
    return {"rows": rows}


def _fetched(value: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """A copy of ``value`` on the way to the host, and what tells that it has arrived (None: it has).

    Reading the value itself later would wait for everything that the device was given since.
    """
    if value.device.type != "cuda":
        return value, None
    copy = value.to("cpu", non_blocking=True)
    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record()
    return copy, arrived


def _packed(rows: Sequence[EncodedRow], device: torch.device) -> dict[str, Any]:
    """Rows as one pass without padding: what the model is given, and what is taught.

    Everything is worked out here and not on the device, which would otherwise have to be waited for.

    Returns:
        The model's arguments; ``positions`` whose logits are wanted, long[N]; ``labels`` of these, long[N]; ``wanted`` None.
    """
    layout = Layout([Segment(row.input_ids) for row in rows], device)
    # A row's first token is not predicted from the row before.
    labels = np.concatenate([np.append(row.labels[1:], IGNORED) for row in rows]).astype(np.int64)
    places = np.flatnonzero(labels != IGNORED)
    positions, taught = on_device([places, labels[places]], device)
    return {**layout.given(), "positions": positions, "labels": taught, "wanted": None}


def _padded(rows: Sequence[EncodedRow], padding: int, device: torch.device) -> dict[str, Any]:
    """Rows as one padded pass: what the model is given, and what is taught.

    Returns:
        The model's arguments, long[R, L]; ``positions`` (columns) whose logits are wanted in any row, long[P]; ``labels`` of
        the N tokens that are taught, long[N]; ``wanted``, their places among the R * P logits, long[N].
    """
    shape = len(rows), max(len(row.input_ids) for row in rows)
    ids, mask, labels = (np.full(shape, fill, np.int64) for fill in (padding, 0, IGNORED))
    for place, row in enumerate(rows):
        length = len(row.input_ids)
        ids[place, :length], mask[place, :length] = row.input_ids, 1
        labels[place, : length - 1] = row.labels[1:]
    columns = np.flatnonzero((labels != IGNORED).any(0))
    kept = labels[:, columns].ravel()
    places = np.flatnonzero(kept != IGNORED)
    names = ("input_ids", "attention_mask", "positions", "labels", "wanted")
    return dict(zip(names, on_device([ids, mask, columns, kept[places], places], device), strict=True))


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
