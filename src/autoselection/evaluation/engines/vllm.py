"""The engine ``vllm``: vLLM, with trained LoRA adapters served natively beside the base model.

Written against vLLM's documented interface (``LLM``, ``SamplingParams``, ``LoRARequest``, prompts as token ids,
``prompt_logprobs``); it needs a GPU and has not been run where this was written. What needs no GPU (arguments, requests,
reading of answers) is apart and tested.

The engine of a base model stays loaded in a worker process, and every LoRA-trained subset is an adapter on it. A fully
fine-tuned model is saved, loaded by an engine of its own and dropped again.
"""

from __future__ import annotations

import gc
import importlib.util
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from autoselection.errors import EvaluationError, MissingExtraError
from autoselection.evaluation.config import EvaluationConfig
from autoselection.evaluation.engines.contract import Continuation, Engine, Question, adapter_folder
from autoselection.evaluation.generation import AnswerTexts, Generation
from autoselection.evaluation.job import EvaluationJob
from autoselection.language.models import save_tokenizer
from autoselection.schema import StrictModel

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

#: Ranks that vLLM has kernels for.
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
#: What vLLM calls sampling from all tokens.
_ALL_TOKENS = -1


class VllmOptions(StrictModel):
    """Engine vllm (extra of the same name, needs a GPU)."""

    gpu_memory_utilization: float = Field(
        0.45, gt=0.0, le=1.0, description="Share of a GPU's memory for vLLM; training needs the rest."
    )
    max_model_len: int | None = Field(
        None, ge=8, description="Longest prompt with its answer (tokens); null is the model's context."
    )
    tensor_parallel_size: int = Field(1, ge=1, description="GPUs the model is spread over (count).")
    enforce_eager: bool = Field(False, description="Do not capture CUDA graphs: starts faster, runs slower.")


class VllmEngine(Engine):
    """vLLM in this process."""

    options = VllmOptions
    reads = "folder"

    def __init__(self, config: EvaluationConfig, options: VllmOptions) -> None:
        self.config, self.own = config, options

    def check(self, *, trains: bool) -> None:
        """See that vLLM is installed."""
        if importlib.util.find_spec("vllm") is None:
            raise MissingExtraError("vllm", "vllm", "evaluation.engine 'vllm'")

    def context_length(self, length: int) -> int:
        """The configured length, or the model's own."""
        return self.own.max_model_len or length

    @contextmanager
    def language_model(
        self,
        job: EvaluationJob,
        model: PreTrainedModel | None,
        tokenizer: Any,
        *,
        dtype: torch.dtype,
        context_length: int,
    ) -> Iterator[VllmLM]:
        """The base model with the job's adapters, or the trained model, saved and loaded again."""
        import torch

        folder = adapter_folder(self, job)
        path, merged = job.model, job.rows is not None and folder is None
        if merged:
            assert model is not None
            path = str(job.work_dir / "model")
            model.save_pretrained(path)
            save_tokenizer(tokenizer, Path(path))
            release_engines()
        if model is not None:
            model.to("cpu")  # vLLM wants the GPU
            torch.cuda.empty_cache()
        arguments = engine_arguments(
            self.config,
            self.own,
            path,
            context_length=context_length,
            seed=job.seed if merged else 0,
            trust_remote_code=job.trust_remote_code,
            adapters=self.config.sft.method == "lora" and not merged,
        )
        llm = load_engine(arguments, keep=not merged)
        from vllm import SamplingParams
        from vllm.lora.request import LoRARequest

        adapter = None
        if folder is not None:
            _ADAPTERS.append(str(folder))
            adapter = LoRARequest(f"subset-{len(_ADAPTERS)}", len(_ADAPTERS), str(folder))
        length = int(arguments["max_model_len"])
        yield VllmLM(llm, SamplingParams, AnswerTexts(tokenizer), adapter=adapter, context_length=length, seed=job.seed)


def engine_arguments(
    config: EvaluationConfig,
    options: VllmOptions,
    model: str,
    *,
    context_length: int,
    seed: int,
    trust_remote_code: bool,
    adapters: bool,
) -> dict[str, Any]:
    """Keyword arguments of ``vllm.LLM``.

    Raises:
        EvaluationError: the rank of the adapters is larger than vLLM serves.
    """
    arguments: dict[str, Any] = {
        "model": model,
        "dtype": config.dtype,
        "seed": seed,
        "max_model_len": options.max_model_len or context_length,
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "tensor_parallel_size": options.tensor_parallel_size,
        "enforce_eager": options.enforce_eager,
        "trust_remote_code": trust_remote_code,
    }
    if adapters:
        rank = next((rank for rank in _RANKS if rank >= config.sft.lora_r), None)
        if rank is None:
            raise EvaluationError(
                f"vLLM serves LoRA adapters up to rank {_RANKS[-1]}, not {config.sft.lora_r}: lower evaluation.sft.lora_r "
                "or set evaluation.engine to transformers."
            )
        arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": rank}
    return arguments


