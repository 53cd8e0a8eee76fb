"""Traces of tool calls and reasoning: what is wrong with a row, and what it consists of. Pure functions of conversations."""

from autoselection.signals.families.traces.faults import (
    BAD_SCHEMAS,
    CONTENTS,
    FAULTS,
    TOOL_NAMES,
    contents,
    fault_counts,
    set_of_tools,
    tools_called,
)

__all__ = [
    "BAD_SCHEMAS",
    "CONTENTS",
    "FAULTS",
    "TOOL_NAMES",
    "contents",
    "fault_counts",
    "set_of_tools",
    "tools_called",
]
