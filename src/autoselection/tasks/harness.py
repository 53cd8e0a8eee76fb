"""Items of lm-evaluation-harness's installed tasks, by name, as items of ours.

Prompts, choices and gold answers come from the task file (its ``description``, ``doc_to_text``, ``doc_to_choice`` and
``doc_to_target``), so that such a task is asked in the model's own chat template, counts in the contamination guard and
is scored like any other. What a generated answer is worth, the task's own filters and metrics decide. Its data must lie
in the data-set cache or in local files; nothing here forces a download, and ``HF_DATASETS_OFFLINE=1`` forbids one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from autoselection.documents import check_yaml
from autoselection.errors import ConfigError, MissingExtraError
from autoselection.tasks.items import LETTERS, Split, TaskConfig, TaskItem
from autoselection.wording import suggestion

#: Of a task with a single scored split, the share of items that becomes dev; the others are test.
DEV_SHARE = 1 / 3

_SCORED_KINDS = ("multiple_choice", "generate_until", "loglikelihood")


def harness_items(task: TaskConfig, split: Split) -> list[TaskItem]:
    """The items of one split of ``task.lm_eval``.

    ``dev`` is the task's validation split and ``test`` its test split. Where it has one of the two, its items are cut in
    two by a hash of their content, a third for dev, so that equal items fall on the same side. ``target`` is its
    training split, else the split its few-shot examples come from if that is not scored.

    Raises:
        ConfigError: no such task, its data is not at hand, or it is of a kind that has no single gold answer.
        MissingExtraError: lm-evaluation-harness is not installed.
    """
    assert task.lm_eval is not None
    loaded = _load(task.lm_eval, task.lm_eval_path)
    if split == "target":
        items = _target_items(loaded, task.lm_eval)
    else:
        items = _scored_items(loaded, task.lm_eval, split)
    limit: int | None = getattr(task, f"{split}_limit")
    if not items:
        few = " (a single scored split is cut in two by content, a third for dev)" if split != "target" else ""
        raise ConfigError(f"Task '{task.name}': lm-eval's task '{task.lm_eval}' has no items for {split}{few}.")
    return items[:limit]


def harness_verdict(task: TaskConfig, item_id: str, text: str) -> float:
    """What the task's own filters and metric make of a generated text: its ``exact_match``, else ``acc``, else its first.

    Of several filters the last counts, which task files use for the most lenient one.

    Raises:
        ConfigError: the metric gives no number for it.
    """
    assert task.lm_eval is not None
    loaded = _load(task.lm_eval, task.lm_eval_path)
    name, value = _judged(loaded, _document(loaded, item_id), text)
    found = _number(value)
    if found is None:
        raise ConfigError(f"{_where(task)} gives no number for item '{item_id}' in its metric '{name}': {_MEND}.")
    return found


def _judged(loaded: Any, document: Mapping[str, Any], text: str) -> tuple[str, Any]:
    """The metric that counts, by name, and its value for a generated text."""
    from lm_eval.api.instance import Instance

    instance = Instance("generate_until", document, (text, {}), 0, resps=[text])
    ensemble = loaded._filters[-1]
    ensemble.apply([instance])
    results: Mapping[str, Any] = loaded.process_results(document, [instance.filtered_resps[ensemble.name]])
    name = next(name for name in ("exact_match", "acc", *results) if name in results)
    return name, results[name]


def _number(value: Any) -> float | None:
    """A finite number, of whatever library; None for others, such as what a metric collects for a corpus."""
    try:
        found = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _where(task: TaskConfig) -> str:
    return f"Task '{task.name}': the task file of lm-eval's '{task.lm_eval}'"


_MEND = "write a task file with a metric per item of which more is better, and name its folder lm_eval_path"


@lru_cache(maxsize=16)
def _fault(loaded: Any) -> str | None:
    """What keeps a task's generated answers from a score of which more is better; tried with a gold answer."""
    part = "validation" if loaded.has_validation_docs() else "test"
    document = _documents(loaded, part)[0]
    gold = _item(loaded, document, f"{loaded.config.task}-{part}-00000").answer
    try:
        name, value = _judged(loaded, document, gold)
    except Exception as error:  # noqa: BLE001 - code of a task file may raise anything
        return (
            f"cannot judge its first item's gold answer ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
        )
    if _number(value) is None:
        return f"judges answers by '{name}', which gives no number per item"
    if loaded.higher_is_better().get(name) is False:
        return f"judges answers by '{name}', of which less is better"
    return None


@dataclass(frozen=True)
class TaskGeneration:
    """How a task file wants answers generated.

    Attributes:
        max_gen_toks: longest answer (tokens); None where the file leaves it to the model.
        until: texts that end an answer.
        temperature: 0 is greedy decoding.
        top_p: share of the probability that is sampled from.
        top_k: likeliest tokens that are sampled from (count); None is all.
    """

    max_gen_toks: int | None
    until: tuple[str, ...]
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None