def sampling_arguments(settings: Generation | None, *, seed: int) -> dict[str, Any]:
    """Keyword arguments of ``vllm.SamplingParams``; without settings the prompt's log-probabilities and one token."""
    if settings is None:
        return {"temperature": 0.0, "seed": seed, "max_tokens": 1, "prompt_logprobs": 1, "detokenize": False}
    arguments: dict[str, Any] = {
        "temperature": settings.temperature,
        "seed": seed,
        "max_tokens": settings.max_gen_toks,
        "stop_token_ids": list(settings.stop_ids) or None,
        "stop": list(settings.until) or None,
    }
    if settings.temperature:
        arguments |= {"top_p": settings.top_p, "top_k": settings.top_k or _ALL_TOKENS}
    return arguments


def likelihood_of(
    prompt_logprobs: Sequence[Mapping[int, Any] | None], ids: Sequence[int], continuation: int
) -> tuple[float, bool]:
    """The log-probability of the last ``continuation`` tokens of a prompt, and whether each was the likeliest.

    Args:
        prompt_logprobs: per token of the prompt, the entries of the token itself and of the likeliest one (objects with
            ``logprob`` and ``rank``); None for the first.

    Raises:
        EvaluationError: an entry is missing.
    """
    total, greedy = 0.0, True
    for position in range(len(ids) - continuation, len(ids)):
        entries = prompt_logprobs[position]
        entry = None if entries is None else entries.get(ids[position])
        if entry is None:
            raise EvaluationError("vLLM gave no log-probability for a token of a gold answer.")
        total += float(entry.logprob)
        greedy = greedy and entry.rank == 1
    return (total if not math.isnan(total) else math.nan), greedy


class VllmLM:
    """A ``vllm.LLM`` as a :class:`~autoselection.evaluation.engines.contract.LanguageModel`.

    Args:
        llm: the engine.
        sampling: the class ``vllm.SamplingParams``.
        text: makes text of an answer's tokens: vLLM's own leaves out every control token.
        adapter: ``vllm.lora.request.LoRARequest`` of a trained adapter, or None for the engine's own model.
    """

    def __init__(
        self,
        llm: Any,
        sampling: Any,
        text: AnswerTexts,
        *,
        adapter: Any | None,
        context_length: int,
        seed: int,
    ) -> None:
        self._llm, self._sampling, self._text, self._adapter = llm, sampling, text, adapter
        self._context, self._seed = context_length, seed

    def likelihoods(self, asked: Sequence[Continuation]) -> list[tuple[float, bool]]:
        """Log-probability of every continuation, and whether greedy decoding would write it."""
        # one token must be generated
        prompts = [[*each.context, *each.ids][-(self._context - 1) :] for each in asked]
        parameters = self._sampling(**sampling_arguments(None, seed=self._seed))
        outputs = self._generate(prompts, parameters)
        return [
            likelihood_of(output.prompt_logprobs, ids, len(each.ids))
            for output, ids, each in zip(outputs, prompts, asked, strict=True)
        ]

    def answers(self, asked: Sequence[Question]) -> list[tuple[str, bool]]:
        """The answer to every question, and whether it ended because it may be no longer."""
        prompts = [each.context[-max(1, self._context - each.generation.max_gen_toks) :] for each in asked]
        parameters = [self._sampling(**sampling_arguments(each.generation, seed=self._seed)) for each in asked]
        answers = [output.outputs[0] for output in self._generate(prompts, parameters)]
        return [
            (self._text(answer.token_ids, each.generation.stop_ids), answer.finish_reason == "length")
            for answer, each in zip(answers, asked, strict=True)
        ]

    def _generate(self, prompts: Sequence[Sequence[int]], parameters: Any) -> Any:
        asked = [{"prompt_token_ids": list(ids)} for ids in prompts]
        return self._llm.generate(asked, parameters, use_tqdm=False, lora_request=self._adapter)


#: Adapters this process has served; vLLM knows them by number.
_ADAPTERS: list[str] = []
_LOADED: dict[str, Any] = {}


def load_engine(arguments: Mapping[str, Any], keep: bool) -> Any:
    """A ``vllm.LLM``; with ``keep`` it stays loaded for later evaluations of this process, and is the only one."""
    from vllm import LLM

    key = repr(sorted(arguments.items()))
    if key not in _LOADED:
        release_engines()
        _LOADED[key] = LLM(**arguments)
    return _LOADED[key] if keep else _LOADED.pop(key)


def release_engines() -> None:
    """Drop loaded engines, so that their GPU memory is there for the next."""
    if _LOADED:
        _LOADED.clear()
        gc.collect()
