"""Versioned prompts, one Markdown file each; a change of meaning gets a new version in the first line."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from string import Template

_FIRST_LINE = re.compile(r"<!-- version: (\d+) -->\n")


@dataclass(frozen=True)
class Prompt:
    """A prompt file.

    Attributes:
        name: the file's name without ending.
        version: the number in its first line.
        sha256: hash of the whole file, first 16 hex digits.
        text: what follows the first line; ``$name`` marks what is filled in.
    """

    name: str
    version: int
    sha256: str
    text: str

    def fill(self, **values: object) -> str:
        """The text with every mark filled in; KeyError for one without a value."""
        return Template(self.text).substitute(values).strip()

    def to_dict(self) -> dict[str, str | int]:
        return {"name": self.name, "version": self.version, "sha256": self.sha256}


@lru_cache(maxsize=8)
def load_prompt(name: str) -> Prompt:
    """The prompt ``name.md`` of this package."""
    whole = files(__package__).joinpath(f"{name}.md").read_text(encoding="utf-8")
    first = _FIRST_LINE.match(whole)
    if first is None:
        raise ValueError(f"prompt {name}.md does not begin with its version")
    digest = hashlib.sha256(whole.encode()).hexdigest()[:16]
    return Prompt(name, int(first[1]), digest, whole[first.end() :])
