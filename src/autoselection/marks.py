"""Marks that models and data sets write into contents around reasoning and around calls of tools.

What parses rows, scores them and reads generated answers finds both by these, so that they mean the same text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

#: What opens reasoning, as models write it, and what closes it. Letter case does not count.
REASONING: Mapping[str, str] = MappingProxyType(
    {
        **{f"<{name}>": f"</{name}>" for name in ("think", "thinking", "thought", "thoughts", "reasoning")},
        "<scratchpad>": "</scratchpad>",
        "<seed:think>": "</seed:think>",
        "<|begin_of_thought|>": "<|end_of_thought|>",
        "<|start_of_thought|>": "<|end_of_thought|>",
        "<|begin_of_thinking|>": "<|end_of_thinking|>",
        "<|START_THINKING|>": "<|END_THINKING|>",
        "<|thinking|>": "<|/thinking|>",
        "<|think|>": "<|/think|>",
        "[THINK]": "[/THINK]",
        "◁think▷": "◁/think▷",
    }
)
#: Names of further tags that hold reasoning where a model was asked for an answer; in data they may be parts of the answer.
REASONING_OF_ANSWERS = (
    *("reason", "reasoning_content", "reason_content", "reflection", "analysis", "internal", "inner_monologue"),
    *("chain_of_thought", "chain-of-thought", "cot", "planning", "unused94"),
)

#: Names of tags around a call: ``<name>`` … ``</name>``.
CALL_TAGS = ("tool_call", "function_call")
#: What opens a call that nothing has to close: ``<functioncall>`` may be, and ``[TOOL_CALLS]`` never is.
GLAIVE_CALL, MISTRAL_CALLS = "<functioncall>", "[TOOL_CALLS]"

_BEGINNINGS = "".join(sorted({mark[0] for mark in (*REASONING, "<", MISTRAL_CALLS)}))
_CLOSING = {opening.lower(): closing.lower() for opening, closing in REASONING.items()}


def any_of(marks: Mapping[str, str] | tuple[str, ...]) -> str:
    """A regular expression for one of some marks, the longest first; for use without regard to letter case."""
    return "|".join(map(re.escape, sorted(set(marks), key=lambda mark: (-len(mark), mark))))


OPENINGS, CLOSINGS = any_of(REASONING), any_of(tuple(REASONING.values()))
"""Regular expressions for what opens reasoning and what closes it."""


def closing_of(opening: str) -> str:
    """What closes the reasoning that a mark opens, in lower case; the mark is one of :data:`REASONING` in any case."""
    return _CLOSING[opening.lower()]


def openings_of(closing: str) -> tuple[str, ...]:
    """What may open the reasoning that a mark closes, in lower case; the mark is in any case."""
    return tuple(opening for opening, other in _CLOSING.items() if other == closing.lower())


def may_be_marked(text: str) -> bool:
    """Whether a text holds a character with which marks begin; without one it has none."""
    return any(character in text for character in _BEGINNINGS)
