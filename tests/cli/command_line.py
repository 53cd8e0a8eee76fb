"""What a command left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> dict[str, Any]:
        """The error document, which must be all of standard output."""
        document = json.loads(self.out)
        assert list(document) == ["error"] and set(document["error"]) == {"code", "message", "hint"}
        assert document["error"]["code"] == self.code
        found: dict[str, Any] = document["error"]
        return found
