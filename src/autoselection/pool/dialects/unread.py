"""Shapes of rows that are known, but of which no conversation can be made without a decision of the user's."""

from __future__ import annotations

from collections.abc import Sequence

from autoselection.pool.dialects.base import is_json
from autoselection.pool.json_reader import Record
from autoselection.pool.values import is_missing

_TREE = "write one path from a question to an answer a row, as 'messages' (for instance the answers of the best rank), to a file."
_JOIN = 'write request and answer of one custom_id to one line, as {"request": {"messages": …}, "response": {…}}.'


def unreadable(records: Sequence[Record]) -> str | None:
    """What rows of a known shape are, why they are not read, and what would read them; None for other rows."""
    for record in records:
        present = {name for name, value in record.items() if not is_missing(value)}
        if {"message_id", "text", "role"} <= present or ("message_tree_id" in present and "prompt" in present):
            return f"it holds trees of messages (as OpenAssistant's), in which a question has several answers: {_TREE}"
        if isinstance(record.get("prompt"), dict) and "replies" in record["prompt"]:
            return f"it holds trees of messages, in which a question has several answers: {_TREE}"
        if is_json(record.get("response"), "{") and "custom_id" in present:
            return f"it holds the answers of a batch without the questions: {_JOIN}"
        if is_json(record.get("body"), "{") and {"custom_id", "method"} & present:
            return f"it holds the requests of a batch without their answers: {_JOIN}"
    return None
