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
from typing import Any, Literal

from pydantic import Field, model_validator

from autoselection.conversation import Message
from autoselection.errors import ConfigError
from autoselection.schema import StrictModel

Split = Literal["target", "dev", "test"]
Metric = Literal["nll", "nll_per_byte", "accuracy", "option_likelihood", "exact_match"]
Answer = Literal["auto", "choice", "number", "yes_no", "text"]

#: What a task may be called.
TASK_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*"

#: Metrics that compare the likelihoods of an item's options.
OPTION_METRICS = ("accuracy", "option_likelihood")

#: Metrics of which less is better.
_LESS_IS_BETTER = ("nll", "nll_per_byte")

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class TaskConfig(StrictModel):
    """One benchmark and where its three splits lie."""

    name: str = Field(pattern=rf"^{TASK_NAME}$", description="Short name, used in every table.")
    dev: Path | None = Field(None, description="JSONL of the items that guide the search (or name lm_eval).")
    test: Path | None = Field(None, description="JSONL of the items scored once, at the end.")
    target: Path | None = Field(None, description="JSONL of the samples that build the task vector (MONA).")
    metric: Metric = Field(
        "nll",
        description="What the search maximises: minus the gold answer's negative log-likelihood per token (nll) or per "
        "byte (nll_per_byte), the share of items whose likeliest option is right (accuracy) or the right option's share "
        "of the options' probability (option_likelihood; both need choices, or answers that are yes or no), or the share "
        "of generated answers that match (exact_match).",
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


def load_items(task: TaskConfig, split: Split) -> list[TaskItem]:
    """Read one split of a task.

    Raises:
        ConfigError: the split has no file, the file is missing or empty, or a line is malformed.
        OSError: the file cannot be read.
    """
    path: Path | None = getattr(task, split)
    if path is None and task.lm_eval is not None:
        from autoselection.harness_tasks import harness_items

        return _checked(harness_items(task, split), task, split, f"lm_eval: {task.lm_eval}")
    if path is None:
        raise ConfigError(f"Task '{task.name}' has no {split} file: set tasks[].{split} to a JSONL file.")
    if not path.is_file():
        raise ConfigError(f"Task '{task.name}': the {split} file {path} does not exist.")
    limit: int | None = getattr(task, f"{split}_limit")
    items: list[TaskItem] = []
    seen: set[str] = set()
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"{path}: UTF-16 text; save the file as UTF-8.")
    # Only "\n" ends a line: contents may hold other Unicode line breaks.
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
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
    return _checked(items, task, split, str(path))


def _checked(items: list[TaskItem], task: TaskConfig, split: Split, where: str) -> list[TaskItem]:
    if task.metric in OPTION_METRICS and split != "target" and not all(item.options() for item in items):
        raise ConfigError(
            f"Task '{task.name}': metric '{task.metric}' needs 'choices' (or an answer of yes or no) on every item of "
            f"{where}."
        )
    return items


def solved_examples(item: TaskItem, examples: Sequence[TaskItem], count: int) -> list[TaskItem]:
    """The first ``count`` of ``examples`` to show in front of ``item``: of its subtask if there are enough, never itself."""
    others = [example for example in examples if example.id != item.id and example.prompt != item.prompt]
    same = [example for example in others if item.subtask is not None and example.subtask == item.subtask]
    return (same if len(same) >= count else others)[:count]


def _parse(line: bytes, task: str, where: str) -> TaskItem:
    record = _record(line, where)
    if isinstance(record.get("answer"), (list, dict)):
        raise ConfigError(
            f"{where}: field 'answer' of task '{task}' must be one string; put further right answers into 'aliases'."
        )
    for field in ("id", "prompt", "answer"):
        if not isinstance(record.get(field), str) or not record[field].strip():
            raise ConfigError(f"{where}: field '{field}' of task '{task}' must be a non-empty string.")
    for field in ("rationale", "subtask"):
        if not isinstance(record.get(field) or "", str):
            raise ConfigError(f"{where}: field '{field}' of task '{task}' must be a string.")
    choices, aliases = (_strings(record, field, task, where) for field in ("choices", "aliases"))
    if choices and aliases:
        raise ConfigError(f"{where}: an item of task '{task}' with 'choices' has one right letter and no 'aliases'.")
    if len(choices) > len(LETTERS):
        raise ConfigError(
            f"{where}: {len(choices)} choices in task '{task}', and there are {len(LETTERS)} letters: leave some out."
        )
    if choices and record["answer"] not in tuple(LETTERS[: len(choices)]):
        raise ConfigError(
            f"{where}: with choices, 'answer' must be a letter from A to {LETTERS[len(choices) - 1]}, "
            f"not '{record['answer']}'."
        )
    return TaskItem(
        id=record["id"],
        prompt=record["prompt"],
        answer=record["answer"],
        choices=choices,
        rationale=record.get("rationale") or None,
        subtask=record.get("subtask") or None,
        options_in_prompt=bool(choices) and record.get("options_in_prompt") is True,
        aliases=aliases,
    )


def _record(line: bytes, where: str) -> dict[str, Any]:
    """The object of a line.

    Raises:
        ConfigError: it is none, or holds text that cannot be written (half a character).
    """
    try:
        text = line.decode("utf-8")
        record = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        json.dumps(record, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        byte = line[error.start]
        raise ConfigError(f"{where}: not UTF-8 text (byte 0x{byte:02x}); save the file as UTF-8.") from None
    except UnicodeEncodeError:
        raise ConfigError(f"{where}: half a character (a lone surrogate such as \\ud800); mend the text.") from None
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply; a task file holds one flat JSON object a line.") from None
    except ValueError as error:
        reason = " ".join(str(error).split())[:160]
        raise ConfigError(f"{where}: not valid JSON ({reason}); a task file holds one JSON object a line.") from None
    if not isinstance(record, dict):
        raise ConfigError(f"{where}: expected a JSON object with id, prompt and answer, one a line.")
    return record


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no value")


def _strings(record: dict[str, Any], field: str, task: str, where: str) -> tuple[str, ...]:
    entries = record.get(field) or []
    if not isinstance(entries, list) or not all(isinstance(entry, str) and entry.strip() for entry in entries):
        raise ConfigError(f"{where}: field '{field}' of task '{task}' must be a list of non-empty strings.")
    return tuple(entries)


def items_fingerprint(items: Sequence[TaskItem]) -> str:
    """Content hash (32 hex digits) of items, in order: part of the key of everything computed from them."""
    digest = hashlib.blake2b(digest_size=16)
    for item in items:
        parts: list[object] = [item.id, item.prompt, item.answer, item.choices, item.rationale]
        if item.options_in_prompt:
            parts.append(True)
        if item.aliases:
            parts.append({"aliases": item.aliases})
        digest.update(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
