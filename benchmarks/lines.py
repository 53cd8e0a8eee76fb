"""A file of records, one JSON line each, written as they are made: what long runs go on from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Lines:
    """Records of a file by their ``key``; a torn last line is cut off."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        text = path.read_text("utf-8") if path.is_file() else ""
        whole = text[: text.rfind("\n") + 1]
        if whole != text:
            path.write_text(whole, "utf-8")
        self.known: dict[str, dict[str, Any]] = {
            record["key"]: record for record in map(json.loads, filter(None, whole.split("\n")))
        }

    def add(self, record: dict[str, Any]) -> dict[str, Any]:
        """Append a record and have it on the disk."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.known[record["key"]] = record
        return record
