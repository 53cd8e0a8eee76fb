"""One HTTP request, bounded in time and size whatever the server does; over the standard library's client."""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.error
import urllib.request
from contextlib import suppress

#: Longest answer that is read (bytes): likelihoods of 100,000 tokens take a tenth.
LONGEST = 64 << 20
_LONGEST_ERROR = 2_000
_BLOCK = 1 << 16
_LATE = "no whole answer within {:g} s"


class StatusError(Exception):
    """The server answered with an error or a redirect.

    Attributes:
        code: the status.
        location: where a redirect leads.
        body: the beginning of what the server says.
    """

    def __init__(self, code: int, location: str | None, body: bytes) -> None:
        super().__init__(f"status {code}")
        self.code, self.location, self.body = code, location, body


def send(request: urllib.request.Request, seconds: float) -> bytes:
    """The body of the answer; redirects are not followed.

    Raises:
        StatusError: the status is not one of success.
        TimeoutError: the whole answer was not there in time.
        ValueError: it is longer than ``LONGEST``.
        OSError, http.client.HTTPException: the connection failed, or what came is no HTTP.
    """
    with _Deadline(seconds) as deadline:
        try:
            try:
                with _OPENER.open(request, timeout=seconds) as response:
                    body = _read(response)
                if deadline.over:  # what was cut off can look like an end
                    raise TimeoutError(_LATE.format(seconds))
                return body
            except urllib.error.HTTPError as error:
                with error:
                    raise StatusError(error.code, error.headers.get("Location"), error.read(_LONGEST_ERROR)) from error
        except (OSError, http.client.HTTPException, AttributeError) as error:
            # A connection that was cut off looks like any that failed (and has no file any more while it begins).
            if deadline.over:
                raise TimeoutError(_LATE.format(seconds)) from error
            raise


def _read(response: http.client.HTTPResponse) -> bytes:
    body = bytearray()
    while block := response.read(_BLOCK):
        body += block
        if len(body) > LONGEST:
            raise ValueError(f"the answer is longer than {LONGEST >> 20} MiB")
    if response.length:
        raise http.client.IncompleteRead(bytes(body), response.length)
    return bytes(body)


class _Deadline:
    """Cuts the connection that is opened inside once its time is over: a socket's own timeout holds for each read only,
    so a server that sends a byte now and then would be waited for without end.
    """

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._connection: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        _of_this_thread.deadline = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def watch(self, connection: socket.socket) -> None:
        self._connection = connection
        if self.over:
            self._cut()

    def _cut(self) -> None:
        self.over = True
        if self._connection is not None:
            with suppress(OSError):  # closed meanwhile
                self._connection.shutdown(socket.SHUT_RDWR)


_of_this_thread = threading.local()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would take prompts, and the key, to an address that nobody configured."""

    def redirect_request(self, *given: object, **more: object) -> None:
        return None


class _Plain(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _of_this_thread.deadline.watch(self.sock)


class _Tls(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _of_this_thread.deadline.watch(self.sock)


class _Http(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Plain, request)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Tls, request)


_OPENER = urllib.request.build_opener(_NoRedirects, _Http, _Https)
