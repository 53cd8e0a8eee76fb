"""AutoSelection: search for the ordered recipe that cuts the best fine-tuning set out of a fixed pool.

::

    import autoselection as au

    pool = au.ingest("mine.csv", "mine-pool").pool
    au.score_pool(pool)
    result = au.materialize(au.load_recipe("text-only"), au.load_table(pool))
    result.to_polars().write_ndjson("subset.jsonl")

Nothing is imported before it is used, so that ``import autoselection`` costs nothing.
"""

from __future__ import annotations

import sys

from autoselection._version import __version__

TYPE_CHECKING = False  # what type checkers take for true; the module typing would take longer than all else here

__all__ = [
    "AutoSelectionError",
    "IngestConfig",
    "Observation",
    "Pool",
    "Recipe",
    "SearchConfig",
    "SearchController",
    "SignalTable",
    "SignalsConfig",
    "Step",
    "Study",
    "__version__",
    "diff",
    "explain",
    "ingest",
    "load_recipe",
    "load_table",
    "materialize",
    "run_study",
    "score_pool",
    "show_rows",
    "state_vector",
]

if TYPE_CHECKING:
    from autoselection.errors import AutoSelectionError
    from autoselection.inspection import diff, explain, show_rows
    from autoselection.pool import IngestConfig, Pool
    from autoselection.pool.ingest import ingest
    from autoselection.recipes import Recipe, Step, load_recipe, state_vector
    from autoselection.recipes.materialize import materialize
    from autoselection.search import Observation, SearchConfig, SearchController
    from autoselection.signals import SignalsConfig, SignalTable, load_table, score_pool
    from autoselection.study import Study, run_study
else:
    _NAMES = {
        "errors": ("AutoSelectionError",),
        "inspection": ("diff", "explain", "show_rows"),
        "pool": ("IngestConfig", "Pool", "ingest"),
        "recipes": ("Recipe", "Step", "load_recipe", "materialize", "state_vector"),
        "search": ("Observation", "SearchConfig", "SearchController"),
        "signals": ("SignalsConfig", "SignalTable", "load_table", "score_pool"),
        "study": ("Study", "run_study"),
    }
    _HOMES = {name: f"{__name__}.{home}" for home, names in _NAMES.items() for name in names}

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})


class _FormerModules:
    """Modules by the names that they had in earlier versions; asked first, as what lies in a moved package is found too."""

    @staticmethod
    def find_spec(fullname: str, path: object = None, target: object = None) -> object:
        if not fullname.startswith(f"{__name__}.") or fullname == f"{__name__}.former_modules":
            return None
        from autoselection.former_modules import FormerModules

        return FormerModules().find_spec(fullname)


sys.meta_path.insert(0, _FormerModules)  # type: ignore[arg-type]
