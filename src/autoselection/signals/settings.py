"""How a model reads the rows of a pool: settings that all signals from a model share."""

from __future__ import annotations

from pydantic import Field

from autoselection.language.chat import Turns
from autoselection.language.models import DType
from autoselection.schema import StrictModel


class PassSettings(StrictModel):
    """Length, turns, batches, device and type of numbers of the passes of a model over the rows."""

    max_length: int = Field(
        2048, ge=2, description="Longer rows are cut from the right for the model, whose own limit holds too (tokens)."
    )
    turns: Turns = Field(
        "all",
        description="Score all assistant turns of a conversation, only the last, or each in the samples that inference would produce.",
    )
    batch_tokens: int | None = Field(
        None,
        ge=1,
        description="Size of a batch of forward passes, padding included (tokens); null: 1,024 on a CPU, else 8,192.",
    )
    shard_rows: int = Field(
        512, ge=1, description="Rows computed between two saves in the passes of the model; a kill loses at most these."
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps.")
    dtype: DType = Field("auto", description="auto (bfloat16 on CUDA, else float32), float32, bfloat16 or float16.")
