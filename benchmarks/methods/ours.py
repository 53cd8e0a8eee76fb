"""This package's controller: as it comes, as published, and in named variants."""

from __future__ import annotations

from autoselection.compare.ablations import ABLATIONS, ablated
from autoselection.compare.controller import OURS as STUDIES
from autoselection.compare.controller import controller
from autoselection.operators import builtin_operators
from autoselection.search import SearchConfig

PAPER = [operator.name for operator in builtin_operators() if operator.published and operator.searched]
"""The published operators that are searched."""

VARIANTS: dict[str, SearchConfig] = {name: ablated(SearchConfig(), name) for name in ABLATIONS} | {
    name: SearchConfig.model_validate(changes)
    for name, changes in {
        "no-fresh": {"fresh": 0.0},
        "one-parent": {"parents": 1},
        "one-generation": {"generations": 1},
        "state": {"surrogate": {"features": "state"}},
        "subset": {"surrogate": {"features": "subset"}},
        "encoding": {"surrogate": {"features": "encoding"}},
        "both": {"surrogate": {"features": "both"}},
        "plain-scores": {"surrogate": {"robust": False}},
        "no-prior": {"surrogate": {"prior": False}},
        **{f"kappa-{kappa}": {"surrogate": {"acquisition": "ucb", "kappa": kappa}} for kappa in (1, 2, 3)},
        "full-first": {"include_full": True},
        "5-proposals": {"proposals": 5},
        "repeats": {"repeats": {"enabled": True}},
        # Short trainings first, a ninth or a third of the training each.
        "short": {"fidelity": {"level": 1 / 9}},
        "short-50": {"fidelity": {"level": 1 / 9, "share": 0.5}},
        "third": {"fidelity": {"level": 1 / 3, "warmup": 6, "share": 0.5}},
    }.items()
}
"""``ours:NAME`` on the command line; add settings here to compare them."""

OURS = (
    *STUDIES,
    *(controller(f"ours:{name}", config) for name, config in VARIANTS.items()),
)