#: Settings that ask for nothing when they have these values.
_NEUTRAL = {"num_beams": 1, "num_return_sequences": 1, "repetition_penalty": 1, "length_penalty": 1, "min_p": 0,
            "min_new_tokens": 0, "min_gen_toks": 0, "skip_special_tokens": True}  # fmt: skip
#: Names that harness versions and engines have for the longest answer, the first one given counts.
_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_SAMPLING = ("do_sample", "temperature", "top_p", "top_k")


def harness_generation(task: TaskConfig) -> TaskGeneration | None:
    """The generation settings of ``task``'s file (with the harness's defaults); None if the file does not generate.

    Raises:
        ConfigError: it asks for something that no engine here does, a setting has no sensible value, or its metric is no
            score of which more is better.
    """
    if not has_own_verdict(task):
        return None
    loaded = _load(str(task.lm_eval), task.lm_eval_path)
    if fault := _fault(loaded):
        raise ConfigError(f"{_where(task)} {fault}: {_MEND}.")
    config = loaded.config
    given: dict[str, Any] = dict(config.generation_kwargs or {})
    where = _where(task)
    mend = "write a task file without it and name its folder lm_eval_path"
    if int(config.repeats) > 1:
        raise ConfigError(f"{where} asks for {config.repeats} answers an item (repeats) and one is generated: {mend}.")
    until = given.pop("until", None) or []
    lengths = [value for name in _LENGTHS if (value := given.pop(name, None)) is not None]
    sampled, temperature, top_p, top_k = (given.pop(name, None) for name in _SAMPLING)
    for name, value in given.items():
        if name not in _NEUTRAL or (value is not None and value != _NEUTRAL[name]):
            raise ConfigError(f"{where} sets generation_kwargs.{name} ({value!r}), which is not done here: {mend}.")
    try:
        if sampled is None:  # as the harness reads it
            sampled = temperature is not None and float(temperature) > 0
        found = TaskGeneration(
            int(lengths[0]) if lengths else None,
            tuple(str(stop) for stop in ([until] if isinstance(until, str) else until) if stop),
            (1.0 if temperature is None else float(temperature)) if sampled else 0.0,
            float(1.0 if top_p is None else top_p) if sampled else 1.0,
            int(top_k) if sampled and top_k and int(top_k) > 0 else None,
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where} has generation_kwargs that cannot be read ({error}).") from error
    if found.max_gen_toks is not None and found.max_gen_toks < 1:
        raise ConfigError(f"{where} sets generation_kwargs.max_gen_toks to {found.max_gen_toks}: it must be 1 or more.")
    if not (0.0 <= found.temperature < math.inf and 0.0 < found.top_p <= 1.0):
        raise ConfigError(f"{where} sets a temperature below 0 or a top_p outside of (0, 1] in generation_kwargs.")
    return found


def harness_settings(task: TaskConfig) -> str:
    """What a task file says about generated answers and what they are worth; part of the key of their scores."""
    if not has_own_verdict(task):
        return ""
    config = _load(str(task.lm_eval), task.lm_eval_path).config
    return repr([harness_generation(task), config.filter_list, config.metric_list, str(config.process_results)])


def has_own_verdict(task: TaskConfig) -> bool:
    """Whether generated answers of ``task`` are judged by lm-evaluation-harness's task file."""
    return task.lm_eval is not None and _load(task.lm_eval, task.lm_eval_path).OUTPUT_TYPE == "generate_until"


@lru_cache(maxsize=16)
def _load(name: str, folder: Path | None) -> Any:
    if importlib.util.find_spec("lm_eval") is None:
        raise MissingExtraError("lm_eval", "train", f"The task lm_eval: {name}")
    if folder is not None:
        for path in sorted((*folder.rglob("*.yaml"), *folder.rglob("*.yml"))):
            check_yaml(path)
    manager = _manager(folder, False) if folder else None  # the index of all installed tasks takes seconds
    if manager is None or name not in manager.all_tasks:
        manager = _manager(folder, True)
    if name not in manager.all_tasks:
        raise ConfigError(f"lm-eval has no task '{name}'{suggestion(name, manager.all_tasks)[:300]}")
    try:
        loaded = manager.load(name)["tasks"]
    except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:240]
        raise ConfigError(
            f"The data of lm-eval's task '{name}' cannot be loaded ({type(error).__name__}: {reason}): put it in the "
            "data-set cache while online, or write a task file with local data_files and name its folder lm_eval_path."
        ) from error
    if len(loaded) != 1:
        raise ConfigError(f"lm-eval's '{name}' is a group of {len(loaded)} tasks; name one of them per entry of tasks.")
    (task,) = loaded.values()
    # A gold answer that is the same place for all, in a file that judges by its own function, is only a placeholder.
    placeholder = isinstance(task.config.doc_to_target, int) and callable(task.config.process_results)
    if task.OUTPUT_TYPE not in _SCORED_KINDS or task.multiple_input or placeholder:
        raise ConfigError(f"lm-eval's task '{name}' has no single prompt and gold answer per item; it cannot be used.")
    if prefix := " ".join(str(task.config.gen_prefix or "").split()):
        raise ConfigError(
            f"The task file of lm-eval's '{name}' begins the model's answer itself (gen_prefix: '{prefix[:80]}'), which is not "
            "done here: write a task file without it and name its folder lm_eval_path."
        )
    return task


