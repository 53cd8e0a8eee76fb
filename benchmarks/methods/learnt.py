"""Methods that are learnt from pools of the family before they search another one.

A learnt method is a function of the **names of the pools it may learn from** (:data:`SOURCES` without the one that is
replayed, under ``--leave-one-out``; both base models of that one are left out). What it learns
from them, their signals, tables of trainings or a prior stored for exactly these names, is its own affair. Its settings
must name what it learnt from, for they are part of the key under which finished runs are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from autoselection.compare import Method
from autoselection.compare.controller import controller
from autoselection.search import SearchConfig
from autoselection.search.prior import SHIPPED, read_prior
from benchmarks.methods.ours import PAPER
from benchmarks.pools.specification import NAMES

Learnt = Callable[[tuple[str, ...]], Method]


SOURCES = (*NAMES, "recipebench")
"""What can be left out: the pools of the family, and the demo's with RecipeBench's table."""

EFFECTS = Path(__file__).parents[1] / "pools" / "effects"
"""Written by ``python -m benchmarks.pools.effects``."""


def held_out(learn_from: Sequence[str]) -> str:
    """Name of the file of effects learnt from exactly these pools.

    Raises:
        ValueError: there is none.
    """
    missing = [name for name in SOURCES if name not in learn_from]
    if len(missing) > 1:
        raise ValueError(f"no effects were learnt without {' and '.join(missing)} together")
    return f"without-{missing[0]}" if missing else "all"


def stored(learn_from: Sequence[str]) -> Path:
    """The file of effects learnt from exactly these pools."""
    return EFFECTS / f"{held_out(learn_from)}.yaml"


def with_effects(name: str, **changes: Any) -> Learnt:
    """The search with the usual effects that were learnt from the pools, and other settings changed."""

    def method(pools: tuple[str, ...]) -> Method:
        path = stored(pools)
        config = SearchConfig.model_validate({**changes, "surrogate": {"prior": path}})
        # Not where the effects lie, but what they are.
        shown = SearchConfig.model_validate(changes).model_dump(mode="json")
        return replace(controller(name, config), settings=[shown, path.read_text("utf-8")])

    return method


LEARNT: dict[str, Learnt] = {
    "ours:learnt": with_effects("ours:learnt"),
    **{
        f"ours:learnt-{name}": with_effects(f"ours:learnt-{name}", **changes)
        for name, changes in {
            # Operators outside the default space, added to it or to the published operators.
            "blend": {"also": ["blend_filter"]},
            "mix": {"also": ["source_mix"]},
            "paper": {"operators": PAPER},
            "paper-blend": {"operators": [*PAPER, "blend_filter"]},
        }.items()
    },
}
"""By the name of the method, as on the command line."""


def learnt_from(method: Method) -> tuple[str, ...]:
    """What the usual effects that a method's searches begin with were learnt from; nothing for a method without any."""
    if isinstance(method.settings, list):
        return tuple(yaml.safe_load(method.settings[1])["learnt_from"])
    surrogate = (method.settings or {}).get("surrogate") or {}
    used = surrogate.get("prior") is True and surrogate.get("features") != "subset"
    return read_prior(SHIPPED).learnt_from if used else ()
