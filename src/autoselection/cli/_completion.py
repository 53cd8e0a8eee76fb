"""What the shell offers behind a command: ready recipes, studies, pools, signals, keys. Files are offered beside them.

Each function gets what was typed of a word. Little is imported, and a folder that cannot be read offers nothing: a shell
waits for these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from autoselection.system import expanded

#: Most entries of a folder that are looked at.
_ENTRIES = 2_000

Offered = list[str]


def ready_recipe(incomplete: str) -> Offered:
    """Names of ready recipes."""
    folder = Path(__file__).parents[1] / "recipes" / "ready"
    return _beginning(incomplete, (path.stem for path in folder.glob("*.yaml")))


def recipe(incomplete: str) -> Offered:
    """Ready recipes, and YAML files."""
    return [*ready_recipe(incomplete), *_files(incomplete, lambda path: path.suffix in (".yaml", ".yml"))]


def config(incomplete: str) -> Offered:
    """YAML files."""
    return _files(incomplete, lambda path: path.suffix in (".yaml", ".yml"))


def study(incomplete: str) -> Offered:
    """Folders of studies, and folders that lead on."""
    return _files(incomplete, lambda path: (path / "journal.jsonl").is_file())


def recipe_or_study(incomplete: str) -> Offered:
    """What ``explain`` and ``diff`` take."""
    return [*recipe(incomplete), *(name for name in study(incomplete) if not name.endswith("/"))]


def study_or_config(incomplete: str) -> Offered:
    """What ``mcp`` takes."""
    return list(dict.fromkeys([*study(incomplete), *config(incomplete)]))


def signals(incomplete: str) -> Offered:
    """Names of signals, with commas between them."""
    from autoselection.signals.registry import default_registry

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _beginning(last, default_registry().names())]


def benchmark(incomplete: str) -> Offered:
    """Formats of benchmarks."""
    from autoselection.tasks.convert import BENCHMARKS

    return _beginning(incomplete, ("list", *BENCHMARKS))


def tracker(incomplete: str) -> Offered:
    """What ``track`` can send to."""
    from typing import get_args

    from autoselection.config import TrackerName

    return _beginning(incomplete, get_args(TrackerName))


def key(incomplete: str) -> Offered:
    """Keys of a configuration, each with its equals sign."""
    from pydantic import BaseModel

    from autoselection.config import StudyConfig
    from autoselection.validation import nested_model

    def keys(model: type[BaseModel], above: str) -> Iterator[str]:
        for name, field in model.model_fields.items():
            inner = nested_model(field.annotation)
            if inner is None or "tuple" in str(field.annotation):
                yield f"{above}{name}="
            else:
                yield from keys(inner, f"{above}{name}.")

    return _beginning(incomplete, keys(StudyConfig, ""))


def _beginning(incomplete: str, names: Iterable[str]) -> Offered:
    return sorted(name for name in names if name.startswith(incomplete))


def _files(incomplete: str, fits: Callable[[Path], bool]) -> Offered:
    """Entries of the folder that was typed so far that fit, and folders, which end in a slash unless they fit themselves."""
    typed, slash, name = incomplete.rpartition("/")
    folder = expanded(f"{typed}/" if slash else ".")
    found = []
    try:
        for number, path in enumerate(folder.iterdir()):
            if number >= _ENTRIES:
                break
            if not path.name.startswith(name) or (path.name.startswith(".") and not name.startswith(".")):
                continue
            if fits(path):
                found.append(f"{typed}{slash}{path.name}")
            elif path.is_dir():
                found.append(f"{typed}{slash}{path.name}/")
    except OSError:
        return []
    return sorted(found)
