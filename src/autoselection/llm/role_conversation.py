"""A role's conversation: ask, check, one repair, and either a value or the reason why the rules take over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from autoselection.llm.answers import AnswerError
from autoselection.llm.budget import Usage, cost, estimate, refusal
from autoselection.llm.endpoint import Endpoint, Given
from autoselection.llm.exchanges import ExchangeLog, request_key
from autoselection.llm.prompts import Prompt, load_prompt
from autoselection.search.llm_config import GIVE_UP_AFTER

T = TypeVar("T")
Messages = Sequence[Mapping[str, str]]

MAX_RETURNED = 4000
"""Characters of an unusable answer that go back with the repair: enough to see the mistake."""


class RoleFailed(Exception):
    """A role has no usable answer; the text says why and ends without a full stop."""


class RoleConversation:
    """Asks the model on behalf of the roles, within the budget, and keeps every exchange.

    Args:
        endpoint: whom to ask.
        log: exchanges so far; what is in it is not asked again.
    """

    def __init__(self, endpoint: Endpoint, log: ExchangeLog) -> None:
        self.endpoint = endpoint
        self.log = log
        self._failures = 0

    def consult(
        self,
        trial: int,
        role: str,
        prompt: Prompt,
        messages: Messages,
        schema: type[BaseModel],
        read: Callable[[str], T],
    ) -> tuple[T, bool]:
        """The checked value of an answer, and whether it took the repair.

        Args:
            trial: number of the trial that is being decided.
            schema: form of the answer, for servers that can hold a model to it.
            read: gives the value of an answer's text, or raises :class:`AnswerError`.

        Raises:
            RoleFailed: there is no usable answer, after one repair if there was an answer at all.
        """
        request = self.endpoint.request(messages, schema)
        key = request_key({"prompt": prompt.to_dict(), "request": request})
        first = self._exchange(trial, role, "ask", key, prompt, request, read)
        try:
            return self._value(first, read), False
        except AnswerError as error:
            problem = str(error)
        repair = load_prompt("repair")
        again = [
            *messages,
            {"role": "assistant", "content": (first["answer"] or "(empty)")[:MAX_RETURNED]},
            {"role": "user", "content": repair.fill(problem=problem)},
        ]
        # The same key: the wording of the problem may change with pydantic's version, the question does not.
        second = self._exchange(trial, role, "repair", key, repair, self.endpoint.request(again, schema), read)
        try:
            return self._value(second, read), True
        except AnswerError as error:
            raise RoleFailed(f"no usable answer after one repair: {str(error).rstrip('.')}") from None

    def _value(self, record: Mapping[str, Any], read: Callable[[str], T]) -> T:
        if record["error"] is not None:
            raise RoleFailed(record["error"])
        return _checked(record["answer"], record["finish"], read)

    def _exchange(
        self,
        trial: int,
        role: str,
        turn: str,
        key: str,
        prompt: Prompt,
        request: Mapping[str, Any],
        read: Callable[[str], T],
    ) -> dict[str, Any]:
        """The stored exchange of this request, or a new one, stored before anything depends on it."""
        known = self.log.find(trial, role, turn, key)
        if known is not None:
            return known
        config = self.endpoint.config
        planned = estimate(request["messages"], config.max_tokens)
        obstacle = refusal(self.log.records, planned, config)
        if obstacle is None and self._failures >= GIVE_UP_AFTER:
            obstacle = f"not asked: {self._failures} calls in a row failed"
        if obstacle is not None:
            given = Given(None, None, Usage(), 0.0, 0, obstacle)
        else:
            # What got lost may be charged, and is booked when the exchange ends: a repeat has to fit beside it.
            given = self.endpoint.ask(
                request, lambda lost: refusal(self.log.records, planned.times(lost + 1), config) is None
            )
            self._failures = self._failures + 1 if given.unreachable else 0
        record = {
            "trial": trial,
            "role": role,
            "turn": turn,
            "key": key,
            "prompt": prompt.to_dict(),
            "request": dict(request) if given.attempts else None,
            "answer": given.answer,
            "finish": given.finish,
            "usage": given.usage.to_dict(),
            "cost": cost(given.usage, config),
            "seconds": round(given.seconds, 3),
            "attempts": given.attempts,
            "error": given.error,
            "outcome": _outcome(given, turn, read),
        }
        return self.log.append(**self.endpoint.without_key(record))


def _checked(answer: str, finish: str | None, read: Callable[[str], T]) -> T:
    try:
        return read(answer)
    except AnswerError as error:
        why = {
            "length": "it was cut off, so be shorter; ",
            "refusal": "it was a refusal; ",
            "content_filter": "it was filtered; ",
        }
        raise AnswerError(why.get(finish or "", "") + str(error)) from None


def _outcome(given: Given, turn: str, read: Callable[[str], T]) -> str:
    """What became of an exchange: ok, invalid (a repair was asked for), repaired or fell back."""
    if given.answer is None:
        return "fell back"
    try:
        read(given.answer)
    except AnswerError:
        return "invalid" if turn == "ask" else "fell back"
    return "ok" if turn == "ask" else "repaired"
