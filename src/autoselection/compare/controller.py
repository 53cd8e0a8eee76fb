"""This package's search as a method: with any settings, and as published."""

from __future__ import annotations

import math
from collections.abc import Callable

from autoselection.compare.method import Method
from autoselection.compare.session import Session
from autoselection.operators import default_registry
from autoselection.search import Observation, SearchConfig, SearchController, published_settings
from autoselection.search.space import named_operators


def controller(name: str, config: SearchConfig) -> Method:
    """A method that runs the controller with these settings (budget and seed are set by the session)."""
    return Method(name, _running(lambda session: config), config.model_dump(mode="json"))


def _running(settings_of: Callable[[Session], SearchConfig]) -> Callable[[Session, int], None]:
    def run(session: Session, seed: int) -> None:
        # Language-model roles belong to a study (their answers are stored there): here the rules decide alone.
        settings = settings_of(session).model_copy(update={"evaluations": session.budget, "seed": seed, "llm": None})
        search = SearchController(session.table, settings, floors=session.floors)
        while candidates := search.ask():
            for candidate in candidates:
                score, tasks = session.observe_tasks(candidate.rows, candidate.fidelity)
                if math.isfinite(score):
                    search.tell(Observation(candidate.id, score, tasks))
                else:
                    search.tell(Observation(candidate.id, None, reason=session.log[-1].failure))

    return run


def _published(session: Session) -> SearchConfig:
    """The published loop over the study's operators; its space holds the published ones of them, if there are any."""
    search = session.search
    space = {name: getattr(search, name) for name in ("operators", "also", "without", "max_steps", "min_rows", "zones")}
    registry = default_registry()
    published = any(
        operator.published and not any(param.kind == "recipe" for param in operator.params)
        for operator in named_operators(search, registry, registry.default_space(session.table))
    )
    return published_settings(**space, published_operators=published)


def _published_wide(session: Session) -> SearchConfig:
    """The published loop in the study's own space."""
    search = session.search
    names = ("operators", "also", "without", "published_operators", "draws", "max_steps", "min_rows", "zones")
    return published_settings(wide=True, **{name: getattr(search, name) for name in names})


OURS = (
    Method("ours", _running(lambda session: session.search), SearchConfig().model_dump(mode="json")),
    Method("published", _running(_published), published_settings().model_dump(mode="json")),
    Method("published:wide", _running(_published_wide), published_settings(wide=True).model_dump(mode="json")),
)
"""``ours`` takes the study's own search settings (the defaults where there is no study)."""
