"""The engine ``openai``: a model behind an OpenAI-compatible server.

Generated answers come from ``/chat/completions``: the server renders the conversation. Likelihoods come from
``/completions`` with the prompt's token ids, ``echo`` and ``logprobs`` (vLLM, llama.cpp and TGI servers have them, hosted
chat models do not); whether they do is asked once. A trained LoRA adapter is loaded into a vLLM server that allows it
(``VLLM_ALLOW_RUNTIME_LORA_UPDATING``) and unloaded afterwards; server and trainer must see the same files.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import TIMEOUT_MAX, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, field_validator

from autoselection.conversation import Message
from autoselection.errors import ConfigError, EvaluationError
from autoselection.evaluation.config import EvaluationConfig
from autoselection.evaluation.engines.contract import Continuation, Engine, Question, adapter_folder
from autoselection.evaluation.generation import AnswerTexts, Generation
from autoselection.evaluation.job import EvaluationJob
from autoselection.schema import StrictModel
from autoselection.server import LONGEST_WAIT, Server, checked_address, key_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

#: Longest answer that is read (bytes): likelihoods of 100,000 tokens take a tenth.
LONGEST = 64 << 20
#: Stop texts that the protocol allows; answers are cut at all of them when they arrive.
_MOST_STOPS = 4
#: What is left of the header of a Harmony channel where a server takes its marks out of an answer (``finalParis``). Words that
#: an answer begins with are none (``final-year``, ``analysis/42``), nor are longer words (``finals``), which go on in small letters.
_STRIPPED = re.compile(r"\A(analysis|final)(?=[^\s_.,:;!?'’/=)\]\-‐‑–—]|-\d)")
#: What rounding may make of a log-probability of 0.
_ABOVE_ZERO = 0.01

Asked = TypeVar("Asked", Continuation, Question)
Answer = TypeVar("Answer")


class EndpointOptions(StrictModel):
    """Engine openai: a server that speaks OpenAI's protocol."""

    base_url: str | None = Field(None, description="Address of the server, such as http://127.0.0.1:8000/v1.")
    model: str | None = Field(
        None, description="Name under which the server knows the model (model.path has its tokenizer)."
    )
    api_key_env: str | None = Field(None, description="Environment variable that holds the key; null sends none.")
    load_adapters: bool = Field(
        False,
        description="Score subsets trained with LoRA by loading each adapter into the server for a while (a vLLM server "
        "with VLLM_ALLOW_RUNTIME_LORA_UPDATING that sees the same files).",
    )
    concurrency: int = Field(8, ge=1, le=256, description="Requests under way at once (count).")
    timeout: float = Field(120.0, gt=0.0, le=LONGEST_WAIT, description="Longest wait for one answer (s).")
    retries: int = Field(3, ge=0, description="Further attempts after a busy or broken answer (count).")

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        return None if value is None else checked_address(value)


class OpenAIEngine(Engine):
    """A server; adapters are lent to it."""

    options = EndpointOptions
    reads = "server"
    has_top_k = False

    def __init__(self, config: EvaluationConfig, options: EndpointOptions) -> None:
        self.config, self.own = config, options

    def check(self, *, trains: bool) -> None:
        """See that address, name and key are there, and that trained subsets can reach the server."""
        CompletionsEndpoint(self.own).server  # noqa: B018
        if trains and not self.own.load_adapters:
            raise EvaluationError(
                "evaluation.engine 'openai' scores the model that a server holds, and a subset is trained here: set "
                "evaluation.endpoint.load_adapters (and sft.method to lora), or use another engine."
            )
        if trains and self.config.sft.method != "lora":
            raise ConfigError("evaluation.endpoint.load_adapters needs evaluation.sft.method 'lora'.")

    def gives_likelihoods(self, tokenizer: Any) -> bool:
        """Whether the server does: it is asked for those of a short prompt."""
        return CompletionsEndpoint(self.own).gives_likelihoods(
            tokenizer("One, two", add_special_tokens=False)["input_ids"]
        )

    def served(self) -> Sequence[str | None] | None:
        """The server, and its name for the model."""
        return [self.own.base_url, self.own.model]

    @contextmanager
    def language_model(
        self,
        job: EvaluationJob,
        model: PreTrainedModel | None,
        tokenizer: Any,
        *,
        dtype: torch.dtype,
        context_length: int,
    ) -> Iterator[EndpointLM]:
        """The server's model, with the job's adapters if it was trained."""
        endpoint = CompletionsEndpoint(self.own)
        served = EndpointLM(endpoint, context_length=context_length, seed=job.seed, marks=AnswerTexts(tokenizer).marks)
        folder = adapter_folder(self, job)
        if folder is None:
            yield served
            return
        with endpoint.adapter(f"autoselection-{job.work_dir.name}", folder):
            yield served


