"""Every exchange with the model, as lines of ``STUDY/llm.jsonl``: what was asked, what came, what became of it.

A study that goes on decides the round again that was under way. So the answer that a role got once is looked up here, by trial,
role and hash of the request, and never asked again, failures included.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoselection.errors import StudyError
from autoselection.jsonl import Fields, LineLog, keep_sound_lines

FILE = "llm.jsonl"
_WHAT = "the record of the language model's answers"
_MEND = "restore the file from a copy, or start a new study"
_FIELDS: Fields = {
    "seq": int, "trial": int, "role": str, "turn": str, "key": str, "outcome": str, "usage": dict, "cost": (int, float),
}  # fmt: skip


def request_key(request: Mapping[str, Any]) -> str:
    """Hash of everything that is asked (16 hex digits)."""
    text = json.dumps(request, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def exchanges_note(path: Path) -> str | None:
    """One sentence on what the model was asked and what it used, for the report; None if it was never asked."""
    records = LineLog(path, _WHAT, _MEND, _FIELDS).records
    if not records:
        return None
    outcomes = Counter(record["outcome"] for record in records)
    tokens = sum(record["usage"]["input"] + record["usage"]["output"] for record in records)
    money = sum(record["cost"] for record in records)
    return (
        f"The language model's roles: {outcomes['ok']} answers usable at once, {outcomes['repaired']} after a repair, "
        f"{outcomes['fell back']} left to the rules; {tokens:,} tokens, cost {money:.4g} by the configured prices ({path.name})."
    )


def keep_sound_exchanges(path: Path) -> tuple[int, Path | None]:
    """Keep the sound first lines of a damaged file, see :func:`autoselection.jsonl.keep_sound_lines`."""
    return keep_sound_lines(path, _WHAT, _MEND, _FIELDS)


class ExchangeLog:
    """The exchanges of one study.

    Args:
        path: the file; None keeps them in memory only.

    Raises:
        StudyError: a line that is not the last one is damaged.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._log = None if path is None else LineLog(path, _WHAT, _MEND, _FIELDS)
        self.records: list[dict[str, Any]] = []
        if self._log is not None:
            self._log.cut_torn_tail()
            self.records = self._log.records

    def find(self, trial: int, role: str, turn: str, key: str) -> dict[str, Any] | None:
        """The exchange of this request, if there was one.

        A summary is looked up in other trials too: trials of one round share what is known.

        Raises:
            StudyError: this turn of the role was asked something else.
        """
        for record in self.records:
            same = (record["role"], record["turn"], record["key"]) == (role, turn, key)
            if same and (record["trial"] == trial or role == "summariser"):
                return record
        for record in self.records:
            if (record["trial"], record["role"], record["turn"]) == (trial, role, turn):
                raise StudyError(
                    f"{self.path}: replaying the search asks the {role} something else for trial {trial} than it was "
                    "asked before; go on with the package version and the settings the study was started with, or "
                    "start a new study."
                )
        return None

    def append(self, **fields: Any) -> dict[str, Any]:
        """Store one exchange; it is on disk when this returns."""
        record = {"seq": len(self.records), "time": round(time.time(), 3), **fields}
        if self._log is not None:
            self._log.append(record)
        else:
            self.records.append(record)
        return record
