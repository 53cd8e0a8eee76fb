"""vLLM, with trained LoRA adapters served natively beside the base model.

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from autoselection.errors import EvaluationError, MissingExtraError
from autoselection.evaluation.config import EvaluationConfig
from autoselection.evaluation.generation import Generation, Limited

#: Ranks that vLLM has kernels for.
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
#: What vLLM calls sampling from all tokens.
_ALL_TOKENS = -1


def require_vllm() -> None:
    """Raise MissingExtraError if vLLM is not installed."""
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtraError("vllm", "vllm", "evaluation.engine 'vllm'")


def engine_arguments(
    config: EvaluationConfig, model: str, *, context_length: int, seed: int, trust_remote_code: bool, adapters: bool
) -> dict[str, Any]:
    """Keyword arguments of ``vllm.LLM``.

    Raises:
        EvaluationError: the rank of the adapters is larger than vLLM serves.
    """
    settings = config.vllm
    arguments: dict[str, Any] = {
        "model": model,
        "dtype": config.dtype,
        "seed": seed,
        "max_model_len": settings.max_model_len or context_length,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "enforce_eager": settings.enforce_eager,
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


@dataclass(frozen=True)
class Adapter:
    """A saved LoRA adapter; ``number`` must differ between adapters of one engine."""

    name: str
    number: int
    folder: Path


class VllmLM(LM):  # type: ignore[misc]
    """A ``vllm.LLM`` as a language model of the harness.

    Args:
        llm: the engine.
        sampling: the class ``vllm.SamplingParams``.
        adapter: ``vllm.lora.request.LoRARequest`` of a trained adapter, or None for the engine's own model.
    """

    def __init__(
        self,
        llm: Any,
        sampling: Any,
        *,
        adapter: Any | None,
        context_length: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.limited = Limited()
        self._llm, self._sampling, self._adapter = llm, sampling, adapter
        self._context, self._seed = context_length, seed

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Log-probability of every continuation, and whether greedy decoding would write it."""
        continuations = [request.doc["continuations"][request.idx] for request in requests]
        prompts = [
            [*request.doc["context_ids"], *continuation][-(self._context - 1) :]  # one token must be generated
            for request, continuation in zip(requests, continuations, strict=True)
        ]
        parameters = self._sampling(**sampling_arguments(None, seed=self._seed))
        outputs = self._generate(prompts, parameters)
        return [
            likelihood_of(output.prompt_logprobs, ids, len(continuation))
            for output, ids, continuation in zip(outputs, prompts, continuations, strict=True)
        ]

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = True) -> list[float]:
        """Not used: no task here asks for the likelihood of whole texts."""
        raise NotImplementedError

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = True) -> list[str]:
        """Answers to the documents' contexts."""
        asked = [Generation.of(request) for request in requests]
        prompts = [
            request.doc["context_ids"][-max(1, self._context - settings.max_gen_toks) :]
            for request, settings in zip(requests, asked, strict=True)
        ]
        parameters = [self._sampling(**sampling_arguments(settings, seed=self._seed)) for settings in asked]
        answers = [output.outputs[0] for output in self._generate(prompts, parameters)]
        return [
            self.limited.note(request, answer.text, answer.finish_reason == "length")
            for request, answer in zip(requests, answers, strict=True)
        ]

    def _generate(self, prompts: Sequence[Sequence[int]], parameters: Any) -> Any:
        asked = [{"prompt_token_ids": list(ids)} for ids in prompts]
        return self._llm.generate(asked, parameters, use_tqdm=False, lora_request=self._adapter)


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
