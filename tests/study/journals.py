"""Journals that tests change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def write_unchecked(path: Path, events: Iterable[Mapping[str, Any]]) -> None:
    """Write events as older versions did, without checksums: what a test changes of them is then no damage."""
    lines = [json.dumps({**event, "seq": place}) + "\n" for place, event in enumerate(events)]
    path.write_text("".join(lines), encoding="utf-8")
