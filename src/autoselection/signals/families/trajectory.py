"""Loss trajectory: each row's loss under several checkpoints of one model, and how it falls.

Losses are ``loss_conditional`` of ``lm`` (nats a response token). Each checkpoint's losses are cached under its own
fingerprint: one more checkpoint costs one pass, and the order costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from autoselection.errors import SignalError
from autoselection.language.models import load_tokenizer
from autoselection.schema import StrictModel
from autoselection.signals.contract import Loaded, PassGroup, Reads, Rows, Signal
from autoselection.signals.families.lm import cross_entropy
from autoselection.signals.inputs import Inputs
from autoselection.signals.model_pass import PassReader, PassResult, PassSignal, TokenValues
from autoselection.signals.needs import Need
from autoselection.signals.stored import Shard, SignalSpec, StoredSignal
from autoselection.system import release_models

#: How the stored losses of a checkpoint are called: ``loss/`` and the beginning of its fingerprint. The table's columns
#: are ``loss/0``, ``loss/1``, … in the order of the checkpoints.
LOSS_PREFIX = "loss/"


class TrajectoryOptions(StrictModel):
    """Options of ``trajectory``."""

    models: tuple[str, ...] = Field(
        (),
        description="Checkpoints (folders or hub ids), in the order of training, under which rows' losses are compared.",
    )


class CheckpointLoss(PassSignal):
    """The loss of each row's response under one checkpoint, in a pass of that checkpoint."""

    name = "loss"
    version = 2
    columns = ("loss",)
    pass_group: ClassVar[type[PassGroup] | None] = None  # the pass is another model's
    asked_as: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init__(self, options: Any = None, model: str = "", fingerprint: str = "") -> None:
        super().__init__(options)
        self._model, self._fingerprint = model, fingerprint
        if model:
            self.name = f"{LOSS_PREFIX}{fingerprint[:12]}"

    @property
    def title(self) -> str:
        return f"Loss under {Path(self._model).name}"

    @property
    def token_values(self) -> Sequence[TokenValues]:
        return (cross_entropy,)

    def spec(self, inputs: Inputs, needed: Mapping[str, SignalSpec]) -> SignalSpec:
        params = {**inputs.pass_params(self._model), "turns": inputs.settings.turns}
        return SignalSpec(self.name, self.version, params, model=self._fingerprint)

    def compute(self, rows: Rows) -> Shard:
        inputs, path = rows.inputs, self._model

        def make() -> PassReader:
            model = inputs.load(path)
            tokenizer = load_tokenizer(path, inputs.chat, inputs.trust_remote_code)
            return PassReader(model, inputs.encoder(model, tokenizer), batch_tokens=inputs.settings.batch_tokens)

        held = inputs.keep("checkpoint", dict[str, PassReader], CHECKPOINTS)
        if path not in held:
            if held:  # one checkpoint is in memory at a time
                held.clear()
                release_models()
            held[path] = make()
        return held[path].run(rows.conversations, [self])[self.name]

    def finish(self, found: PassResult) -> Shard:
        return Shard({"loss": found.means("loss").astype(np.float32)}, {**found.counts, **found.unscored})

    @classmethod
    def load(cls, stored: StoredSignal) -> Loaded:
        return Loaded()  # the columns are those of the trajectory


CHECKPOINTS = Need(
    "no checkpoints were given (signals.trajectory_models)",
    "The signal '{signal}' compares at least two checkpoints: list them in signals.trajectory_models.",
    lambda inputs: bool(inputs.option("trajectory", "models")),
    "--trajectory-model FIRST --trajectory-model LAST",
    renders=True,
)


class Trajectory(Signal):
    """The columns drawn from the losses under all checkpoints."""

    name = "trajectory"
    version = 2
    options_model = TrajectoryOptions
    reads: Reads = "texts"
    needs = (CHECKPOINTS,)
    column_prefixes = (LOSS_PREFIX,)
    shard_rows = 65_536
    cost = 8  # behind all that reads the base model, which is not in memory any more
    title = "Loss trajectory"
    asked_as: ClassVar[Mapping[str, tuple[str, ...]]] = {"trajectory": ("loss_drop", "loss_slope")}

    def __init__(self, options: Any = None, losses: Sequence[CheckpointLoss] = ()) -> None:
        super().__init__(options)
        self._losses = losses
        self.columns = (*(f"{LOSS_PREFIX}{i}" for i in range(len(losses))), "loss_drop", "loss_slope")
        self.parts = tuple(loss.name for loss in losses)

    @classmethod
    def instances(cls, options: Any, inputs: Inputs) -> Sequence[Signal]:
        if len(options.models) < 2:
            raise SignalError(CHECKPOINTS.demand.format(signal=cls.name))
        losses = [CheckpointLoss(None, model, inputs.fingerprint_of(model)) for model in options.models]
        return [*losses, cls(options, losses)]

    def spec(self, inputs: Inputs, needed: Mapping[str, SignalSpec]) -> SignalSpec:
        uses = {f"checkpoint {i}": loss.spec(inputs, {}) for i, loss in enumerate(self._losses)}
        return SignalSpec(self.name, self.version, uses=uses)

    def compute(self, rows: Rows) -> Shard:
        losses = [rows.needed[part].arrays["loss"][rows.span.start : rows.span.stop] for part in self.parts]
        columns = trajectory_columns(np.stack([np.asarray(column) for column in losses]))
        return Shard(columns, {f"{name}:no_loss": int(np.isnan(column).sum()) for name, column in columns.items()})


def trajectory_columns(losses: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """The columns of losses [C, N] of C ≥ 2 checkpoints, in the order of training.

    ``loss/0`` …; ``loss_drop``: first minus last; ``loss_slope``: least-squares slope a checkpoint (negative: the loss
    falls). A row without a loss under some checkpoint has neither of the last two.
    """
    values = np.asarray(losses, np.float64)
    step = np.arange(len(values)) - (len(values) - 1) / 2
    slope = step @ values / (step @ step)
    columns = {f"{LOSS_PREFIX}{i}": row for i, row in enumerate(values)}
    complete = ~np.isnan(values).any(axis=0)
    columns["loss_drop"] = np.where(complete, values[0] - values[-1], np.nan)
    columns["loss_slope"] = slope
    return {name: column.astype(np.float32) for name, column in columns.items()}
