"""One question to an OpenAI-compatible endpoint: time limit, size limit, repeats with growing waits, no secrets."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Expired
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from autoselection.errors import ConfigError, MissingExtraError
from autoselection.llm.answers import printable
from autoselection.llm.budget import MOST_TOKENS, Usage, estimate
from autoselection.search.llm_config import LLMConfig
from autoselection.secret import Secret

if TYPE_CHECKING:
    from openai import OpenAI

T = TypeVar("T")

MAX_BODY = 2**20
"""Longest body of an answer that is read (bytes)."""
MAX_WAIT = 60.0
"""Longest wait between two attempts, whatever the server asks for (s)."""
REPEATED_STATUS = frozenset({408, 409, 429})


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore")
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    model_config = ConfigDict(extra="ignore")
    message: _Message
    finish_reason: str | None = None


class _Tokens(BaseModel):
    model_config = ConfigDict(extra="ignore")
    prompt_tokens: StrictInt = Field(ge=0, le=MOST_TOKENS)
    completion_tokens: StrictInt = Field(ge=0, le=MOST_TOKENS)


class _Completion(BaseModel):
    model_config = ConfigDict(extra="ignore")
    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None


@dataclass(frozen=True)
class Given:
    """What came of a question.

    Attributes:
        answer: the text; None if there was no usable answer.
        finish: why the model stopped, as the server says.
        usage: tokens, with a guess for what the server did not say and for answers that got lost.
        seconds: time over all attempts (s).
        attempts: requests sent.
        error: why there is no answer.
        unreachable: the error was the endpoint's or the network's, not this answer's.
    """

    answer: str | None
    finish: str | None
    usage: Usage
    seconds: float
    attempts: int
    error: str | None = None
    unreachable: bool = False


class _Unusable(Exception):
    """An answer of the server that is none; asking again would not mend it."""


class Endpoint:
    """An endpoint with the model to ask.

    Raises:
        ConfigError: there is no model name, or no key for an endpoint that needs one.
        MissingExtraError: the package ``openai`` is not installed.
    """

    def __init__(self, config: LLMConfig) -> None:
        self.config = config
        self.model = config.model or os.environ.get("OPENAI_MODEL") or ""
        if not self.model:
            raise ConfigError("search.llm.model: name a model here or in the environment variable OPENAI_MODEL.")
        self.base_url = config.base_url or os.environ.get("OPENAI_BASE_URL") or None
        self.key_name = config.api_key_env or (None if config.base_url else "OPENAI_API_KEY")
        self._key = os.environ.get(self.key_name, "") if self.key_name else ""
        if not self._key and (config.api_key_env or self.base_url is None):
            raise ConfigError(
                f"search.llm: the environment variable {self.key_name} is not set; put the key there, or set "
                "search.llm.base_url to an endpoint that needs none and search.llm.api_key_env to null."
            )
        self._secret = Secret(self._key)
        self._client: OpenAI | None = self._open()

    def _open(self) -> OpenAI:
        try:
            from openai import DefaultHttpxClient, OpenAI
        except ImportError as error:
            raise MissingExtraError("openai", "llm", "A language-model role") from error
        # Repeats are ours: the client's would be neither counted nor stored. Redirects would send the prompt elsewhere.
        return OpenAI(
            base_url=self.base_url,
            api_key=self._key or "none",
            max_retries=0,
            timeout=self.config.timeout,
            http_client=DefaultHttpxClient(follow_redirects=False),
        )

    def request(self, messages: Sequence[Mapping[str, str]], schema: type[BaseModel]) -> dict[str, Any]:
        """Everything that is sent."""
        config = self.config
        body: dict[str, Any] = {"model": self.model, "messages": [dict(message) for message in messages]}
        body[config.max_tokens_field] = config.max_tokens
        if config.temperature is not None:
            body["temperature"] = config.temperature
        if config.answer_format == "json_object":
            body["response_format"] = {"type": "json_object"}
        elif config.answer_format == "json_schema":
            shape = {"name": schema.__name__, "schema": schema.model_json_schema()}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
        return {**body, **config.extra}

    def ask(self, request: Mapping[str, Any]) -> Given:
        """Send a request, again if that may help; never raises for what the endpoint does."""
        import openai

        started = time.monotonic()
        lost = Usage()
        for attempt in range(1, self.config.retries + 2):
            try:
                completion = self._within_time(request)
            except (openai.APITimeoutError, Expired):
                # The model may have written, and the provider may charge, all of it.
                lost = lost.plus(estimate(request["messages"], self.config.max_tokens))
                error, again, wait = f"no answer within {self.config.timeout:g} s", True, None
            except openai.APIConnectionError as problem:
                error, again, wait = self._said(f"no connection: {problem.__cause__ or problem}"), True, None
            except openai.APIStatusError as problem:
                again = problem.status_code in REPEATED_STATUS or problem.status_code >= 500
                wait = problem.response.headers.get("retry-after")
                error = self._said(f"status {problem.status_code}: {problem.message}")
                if 300 <= problem.status_code < 400:
                    elsewhere = problem.response.headers.get("location", "another address")
                    error = self._said(
                        f"status {problem.status_code}: it sends on to {elsewhere}; that is not followed, as prompts "
                        "would go there: set search.llm.base_url to the address that answers"
                    )
            except openai.OpenAIError as problem:
                error, again, wait = self._said(f"{type(problem).__name__}: {problem}"), False, None
            except _Unusable as problem:
                lost = lost.plus(estimate(request["messages"], self.config.max_tokens))
                error, again, wait = str(problem), False, None
            else:
                return self._given(completion, request, lost, time.monotonic() - started, attempt)
            if not again or attempt > self.config.retries:
                break
            time.sleep(self._pause(attempt, wait))
        seconds = time.monotonic() - started
        tries = f" (after {attempt} attempts)" if attempt > 1 else ""
        return Given(None, None, lost, seconds, attempt, error + tries, unreachable=True)

    def _pause(self, attempt: int, wished: str | None) -> float:
        """Seconds before the next attempt: doubled each time, or what the server wishes if that is longer."""
        pause = self.config.backoff * 2.0 ** (attempt - 1)
        if wished is not None and wished.strip().isdecimal() and len(wished) < 10:
            pause = max(pause, float(wished))
        return min(MAX_WAIT, pause)

    def _within_time(self, request: Mapping[str, Any]) -> _Completion:
        """One attempt. The client's own limit holds for each read only, so a trickle of bytes would never end."""
        if self._client is None:
            self._client = self._open()
        client = self._client
        worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="llm")
        try:
            return worker.submit(self._once, client, request).result(self.config.timeout)
        except Expired:
            self._client = None
            client.close()  # ends the abandoned attempt at its next read
            raise
        finally:
            worker.shutdown(wait=False)

    def _once(self, client: OpenAI, request: Mapping[str, Any]) -> _Completion:
        from httpx2 import HTTPError, TimeoutException
        from openai import APIConnectionError, APITimeoutError

        create: Any = client.chat.completions.with_streaming_response.create
        known = {name: value for name, value in request.items() if name not in self.config.extra}
        body = bytearray()
        try:
            with create(**known, extra_body=self.config.extra) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MAX_BODY:
                        raise _Unusable(f"the answer is longer than {MAX_BODY // 1024} KiB")
        except TimeoutException as error:
            raise APITimeoutError(request=error.request) from error
        except HTTPError as error:  # while the body is read the client does not wrap these
            raise APIConnectionError(request=error.request) from error
        try:
            return _Completion.model_validate_json(bytes(body))
        except ValidationError:
            raise _Unusable("the server's answer is no chat completion") from None

    def _given(
        self, completion: _Completion, request: Mapping[str, Any], lost: Usage, seconds: float, attempts: int
    ) -> Given:
        choice = completion.choices[0]
        refused = choice.message.refusal
        text = choice.message.content or ""
        finish = "refusal" if refused and not text else choice.finish_reason
        answer = self._secret.hidden(text or refused or "")
        finish = None if finish is None else printable(self._secret.hidden(finish), 40)
        try:
            counted = _Tokens.model_validate(completion.usage)
            usage = Usage(counted.prompt_tokens, counted.completion_tokens)
        except ValidationError:
            usage = estimate([*request["messages"], {"content": answer}], 0)
            written = -(-len(answer) // 3)
            usage = Usage(usage.input - written, written, True)
        return Given(answer, finish, lost.plus(usage), seconds, attempts)

    def _said(self, message: str) -> str:
        return printable(self._secret.hidden(message), 300)

    def without_key(self, value: T) -> T:
        """The value with the key blotted out of its texts: some servers repeat it in answers and errors."""
        found: T = self._secret.hide(value)
        return found

    def models(self) -> list[str]:
        """Names that the endpoint lists; raises the client's errors."""
        client = self._open().with_options(timeout=min(5.0, self.config.timeout))
        return [self._secret.hidden(model.id) for model in client.models.list()]
