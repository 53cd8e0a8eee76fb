"""The engine ``transformers``: the model in this process's memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from autoselection.evaluation.config import EvaluationConfig
from autoselection.evaluation.engines.contract import Engine, LanguageModel
from autoselection.evaluation.job import EvaluationJob

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class TransformersEngine(Engine):
    """Forward passes and generation of the model that was trained, where it is."""

    def __init__(self, config: EvaluationConfig) -> None:
        self.config = config

    @contextmanager
    def language_model(
        self,
        job: EvaluationJob,
        model: PreTrainedModel | None,
        tokenizer: Any,
        *,
        dtype: torch.dtype,
        context_length: int,
    ) -> Iterator[LanguageModel]:
        """The model in memory."""
        import torch

        from autoselection.evaluation.engines.lm_eval_model import ConversationLM

        assert model is not None
        yield ConversationLM(
            model,
            tokenizer,
            seed=job.seed,
            batch_size=self.config.batch_size,
            batch_tokens=self.config.batch_tokens,
            autocast=dtype == torch.bfloat16 and model.dtype == torch.float32,
            compiled=self.config.compile,
            context_length=context_length,
        )
