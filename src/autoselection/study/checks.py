"""What a study would fail at late, looked at before any signal is computed: the machine, packages, models, files.

Nothing here computes anything of a pool; the model's configuration and tokenizer are read, its weights are not.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autoselection.config import NO_RECIPE, StudyConfig
from autoselection.errors import ConfigError, MissingExtraError
from autoselection.evaluation.config import SFTConfig
from autoselection.evaluation.encoding import RowCache, lost_rows
from autoselection.evaluation.evaluate import check_machine
from autoselection.evaluation.harness import check_asked, check_items
from autoselection.evaluation.remarks import prompt_remark
from autoselection.evaluation.runtime import require_packages
from autoselection.evaluation.trainers.trl import check_adapters
from autoselection.executors import make_executor
from autoselection.language.chat import ConversationEncoder
from autoselection.language.models import (
    check_model_files,
    context_length,
    load_config,
    load_tokenizer,
    pick_device,
    pick_dtype,
)
from autoselection.llm import check_settings
from autoselection.operators import default_registry
from autoselection.operators.base import alternatives
from autoselection.pool import Pool
from autoselection.recipes import load_recipe
from autoselection.search.space import operator_problems
from autoselection.signals.registry import default_registry as signal_registry
from autoselection.signals.registry import signal_names
from autoselection.signals.score import obstacles
from autoselection.study.levels import check_lower_models
from autoselection.study.reuse import ranked_trials

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Rows from which a training's losses are estimated.
SAMPLE = 512


def check_setup(config: StudyConfig) -> None:
    """Refuse a study that cannot come to its end here, with the first thing that it would fail at.

    Raises:
        AutoSelectionError: a device, package, file, key or name is missing, or does not fit the others.
    """
    require_packages()
    check_settings(config.search.llm)
    for folder in config.search.warm_start:
        ranked_trials(folder)
    _check_devices(config, here=make_executor(config.executor).local)
    check_machine(config.evaluation)
    model = config.model
    tokenizer = load_tokenizer(model.path, model.chat_options(), model.trust_remote_code)
    check_model_files(model.path)
    loaded = load_config(model.path, model.trust_remote_code)
    length = context_length(loaded)
    ConversationEncoder(tokenizer, max_length=length)
    check_adapters(config.evaluation.sft, loaded, model.trust_remote_code)
    check_lower_models(config)
    _check_signals(config)
    check_asked(config.evaluation, config.tasks, tokenizer)
    for task in config.tasks:
        check_items(task, "dev", tokenizer, context_length=length, config=config.evaluation)
        if config.final.enabled:
            check_items(task, "test", tokenizer, context_length=length, config=config.evaluation)


def check_recipes(config: StudyConfig) -> None:
    """Read every recipe that the configuration names.

    Raises:
        RecipeError: one is missing or wrong.
    """
    named: Sequence[Any] = (*config.search.initial, *config.final.recipes)
    for recipe in (*named, *(() if config.incumbent.recipe in NO_RECIPE else (config.incumbent.recipe,))):
        load_recipe(recipe)


def check_operators(config: StudyConfig) -> None:
    """See that the operators that the search names exist, and that their signals will be there.

    Raises:
        ConfigError: one does not, or none is left; the key is named.
    """
    search, registry = config.search, default_registry()
    for key, why in operator_problems(search, registry):
        raise ConfigError(f"search.{'.'.join(key)}: {why}")
    asked = config.signals.signals
    lacking = obstacles(config.signals, model=config.model.path, sae=config.sae, tasks=config.tasks)
    for place, names in (("operators", search.operators or ()), ("also", search.also)):
        for name in names:
            for need in () if name in search.without else registry.get(name).needs({}):
                yields = [*_yielding(alternatives(registry.get(name), need))]
                if not yields:
                    continue
                if asked is not None and not {*asked, "contamination"} & set(yields):
                    why = f"signals.signals leaves out '{yields[0]}': add it there"
                elif all(signal in lacking for signal in yields):
                    why = f"the signal '{yields[0]}' cannot be computed, as {lacking[yields[0]]}: give it"
                else:
                    continue
                raise ConfigError(
                    f"search.{place}: '{name}' needs a signal that the study will not have; {why}, or remove '{name}'."
                )


def _yielding(needs: Iterable[str]) -> Iterator[str]:
    """The signals that yield one or another of what operators need."""
    for need in needs:
        found = need if need in signal_names() else signal_registry().signal_of_column(need)
        if found is not None:
            yield found


def _check_devices(config: StudyConfig, *, here: bool) -> None:
    """See that devices asked for by name are there; a cluster's workers have their own (``here`` is false)."""
    places = {"signals": config.signals.device}
    if here:
        places["evaluation"] = config.evaluation.device
    for section, asked in places.items():
        device = pick_device(asked)
        pick_dtype(device, config.signals.dtype if section == "signals" else config.evaluation.dtype)


