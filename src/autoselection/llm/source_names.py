"""How pool-made names are called in prompts: sources have names that come from the pool's files, so from outside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from autoselection.operators import Param

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/+-]{0,39}")


class SourceNames:
    """Source names and what the model sees of them.

    Args:
        names: the pool's sources, in their order.
        shown: show plain names (letters, digits and ``_.:/+-``, at most 40 of them); all others, and every name if this
            is false, are called ``s1``, ``s2``, … by their place.
    """

    def __init__(self, names: Sequence[str], shown: bool) -> None:
        taken = set(names)
        self._alias: dict[str, str] = {}
        for place, name in enumerate(names, 1):
            alias = f"s{place}"
            while shown and alias in taken:  # a source may really be called s2
                alias += "_"
            self._alias[name] = name if shown and _PLAIN.fullmatch(name) else alias
        self._name = {alias: name for name, alias in self._alias.items()}

    def alias(self, name: str) -> str:
        return self._alias.get(name, "unknown")

    def name(self, alias: str) -> str | None:
        return self._name.get(alias)

    def outward(self, param: Param, value: Any) -> Any:
        """A parameter's value as the model sees it."""
        if param.kind == "sources" and isinstance(value, (list, tuple)):
            return [self.alias(name) for name in value]
        if param.kind == "weights" and isinstance(value, dict):
            return {self.alias(name): weight for name, weight in value.items()}
        return value

    def inward(self, param: Param, value: Any) -> Any:
        """A model's value with real names; names that do not exist are left out."""
        if param.kind == "weights" and isinstance(value, dict):
            return {name: weight for alias, weight in value.items() if (name := self.name(alias)) is not None}
        if param.kind != "sources" or not isinstance(value, (str, list)):
            return value
        named = [value] if isinstance(value, str) else value
        return sorted({name for alias in named if isinstance(alias, str) and (name := self.name(alias)) is not None})
