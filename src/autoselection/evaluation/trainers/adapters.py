"""LoRA adapters after training: merged where that loses nothing, beside the weights otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def scored_and_kept(adapted: PeftModel) -> tuple[PreTrainedModel, Callable[[], PreTrainedModel] | None]:
    """What is scored of a model with adapters, and what makes the model that is kept of it (None: it is the same one).

    A sum in half precision rounds away most of an update at a small learning rate. Adapters of a model in half precision
    therefore stay beside its weights while it is scored, as they were in training: that takes no more memory than
    training did, where weights in float32 take twice as much.
    """
    import torch

    inner: PreTrainedModel = adapted.get_base_model()
    if inner.dtype == torch.float32:
        merged: PreTrainedModel = adapted.merge_and_unload()
        return merged.eval(), None
    return inner.eval(), lambda: _merged_in_float32(adapted)


def _merged_in_float32(adapted: PeftModel) -> PreTrainedModel:
    """The merged model, in main memory: a GPU may hold it in half precision only."""
    merged: PreTrainedModel = adapted.to("cpu").float().merge_and_unload()
    return merged.eval()
