"""Benchmark tasks as local JSONL files: ``target`` items steer relevance, ``dev`` guides the search, ``test`` is for the end.

One item a line: ``id``, ``prompt``, ``answer``; optional ``choices`` (then ``answer`` is the letter), ``rationale``, ``subtask``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from autoselection.errors import ConfigError
from autoselection.schema import StrictModel

Split = Literal["target", "dev", "test"]
Metric = Literal["nll", "accuracy", "exact_match"]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class TaskConfig(StrictModel):
    """One benchmark and where its three splits lie."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="Short name, used in every table.")
    dev: Path = Field(description="JSONL of the items that guide the search.")
    test: Path | None = Field(None, description="JSONL of the items scored once, at the end.")
    target: Path | None = Field(None, description="JSONL of the samples that build the task vector (MONA).")
    metric: Metric = Field(
        "nll",
        description="What the search maximises: minus the gold answer's negative log-likelihood per token (nll), "
        "the share of items whose likeliest option is right (accuracy; items need choices), or the share "
        "of generated answers that match (exact_match).",
    )
    dev_limit: int | None = Field(None, ge=1, description="Use only the first items of dev (count).")
    test_limit: int | None = Field(None, ge=1, description="Use only the first items of test (count).")
    target_limit: int | None = Field(128, ge=1, description="Use only the first items of target (count).")


@dataclass(frozen=True)
class TaskItem:
    """One benchmark item. ``answer`` is the letter when ``choices`` is not empty."""

    id: str
    prompt: str
    answer: str
    choices: tuple[str, ...] = ()
    rationale: str | None = None
    subtask: str | None = None

    def question(self) -> str:
        """The user message: the prompt, with lettered options if there are any."""
        if not self.choices:
            return self.prompt
        options = "\n".join(f"{LETTERS[i]}. {choice}" for i, choice in enumerate(self.choices))
        return f"{self.prompt}\n{options}"

    def reference(self) -> str:
        """The gold response: rationale (if any) and answer; for a choice, the letter and its text."""
        if self.choices:
            answer = f"{self.answer}. {self.choices[LETTERS.index(self.answer)]}"
        else:
            answer = self.answer
        return f"{self.rationale}\n{answer}" if self.rationale else answer

    def messages(self) -> list[dict[str, str]]:
        """The item as a solved conversation, the form in which target samples build a task vector."""
        return [
            {"role": "user", "content": self.question()},
            {"role": "assistant", "content": self.reference()},
        ]


def load_items(task: TaskConfig, split: Split) -> list[TaskItem]:
    """Read one split of a task.

    Raises:
        ConfigError: the split has no file, the file is missing or empty, or a line is malformed.
    """
    path: Path | None = getattr(task, split)
    if path is None:
        raise ConfigError(f"Task '{task.name}' has no {split} file: set tasks[].{split} to a JSONL file.")
    if not path.is_file():
        raise ConfigError(f"Task '{task.name}': the {split} file {path} does not exist.")
    limit: int | None = getattr(task, f"{split}_limit")
    items: list[TaskItem] = []
    seen: set[str] = set()
    # Only "\n" ends a line: contents may hold other Unicode line breaks.
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        if limit is not None and len(items) >= limit:
            break
        item = _parse(line, task.name, f"{path}:{number}")
        if item.id in seen:
            raise ConfigError(f"{path}:{number}: the id '{item.id}' is used twice; ids must be unique in a task.")
        seen.add(item.id)
        items.append(item)
    if not items:
        raise ConfigError(f"Task '{task.name}': the {split} file {path} holds no items.")
    if task.metric == "accuracy" and split != "target" and not all(item.choices for item in items):
        raise ConfigError(f"Task '{task.name}': metric 'accuracy' needs 'choices' on every item of {path}.")
    return items


def _parse(line: bytes, task: str, where: str) -> TaskItem:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{where}: not valid JSON ({error}); a task file holds one JSON object a line.") from error
    if not isinstance(record, dict):
        raise ConfigError(f"{where}: expected a JSON object with prompt and answer.")
    for field in ("id", "prompt", "answer"):
        if not isinstance(record.get(field), str) or not record[field]:
            raise ConfigError(f"{where}: field '{field}' of task '{task}' must be a non-empty string.")
    choices = record.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise ConfigError(f"{where}: field 'choices' of task '{task}' must be a list of strings.")
    if choices and record["answer"] not in LETTERS[: len(choices)]:
        raise ConfigError(
            f"{where}: with choices, 'answer' must be a letter from A to {LETTERS[len(choices) - 1]}, "
            f"not '{record['answer']}'."
        )
    return TaskItem(
        id=record["id"],
        prompt=record["prompt"],
        answer=record["answer"],
        choices=tuple(choices),
        rationale=record.get("rationale") or None,
        subtask=record.get("subtask") or None,
    )


def items_fingerprint(items: Sequence[TaskItem]) -> str:
    """Content hash (32 hex digits) of items, in order: part of the key of everything computed from them."""
    digest = hashlib.blake2b(digest_size=16)
    for item in items:
        digest.update(
            json.dumps([item.id, item.prompt, item.answer, item.choices, item.rationale], ensure_ascii=False).encode()
        )
    return digest.hexdigest()
