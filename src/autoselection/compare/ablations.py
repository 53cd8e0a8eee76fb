"""The structural ablation: the search with one of its parts taken away, everything else as it is configured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoselection.search import SearchConfig
from autoselection.validation import validate

ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "no-warmup": {"warmup": 1},
    "no-edits": {"fresh": 1.0, "generations": 1},
    "no-gp": {"proposals": 1, "generations": 1, "parents": 1, "fresh": 0.0},
    "no-state": {"surrogate": {"features": "encoding"}},
    "no-credit": {"edits": {"credit": 0.0}, "reseed": {"enabled": False}},
    "no-reseed": {"reseed": {"enabled": False}},
    "no-union": {"without": ("union", "intersect", "subtract")},
}
"""Changes of :class:`~autoselection.search.SearchConfig` by name. One probe stays without warmup, as edits need a parent;
without edits all proposals are new random recipes; without the Gaussian process one proposal is drawn and taken; without
state it sees how recipes are written, not what they did; a reseed draws from credit, so without credit there is none."""


def ablated(search: SearchConfig, name: str) -> SearchConfig:
    """The settings with the part taken away; what ``search`` itself leaves out stays left out.

    Raises:
        KeyError: there is no such ablation.
    """
    values = search.model_dump()
    for key, change in ABLATIONS[name].items():
        if isinstance(change, Mapping):
            values[key] = {**values[key], **change}
        elif key == "without":
            values[key] = tuple(dict.fromkeys((*values[key], *change)))
        else:
            values[key] = change
    return validate(SearchConfig, values, f"ablation {name}")
