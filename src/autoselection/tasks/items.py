"""Benchmark tasks as local JSONL files: ``target`` items steer relevance, ``dev`` guides the search, ``test`` is for the end.

One item a line: ``id``, ``prompt``, ``answer``; optional ``aliases`` (further answers that are right), ``choices`` (then
``answer`` is the letter), ``rationale``, ``subtask``, ``options_in_prompt`` (the prompt lists the choices itself). ``autoselection benchmark`` writes such files from
the formats in which benchmarks are published; a task of lm-evaluation-harness can be named instead (``lm_eval``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from autoselection.conversation import Message
from autoselection.schema import StrictModel
from autoselection.tasks.floors import FLOOR_PATTERN, Floor

Split = Literal["target", "dev", "test"]
Metric = Literal["nll", "nll_per_byte", "accuracy", "option_likelihood", "blend", "exact_match"]
Answer = Literal["auto", "choice", "number", "yes_no", "text"]

#: What a task may be called.
TASK_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"

#: Metrics that compare the likelihoods of an item's options.
OPTION_METRICS = ("accuracy", "option_likelihood", "blend")

#: Metrics of which less is better.
_LESS_IS_BETTER = ("nll", "nll_per_byte", "blend")

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class TaskConfig(StrictModel):
    """One benchmark and where its three splits lie."""

    name: str = Field(pattern=rf"^{TASK_NAME}$", description="Short name, used in every table.")
    dev: Path | None = Field(None, description="JSONL of the items that guide the search (or name lm_eval).")
    test: Path | None = Field(None, description="JSONL of the items scored once, at the end.")
    target: Path | None = Field(
        None, description="JSONL of samples of the task, by which the relevance of rows is measured (MONA)."
    )
    metric: Metric = Field(
        "nll",
        description="What the search maximises: minus the gold answer's negative log-likelihood per token (nll) or per "
        "byte (nll_per_byte), the share of items whose likeliest option is right (accuracy), the right option's share "
        "of the options' probability (option_likelihood), the mean of nll and of minus the logarithm of that share (blend; all three need "
        "choices, or answers that are yes or no), or the share of generated answers that match (exact_match). Which one: "
        "docs/metrics.md.",
    )
    weight: float = Field(
        1.0,
        ge=0,
        allow_inf_nan=False,
        description="How much the task counts in the score that is maximised, beside the others (share of the sum of weights); "
        "0 makes it a guard: scored and reported everywhere, never optimised, so that what is forgotten is seen.",
    )
    floor: str | None = Field(
        None,
        description="Lowest score that the winner may have on the task, on dev in the task's metric (minus the likelihood for nll): a "
        "number, or base (the model without training) or incumbent (what is used today), perhaps with + or - a number, such as "
        "'incumbent - 0.01'. The search looks for the best score that keeps all floors, and the verdict refuses a winner that is "
        "below one beyond noise.",
        json_schema_extra={
            "anyOf": [{"type": "number"}, {"type": "string", "pattern": FLOOR_PATTERN}, {"type": "null"}]
        },
    )
    answer: Answer = Field(
        "auto",
        description="How a generated answer is read: a letter (choice), number, yes_no (true and false included), text, "
        "or by the form of the gold answer (auto).",
    )
    fewshot: int = Field(
        0,
        ge=0,
        description="Solved target items in front of every item, as earlier turns of the conversation (count); those of "
        "the item's own subtask where there are enough.",
    )
    lm_eval: str | None = Field(
        None,
        description="Name of an installed lm-evaluation-harness task, in place of dev, test and target: its validation "
        "items are dev and its test items test (a single split is cut in two by content), its training items target.",
    )
    lm_eval_path: Path | None = Field(None, description="Folder of further task files of lm-evaluation-harness.")
    dev_limit: int | None = Field(None, ge=1, description="Use only the first items of dev (count).")
    test_limit: int | None = Field(None, ge=1, description="Use only the first items of test (count).")
    target_limit: int | None = Field(128, ge=1, description="Use only the first items of target (count).")

    @field_validator("floor", mode="before")
    @classmethod
    def _is_floor(cls, value: object) -> object:
        if value is None:
            return None
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        text = str(value) if is_number or isinstance(value, str) else ""
        Floor.parse(text)
        return text

    @property
    def lowest(self) -> Floor | None:
        """``floor``, read."""
        return None if self.floor is None else Floor.parse(self.floor)

    @model_validator(mode="after")
    def _has_items(self) -> TaskConfig:
        if (self.dev is None) == (self.lm_eval is None):
            has = "both are given" if self.dev is not None else "the task has no dev items to guide the search"
            raise ValueError(
                "give exactly one of 'dev' (a JSONL file; 'autoselection benchmark' writes one) and 'lm_eval' (a task of "
                f"lm-evaluation-harness): {has}"
            )
        if self.lm_eval is not None and self.test is not None:
            raise ValueError("'lm_eval' brings its own test items; leave 'test' out")
        if self.fewshot and self.target is None and self.lm_eval is None:
            raise ValueError("'fewshot' takes solved items from 'target', which is not set")
        return self

    def brings(self, split: Split) -> bool:
        """Whether a split is there to be read: a file; of ``lm_eval`` dev and test, and target where examples are shown."""
        if self.lm_eval is None or getattr(self, split) is not None:
            return getattr(self, split) is not None
        return split != "target" or self.fewshot > 0


def sign_of(metric: str) -> float:
    """What makes a metric's values scores (higher is better): 1 or -1."""
    return -1.0 if metric in _LESS_IS_BETTER else 1.0


