"""This package's controller: as it comes, as published, and in named variants."""

from __future__ import annotations

from autoselection.search import Observation, SearchConfig, SearchController, published_settings
from benchmarks.methods.base import Method
from benchmarks.worlds.base import Session

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
