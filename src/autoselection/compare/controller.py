"""This package's search as a method: with any settings, and as published."""

from __future__ import annotations

import math
from collections.abc import Callable

from autoselection.compare.method import Method
from autoselection.compare.session import Session
from autoselection.search import Observation, SearchConfig, SearchController, published_settings


def controller(name: str, config: SearchConfig) -> Method:
    """A method that runs the controller with these settings (budget and seed are set by the session)."""
    return Method(name, _running(lambda session: config), config.model_dump(mode="json"))


def _running(settings_of: Callable[[Session], SearchConfig]) -> Callable[[Session, int], None]:
    def run(session: Session, seed: int) -> None:
        # Language-model roles belong to a study (their answers are stored there): here the rules decide alone.
        settings = settings_of(session).model_copy(update={"evaluations": session.budget, "seed": seed, "llm": None})
        search = SearchController(session.table, settings)
        while candidates := search.ask():
            for candidate in candidates:
                score, tasks = session.observe_tasks(candidate.rows, candidate.fidelity)
                if math.isfinite(score):
                    search.tell(Observation(candidate.id, score, tasks))
                else:
                    search.tell(Observation(candidate.id, None, reason=session.log[-1].failure))

    return run


OURS = (
    Method("ours", _running(lambda session: session.search), SearchConfig().model_dump(mode="json")),
    Method(
        "published",
        _running(lambda session: published_settings(min_rows=session.search.min_rows)),
        published_settings().model_dump(mode="json"),
    ),
)
"""``ours`` takes the study's own search settings (the defaults where there is no study)."""