@dataclass(frozen=True)
class TaskItem:
    """One benchmark item. ``answer`` is the letter when ``choices`` is not empty.

    With ``options_in_prompt`` the prompt lists the lettered options itself. ``aliases`` are further right answers: any
    of them counts where an answer is generated; likelihoods and the reference are of ``answer``.
    """

    id: str
    prompt: str
    answer: str
    choices: tuple[str, ...] = ()
    rationale: str | None = None
    subtask: str | None = None
    options_in_prompt: bool = False
    aliases: tuple[str, ...] = ()

    def accepted(self) -> tuple[str, ...]:
        """All right answers, the one of the reference first."""
        return (self.answer, *self.aliases)

    def question(self) -> str:
        """The user message: the prompt, with lettered options if there are any."""
        if not self.choices or self.options_in_prompt:
            return self.prompt
        options = "\n".join(f"{LETTERS[i]}. {choice}" for i, choice in enumerate(self.choices))
        return f"{self.prompt}\n{options}"

    def reference(self) -> str:
        """The gold response: rationale (if any) and answer; for a choice, the letter and its text."""
        if self.choices and not self.options_in_prompt:
            answer = f"{self.answer}. {self.choices[LETTERS.index(self.answer)]}"
        else:
            answer = self.answer
        return f"{self.rationale}\n{answer}" if self.rationale else answer

    def options(self) -> tuple[str, ...]:
        """What the answers to choose from begin with: the letters, or yes and no; empty if the answer is free."""
        if self.choices:
            return tuple(LETTERS[: len(self.choices)])
        pairs = (("yes", "no"), ("Yes", "No"), ("true", "false"), ("True", "False"))
        return next((pair for pair in pairs if self.answer in pair), ())

    def messages(self) -> list[Message]:
        """The item as a solved conversation, the form in which target samples build a task vector."""
        return [
            {"role": "user", "content": self.question()},
            {"role": "assistant", "content": self.reference()},
        ]


def has_options(task: TaskConfig, items: Sequence[TaskItem]) -> bool:
    """Whether items are asked for the likeliest of their options: lettered ones, or yes and no where the task says so."""
    if all(item.choices for item in items):
        return True
    return (task.answer == "yes_no" or task.metric in OPTION_METRICS) and all(item.options() for item in items)


def solved_examples(item: TaskItem, examples: Sequence[TaskItem], count: int) -> list[TaskItem]:
    """The first ``count`` of ``examples`` to show in front of ``item``: of its subtask if there are enough, never itself."""
    others = [example for example in examples if example.id != item.id and example.prompt != item.prompt]
    same = [example for example in others if item.subtask is not None and example.subtask == item.subtask]
    return (same if len(same) >= count else others)[:count]


def items_fingerprint(items: Sequence[TaskItem], *, subtasks: bool = False) -> str:
    """Content hash (32 hex digits) of items, in order: part of the key of everything computed from them.

    Args:
        subtasks: count the items' subtasks too, which decide what few-shot examples they have (:func:`solved_examples`).
    """
    digest = hashlib.blake2b(digest_size=16)
    for item in items:
        parts: list[object] = [item.id, item.prompt, item.answer, item.choices, item.rationale]
        if item.options_in_prompt:
            parts.append(True)
        if item.aliases:
            parts.append({"aliases": item.aliases})
        if subtasks and item.subtask is not None:
            parts.append({"subtask": item.subtask})
        digest.update(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