class CompletionsEndpoint:
    """Requests to one server.

    Raises (every method):
        EvaluationError: the server cannot be reached, refuses, or answers with something else than documented.
        MissingExtraError: the package ``openai`` is not installed.
    """

    def __init__(self, options: EndpointOptions) -> None:
        if not options.base_url or not options.model:
            raise EvaluationError(
                "evaluation.engine 'openai' needs evaluation.endpoint.base_url (such as http://127.0.0.1:8000/v1) and "
                "evaluation.endpoint.model (the name under which the server knows the model)."
            )
        self.options = options
        self.base_url = options.base_url
        self.model = options.model

    @cached_property
    def server(self) -> Server:
        """The server, with its key."""
        options = self.options
        key = key_of(options.api_key_env) if options.api_key_env else ""
        if options.api_key_env and not key:
            raise EvaluationError(
                f"The environment variable {options.api_key_env} (evaluation.endpoint.api_key_env) is empty: "
                "set it to the server's key."
            )
        return Server(
            base_url=self.base_url,
            key=key,
            timeout=options.timeout,
            retries=options.retries,
            longest=LONGEST,
            setting="evaluation.endpoint.base_url",
            purpose="evaluation.engine 'openai'",
        )

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON answer to one request; busy and broken answers are asked again, with growing pauses."""
        reply = self.server.post(path, body)
        where = f"{self.base_url}{path}"
        if reply.body is None:
            if reply.redirected:
                raise EvaluationError(f"{where}: {reply.error}.")
            if reply.refused:
                raise _Refused(f"{where} refused the request ({reply.error}).")
            raise EvaluationError(
                f"{where} did not answer in {reply.attempts} attempts ({reply.error}): is the server up?"
            )
        text = reply.body.decode("utf-8", "replace")
        try:
            return self.server.hide(json.loads(text) if text.strip().startswith(("{", "[")) else text)
        except (ValueError, RecursionError) as error:
            raise EvaluationError(f"{where} answered with broken JSON: {self.server.hide(text)[:120]!r}.") from error

    def gives_likelihoods(self, ids: Sequence[int]) -> bool:
        """Ask for the likelihoods of a short prompt; a server that refuses, or leaves them out, has none."""
        try:
            return len(self.likelihoods(ids)) == len(ids)
        except (_Refused, _Unlike):
            return False

    def likelihoods(self, ids: Sequence[int]) -> list[tuple[float | None, float | None]]:
        """For every token of a prompt its log-probability and that of the likeliest token (the first one has none)."""
        body = {
            "model": self.model,
            "prompt": list(ids),
            "max_tokens": 1,  # some servers refuse 0; the generated token is cut off
            "temperature": 0,
            "echo": True,
            "logprobs": 1,
        }
        found = self.post("/completions", body)
        try:
            logprobs = found["choices"][0]["logprobs"]
            values, best = logprobs["token_logprobs"], logprobs["top_logprobs"]
            pairs = [
                (value, None if top is None else max(top.values())) for value, top in zip(values, best, strict=True)
            ]
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise _Unlike(f"{self.base_url}/completions gives no log-probabilities of the prompt.") from error
        odd = next((value for pair in pairs for value in pair if not _is_log_probability(value)), None)
        if odd is not None:
            raise _Unlike(f"{self.base_url}/completions gives {odd!r:.40} for a log-probability.")
        if len(pairs) not in (len(ids), len(ids) + 1):
            raise _Unlike(
                f"{self.base_url}/completions counts {len(pairs) - 1} tokens where the tokenizer counts {len(ids)}: "
                f"the server holds another model than the configured one ('{self.model}')."
            )
        return pairs[: len(ids)]

    def chat(self, messages: Sequence[Message], settings: Generation, seed: int = 0) -> tuple[str, bool]:
        """The answer to a conversation, and whether it ended because it may be no longer; ``seed`` is of a sampled one."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": list(messages),
            "max_tokens": settings.max_gen_toks,
            "temperature": settings.temperature,
            "seed": seed,
        }
        if settings.temperature:  # a server may have another default
            body["top_p"] = settings.top_p
        if settings.until:
            body["stop"] = list(settings.until[:_MOST_STOPS])
        found = self.post("/chat/completions", body)
        try:
            choice = found["choices"][0]
            content, full = choice["message"]["content"], choice.get("finish_reason") == "length"
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise EvaluationError(f"{self.base_url}/chat/completions gave no answer: {str(found)[:160]}.") from error
        if content is not None and not isinstance(content, str):
            raise EvaluationError(
                f"{self.base_url}/chat/completions answers with something else than text: {content!r:.160}."
            )
        # Half a character (a lone surrogate) could not be written down.
        return (content or "").encode("utf-16", "surrogatepass").decode("utf-16", "replace"), full

    @contextmanager
    def adapter(self, name: str, folder: Path) -> Iterator[None]:
        """Serve a LoRA adapter under ``name`` for a while."""
        self.post("/load_lora_adapter", {"lora_name": name, "lora_path": str(folder.resolve())})
        base, self.model = self.model, name
        try:
            yield
        finally:
            self.model = base
            self.post("/unload_lora_adapter", {"lora_name": name})


