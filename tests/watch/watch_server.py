"""`autoselection watch` as a process of its own, and a page of it in a browser."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from browser import Opened


@dataclass
class Server:
    """A running server and the address it printed."""

    process: subprocess.Popen[str]
    url: str

    @property
    def port(self) -> str:
        """Its port."""
        found = re.search(r":(\d+)/", self.url)
        assert found is not None
        return found[1]

    def interrupt(self) -> tuple[int, str]:
        """Press Ctrl-C; its exit code, and what it had said besides the address."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out + err


@contextmanager
def serving(study: Path, *arguments: str, port: str = "0") -> Iterator[Server]:
    """Watch a study; ended with the block if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "autoselection", "watch", str(study), "--port", port, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        if found is None:
            raise AssertionError(process.communicate(timeout=60))
        process.stdout.readline()
        yield Server(process, found[0])
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def look(browser: Any, url: str, *, scheme: str = "light", width: int = 1200) -> Opened:
    """The page once the first events have come; a page that never stops loading is no other one."""
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    found = Opened(context.new_page())
    page = found.page
    page.on("console", lambda said: found.problems.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.problems.append(str(error)))
    page.on("request", lambda asked: found.requests.append(asked.url))
    for _ in range(20):  # the socket has its address a moment before it listens
        try:
            page.goto(url, wait_until="commit")
            break
        except Exception as error:
            if "ERR_CONNECTION_REFUSED" not in str(error):
                raise
            page.wait_for_timeout(500)
    page.wait_for_selector("html[data-now=yes][data-results=yes]", timeout=60_000)
    return found


def wait_for(page: Any, selector: str, text: str, *, timeout: float = 30_000) -> None:
    """Wait until an element shows a text; not by a script of the test's own, which the page's policy would stop."""
    page.locator(selector, has_text=text).first.wait_for(timeout=timeout)
