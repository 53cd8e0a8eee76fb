"""Logs of chat APIs: a request with the conversation so far, and the response that continues it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from autoselection.pool.dialects.base import Dialect, is_json, nested
from autoselection.pool.dialects.blocks import has_blocks, without_blocks
from autoselection.pool.json_reader import Record
from autoselection.pool.row_error import RowError
from autoselection.pool.turns import as_context, is_turn, raw_turns
from autoselection.pool.values import is_missing, peeked

_REQUESTS = ("request", "body", "input")
_RESPONSES = ("response", "output")
#: Where the turns of a request stand that is no object of its own.
_OWN = "messages"
#: Why an answer ends, in the words of OpenAI and of Anthropic, where it is no whole one.
_CUT = ("length", "max_tokens", "model_context_window_exceeded")
_STOPPED = ("content_filter", "refusal")


def _inner(value: Any) -> Any:
    """What a wrapper of a request or response (``{"body": …}``) holds."""
    return value["body"] if isinstance(value, dict) and isinstance(value.get("body"), dict) else value


def _request(record: Record) -> tuple[str, dict[str, Any]] | None:
    for name in _REQUESTS:
        if is_json(record.get(name), "{"):
            request = _inner(nested(record, name))
            if isinstance(request, dict) and not is_missing(request.get("messages")):
                return name, request
    if is_json(record.get("messages"), "["):
        return _OWN, {**record, _OWN: nested(record, _OWN)}
    return None


def _response(record: Record) -> tuple[str, dict[str, Any]] | None:
    for name in _RESPONSES:
        if is_json(record.get(name), "{"):
            response = _inner(nested(record, name))
            if not isinstance(response, dict):
                continue
            if response.get("choices") or is_json(response.get("message"), "{") or _is_answer(response):
                return name, response
    choices = peeked(record.get("choices"))
    first = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(first, dict) and isinstance(first.get("message"), dict):  # options of a question are texts
        return "choices", {"choices": choices}
    return None


def _is_answer(response: dict[str, Any]) -> bool:
    """Whether a response is the turn itself: Anthropic's are, and so is a message that was taken out of OpenAI's."""
    return response.get("role") == "assistant" and is_turn(response)


def _is_log(record: Record) -> bool:
    try:
        asked, answered = _request(record), _response(record)
    except RowError:
        return False
    if asked is None or answered is None:
        return False
    # Beside turns of the row's own a bare message is an answer as a text is, to which the turns may have it already.
    bare = _is_answer(answered[1]) and not isinstance(answered[1].get("content"), list)
    return not (bare and asked[0] == _OWN)


def _log(record: Record, ignored: Counter[str]) -> Record:
    asked, answered = _request(record), _response(record)
    if asked is None:
        raise RowError("there is no 'request' with 'messages'", "log without a request", "request")
    if answered is None:
        raise RowError(
            "there is no 'response' with 'choices' or a 'message' (a call that failed?)",
            "log without an answer",
            "response",
        )
    field, request = asked
    answer, response = answered
    messages = raw_turns(request["messages"], f"{field}.messages" if field != _OWN else field)
    choices = response.get("choices") or [{"message": response} if _is_answer(response) else response]
    choice = choices[0] if isinstance(choices, list) else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if choice is None or not isinstance(message, dict):
        raise RowError(
            f"the first choice of '{answer}' has no message", "log without an answer", f"{answer}.choices[0]"
        )
    if len(choices) > 1:
        ignored["choices behind the first"] += len(choices) - 1
    for ending in (choice.get("finish_reason"), message.get("stop_reason"), response.get("stop_reason")):
        if ending in _CUT:
            raise RowError(f"the answer in '{answer}' is cut off at its greatest length", "answer cut off", answer)
        if ending in _STOPPED:
            raise RowError(f"the answer in '{answer}' was stopped by a filter ({ending})", "answer stopped", answer)
    tools = request.get("tools")
    tools = request.get("functions") if is_missing(tools) else tools
    turn = {key: value for key, value in message.items() if value is not None}
    if message is response and isinstance(message.get("content"), list):  # Anthropic's, which says more of the call
        turn = {"content": message["content"]}
    turns = [*as_context(messages), {"role": "assistant", **turn}]
    if has_blocks(turns):
        turns = without_blocks(turns, ignored)
    return {"messages": turns, "tools": tools, "system": request.get("system")}


API_LOG = Dialect(
    "api-log",
    "request",
    frozenset((*_REQUESTS, *_RESPONSES, "choices", "messages", "tools", "functions", "system")),
    _is_log,
    _log,
    over=frozenset(("messages", "prompt-completion")),
    systems=(*(f"{request}{inner}.system" for request in _REQUESTS for inner in ("", ".body")), "system"),
    complete=True,  # a call that failed: the request alone would teach what was answered before
)
