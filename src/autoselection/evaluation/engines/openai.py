"""A model behind an OpenAI-compatible server, over the standard library's HTTP client.

Generated answers come from ``/chat/completions``: the server renders the conversation. Likelihoods come from
``/completions`` with the prompt's token ids, ``echo`` and ``logprobs`` (vLLM, llama.cpp and TGI servers have them, hosted
chat models do not); whether they do is asked once. A trained LoRA adapter is loaded into a vLLM server that allows it
(``VLLM_ALLOW_RUNTIME_LORA_UPDATING``) and unloaded afterwards; server and trainer must see the same files.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from autoselection.errors import EvaluationError
from autoselection.evaluation.config import EndpointConfig
from autoselection.evaluation.engines.http import StatusError, send
from autoselection.evaluation.generation import Generation, Limited
from autoselection.secret import Secret

#: Stop texts that the protocol allows; answers are cut at all of them when they arrive.
_MOST_STOPS = 4
#: What rounding may make of a log-probability of 0.
_ABOVE_ZERO = 0.01


_RETRIED = (408, 409, 429, 500, 502, 503, 504)

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class Endpoint:
    """Requests to one server.

    Raises (every method):
        EvaluationError: the server cannot be reached, refuses, or answers with something else than documented.
    """

    def __init__(self, config: EndpointConfig) -> None:
        if not config.base_url or not config.model:
            raise EvaluationError(
                "evaluation.engine 'openai' needs evaluation.endpoint.base_url (such as http://127.0.0.1:8000/v1) and "
                "evaluation.endpoint.model (the name under which the server knows the model)."
            )
        if not config.base_url.startswith(("http://", "https://")):
            raise EvaluationError(f"evaluation.endpoint.base_url must be an http address, not '{config.base_url}'.")
        self.config = config
        self.base_url = config.base_url.rstrip("/")
        self.model = config.model

    def headers(self) -> tuple[dict[str, str], Secret]:
        """The headers of a request, and the key in them."""
        headers = {"Content-Type": "application/json"}
        if not self.config.api_key_env:
            return headers, Secret("")
        key = os.environ.get(self.config.api_key_env)
        if not key:
            raise EvaluationError(
                f"The environment variable {self.config.api_key_env} (evaluation.endpoint.api_key_env) is empty: "
                "set it to the server's key."
            )
        return {**headers, "Authorization": f"Bearer {key}"}, Secret(key)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON answer to one request; busy and broken answers are asked again, with growing pauses."""
        headers, secret = self.headers()
        request = urllib.request.Request(self.base_url + path, json.dumps(body).encode(), headers, method="POST")
        reason = ""
        for attempt in range(self.config.retries + 1):
            if attempt:
                time.sleep(min(self.config.retry_pause * 2 ** (attempt - 1), 60.0))
            try:
                text = send(request, self.config.timeout).decode("utf-8", "replace")
            except StatusError as error:
                if 300 <= error.code < 400:
                    elsewhere = secret.hidden(error.location or "another address")
                    raise EvaluationError(
                        f"{self.base_url}{path} sends on to {elsewhere[:200]}; that is not followed, as prompts and the "
                        "key would go there: set evaluation.endpoint.base_url to the address that answers."
                    ) from error
                said = secret.hidden(error.body.decode("utf-8", "replace"))
                reason = f"status {error.code}: {' '.join(said.split())[:200]}"
                if error.code not in _RETRIED:
                    raise _Refused(f"{self.base_url}{path} refused the request ({reason}).") from error
                continue
            except (urllib.error.URLError, http.client.HTTPException, ValueError, OSError) as error:
                reason = " ".join(secret.hidden(str(error)).split())[:200] or type(error).__name__
                continue
            try:
                return secret.hide(json.loads(text) if text.strip().startswith(("{", "[")) else text)
            except (ValueError, RecursionError) as error:
                shown = secret.hidden(text)[:120]
                raise EvaluationError(f"{self.base_url}{path} answered with broken JSON: {shown!r}.") from error
        raise EvaluationError(
            f"{self.base_url}{path} did not answer in {self.config.retries + 1} attempts ({reason}): is the server up?"
        )

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
            "seed": self.config.seed,
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

    def chat(self, messages: list[dict[str, str]], settings: Generation) -> tuple[str, bool]:
        """The answer to a conversation, and whether it ended because it may be no longer."""
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "max_tokens": settings.max_gen_toks,
            "temperature": settings.temperature,
            "seed": self.config.seed,
        }
        if settings.temperature and settings.top_p < 1:
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


class EndpointLM(LM):  # type: ignore[misc]
    """The server as a language model of the harness; requests run side by side, longest first."""

    def __init__(self, endpoint: Endpoint, *, context_length: int) -> None:
        super().__init__()
        self.limited = Limited()
        self._endpoint = endpoint
        self._context = context_length

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Log-probability of every continuation, and whether greedy decoding would write it."""

        def ask(request: Instance) -> tuple[float, bool]:
            continuation = request.doc["continuations"][request.idx]
            ids = [*request.doc["context_ids"], *continuation][-(self._context - 1) :]
            pairs = self._endpoint.likelihoods(ids)[-len(continuation) :]
            if any(value is None for value, _ in pairs):
                raise EvaluationError("The server gives no log-probability for a token of a gold answer.")
            greedy = all(best is not None and value is not None and value >= best for value, best in pairs)
            return float(sum(value for value, _ in pairs if value is not None)), greedy

        return self._side_by_side(ask, requests)

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = True) -> list[float]:
        """Not used: no task here asks for the likelihood of whole texts."""
        raise NotImplementedError

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = True) -> list[str]:
        """Answers to the documents' conversations."""

        def ask(request: Instance) -> str:
            text, full = self._endpoint.chat(json.loads(request.doc["messages"]), Generation.of(request))
            return self.limited.note(request, text, full)

        return self._side_by_side(ask, requests)

    def _side_by_side(self, ask: Callable[[Instance], Answer], requests: Sequence[Instance]) -> list[Answer]:
        order = sorted(range(len(requests)), key=lambda index: -len(requests[index].doc["context_ids"]))
        with ThreadPoolExecutor(self._endpoint.config.concurrency) as pool:
            found = list(pool.map(ask, [requests[index] for index in order]))
        return [answer for _, answer in sorted(zip(order, found, strict=True), key=lambda pair: pair[0])]
