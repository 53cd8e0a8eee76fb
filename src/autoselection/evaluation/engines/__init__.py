"""Where answers come from: a model in memory (transformers), vLLM, or a server that speaks OpenAI's protocol.

An engine is a language model of lm-evaluation-harness over token ids: every one gets the same contexts and
continuations, encoded once by :class:`~autoselection.language.chat.ConversationEncoder`. How answers are generated (length, stop texts, sampling)
comes with every request (see ``generation``); the seed is passed on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoselection.errors import ConfigError, EvaluationError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from autoselection.evaluation.config import EvaluationConfig
    from autoselection.evaluation.job import EvaluationJob
    from autoselection.tasks import TaskConfig


def check_engine(config: EvaluationConfig, *, trains: bool = True) -> None:
    """Refuse what an engine or trainer cannot do, before anything is loaded.

    Args:
        trains: whether subsets are trained here, not only the configured model scored.

    Raises:
        EvaluationError: trained subsets cannot reach the server, its address or key is missing, or the trainer's command
            is not there.
        MissingExtraError: vLLM is not installed.
    """
    if trains and config.sft.trainer == "llamafactory":
        from autoselection.evaluation.trainers.llamafactory import find_command

        find_command(config.sft.llamafactory.command)
    if config.engine == "vllm":
        from autoselection.evaluation.engines.vllm import require_vllm

        require_vllm()
    if config.engine == "openai":
        from autoselection.evaluation.engines.openai import Endpoint

        Endpoint(config.endpoint).headers()
        if trains and not config.endpoint.load_adapters:
            raise EvaluationError(
                "evaluation.engine 'openai' scores the model that a server holds, and a subset is trained here: set "
                "evaluation.endpoint.load_adapters (and sft.method to lora), or use another engine."
            )
        if trains and config.sft.method != "lora":
            raise ConfigError("evaluation.endpoint.load_adapters needs evaluation.sft.method 'lora'.")


def check_served_metrics(config: EvaluationConfig, tasks: Sequence[TaskConfig], tokenizer: Any) -> None:
    """Ask a server for what the tasks' metrics need of it.

    Raises:
        EvaluationError: it does not answer, or gives no log-probabilities and a metric needs them.
    """
    if config.engine != "openai" or all(task.metric == "exact_match" for task in tasks):
        return
    if not gives_likelihoods(config, tokenizer):
        check_metrics(tasks)


def check_metrics(tasks: Sequence[TaskConfig]) -> None:
    """Refuse tasks that are scored by likelihoods, of an engine that gives none.

    Raises:
        EvaluationError: there is such a task.
    """
    for task in tasks:
        if task.metric != "exact_match":
            raise EvaluationError(
                f"Task '{task.name}': metric '{task.metric}' needs log-probabilities of prompts, which the server of "
                "evaluation.endpoint does not give (nll, nll_per_byte, greedy_match, accuracy and option_likelihood are "
                "not available from it): set tasks[].metric to exact_match, or use another server or engine."
            )


def adapter_folder(job: EvaluationJob) -> Path | None:
    """Where the engine wants a trained subset's LoRA adapters, or None if it takes the merged model."""
    wanted = job.config.engine != "transformers" and job.rows is not None and job.config.sft.method == "lora"
    return job.work_dir / "adapter" if wanted else None


def gives_likelihoods(config: EvaluationConfig, tokenizer: Any) -> bool:
    """Whether the engine gives log-probabilities of prompts; a server is asked."""
    if config.engine != "openai":
        return True
    from autoselection.evaluation.engines.openai import Endpoint

    return Endpoint(config.endpoint).gives_likelihoods(tokenizer("One, two", add_special_tokens=False)["input_ids"])


@contextmanager
def language_model(
    job: EvaluationJob,
    model: PreTrainedModel | None,
    tokenizer: Any,
    *,
    dtype: torch.dtype,
    context_length: int,
) -> Iterator[Any]:
    """The job's engine as a language model of the harness.

    Args:
        model: the trained model, or the untrained one; None where the engine holds it.
    """
    import torch

    config = job.config
    if config.engine == "transformers":
        from autoselection.evaluation.engines.lm_eval_model import ConversationLM

        assert model is not None
        yield ConversationLM(
            model,
            tokenizer,
            seed=job.seed,
            batch_size=config.batch_size,
            batch_tokens=config.batch_tokens,
            autocast=dtype == torch.bfloat16 and model.dtype == torch.float32,
            compiled=config.compile,
        )
    elif config.engine == "openai":
        yield from _served(job, context_length)
    else:
        yield _in_vllm(job, model, tokenizer, context_length)


def _served(job: EvaluationJob, context_length: int) -> Iterator[Any]:
    from autoselection.evaluation.engines.openai import Endpoint, EndpointLM

    endpoint = Endpoint(job.config.endpoint)
    served = EndpointLM(endpoint, context_length=context_length)
    folder = adapter_folder(job)
    if folder is None:
        yield served
        return
    with endpoint.adapter(f"autoselection-{job.work_dir.name}", folder):
        yield served


def _in_vllm(
    job: EvaluationJob,
    model: PreTrainedModel | None,
    tokenizer: Any,
    context_length: int,
) -> Any:
    import torch

    from autoselection.evaluation.engines.vllm import VllmLM, engine_arguments, load_engine, release_engines
    from autoselection.language.models import save_tokenizer

    folder = adapter_folder(job)
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
        job.config,
        path,
        context_length=context_length,
        seed=job.seed if merged else 0,
        trust_remote_code=job.trust_remote_code,
        adapters=job.config.sft.method == "lora" and not merged,
    )
    llm = load_engine(arguments, keep=not merged)
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest

    adapter = None
    if folder is not None:
        _ADAPTERS.append(str(folder))
        adapter = LoRARequest(f"subset-{len(_ADAPTERS)}", len(_ADAPTERS), str(folder))
    return VllmLM(
        llm,
        SamplingParams,
        adapter=adapter,
        context_length=int(arguments["max_model_len"]),
        seed=job.seed,
    )


#: Adapters this process has served; vLLM knows them by number.
_ADAPTERS: list[str] = []
