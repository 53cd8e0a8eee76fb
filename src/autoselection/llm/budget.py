"""What the exchanges of a study have used, in tokens and money, and whether another one fits the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoselection.search.llm_config import LLMConfig

CHARS_PER_TOKEN = 2
"""For estimates: English has about four characters a token, questions with their numbers as JSON 2.5 (docs/llm.md)."""
MOST_TOKENS = 10**9
"""A server that claims more for one answer is not believed."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one exchange; ``estimated`` if the server did not say, or an answer that was paid for got lost."""

    input: int = 0
    output: int = 0
    estimated: bool = False

    def plus(self, other: Usage) -> Usage:
        return Usage(self.input + other.input, self.output + other.output, self.estimated or other.estimated)

    def times(self, count: int) -> Usage:
        return Usage(self.input * count, self.output * count, self.estimated)

    def to_dict(self) -> dict[str, Any]:
        return {"input": self.input, "output": self.output, "estimated": self.estimated}


def estimate(messages: Sequence[Mapping[str, str]], output: int) -> Usage:
    """An upper guess of a request's tokens, with ``output`` tokens of answer."""
    chars = sum(len(message["content"]) + 16 for message in messages)
    return Usage(-(-chars // CHARS_PER_TOKEN), output, True)


def cost(usage: Usage, config: LLMConfig) -> float:
    """Price of some tokens, in the currency of the configured prices."""
    return (usage.input * config.input_price + usage.output * config.output_price) / 1e6


def refusal(records: Sequence[Mapping[str, Any]], planned: Usage, config: LLMConfig) -> str | None:
    """Why an exchange of at most ``planned`` tokens does not fit the rest of the budget, if so."""
    spent = Usage()
    for record in records:
        usage = record["usage"]
        spent = spent.plus(Usage(usage["input"], usage["output"]))
    total = spent.input + spent.output
    if config.max_total_tokens is not None and total + planned.input + planned.output > config.max_total_tokens:
        return f"the token budget is spent ({total:,} of {config.max_total_tokens:,}, the next call may not fit)"
    money = cost(spent, config)
    if config.max_cost is not None and money + cost(planned, config) > config.max_cost:
        return f"the money budget is spent ({money:.4g} of {config.max_cost:.4g}, the next call may not fit)"
    return None
