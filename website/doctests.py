"""What mkdocstrings is told of examples in docstrings: lines that begin with ``>>>`` are a section of their own.

Without it they would be read as Markdown, in which ``row["a"]["b"]`` is a link.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLES = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*(?:\n\n>>> .*(?:\n(?!\s*$).*)*)*", re.MULTILINE)


def as_section(text: str) -> str:
    """The text of a docstring, its examples under a heading ``Examples:``."""
    return _EXAMPLES.sub(lambda found: "Examples:\n" + re.sub(r"(?m)^(?=.)", "    ", found[0]), text)


class Doctests(griffe.Extension):
    """Changes every docstring as it is read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by griffe for each module, class and function."""
        if obj.docstring is not None:
            obj.docstring.value = as_section(obj.docstring.value)
