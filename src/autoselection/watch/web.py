"""The page and its events, served to this machine (extra ``watch``). Every route reads; none changes anything."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from http.cookies import CookieError, SimpleCookie
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autoselection.errors import ConfigError, StudyError
from autoselection.watch.access import Access
from autoselection.watch.board import now_board, results_board
from autoselection.watch.folder import StudyFolder
from autoselection.watch.page import HEADERS, page_html

#: Time between two looks (s), however many pages are open.
INTERVAL = 1.0
#: Silence after which a connection is kept open by a comment (s).
_KEPT_OPEN = 15
#: Most pages that are shown the study at a time.
MOST = 32


class Looks:
    """Texts of the events, made once for all who look."""

    def __init__(self, folder: StudyFolder) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        self._version = -1
        self._results = ""

    def texts(self) -> Mapping[str, str]:
        """What there is to tell now, as JSON by kind of event."""
        with self._guard:
            try:
                found = self._folder.look(at_most_every=0.9 * INTERVAL)
            except StudyError as error:
                return {"problem": _json(str(error))}
            if found.version != self._version:
                self._version, self._results = found.version, _json(asdict(results_board(found.record)))
            return {"results": self._results, "now": _json(asdict(now_board(found)))}


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


async def events(looks: Looks, ending: Callable[[], bool]) -> AsyncIterator[str]:
    """Server-sent events: what changed since the last look, until ``ending``."""
    sent: dict[str, str] = {}
    quiet = 0.0
    yield "retry: 2000\n\n"
    while not ending():
        texts = await run_in_threadpool(looks.texts)
        new = [f"event: {kind}\ndata: {text}\n\n" for kind, text in texts.items() if sent.get(kind) != text]
        sent = {**sent, **texts} if "problem" not in texts else dict(texts)  # after a problem everything is told anew
        quiet = 0.0 if new else quiet + INTERVAL
        if quiet >= _KEPT_OPEN:
            new, quiet = [": nothing new\n\n"], 0.0
        if new:
            yield "".join(new)
        await asyncio.sleep(INTERVAL)


def application(folder: StudyFolder, access: Access, ending: Callable[[], bool] = lambda: False) -> ASGIApp:
    """The web application for a study.

    Args:
        ending: whether the server is about to stop, and open connections have to be ended.
    """
    record = folder.look().record
    looks = Looks(folder)
    page = page_html(record.name, record.path)
    open_now = 0

    async def show(request: Request) -> Response:
        return HTMLResponse(page)

    async def stream(request: Request) -> Response:
        if open_now >= MOST:
            return PlainTextResponse(f"{MOST} pages look already: close one.\n", 503)

        async def counted() -> AsyncIterator[str]:
            nonlocal open_now
            open_now += 1
            try:
                async for text in events(looks, ending):
                    yield text
            finally:
                open_now -= 1

        return StreamingResponse(counted(), media_type="text/event-stream")

    routes = [Route("/", show, methods=["GET"]), Route("/events", stream, methods=["GET"])]
    return _Guarded(Starlette(routes=routes), access)


class _Guarded:
    """Lets in who may look, and gives every answer its headers."""

    def __init__(self, inner: ASGIApp, access: Access) -> None:
        self._inner, self._access = inner, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = self._refusal(scope) or self._inner
        await answer(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, access = Headers(scope=scope), self._access
        if len(headers.getlist("host")) != 1 or not access.host_allowed(headers.get("host")):
            return PlainTextResponse("This is not the name of this machine: use localhost or its address.\n", 421)
        if access.token is None:
            return None
        cookie = f"autoselection_watch_{(scope.get('server') or ('', 0))[1]}"
        given = QueryParams(scope["query_string"]).get("token")
        bearer = headers.get("authorization", "").partition("Bearer ")[2] or None
        if not access.token_allowed((_cookies(headers).get(cookie), bearer, given)):
            return PlainTextResponse("Open the address that `autoselection watch` printed: it has the token.\n", 401)
        if given is not None:  # out of the address, where histories and screens would keep it
            moved = RedirectResponse(scope["path"] if scope["path"] in ("/", "/events") else "/", 303)
            moved.set_cookie(cookie, access.token, httponly=True, samesite="lax")
            return moved
        return None


def _cookies(headers: Headers) -> dict[str, str]:
    with suppress(CookieError):
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    return {}


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that has its address and does not listen yet.

    Raises:
        ConfigError: the address is not this machine's, or the port is taken or not to be had.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(f"--host {host}: no such address ({error.strerror}).") from error
    except UnicodeError as error:  # of a name that cannot be asked for
        raise ConfigError(f"--host {host}: no such address (a part of the name is empty or too long).") from error
    bound = socket.socket(family, kind, protocol)
    try:
        if (
            os.name == "posix"
        ):  # a port that was just left can be had; on Windows it would be one that another program has
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"Port {port} is in use: name another one with --port; --port 0 takes a free one."
            ) from error
        raise ConfigError(
            f"Port {port} of {host} cannot be listened on ({error.strerror}): see --port and --host."
        ) from error
    return bound


def serve(folder: StudyFolder, bound: socket.socket, access: Access) -> None:
    """Serve the page until Ctrl-C."""
    server: uvicorn.Server
    config = uvicorn.Config(
        application(folder, access, lambda: server.should_exit),
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    try:
        server.run(sockets=[bound])
    except KeyboardInterrupt as stop:
        if type(stop) is not KeyboardInterrupt:  # terminated; an interrupt is how one stops looking
            raise
