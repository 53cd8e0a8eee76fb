"""One OpenAI-compatible server, asked through the official client (package ``openai``).

What that client lacks is here: a limit for the whole answer (its own holds for each read, so a trickle of bytes would be
waited for without end), a limit of size, repeats that are counted, no redirects, and keys blotted out of messages.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from autoselection.errors import ConfigError, MissingExtraError
from autoselection.schema import HoldsSecret
from autoselection.secret import Secret

if TYPE_CHECKING:
    from openai import OpenAI

T = TypeVar("T")

#: Longest wait for an answer that can be asked for (s): what a system's timers hold ends within weeks.
LONGEST_WAIT = 86_400.0
#: What keys are written with.
_KEY = re.compile(r"[!-~]*")
#: Wait before the second attempt (s), doubled each time: a busy server says itself how long, and a lost connection is
#: soon back or stays away.
FIRST_PAUSE = 1.0
#: Longest wait between two attempts, whatever the server asks for (s).
MAX_PAUSE = 60.0
#: Longest text about a failure (characters).
_LONGEST_ERROR = 300
_REPEATED_STATUS = frozenset({408, 409, 429})


@dataclass(frozen=True)
class Reply:
    """What came of a request.

    Attributes:
        body: the whole answer; None if there is none.
        error: why there is none: part of a sentence, without the key.
        status: the server's status, where that is why.
        attempts: requests sent.
        lost: of these, those that the server may have answered, and charged, without anything of use.
        seconds: time over all attempts (s).
    """

    body: bytes | None
    error: str | None
    status: int | None
    attempts: int
    lost: int
    seconds: float

    @property
    def redirected(self) -> bool:
        """Whether the server sends on to another address, which is not followed."""
        return self.status is not None and 300 <= self.status < 400

    @property
    def refused(self) -> bool:
        """Whether the server understood the request and will never answer it."""
        return self.status is not None and not self.redirected and not _passes(self.status)


class _TooLong(Exception):
    """An answer of more bytes than are read."""


def checked_address(address: str) -> str:
    """The address of a server, without a slash at its end.

    Raises:
        ValueError: it is none, or holds what must not be written down: configurations and messages repeat it.
    """
    if set("@?#") & set(address):  # whatever else is wrong with it: messages repeat what is refused for another reason
        raise HoldsSecret("leave user, password and query out of the address; a key comes from api_key_env")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or not address.isprintable() or " " in address:
        raise ValueError("give a full address, such as http://localhost:8000/v1")
    if not all(0 < len(label) < 64 for label in parts.hostname.removesuffix(".").split(".")):
        raise ValueError("a part of the host's name is empty or too long")
    try:
        parts.port  # noqa: B018 - raises
    except ValueError:
        raise ValueError("the port in the address is no number from 0 to 65535") from None
    return address.rstrip("/")


def key_of(variable: str) -> str:
    """The key that an environment variable holds, without the line feed that files end in; empty if it is not set.

    Raises:
        ConfigError: it holds what no request can carry.
    """
    key = os.environ.get(variable, "").strip()
    if not _KEY.fullmatch(key):
        raise ConfigError(
            f"The environment variable {variable} holds a character that no key has, such as a space, a line feed or an ellipsis: "
            "copy the key again."
        )
    return key


class Server:
    """A server, asked by any number of threads at once.

    Args:
        base_url: its address; None is OpenAI's own.
        key: "" for a server that needs none.
        timeout: longest wait for a whole answer (s).
        retries: further attempts after trouble that may pass: 408, 409, 429, 5xx, no connection, no answer in time.
        longest: longest answer that is read (bytes).
        setting: configuration key of the address, for messages.
        purpose: what needs the server, for the message about a missing package.

    Raises:
        ConfigError: its address is none.
        MissingExtraError: the package ``openai`` is not installed.
    """

    def __init__(
        self,
        *,
        base_url: str | None,
        key: str,
        timeout: float,
        retries: int,
        longest: int,
        setting: str,
        purpose: str,
    ) -> None:
        self.base_url = base_url
        self._key, self._secret = key, Secret(key)
        self._timeout, self._retries, self._longest = timeout, retries, longest
        self._setting, self._purpose = setting, purpose
        #: One client a thread: to end a request that takes too long, its client is closed.
        self._idle = [self._open()]

    def _open(self) -> OpenAI:
        try:
            from httpx2 import InvalidURL
            from openai import DefaultHttpxClient, OpenAI
        except ImportError as error:
            raise MissingExtraError("openai", "llm", self._purpose) from error
        # Repeats are ours: the client's would be neither counted nor told. Redirects would take prompts, and the key, to an
        # address that nobody configured.
        try:
            client = OpenAI(
                base_url=self.base_url,
                api_key=self._key or "none",
                max_retries=0,
                timeout=self._timeout,
                http_client=DefaultHttpxClient(follow_redirects=False),
            )
        except InvalidURL as error:
            raise ConfigError(f"{self._setting}: there is no such address ({error}).") from error
        if self._key != os.environ.get("OPENAI_API_KEY", "").strip():
            # The client takes them from the environment; they go where OpenAI's key goes, and nowhere else.
            client.organization = client.project = None
        return client

    def post(self, path: str, body: Mapping[str, Any], affordable: Callable[[int], bool] = lambda lost: True) -> Reply:
        """Send a request, again if that may help; never raises for what the server does.

        Args:
            affordable: whether it may be sent once more after so many attempts were lost.
        """
        return self._asked(path, body, self._retries, self._timeout, affordable)

    def get(self, path: str, timeout: float) -> Reply:
        """Ask for something once, for at most ``timeout`` seconds; never raises for what the server does."""
        return self._asked(path, None, 0, min(timeout, self._timeout), lambda lost: True)

    def _asked(
        self, path: str, body: Mapping[str, Any] | None, repeats: int, timeout: float, affordable: Callable[[int], bool]
    ) -> Reply:
        import openai

        started, lost = time.monotonic(), 0
        attempt, error, status = 0, "", None
        for attempt in range(1, repeats + 2):
            again, wish, status = True, None, None
            try:
                found = self._in_time(path, body, timeout)
                return Reply(found, None, None, attempt, lost, time.monotonic() - started)
            except (openai.APITimeoutError, Empty):
                error, lost = f"no answer within {timeout:g} s", lost + 1
            except _TooLong:
                error, lost, again = f"the answer is longer than {self._longest >> 20} MiB", lost + 1, False
            except openai.APIStatusError as problem:
                status, wish = problem.status_code, problem.response.headers.get("retry-after")
                # The client tells the designated field of an error alone; many servers have another.
                said = problem.message.partition(" - ")[2] or problem.response.text
                again, error = _passes(status), f"status {status}: {said}"
                if 300 <= status < 400:
                    # Hidden before it is cut: no part of the key is to be left at its end.
                    elsewhere = self._secret.hidden(problem.response.headers.get("location", "another address"))
                    error = (
                        f"status {status}: it sends on to {elsewhere[: _LONGEST_ERROR // 3]}; that is not followed, as "
                        f"prompts and the key would go there: set {self._setting} to the address that answers"
                    )
            except openai.APIConnectionError as problem:
                error = f"no connection: {problem.__cause__ or problem}"
            except openai.OpenAIError as problem:
                error, again = f"{type(problem).__name__}: {problem}", False
            if not again or attempt > repeats or not affordable(lost):
                break
            time.sleep(self._wait(attempt, wish))
        return Reply(None, self._said(error), status, attempt, lost, time.monotonic() - started)

    def _wait(self, attempt: int, wished: str | None) -> float:
        """Seconds before the next attempt: doubled each time, or what the server wishes if that is longer."""
        pause = FIRST_PAUSE * 2.0 ** (attempt - 1)
        if wished is not None and wished.strip().isdecimal() and len(wished) < 10:
            pause = max(pause, float(wished))
        return min(MAX_PAUSE, pause)

    def _said(self, text: str) -> str:
        return " ".join(self._secret.hidden(text).split())[:_LONGEST_ERROR]

    def _in_time(self, path: str, body: Mapping[str, Any] | None, timeout: float) -> bytes:
        try:
            client = self._idle.pop()
        except IndexError:
            client = self._open()
        answers: SimpleQueue[bytes | BaseException] = SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._once(client, path, body))
            except BaseException as error:  # noqa: BLE001 - raised where the answer is waited for
                answers.put(error)

        # A daemon: a program that ends, or is interrupted, does not wait for the server.
        threading.Thread(target=ask, name="server", daemon=True).start()
        try:
            found = answers.get(timeout=timeout)
        except BaseException:  # it takes too long, or the program is interrupted
            client.close()  # ends the abandoned attempt at its next read
            raise
        self._idle.append(client)
        if isinstance(found, BaseException):
            raise found
        return found

    def _once(self, client: OpenAI, path: str, body: Mapping[str, Any] | None) -> bytes:
        from httpx2 import HTTPError, Response, TimeoutException
        from openai import APIConnectionError, APITimeoutError, Stream

        found = bytearray()
        how: dict[str, Any] = {"cast_to": Response, "stream": True, "stream_cls": Stream[Any]}
        try:
            response: Any = client.get(path, **how) if body is None else client.post(path, body=dict(body), **how)
            with closing(response):
                for chunk in response.iter_bytes():
                    found += chunk
                    if len(found) > self._longest:
                        raise _TooLong
        except TimeoutException as error:  # while the body is read the client does not wrap these
            raise APITimeoutError(request=error.request) from error
        except HTTPError as error:
            raise APIConnectionError(request=error.request) from error
        return bytes(found)

    def hide(self, value: T) -> T:
        """The value with the key blotted out of its texts: some servers repeat it in answers and errors."""
        found: T = self._secret.hide(value)
        return found


def _passes(status: int) -> bool:
    """Whether a status tells of trouble that may pass."""
    return status in _REPEATED_STATUS or status >= 500
