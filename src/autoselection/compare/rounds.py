"""Runs methods side by side on one executor, without asking anything of how a method is written.

Each method runs in a thread of its own. Only one thread computes at a time, and standard output and the filters of
warnings, which some change while they run, are each thread's own; a thread that needs scores hands its turn on and waits. When all
wait, what they need is evaluated together, so that an executor with several workers is busy although every method asks for one
evaluation after the other. Completion order reaches no method: its scores depend on its own requests alone.
"""

from __future__ import annotations

import queue
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Wanted = TypeVar("Wanted")


class Stopped(BaseException):
    """Ends a method's thread when the comparison is over early; no ``except Exception`` of a method swallows it."""


class Lost(BaseException):
    """An evaluation was lost to the machine: the method cannot go on now."""


@dataclass(eq=False)
class _Request(Generic[Wanted]):
    wanted: tuple[Wanted, ...]
    ready: threading.Event = field(default_factory=threading.Event)


class Rounds(Generic[Wanted]):
    """See the module's docstring.

    Args:
        evaluate: evaluates what is wanted, each once however often it stands in the list, and keeps the results.
    """

    def __init__(self, evaluate: Callable[[list[Wanted]], None]) -> None:
        self._evaluate = evaluate
        self._turn = threading.Lock()
        self._news: queue.SimpleQueue[_Request[Wanted] | int] = queue.SimpleQueue()
        self._closed = False
        self._stdout, self._filters = sys.stdout, warnings.filters

    def need(self, wanted: Sequence[Wanted]) -> None:
        """Called by a method's thread: returns when all that is wanted was evaluated (or lost).

        Raises:
            Stopped: the comparison ended.
        """
        request = _Request(tuple(wanted))
        mine, filters = sys.stdout, warnings.filters
        sys.stdout, warnings.filters = self._stdout, self._filters
        self._news.put(request)
        self._turn.release()
        try:
            request.ready.wait()
        finally:
            self._turn.acquire()
            sys.stdout, warnings.filters = mine, filters
        if self._closed:
            raise Stopped

    def run(self, bodies: Sequence[Callable[[], None]]) -> list[BaseException | None]:
        """Run all bodies to their ends; what each raised, or None.

        Raises:
            Exception: whatever ``evaluate`` raised; all bodies are stopped then.
        """
        raised: list[BaseException | None] = [None] * len(bodies)

        def thread(number: int) -> None:
            with self._turn:
                try:
                    if not self._closed:
                        bodies[number]()
                except (Exception, Stopped, Lost) as error:  # noqa: BLE001 - one method's error must not end the others
                    raised[number] = error
            self._news.put(number)

        for number in range(len(bodies)):
            threading.Thread(target=thread, args=(number,), daemon=True).start()
        running, waiting = len(bodies), list[_Request[Wanted]]()
        try:
            while running:
                news = self._news.get()
                if isinstance(news, int):
                    running -= 1
                else:
                    waiting.append(news)
                if waiting and len(waiting) == running:
                    self._evaluate([wanted for request in waiting for wanted in request.wanted])
                    served, waiting = waiting, []
                    for request in served:
                        request.ready.set()
        finally:
            self._closed = True
            for request in waiting:
                request.ready.set()
        return raised