def _is_log_probability(value: object) -> bool:
    """Whether a server's value can be one; none is given for the first token, and rounding may end above 0."""
    return value is None or (
        isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < _ABOVE_ZERO
    )


class _Refused(EvaluationError):
    """The server understood the request and refused it."""


class _Unlike(EvaluationError):
    """The server's answer lacks what the protocol says it has."""


class EndpointLM:
    """The server as a :class:`~autoselection.evaluation.engines.contract.LanguageModel`; requests run side by side, longest
    first.

    Args:
        marks: the model's control tokens that mark reasoning.
    """

    def __init__(
        self, endpoint: CompletionsEndpoint, *, context_length: int, seed: int, marks: Set[str] = frozenset()
    ) -> None:
        self._endpoint = endpoint
        self._has_channels = "<|channel|>" in marks
        self._context, self._seed = context_length, seed

    def likelihoods(self, asked: Sequence[Continuation]) -> list[tuple[float, bool]]:
        """Log-probability of every continuation, and whether greedy decoding would write it."""

        def ask(each: Continuation) -> tuple[float, bool]:
            ids = [*each.context, *each.ids][-(self._context - 1) :]
            pairs = self._endpoint.likelihoods(ids)[-len(each.ids) :]
            if any(value is None for value, _ in pairs):
                raise EvaluationError("The server gives no log-probability for a token of a gold answer.")
            greedy = all(best is not None and value is not None and value >= best for value, best in pairs)
            return float(sum(value for value, _ in pairs if value is not None)), greedy

        return self._side_by_side(ask, asked)

    def answers(self, asked: Sequence[Question]) -> list[tuple[str, bool]]:
        """The answer to every question, and whether it ended because it may be no longer."""

        def ask(each: Question) -> tuple[str, bool]:
            text, full = self._endpoint.chat(each.messages, each.generation, self._seed)
            return _with_channel(text) if self._has_channels else text, full

        return self._side_by_side(ask, asked)

    def _side_by_side(self, ask: Callable[[Asked], Answer], asked: Sequence[Asked]) -> list[Answer]:
        left: SimpleQueue[int] = SimpleQueue()
        ended: SimpleQueue[tuple[int, Answer] | Exception] = SimpleQueue()
        for index in sorted(range(len(asked)), key=lambda index: -len(asked[index].context)):
            left.put(index)

        def work() -> None:
            while (index := _next(left)) is not None:
                try:
                    ended.put((index, ask(asked[index])))
                except Exception as error:  # noqa: BLE001 - raised where the answers are waited for
                    ended.put(error)

        # Daemons: who interrupts the program does not wait for the server.
        threads = [Thread(target=work, daemon=True) for _ in range(min(len(asked), self._endpoint.options.concurrency))]
        for thread in threads:
            thread.start()
        answers: dict[int, Answer] = {}
        try:
            while len(answers) < len(asked):
                # Without a limit an interrupt is not noticed, once Polars is imported.
                found = ended.get(timeout=TIMEOUT_MAX)
                if isinstance(found, Exception):
                    raise found
                answers[found[0]] = found[1]
        except BaseException as stop:
            while _next(left) is not None:  # nothing more is asked
                pass
            if isinstance(stop, Exception):  # what is under way may need what the caller takes away
                for thread in threads:
                    thread.join()
            raise
        return [answers[index] for index in range(len(asked))]


def _with_channel(text: str) -> str:
    """An answer with the header of its channel, of which a server may have left the bare name; as it is without one."""
    found = _STRIPPED.match(text)
    if found is None or text[found.end()].islower():
        return text
    return f"<|channel|>{found[1]}<|message|>{text[found.end() :]}"


def _next(left: SimpleQueue[int]) -> int | None:
    try:
        return left.get_nowait()
    except Empty:
        return None
