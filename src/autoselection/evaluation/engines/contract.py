"""What an engine is: where likelihoods and answers of a model come from.

Every engine gets the same contexts and continuations as token ids, encoded once by
:class:`~autoselection.language.chat.ConversationEncoder`; how answers are generated (length, stop texts, sampling) comes
with every question. The benchmarks themselves, and lm-evaluation-harness, are no business of an engine.

Contract of every engine, ours and those of other packages (:func:`autoselection.testing.check_engine` checks it):

- answers come in the order of the questions, whatever order they were asked in;
- the likelihood of a continuation is that of all its tokens and of nothing else; one that is not there is an error, never 0;
- greedy decoding (temperature 0) gives the same answer every time; sampling depends on the job's seed alone;
- an answer holds no stop token, and of other control tokens those alone that mark reasoning
  (:class:`~autoselection.evaluation.generation.AnswerTexts`); whether it was cut for length is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from autoselection.conversation import Message
from autoselection.evaluation.config import EvaluationConfig
from autoselection.evaluation.engines.registry import ENGINES
from autoselection.evaluation.generation import Generation
from autoselection.evaluation.job import EvaluationJob
from autoselection.schema import StrictModel

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Continuation:
    """Tokens whose likelihood is asked for, behind their context."""

    context: list[int]
    ids: list[int]


@dataclass(frozen=True)
class Question:
    """A conversation that is to be answered.

    Attributes:
        context: it as token ids, up to where the answer begins.
        messages: it as turns, for servers that write the template themselves.
        generation: how to answer.
    """

    context: list[int]
    messages: list[Message]
    generation: Generation


class LanguageModel(Protocol):
    """A model that is ready to be asked.

    One with something to say of how it answered has ``remarks``: sentences, read when all is answered.
    """

    def likelihoods(self, asked: Sequence[Continuation]) -> list[tuple[float, bool]]:
        """Of each continuation its log-probability (nats), and whether greedy decoding would write it."""
        ...

    def answers(self, asked: Sequence[Question]) -> list[tuple[str, bool]]:
        """The answer to each question, and whether it ended because it may be no longer."""
        ...


class Engine(Protocol):
    """Scores models. Made for one evaluation, of ``evaluation`` and its own options, if it has some.

    Subclasses inherit the defaults.
    """

    #: Model of its options, None if it has none: see :class:`~autoselection.plugins.Registry`.
    options: ClassVar[type[StrictModel] | None] = None
    #: Where it has a model from: this process's memory, a folder on disk, or a server that holds the base model. In the last
    #: two cases LoRA adapters of a trained subset are taken from a folder of their own.
    reads: ClassVar[Literal["memory", "folder", "server"]] = "memory"
    #: Whether it samples from the likeliest tokens only, where a task says so.
    has_top_k: ClassVar[bool] = True

    def check(self, *, trains: bool) -> None:
        """Refuse what it cannot do, before anything is loaded.

        Args:
            trains: whether subsets are trained, not only the configured model scored.

        Raises:
            EvaluationError, ConfigError, MissingExtraError: what is missing, or does not fit.
        """
        return

    def gives_likelihoods(self, tokenizer: Any) -> bool:
        """Whether it gives log-probabilities of prompts; a server may be asked."""
        return True

    def context_length(self, length: int) -> int:
        """The longest prompt with its answer, for a model whose own limit is ``length`` (tokens)."""
        return length

    def served(self) -> Sequence[str | None] | None:
        """What its scores depend on besides the base model's files: a part of the key under which they are cached."""
        return None

    def language_model(
        self,
        job: EvaluationJob,
        model: PreTrainedModel | None,
        tokenizer: Any,
        *,
        dtype: torch.dtype,
        context_length: int,
    ) -> AbstractContextManager[LanguageModel]:
        """The job's model, for a while.

        Args:
            model: the trained model, or the untrained one; None where only the engine holds it.
            context_length: the model's own limit (tokens).
        """
        ...


def make_engine(config: EvaluationConfig) -> Engine:
    """The engine that a configuration names; nothing heavy is imported.

    Raises:
        ConfigError: the package that registers it is broken.
    """
    engine: Engine = ENGINES.make(config)
    return engine


def adapter_folder(engine: Engine, job: EvaluationJob) -> Path | None:
    """Where an engine finds a trained subset's LoRA adapters; None if it takes the merged model."""
    wanted = engine.reads != "memory" and job.rows is not None and job.config.sft.method == "lora"
    return job.work_dir / "adapter" if wanted else None
