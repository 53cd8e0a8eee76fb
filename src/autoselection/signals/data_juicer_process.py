"""Computes the statistics of one Data-Juicer filter: a program that needs nothing but Data-Juicer, run by its file.

It may run in another environment than this package, so it imports nothing of it. The first line of standard input is
``{"filter": NAME, "params": {...}}``, each further one ``{"texts": [...]}``; it answers each with a line: ``{"ready": VERSION}``, then
``{"stats": [{...}, ...]}``, one mapping a text, as the filter's own ``compute_stats`` leaves them; or ``{"error": "..."}``. If
the first line is ``{}``, it answers ``{"ready": VERSION}`` and ends.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def main() -> None:
    """Answer line by line until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what Data-Juicer prints is no answer

    def answer(document: dict[str, Any]) -> None:
        answers.write(json.dumps(document) + "\n")
        answers.flush()

    try:
        asked = json.loads(sys.stdin.readline())
        from data_juicer import __version__

        if not asked:
            answer({"ready": str(__version__)})
            return
        from data_juicer.ops import load_ops
        from data_juicer.utils.constant import Fields

        (made,) = load_ops([{asked["filter"]: asked["params"]}])
        if not hasattr(made, "compute_stats"):
            raise ValueError("it is no filter: it has no statistics")
        answer({"ready": str(__version__)})
        for line in sys.stdin:
            texts = json.loads(line)["texts"]
            answer({"stats": [_plain(stats) for stats in _computed(made, texts, Fields.stats)]})
    except Exception as error:  # noqa: BLE001 - whatever a library raises is told, and ends the work
        answer({"error": f"{type(error).__name__}: {error}"})


def _computed(made: Any, texts: list[str], stats: str) -> list[dict[str, Any]]:
    key = made.text_key
    if made.is_batched_op():
        samples = {key: texts, stats: [{} for _ in texts]}
        return list(made.compute_stats_batched(samples)[stats])
    return [made.compute_stats_single({key: text, stats: {}})[stats] for text in texts]


def _plain(stats: dict[str, Any]) -> dict[str, Any]:
    """Numbers alone: what else a filter leaves is no score."""
    found = {}
    for name, value in stats.items():
        number = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
        if isinstance(number, (bool, int, float)) and number == number:
            found[name] = float(number)
    return found


if __name__ == "__main__":
    main()
