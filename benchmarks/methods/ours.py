"""This package's controller: as it comes, as published, and in named variants."""

from __future__ import annotations

from autoselection.compare.controller import controller
from autoselection.search import SearchConfig, published_settings

VARIANTS: dict[str, SearchConfig] = {
    "demo": SearchConfig(include_full=True, warmup=5, kappa=2.0, edits={"second_edit": 0.6}),  # type: ignore[arg-type]
    "state": SearchConfig(surrogate={"features": "state"}),  # type: ignore[arg-type]
    "subset": SearchConfig(surrogate={"features": "subset"}),  # type: ignore[arg-type]
    "encoding": SearchConfig(surrogate={"features": "encoding"}),  # type: ignore[arg-type]
    "no-reseed": SearchConfig(reseed={"enabled": False}),  # type: ignore[arg-type]
    "no-credit": SearchConfig(edits={"credit": 0.0}),  # type: ignore[arg-type]
    "warmup-8": SearchConfig(warmup=8),
    "5-proposals": SearchConfig(proposals=5),
}
"""``ours:NAME`` on the command line; add settings here to compare them."""

OURS = (
    controller("ours", SearchConfig()),
    controller("published", published_settings()),
    *(controller(f"ours:{name}", config) for name, config in VARIANTS.items()),
)
