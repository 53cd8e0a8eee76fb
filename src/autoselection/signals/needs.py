"""What signals may need besides the rows, each with the option that gives it and the sentence for its absence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autoselection.signals.inputs import Inputs
from autoselection.tasks import TaskItem, items_fingerprint


def _nothing(_inputs: Inputs) -> str | None:
    return None


@dataclass(frozen=True)
class Need:
    """Something that has to be given.

    Attributes:
        absent: why a signal is left out without it.
        demand: what a user reads who asked for the signal by name; ``{signal}`` stands for it.
        is_given: whether it was given.
        option: of ``autoselection score``, with what stands behind it; empty: none gives it.
        configured: where a configuration gives it, what that has to name.
        model: content of the model that it is, for the cache key.
        renders: rows are rendered for it by the chat template.
        targets: content of the benchmark items that it is, for the cache key.
    """

    absent: str
    demand: str
    is_given: Callable[[Inputs], bool]
    option: str = ""
    configured: str = ""
    renders: bool = False
    model: Callable[[Inputs], str | None] = _nothing
    targets: Callable[[Inputs], str | None] = _nothing


def demand(what: str, option: str) -> str:
    """The sentence of a signal that was asked for without what it needs."""
    return f"The signal '{{signal}}' needs a {what}: give {option}, or leave the signal out."


def items_digest(items: Mapping[str, Sequence[TaskItem]], *, subtasks: bool = False) -> str:
    """Content of the items of several tasks and splits, 32 hex digits; see :func:`items_fingerprint` for ``subtasks``."""
    text = "".join(f"{part}:{items_fingerprint(items[part], subtasks=subtasks)};" for part in sorted(items))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


#: The base model: its passes, or its tokenizer alone.
BASE_MODEL = Need(
    "no model was given",
    demand("model", "--model"),
    lambda inputs: inputs.model is not None,
    "--model MODEL",
    renders=True,
    model=lambda inputs: inputs.model_fingerprint,
)
#: Target samples of at least one task.
TARGETS = Need(
    "no task has target samples",
    "The signal '{signal}' needs tasks with target samples: set tasks[].target to a JSONL file.",
    lambda inputs: any(task.target is not None for task in inputs.tasks),
    "--target TASK=FILE",
    targets=lambda inputs: items_digest(inputs.targets),
)
#: Dev or test items of at least one task, with the subtasks by which they may share a template.
BENCHMARK_ITEMS = Need(
    "no task with dev items was given",
    "The signal '{signal}' needs tasks with dev or test items: name a configuration.",
    lambda inputs: bool(inputs.benchmarks),
    "--config CONFIG",
    "tasks with dev items",
    targets=lambda inputs: items_digest(inputs.items, subtasks=True),
)