@lru_cache(maxsize=4)
def _manager(folder: Path | None, installed: bool) -> Any:
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(folder) if folder else None, include_defaults=installed)


def _scored_items(loaded: Any, name: str, split: Split) -> list[TaskItem]:
    has = {"dev": loaded.has_validation_docs(), "test": loaded.has_test_docs()}
    if not any(has.values()):
        raise ConfigError(
            f"lm-eval's task '{name}' has neither validation nor test items: name another task, or write a task file with "
            "a validation_split or test_split and name its folder lm_eval_path."
        )
    if all(has.values()):
        return _items(loaded, name, "validation" if split == "dev" else "test")
    only = _items(loaded, name, "validation" if has["dev"] else "test")
    return [item for item in only if (_position(item) < DEV_SHARE) == (split == "dev")]


def _target_items(loaded: Any, name: str) -> list[TaskItem]:
    config = loaded.config
    scored = {config.validation_split, config.test_split}
    if loaded.has_training_docs() and config.training_split not in scored:
        return _items(loaded, name, "training")
    if loaded.fewshot_cfg.split is not None and loaded.fewshot_cfg.split not in scored:
        return _items(loaded, name, "fewshot")
    return []


@lru_cache(maxsize=32)
def _documents(loaded: Any, part: str) -> Any:
    """The documents of a part of a task, kept: each call of the harness processes all of them again."""
    documents = getattr(loaded, f"{part}_docs")()
    return documents if hasattr(documents, "__getitem__") else list(documents)


def _items(loaded: Any, name: str, part: str) -> list[TaskItem]:
    documents = _documents(loaded, part)
    return [_item(loaded, document, f"{name}-{part}-{index:05d}") for index, document in enumerate(documents)]


def _document(loaded: Any, item_id: str) -> Any:
    _, part, index = item_id.rsplit("-", 2)
    return _documents(loaded, part)[int(index)]


def _item(loaded: Any, document: Mapping[str, Any], identifier: str) -> TaskItem:
    description = loaded.resolve_field(document, loaded.config.description) or ""
    prompt = (description + str(loaded.doc_to_text(document))).strip()
    target = loaded.doc_to_target(document)
    targets = list(target) if isinstance(target, (list, tuple)) else [target]
    if not targets:
        raise ConfigError(f"lm-eval's item '{identifier}' names no gold answer; it cannot be used.")
    chosen = loaded.OUTPUT_TYPE == "multiple_choice"
    choices: list[str] = []
    # The harness reads a whole number as a place among the choices in tasks of generated answers too.
    if chosen or (loaded.config.doc_to_choice is not None and any(isinstance(one, int) for one in targets)):
        choices = [str(choice).strip() for choice in loaded.doc_to_choice(document)]
    if not chosen:
        answer, *aliases = (
            choices[_place(choices, one, identifier)] if choices and isinstance(one, int) else str(one).strip()
            for one in targets
        )
        return _complete(TaskItem(identifier, prompt, answer, aliases=tuple(filter(None, aliases))))
    golds = {_place(choices, one, identifier) for one in targets}
    if len(golds) > 1:
        raise ConfigError(
            f"lm-eval's item '{identifier}' has several right choices ({', '.join(LETTERS[gold] for gold in sorted(golds))}), and "
            "one is scored here: write a task file whose process_docs leaves such items out, and name its folder lm_eval_path."
        )
    (gold,) = golds
    lettered = choices == list(LETTERS[: len(choices)])
    return _complete(
        TaskItem(identifier, prompt, LETTERS[gold], tuple(choices), options_in_prompt=lettered),
    )


def _complete(item: TaskItem) -> TaskItem:
    if not item.prompt or not item.answer:
        raise ConfigError(f"lm-eval's item '{item.id}' has an empty prompt or gold answer; it cannot be used.")
    return item


def _place(choices: Sequence[str], target: Any, identifier: str) -> int:
    """The place of a gold answer among the choices; a text is first one of them, then a number."""
    text = str(target).strip()
    if isinstance(target, int):
        place = int(target)
    elif text in choices:
        place = list(choices).index(text)
    else:
        place = int(text) if text.isdecimal() else -1
    if len(choices) > len(LETTERS) or not 0 <= place < len(choices):
        raise ConfigError(f"lm-eval's item '{identifier}' names no gold answer among its {len(choices)} choices.")
    return place


def _position(item: TaskItem) -> float:
    """A number in [0, 1) that depends on the item's content alone."""
    text = "\0".join([item.prompt, *item.choices])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
