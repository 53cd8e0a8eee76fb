"""This package's controller: as it comes, as published, and in named variants."""

from __future__ import annotations

from autoselection.search import Observation, SearchConfig, SearchController, published_settings
from benchmarks.methods.base import Method
from benchmarks.worlds.base import Session

VARIANTS: dict[str, SearchConfig] = {
    name: SearchConfig.model_validate(changes)
    for name, changes in {
        "one": {"parents": 1},
        "fresh0": {"fresh": 0.0},
        "fresh60": {"fresh": 0.6},
        "one60": {"fresh": 0.6, "parents": 1},
        "gen1": {"generations": 1},
        "gen3": {"generations": 3, "proposals": 240},
        "no-reseed": {"reseed": {"enabled": False}},
        "kappa2": {"kappa": 2.0},
        "kappa4": {"kappa": 4.0},
        "full": {"include_full": True},
        "warmup1": {"warmup": 1},
        "log_ei": {"acquisition": "log_ei"},
    }.items()
}
"""``ours:NAME`` on the command line; add settings here to compare them."""


def controller(name: str, config: SearchConfig) -> Method:
    """A method that runs the controller with these settings (budget and seed are set by the session)."""

    def run(session: Session, seed: int) -> None:
        settings = config.model_copy(update={"evaluations": session.budget, "seed": seed})
        search = SearchController(session.table, settings)
        while candidates := search.ask():
            for candidate in candidates:
                score, tasks = session.observe_tasks(candidate.rows)
                search.tell(Observation(candidate.id, score, tasks))

    return Method(name, run, config.model_dump(mode="json"), ("operators", "recipes", "search", "signals/table.py"))


OURS = (
    controller("ours", SearchConfig()),
    controller("published", published_settings()),
    *(controller(f"ours:{name}", config) for name, config in VARIANTS.items()),
)
