"""Activity files as processes of a study write them."""

from __future__ import annotations

import json
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def told(**changed: Any) -> dict[str, Any]:
    """The content of an activity file, of now."""
    now = time.time()
    return {
        "format": 1,
        "process": 41,
        "host": platform.node(),
        "started": now - 100,
        "updated": now,
        "stage": "training",
        "since": now - 20,
        "ended": None,
        "about": {"split": "dev", "seed": 0, "rows": 70},
        "counted": [],
        "steps": {"done": 4, "total": 8},
        "losses": {"every": 1, "points": [4.0, 3.0, 2.5, 2.25]},
        "memory": {"resident": 2**30, "total": 2**34},
        **changed,
    }


def tell(study: Path, label: str, **changed: Any) -> Path:
    """Write an activity file: of the study's process (``label`` empty) or of an evaluation."""
    path = (study / "work" / label if label else study) / "activity.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(told(**changed)))
    part.replace(path)
    return path


@contextmanager
def telling(study: Path, label: str, **changed: Any) -> Iterator[None]:
    """Let a process live, telling the same about twice a second, as long as the block lasts."""
    over = threading.Event()

    def tell_on() -> None:
        while not over.is_set():
            tell(study, label, **changed)
            over.wait(0.5)

    tell(study, label, **changed)
    thread = threading.Thread(target=tell_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
