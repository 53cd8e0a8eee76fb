"""What a signal of a row's own text is: a pure function of conversations, with declared columns and parameters.

Contract of every signal registered by name (ours and those of other packages):

- it is deterministic, and what it says of a row depends on nothing but that row, its version and its parameters: rows
  come in batches of any size, and rows appended to a pool are scored without the others;
- it returns one value a row and column; a row that cannot be scored is NaN, counted by name in the shard's ``stats``;
- a change of what it computes raises ``version``: results are cached under name, version and parameters.

Signals of the language model (losses, SAE features, relevance) share forward passes and stay in ``score.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from autoselection.conversation import Message, turn_text
from autoselection.signals.store import Shard

Reads = Literal["messages", "texts", "conversations"]


class Signal(Protocol):
    """A signal of a row's own text. Subclasses (and frozen dataclasses of them) inherit the defaults."""

    @property
    def name(self) -> str:
        """What ``autoselection score --signals`` calls it: letters, digits, ``_``, ``-`` and ``.``."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the arrays of a shard, by which steps of a recipe find them."""
        ...

    @property
    def version(self) -> int:
        """Raised whenever the definition changes."""
        return 1

    @property
    def params(self) -> Mapping[str, Any]:
        """JSON values that change the result."""
        return {}

    @property
    def reads(self) -> Reads:
        """``messages``: ``compute`` gets each row's turns; ``texts``: their contents, joined by line feeds;
        ``conversations``: turns with the tools that the row declares."""
        return "messages"

    @property
    def shard_rows(self) -> int:
        """Rows computed between two saves; a kill loses at most these."""
        return 16_384

    def compute(self, rows: Sequence[Any]) -> Shard:
        """Score a batch of rows, in the form that ``reads`` names: lists of turns, texts, or ``Conversation``.

        Returns:
            Arrays by column name, each with one value a row, and counts of what could not be scored.
        """
        ...


def prompt_of(messages: Sequence[Message]) -> str:
    """The texts of all turns but the assistant's, joined by line feeds."""
    return "\n".join(turn_text(message) for message in messages if message["role"] != "assistant")


def response_of(messages: Sequence[Message]) -> str:
    """The texts of the assistant's turns (with their reasoning and calls), joined by line feeds."""
    return "\n".join(turn_text(message) for message in messages if message["role"] == "assistant")
