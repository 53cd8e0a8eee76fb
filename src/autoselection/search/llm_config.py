"""Settings of the language-model roles. Only settings: the client is in ``autoselection.llm``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from autoselection.schema import StrictModel
from autoselection.server import LONGEST_WAIT, checked_address

Role = Literal["proposer", "summariser", "ranker"]


RANKED = 10
"""Leading proposals shown to the ranker: an order of more says little about those behind, and costs tokens."""
EXAMPLE_CHARACTERS = 600
"""Characters of a row shown to the proposer: enough to see what it is about."""
GIVE_UP_AFTER = 3
"""Calls that fail in a row after which a run of the study asks no more: each was repeated already, so this is an outage."""


class LLMConfig(StrictModel):
    """A language model, behind any OpenAI-compatible endpoint, that proposes, summarises or ranks beside the rules."""

    roles: tuple[Role, ...] = Field(
        ("proposer", "summariser", "ranker"),
        min_length=1,
        description="What the model does: proposer (recipes that join the rule-based ones), summariser (a text on the "
        "trials so far, for the proposer), ranker (an order of the leading proposals). Roles not named are left to the rules.",
    )
    model: str | None = Field(None, min_length=1, description="Model name at the endpoint; null: $OPENAI_MODEL.")
    base_url: str | None = Field(
        None,
        description="Where the endpoint is, such as http://localhost:8000/v1; null: $OPENAI_BASE_URL, or else OpenAI.",
    )
    api_key_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$",
        description="Name of the environment variable that holds the key; the key itself is never written down. null: "
        "OPENAI_API_KEY, but no key at all if base_url is set, so that OpenAI's key is sent nowhere else.",
    )
    proposals: int = Field(4, ge=1, le=32, description="Most recipes taken from one answer of the proposer (count).")
    history: int = Field(12, ge=1, description="Evaluated recipes shown, the best ones (count).")
    source_names: bool = Field(True, description="Show the names of the pool's sources; false: s1, s2 and so on.")
    include_examples: int = Field(
        0,
        ge=0,
        le=50,
        description="Rows of the best subset that the proposer sees, quoted as untrusted data (count); 0: pool text "
        "never leaves the machine.",
    )
    answer_format: Literal["text", "json_object", "json_schema"] = Field(
        "text",
        description="Constraint asked of the server: text (none, works everywhere), json_object or json_schema. Answers "
        "are checked in any case.",
    )
    temperature: float | None = Field(None, ge=0, le=2, description="Sampling temperature; null: the server's own.")
    max_tokens: int = Field(2048, ge=16, description="Longest answer (tokens).")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="How the endpoint calls that limit; OpenAI's reasoning models need the second."
    )
    extra: dict[str, Any] = Field(
        default_factory=dict, description="Further fields of the request, such as reasoning_effort or seed."
    )
    timeout: float = Field(
        60.0, gt=0, le=LONGEST_WAIT, description="Longest wait for one attempt, whole answer included (seconds)."
    )
    retries: int = Field(3, ge=0, le=10, description="Repeats after 408, 409, 429, 5xx, a timeout or no connection.")
    max_total_tokens: int | None = Field(
        1_000_000, ge=1, description="Budget of a study, questions and answers together (tokens); null: no limit."
    )
    max_cost: float | None = Field(
        None, gt=0, description="Budget of a study in the currency of the prices; null: no limit."
    )
    input_price: float = Field(0.0, ge=0, le=1e9, description="Price of a million input tokens.")
    output_price: float = Field(0.0, ge=0, le=1e9, description="Price of a million output tokens.")

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, value: str | None) -> str | None:
        return None if value is None else checked_address(value)

    @field_validator("extra")
    @classmethod
    def _own_fields_stay(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if name in ("model", "messages", "stream", "n", "max_tokens", "max_completion_tokens", "response_format"):
                raise ValueError(f"'{name}' is set by the package or by a key of its own")
        return value

    @model_validator(mode="after")
    def _money_needs_prices(self) -> LLMConfig:
        if self.max_cost is not None and not (self.input_price or self.output_price):
            raise ValueError("max_cost needs input_price and output_price (per million tokens)")
        return self
