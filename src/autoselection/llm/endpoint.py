"""One question to an OpenAI-compatible endpoint: what is asked, what came of it, and what it cost."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from autoselection.errors import ConfigError
from autoselection.llm.answers import printable
from autoselection.llm.budget import MOST_TOKENS, Usage, estimate
from autoselection.search.llm_config import LLMConfig
from autoselection.server import Reply, Server, checked_address, key_of

T = TypeVar("T")

MAX_BODY = 2**20
"""Longest body of an answer that is read (bytes)."""


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


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore")
    id: str


class _Models(BaseModel):
    model_config = ConfigDict(extra="ignore")
    data: list[_Model]


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
        self.base_url = config.base_url or _address_of("OPENAI_BASE_URL")
        self.key_name = config.api_key_env or (None if config.base_url else "OPENAI_API_KEY")
        key = key_of(self.key_name) if self.key_name else ""
        if not key and (config.api_key_env or self.base_url is None):
            raise ConfigError(
                f"search.llm: the environment variable {self.key_name} is not set; put the key there, or set "
                "search.llm.base_url to an endpoint that needs none and search.llm.api_key_env to null."
            )
        self._server = Server(
            base_url=self.base_url,
            key=key,
            timeout=config.timeout,
            retries=config.retries,
            longest=MAX_BODY,
            setting="search.llm.base_url",
            purpose="A language-model role",
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

    def ask(self, request: Mapping[str, Any], affordable: Callable[[int], bool] = lambda lost: True) -> Given:
        """Send a request, again if that may help; never raises for what the endpoint does.

        Args:
            affordable: whether the budget holds another attempt after so many that got lost and may be charged.
        """
        reply = self._server.post("/chat/completions", request, affordable)
        # What took too long, or is of no use, the model may have written and the provider may charge.
        lost, whole = Usage(), estimate(request["messages"], self.config.max_tokens)
        for _ in range(reply.lost):
            lost = lost.plus(whole)
        error = reply.error
        if reply.body is not None:
            try:
                completion = _Completion.model_validate_json(reply.body)
            except ValidationError:
                lost, error = lost.plus(whole), "the server's answer is no chat completion"
            else:
                return self._given(completion, request, lost, reply.seconds, reply.attempts)
        tries = f" (after {reply.attempts} attempts)" if reply.attempts > 1 else ""
        if reply.lost > 0 and reply.attempts <= self.config.retries and not affordable(reply.lost):
            tries += ", and the budget may hold no repeat"
        told = printable(error or "", 300) + tries
        return Given(None, None, lost, reply.seconds, reply.attempts, told, unreachable=True)

    def _given(
        self, completion: _Completion, request: Mapping[str, Any], lost: Usage, seconds: float, attempts: int
    ) -> Given:
        choice = completion.choices[0]
        refused = choice.message.refusal
        text = choice.message.content or ""
        finish = "refusal" if refused and not text else choice.finish_reason
        answer = self._server.hide(text or refused or "")
        finish = None if finish is None else printable(self._server.hide(finish), 40)
        try:
            counted = _Tokens.model_validate(completion.usage)
            usage = Usage(counted.prompt_tokens, counted.completion_tokens)
        except ValidationError:
            usage = estimate([*request["messages"], {"content": answer}], 0)
            written = -(-len(answer) // 3)
            usage = Usage(usage.input - written, written, True)
        return Given(answer, finish, lost.plus(usage), seconds, attempts)

    def without_key(self, value: T) -> T:
        """The value with the key blotted out of its texts: some servers repeat it in answers and errors."""
        return self._server.hide(value)

    def models(self) -> tuple[Reply, list[str] | None]:
        """What came of asking for the list of models, and their names; None where it is no such list."""
        reply = self._server.get("/models", 5.0)
        try:
            listed = _Models.model_validate_json(reply.body or b"")
        except ValidationError:
            return reply, None
        return reply, [self.without_key(model.id) for model in listed.data]


def _address_of(variable: str) -> str | None:
    """The address that an environment variable holds; None if it is not set.

    Raises:
        ConfigError: it is none, or holds a password; it is not told.
    """
    found = os.environ.get(variable, "").strip()
    try:
        return checked_address(found) if found else None
    except ValueError as error:
        raise ConfigError(f"The environment variable {variable} holds no address that can be used: {error}.") from None