def _check_signals(config: StudyConfig) -> None:
    """See that the models and packages of signals that are asked for are there."""
    signals = config.signals
    asked = set(signals.signals or ())
    if "action_object_branching" in asked and importlib.util.find_spec("spacy") is None:
        raise MissingExtraError("spacy", "syntax", "The signal 'action_object_branching'")
    if config.sae is not None:
        from autoselection.signals.families.sae import read_sae_info

        read_sae_info(config.sae)
    if signals.embedding_model is not None:
        from autoselection.signals.families.embeddings import embedding_folder

        embedding_folder(signals.embedding_model)
    for path in (*signals.trajectory_models, *([signals.reward_model] if signals.reward_model else [])):
        check_model_files(path)
        load_config(path, config.model.trust_remote_code)


@dataclass(frozen=True)
class TrainingEstimate:
    """What a training would make of a sample of the pool.

    Attributes:
        rows: of the sample.
        dropped: rows that cannot be trained on, by reason (see ``encoding.DROPPED``).
        truncated: rows cut to the maximum length.
        no_ifd: rows whose prompt fills what the signals read of them, so that they have no IFD.
        row_tokens: tokens of a row as training reads it, cut to the maximum length, on average; 0 for one that is not trained on.
        sentences: what of it is worth saying.
    """

    rows: int
    dropped: dict[str, int]
    truncated: int
    no_ifd: int
    row_tokens: float
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**vars(self), "sentences": list(self.sentences)}


def estimate_training(config: StudyConfig, pool: Pool) -> TrainingEstimate:
    """Encode rows spread evenly over the pool as training and signals would, and count what is lost.

    Raises:
        EvaluationError: the model's tokenizer or template cannot be used.
    """
    model, sft = config.model, config.evaluation.sft
    tokenizer = load_tokenizer(model.path, model.chat_options(), model.trust_remote_code)
    context = context_length(load_config(model.path, model.trust_remote_code))
    rows = np.unique(np.linspace(0, len(pool) - 1, min(SAMPLE, len(pool))).astype(np.int64))
    length = min(sft.max_length, context)
    encoder = ConversationEncoder(tokenizer, max_length=length, turns=sft.turns)
    subset = RowCache().subset(pool, rows, encoder, sft.completion_only)
    lengths = subset.lengths(np.arange(len(subset)))
    dropped = {name: count for name, count in subset.dropped.items() if count}
    said = lost_rows(subset.read, dropped, subset.truncated, length, subset.unlearnt, units=subset.units)
    read = min(config.signals.max_length, context)
    no_ifd = _filled(tokenizer, pool, rows, config, read)
    if no_ifd > len(rows) // 10:
        said.append(
            f"{no_ifd:,} of {len(rows):,} rows ({no_ifd / len(rows):.0%}) will have no IFD: their prompts fill the "
            f"{read:,} tokens that signals read of a row (signals.max_length, or the model's context)."
        )
    more = f" Estimated from {len(rows):,} of {len(pool):,} rows." if len(rows) < len(pool) else ""
    sentences = (*(sentence + more for sentence in said), *_few_rows(sft, len(pool)), *prompt_remark(encoder))
    row_tokens = float(lengths.mean()) if len(lengths) else 0.0
    return TrainingEstimate(len(rows), dropped, subset.truncated, no_ifd, row_tokens, sentences)


def _few_rows(sft: SFTConfig, rows: int) -> list[str]:
    """What to know where the steps of a training are over before most rows of a large subset were seen."""
    seen = None if sft.max_steps is None else sft.max_steps * sft.batch_size
    if seen is None or 2 * seen > rows:
        return []
    return [
        f"A training sees {seen:,} rows ({sft.max_steps:,} steps of {sft.batch_size:,}, evaluation.sft.max_steps), and the pool "
        f"has {rows:,}: the other rows of a larger subset do not count in its score. More steps, or epochs, count them."
    ]


def _filled(tokenizer: PreTrainedTokenizerBase, pool: Pool, rows: Any, config: StudyConfig, length: int) -> int:
    """Rows of which the first ``length`` tokens hold no response, although there is one."""
    encoder = ConversationEncoder(tokenizer, max_length=length, turns=config.signals.turns)
    encoded = encoder.encode_batch(pool.conversations(rows.tolist()))
    return sum(row is not None and row.truncated > 0 and True not in row.response for row in encoded)
