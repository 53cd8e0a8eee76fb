"""An interrupt while the command line is still being loaded: a sentence and the exit code, not a traceback of imports.

Loaded first, and only where the process is the command itself; nothing has been begun then, so it may end at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

_ENDS: dict[int, tuple[int, str, Any]] = {
    signal.SIGINT: (130, "interrupted", signal.default_int_handler),
    signal.SIGTERM: (143, "terminated", signal.SIG_DFL),
}


def _end(number: int, frame: FrameType | None) -> None:
    code, word, _ = _ENDS[number]
    os.write(2, f"{word}: run the same command again to go on\n".encode())
    os._exit(code)


def begin() -> None:
    """Answer interrupts from here on, if this process is the command and nobody else answers or ignores them."""
    name = Path(sys.argv[0]).stem if sys.argv else ""
    # Under ``python -m`` the name is "-m" as long as the module is being looked for. Workers load their parent's program.
    workers = sys.modules.get("multiprocessing.process")
    in_worker = workers is not None and workers.parent_process() is not None
    if name not in ("autoselection", "-m") or in_worker or threading.current_thread() is not threading.main_thread():
        return
    for number, (_, _, usual) in _ENDS.items():
        if signal.getsignal(number) == usual:
            signal.signal(number, _end)


def end() -> None:
    """Leave interrupts to the command."""
    for number, (_, _, usual) in _ENDS.items():
        if signal.getsignal(number) == _end:
            signal.signal(number, usual)


begin()
