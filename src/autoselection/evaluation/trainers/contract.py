"""What a trainer is: from rows as tokens, in the order of training, to a model.

Contract of every trainer, ours and those of other packages (:func:`autoselection.testing.check_trainer` checks it):

- it trains on the rows of the plan's schedule, in its order, and takes its steps: budgets then mean the same with every
  trainer, and subsets can be compared;
- the same plan gives the same model, whatever this process drew or trained before: on a CPU bit for bit, on a GPU up to rounding
  (kernels there add up gradients in the order in which they get to them);
- the model it gives is ready to be scored and has the base model's parameters, adapters merged; in half precision adapters
  may stay beside its weights, if ``Trained.merged`` gives the merged model;
- a training that fails by its own fault (divergence, more memory than there is) raises
  :class:`~autoselection.evaluation.runtime.TrainingFailure`, one that the machine ended
  :class:`~autoselection.evaluation.runtime.MachineFailure`, and what the user has to mend an
  :class:`~autoselection.errors.EvaluationError`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from autoselection.evaluation.config import SFTConfig
from autoselection.evaluation.encoding import EncodedSubset
from autoselection.evaluation.schedule import TrainingSchedule
from autoselection.evaluation.trainers.registry import TRAINERS
from autoselection.pool import Pool
from autoselection.schema import StrictModel

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class TrainingPlan:
    """One training.

    Attributes:
        base: folder or hub id of the base model.
        model: the base model in memory, on ``device``, to be trained in place; None for a trainer that loads it itself.
        tokenizer: its tokenizer.
        pool: where the rows are.
        subset: the rows as tokens and labels.
        schedule: which of them are trained on, in which order, in how many steps.
        seed: of adapters, dropout and whatever else is random.
        device: where to train.
        dtype: arithmetic; bfloat16 with a float32 model means autocast.
        max_length: longest row (tokens); rows of ``subset`` are cut to it.
        work_dir: an existing folder for what training writes; what is large in it is to be removed again.
        adapter_dir: folder for LoRA adapters as they are before they are merged; None keeps none.
        trust_remote_code: run code shipped with the model.
    """

    base: str
    model: PreTrainedModel | None
    tokenizer: PreTrainedTokenizerBase
    pool: Pool
    subset: EncodedSubset
    schedule: TrainingSchedule
    seed: int
    device: str
    dtype: torch.dtype
    max_length: int
    work_dir: Path
    adapter_dir: Path | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True)
class Trained:
    """A fine-tuned model and what it took.

    Attributes:
        model: the model that is scored.
        losses: mean loss per response token of every optimiser step.
        forward_passes: forward passes, one a micro-batch.
        trainable_parameters: parameters that were trained (count).
        packed: whether rows were trained without padding; None if the trainer does not say.
        packing_problem: why they were padded, or packed without FlashAttention though there is one (a clause); None if neither.
        merged: makes the model that is kept of ``model``, whose adapters lie beside its weights, and may spoil ``model``; None
            if it is the same.
    """

    model: PreTrainedModel
    losses: list[float]
    forward_passes: int
    trainable_parameters: int
    packed: bool | None = None
    packing_problem: str | None = None
    merged: Callable[[], PreTrainedModel] | None = None


class Trainer(Protocol):
    """Trains a model on a subset. Made for one evaluation, of ``evaluation.sft`` and its own options, if it has some.

    Subclasses inherit the defaults.
    """

    #: Model of its options, None if it has none: see :class:`~autoselection.plugins.Registry`.
    options: ClassVar[type[StrictModel] | None] = None
    #: Whether it trains the model in this process; otherwise it loads the base model itself, and leaves a trained one on disk.
    in_process: ClassVar[bool] = True

    def check_settings(self) -> None:
        """Raise ValueError where it cannot follow the settings: asked when a configuration is read, whatever the machine."""
        return

    def check(self) -> None:
        """Raise EvaluationError or MissingExtraError for what is missing here: packages, commands, files."""
        return

    def holdable(self, pool: Pool, rows: NDArray[np.int64]) -> tuple[NDArray[np.bool_], Sequence[str]]:
        """Which rows it can train on as they are, and what to say of the others (sentences)."""
        return np.ones(len(rows), bool), ()

    def train(self, plan: TrainingPlan) -> Trained:
        """Train as planned.

        Raises:
            TrainingFailure, MachineFailure, EvaluationError: see the contract.
        """
        ...


def make_trainer(config: SFTConfig) -> Trainer:
    """The trainer that a configuration names; nothing heavy is imported.

    Raises:
        ConfigError: the package that registers it is broken.
    """
    trainer: Trainer = TRAINERS.make(config)
    return trainer
