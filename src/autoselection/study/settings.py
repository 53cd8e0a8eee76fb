"""Which settings of a study decide what its evaluations are, and so have to stay: as ``config.yaml`` has them, and its journal."""

from __future__ import annotations

import json
from collections.abc import Set
from pathlib import Path
from typing import Any

from autoselection import former_keys
from autoselection.config import StudyConfig, parse_config, to_yaml
from autoselection.documents import dump_yaml, parse_yaml
from autoselection.ledger.journal import Journal
from autoselection.progress import console

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
#: Settings of evaluations that decide their time and memory, and their scores by rounding alone: they may change, too, and the
#: journal tells what was changed when (``note_speed``).
SPEED_SETTINGS = frozenset(
    {
        "evaluation.batch_size",
        "evaluation.batch_tokens",
        "evaluation.endpoint.timeout",
        "evaluation.sft.gradient_checkpointing",
        "evaluation.sft.llamafactory.timeout",
        "evaluation.sft.micro_batch_size",
        "evaluation.sft.micro_batch_tokens",
        "evaluation.threads",
    }
)
#: Kind of the journal's event about them.
SPEED = "speed"
#: Field of the event that opens a journal.
SETTINGS = "settings"
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
    """The settings that decide evaluations, if only their time and memory, as YAML for the journal."""
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
    free = FREE_SETTINGS | FREE_NESTED_SETTINGS | SPEED_SETTINGS | (frozenset() if places else _PLACES)
    old, new = (_without(_plain(one), free) for one in (stored, config))
    return sorted(_changed("", old, new))


def note_speed(journal: Journal, config: StudyConfig) -> None:
    """Journal the settings of :data:`SPEED_SETTINGS` that are others than before; nothing if the study has not begun."""
    opening = journal.of("study")
    if not opening or SETTINGS not in opening[0]:  # an older version did not tell its journal the settings
        return
    begun = former_keys.updated(parse_yaml(opening[0][SETTINGS], "settings")[0], "settings")
    known = {**_speed(begun), **{name: value for event in journal.of(SPEED) for name, value in event["now"].items()}}
    now = {name: value for name, value in _speed(_plain(config)).items() if name in known and value != known[name]}
    if not now:
        return
    journal.append(SPEED, before={name: known[name] for name in now}, now=now)
    said = ", ".join(f"{name}: {json.dumps(value)} instead of {json.dumps(known[name])}" for name, value in now.items())
    console.say(f"The study goes on with {said}; scores may differ by rounding from those made before.")


def _speed(document: Any, section: str = "") -> dict[str, Any]:
    """Those of :data:`SPEED_SETTINGS` that a document has, by dotted name."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict):
            found |= _speed(value, f"{section}{key}.")
        elif f"{section}{key}" in SPEED_SETTINGS:
            found[f"{section}{key}"] = value
    return found


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
