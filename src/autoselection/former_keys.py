"""Keys that study configurations had in earlier versions: constants now, or keys elsewhere.

Study folders hold a copy of their configuration, and fingerprints of settings were made with all keys of their time.
Both go on: :func:`updated` reads such a copy, :func:`as_before` gives the settings that a fingerprint is made of. What a user
writes today gets to know what became of a key (:func:`problems`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from autoselection import server
from autoselection.errors import StudyError
from autoselection.executors.contract import FIRST_PAUSE
from autoselection.search import edits, llm_config, reseed, surrogate, warmup
from autoselection.wording import clipped

#: What became of a key's value, by the key's path.
CONSTANTS: Mapping[str, Any] = {
    "evaluation.endpoint.retry_pause": server.FIRST_PAUSE,
    "evaluation.endpoint.seed": 0,  # of old requests; today each evaluation sends its own
    "executor.retry_pause": FIRST_PAUSE,
    "search.edits.large_step": edits.LARGE_STEP,
    "search.edits.redundant_family": edits.REDUNDANT_FAMILY,
    "search.edits.small_step": edits.SMALL_STEP,
    "search.kappa_early": None,
    "search.llm.backoff": server.FIRST_PAUSE,
    "search.llm.example_chars": llm_config.EXAMPLE_CHARACTERS,
    "search.llm.give_up_after": llm_config.GIVE_UP_AFTER,
    "search.llm.rank_top": llm_config.RANKED,
    "search.min_improvement": 0.0,
    "search.reseed.max_cap": reseed.CAPS[1],
    "search.reseed.min_cap": reseed.CAPS[0],
    "search.reseed.tries": reseed.TRIES,
    "search.surrogate.noise": surrogate.PUBLISHED_NOISE,
    "search.surrogate.restarts": surrogate.PUBLISHED_RESTARTS,
    "search.zones.jitter": warmup.JITTER,
    "search.zones.max_filters": warmup.MAX_FILTERS,
    "search.zones.tolerance": warmup.TOLERANCE,
    "search.zones.tries": warmup.TRIES,
}

#: Of these, patience with a machine: it decides nothing that a study did, so an old one may have had any.
_PATIENCE = frozenset(
    {
        "evaluation.endpoint.retry_pause",
        "executor.retry_pause",
        "search.llm.backoff",
        "search.llm.give_up_after",
    }
)

#: Where a key went, by the path that it had.
MOVED: Mapping[str, str] = {
    "search.acquisition": "search.surrogate.acquisition",
    "search.kappa": "search.surrogate.kappa",
    "search.patience": "search.reseed.patience",
    "search.zones.zones": "search.zones",
}


#: Where options of signals went, by the path that they had, each with its default.
OPTIONS: Mapping[str, tuple[str, Any]] = {
    "signals.ngram": ("signals.options.ngram_entropy.n", 1),
    "signals.spacy_max_characters": ("signals.options.action_object_branching.max_characters", 100_000),
    "signals.rsr_max_rank": ("signals.options.lm.max_rank", 100),
    "signals.sae_layer": ("signals.options.sae.layer", None),
    "signals.max_features": ("signals.options.sae.max_features", 256),
    "signals.sae_values": ("signals.options.sae.values", "float16"),
    "signals.reward_score": ("signals.options.reward.score", "logit"),
    "signals.reward_text": ("signals.options.reward.text", "chat"),
    "signals.minhash_ngram": ("signals.options.minhash.ngram_size", 5),
    "signals.minhash_permutations": ("signals.options.minhash.num_perm", 128),
    "signals.minhash_seed": ("signals.options.minhash.seed", 0),
    "signals.minhash_recall": ("signals.options.near_duplicates.recall", 0.95),
    "signals.contamination_ngram": ("signals.options.contamination.n", 13),
    "signals.embedding_text": ("signals.options.embeddings.text", "both"),
    "signals.embedding_batch": ("signals.options.embeddings.batch", 64),
}


def problems(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The former keys in a configuration that a user wrote, each with what became of it."""
    for key, value in CONSTANTS.items():
        if _at(document, key) is not _NOTHING:
            yield (
                tuple(key.split(".")),
                f"this became a constant ({_shown(value)}) and is no key any more: leave it out.",
            )
    for key, place in {**MOVED, **{key: place for key, (place, _) in OPTIONS.items()}}.items():
        if _at(document, key) is not _NOTHING:
            yield tuple(key.split(".")), f"this key is now '{place}'."


def updated(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A stored configuration of an earlier version, as this version writes it.

    Args:
        where: its file, named in the message.

    Raises:
        StudyError: it set a key that became a constant to another value.
    """
    found: dict[str, Any] = deepcopy(dict(document))
    for key, value in CONSTANTS.items():
        if _at(found, key) is not _NOTHING and (own := _take(found, key)) != value and key not in _PATIENCE:
            raise StudyError(
                f"{where}: {key} is {_shown(own)} in this study, but became a constant of {_shown(value)}: go on with the "
                "version of autoselection that the study began with, or start a new study."
            )
    for key, place in MOVED.items():
        if _at(found, key) is not _NOTHING:
            _put(found, place, _take(found, key))
    for key, (place, default) in OPTIONS.items():
        # What stood there by default is left out, as in a configuration of today.
        if _at(found, key) is not _NOTHING and (own := _take(found, key)) != default and _at(found, place) is _NOTHING:
            _put(found, place, own)
    return found


def as_before(document: Mapping[str, Any]) -> dict[str, Any]:
    """A whole configuration with the keys, and in the places, of earlier versions."""
    found: dict[str, Any] = deepcopy(dict(document))
    for key, place in MOVED.items():
        _put(found, key, _take(found, place))
    for key, (place, default) in OPTIONS.items():
        if isinstance(_at(found, "signals"), dict):
            _put(found, key, default if (own := _at(found, place)) is _NOTHING else own)
    for key, value in CONSTANTS.items():
        if isinstance(_at(found, key.rpartition(".")[0]), dict):
            _put(found, key, value)
    if isinstance(found.get("search"), dict) and not found["search"].get("pareto", True):
        del found["search"]["pareto"]  # as all searches were for one score
    for key in ("search.fidelity.models", "search.fidelity.items", "search.fidelity.cost"):
        if not _at(found, key):
            _take(found, key)  # as every short training was one of the same model on all items
    if _at(found, "evaluation.sft.freeze_embeddings") is False:
        _take(found, "evaluation.sft.freeze_embeddings")  # as all trainings had it
    for task in found.get("tasks", ()):
        if task.get("weight") == 1.0:  # as all tasks counted
            del task["weight"]
        if task.get("floor", "") is None:  # as no task had one
            del task["floor"]
    return found


_NOTHING = object()


def _at(document: Any, key: str) -> Any:
    """The value of a dotted key, or ``_NOTHING``."""
    for word in key.split("."):
        if not isinstance(document, Mapping) or word not in document:
            return _NOTHING
        document = document[word]
    return document


def _take(document: dict[str, Any], key: str) -> Any:
    """Remove a key that is there, and the sections that this leaves empty; its value."""
    word, _, rest = key.partition(".")
    if not rest:
        return document.pop(word)
    value = _take(document[word], rest)
    if not document[word]:
        del document[word]
    return value


def _put(document: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        document = document.setdefault(section, {})
    document[last] = value


def _shown(value: Any) -> str:
    return clipped(json.dumps(value, default=str), 40)
