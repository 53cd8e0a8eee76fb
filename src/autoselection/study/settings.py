"""Which settings of a study decide what its evaluations are, and so have to stay: as ``config.yaml`` has them, and its journal."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any

from autoselection import former_keys
from autoselection.config import StudyConfig, parse_config, to_yaml
from autoselection.documents import dump_yaml, parse_yaml

#: Settings that may change between two runs of one study: they decide nothing about what was already evaluated.
FREE_SETTINGS = frozenset(
    {"benchmarks_check", "executor", "export", "final", "incumbent", "name", "tracking", "version"}
)
#: The same inside a section: how much is spent (a change is journalled, see ``study.budget``), what is scored besides the
#: search metric, and how a language model is reached and paid for (its stored answers are replayed).
FREE_NESTED_SETTINGS = frozenset({"search.evaluations", "evaluation.exact_match"}) | frozenset(
    f"search.llm.{name}"
    for name in (
        "base_url",
        "api_key_env",
        "timeout",
        "retries",
        "max_total_tokens",
        "max_cost",
        "input_price",
        "output_price",
    )
)
#: Files and folders of which the journal notes the content (``study.identity``, ``study.opening``), wherever they lie.
_PLACES = frozenset(
    {
        "pool.path",
        "pool.files",
        "model.path",
        "model.chat_template",
        "sae",
        "search.fidelity.models.path",
        "search.fidelity.models.chat_template",
        "tasks.dev",
        "tasks.test",
        "tasks.target",
        "tasks.lm_eval_path",
    }
)


def recorded_settings(config: StudyConfig) -> str:
    """The settings that decide evaluations, as YAML for the journal."""
    return dump_yaml(_without(_plain(config), FREE_SETTINGS | FREE_NESTED_SETTINGS))


def parse_recorded(text: str, where: str, folder: Path) -> StudyConfig:
    """The configuration that :func:`recorded_settings` made a text of, free settings and those of later versions as by default.

    Raises:
        ConfigError: it names what is not installed, or needs an earlier version.
    """
    document, _ = parse_yaml(text, where)
    return parse_config(former_keys.updated(document, where), folder)


def changed_settings(stored: StudyConfig, config: StudyConfig, *, places: bool = True) -> list[str]:
    """Dotted names of the settings that decide evaluations and differ.

    Args:
        places: where files lie of which the journal notes the content counts, too.
    """
    free = FREE_SETTINGS | FREE_NESTED_SETTINGS | (frozenset() if places else _PLACES)
    old, new = (_without(_plain(one), free) for one in (stored, config))
    return sorted(_changed("", old, new))


def _plain(config: StudyConfig) -> Any:
    return parse_yaml(to_yaml(config), "configuration")[0]


def _without(value: Any, names: Set[str], section: str = "") -> Any:
    """A document without the settings of these dotted names; entries of a list have no part in a name."""
    if isinstance(value, dict):
        kept = ((key, f"{section}{key}", item) for key, item in value.items())
        return {key: _without(item, names, f"{name}.") for key, name, item in kept if name not in names}
    return [_without(item, names, section) for item in value] if isinstance(value, list) else value


def _changed(name: str, old: Any, new: Any) -> set[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        inside = {key: f"{name}.{key}".removeprefix(".") for key in {*old, *new}}
        return {found for key in inside for found in _changed(inside[key], old.get(key), new.get(key))}
    return set() if old == new else {name}
