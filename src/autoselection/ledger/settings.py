"""What makes two evaluations of a subset the same, whoever asks for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from autoselection import former_keys
from autoselection.config import ModelConfig, StudyConfig
from autoselection.errors import ConfigError, MissingExtraError
from autoselection.language.chat.options import chat_template_text
from autoselection.language.models import files_fingerprint, model_fingerprint
from autoselection.tasks import Split, TaskConfig, items_fingerprint, load_items
from autoselection.tasks.harness import harness_settings

#: Evaluation settings that decide memory, speed, what is kept or is scored besides, but no score of a search metric.
_INDIFFERENT = {
    *("seeds", "threads", "keep_model", "keep_best", "cache_dir", "batch_size", "batch_tokens"),
    "exact_match",
}
EVENT = "settings"
"""Journal event that tells which digest settings had when evaluations were made by them."""


def settings_digest(config: StudyConfig, pool_fingerprint: str) -> str:
    """Changes with whatever decides the score of a subset: pool, model, tasks, evaluation.

    Local models and files count by what they hold, wherever they lie, so that a journal goes on in another folder; so do
    the items of tasks of lm-evaluation-harness, and what their files make of answers. What is not there, and models of
    the hub, count by their names.
    """
    model = _model_by_content(config.model)
    tasks = [
        {**_by_content(named), **_harness_content(task)}
        for task, named in zip(config.tasks, _tasks(config), strict=True)
    ]
    return _digest(pool_fingerprint, model, tasks, _by_content(_evaluation(config)))


def model_digest(model: ModelConfig) -> str:
    """Changes with whatever of a model decides scores: its files, its chat template."""
    return hashlib.blake2b(json.dumps(_model_by_content(model), sort_keys=True).encode(), digest_size=6).hexdigest()


def settings_record(config: StudyConfig, pool_fingerprint: str) -> dict[str, str]:
    """What :data:`EVENT` holds: the settings by names alone, and their digest."""
    return {
        "named": _named(config, pool_fingerprint),
        "digest": settings_digest(config, pool_fingerprint),
    }


def stored_digest(config: StudyConfig, pool_fingerprint: str, events: Iterable[Mapping[str, Any]]) -> str:
    """The digest that these settings had when evaluations were made, though models and files may be gone since.

    Args:
        events: of the journal.
    """
    return known_digest(_named(config, pool_fingerprint), events) or settings_digest(config, pool_fingerprint)


def known_digest(named: str, events: Iterable[Mapping[str, Any]]) -> str | None:
    """The digest last journalled for settings of these names; None if there is none."""
    known = [str(event["digest"]) for event in events if event["event"] == EVENT and event["named"] == named]
    return known[-1] if known else None


def arithmetics(settings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Kinds of device and number that evaluations were made with, from their ``settings``."""
    return sorted({f"{each['device'].split(':')[0]} {each['dtype']}" for each in settings if "device" in each})


def mixed(found: Sequence[str]) -> str:
    """What to bear in mind where evaluations were made in several arithmetics."""
    return (
        f"Evaluations here were made in different arithmetics ({', '.join(found)}): scores of one subset differ between "
        "them, by more than luck in training may, so compare only rows made in one."
    )


def _named(config: StudyConfig, pool_fingerprint: str) -> str:
    return _digest(pool_fingerprint, _model(config.model), _tasks(config), _evaluation(config))


def _tasks(config: StudyConfig) -> list[dict[str, Any]]:
    """Weights and floors decide no task's score: weights are applied to what is known (:meth:`Ledger.find`)."""
    return [task.model_dump(exclude={"weight", "floor"}) for task in config.tasks]


def _harness_content(task: TaskConfig) -> dict[str, Any]:
    """What a task of lm-evaluation-harness asks and what it makes of answers; empty for files, and if it is not there."""
    if task.lm_eval is None:
        return {}
    try:
        items = {split: items_fingerprint(load_items(task, split)) for split in get_args(Split) if task.brings(split)}
        return {"items": items, "harness": harness_settings(task)}
    except (ConfigError, MissingExtraError):  # an evaluation says so; a journal is read without
        return {}


def _model_by_content(model: ModelConfig) -> dict[str, Any]:
    found = _model(model)
    if Path(model.path).is_dir():
        found["path"] = model_fingerprint(model.path, code=model.trust_remote_code)
    if model.chat_template is not None and Path(model.chat_template).is_file():
        found["chat_template"] = chat_template_text(model.chat_template)
    return found


def _model(model: ModelConfig) -> dict[str, Any]:
    usual = {name: ModelConfig.model_fields[name].default for name in ("template_date", "control_text")}
    # Evaluations made before these keys were there go on.
    return model.model_dump(mode="json", exclude={name for name in usual if getattr(model, name) == usual[name]})


def _evaluation(config: StudyConfig) -> dict[str, Any]:
    evaluation = former_keys.as_before(config.model_dump())["evaluation"]
    return {key: value for key, value in evaluation.items() if key not in _INDIFFERENT}


def _digest(pool: str, model: Any, tasks: Any, evaluation: Any) -> str:
    decisive = {"pool": pool, "model": model, "tasks": tasks, "evaluation": evaluation}
    return hashlib.blake2b(json.dumps(decisive, sort_keys=True, default=str).encode(), digest_size=6).hexdigest()


def _by_content(value: Any) -> Any:
    """Plain data in which what files and folders hold stands for their paths."""
    if isinstance(value, Mapping):
        return {key: _by_content(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_by_content(inner) for inner in value]
    if isinstance(value, Path) and value.is_file():
        return files_fingerprint([value])
    if isinstance(value, Path) and value.is_dir():
        files = sorted(path for path in value.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return [[path.relative_to(value).as_posix(), files_fingerprint([path])] for path in files]
    return value
