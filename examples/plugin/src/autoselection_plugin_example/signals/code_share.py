"""A signal of a row's text: how much of a response is code, and how many questions its prompt asks."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from autoselection.schema import StrictModel
from autoselection.signals import Rows, Shard, Signal


class CodeShareOptions(StrictModel):
    """What users set under ``signals.options.code_share``."""

    fence: str = Field("```", pattern=r"\S", description="Begins and ends a block of code.")


class CodeShare(Signal):
    """Share of the response's lines that stand in fenced code blocks, and question marks in the prompt.

    A response without any line has no share: NaN, counted as ``empty_response``.
    """

    name = "code_share"
    version = 1
    columns = ("code_share", "n_questions")
    options_model = CodeShareOptions

    def compute(self, rows: Rows) -> Shard:
        shares, questions, empty = [], [], 0
        for messages in rows:
            questions.append(sum(m["content"].count("?") for m in messages if m["role"] != "assistant"))
            lines = [line for m in messages if m["role"] == "assistant" for line in m["content"].splitlines()]
            lines = [line for line in lines if line.strip()]
            empty += not lines
            shares.append(self._share(lines) if lines else np.nan)
        arrays = {"code_share": np.asarray(shares, np.float32), "n_questions": np.asarray(questions, np.float32)}
        return Shard(arrays, {"empty_response": empty})

    def _share(self, lines: list[Any]) -> float:
        inside, code, fences = False, 0, 0
        for line in lines:
            if line.lstrip().startswith(self.options.fence):
                inside, fences = not inside, fences + 1
            else:
                code += inside
        return code / max(1, len(lines) - fences)
