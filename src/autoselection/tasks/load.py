"""One split of a task as items: from its JSONL file, or from a task of lm-evaluation-harness."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from autoselection.errors import ConfigError
from autoselection.tasks.answers import can_be_gold
from autoselection.tasks.items import LETTERS, OPTION_METRICS, Split, TaskConfig, TaskItem


def load_items(task: TaskConfig, split: Split) -> list[TaskItem]:
    """Read one split of a task.

    Raises:
        ConfigError: the split has no file, the file is missing or empty, or a line is malformed.
        OSError: the file cannot be read.
    """
    path: Path | None = getattr(task, split)
    if path is None and task.lm_eval is not None:
        from autoselection.tasks.harness import harness_items, has_own_verdict

        items, where = harness_items(task, split), f"lm_eval: {task.lm_eval}"
        if not has_own_verdict(task):
            for item in items:
                _check_golds(item, task, split, f"{where}, item '{item.id}'")
        return _checked(items, task, split, where)
    if path is None:
        raise ConfigError(f"Task '{task.name}' has no {split} file: set tasks[].{split} to a JSONL file.")
    if not path.is_file():
        raise ConfigError(f"Task '{task.name}': the {split} file {path} does not exist.")
    limit: int | None = getattr(task, f"{split}_limit")
    items = []
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
        _check_golds(item, task, split, f"{path}:{number}")
        if item.id in seen:
            raise ConfigError(f"{path}:{number}: the id '{item.id}' is used twice; ids must be unique in a task.")
        seen.add(item.id)
        items.append(item)
    if not items:
        raise ConfigError(f"Task '{task.name}': the {split} file {path} holds no items.")
    return _checked(items, task, split, str(path))


def some_items(items: list[TaskItem], task: str, share: float, seed: int) -> list[TaskItem]:
    """A share of a task's items, at least one, in their order.

    Which ones is drawn by the hash of task, seed and id: the same for every subset that is scored, and a smaller share is part of
    a larger one.

    Args:
        task: its name.
        share: in (0, 1].
    """
    if share >= 1.0:
        return items
    keys = [hashlib.blake2b(f"{task}/{seed}/{item.id}".encode(), digest_size=8).digest() for item in items]
    count = max(1, math.ceil(share * len(items) - 1e-9))
    kept = sorted(sorted(range(len(items)), key=lambda place: keys[place])[:count])
    return [items[place] for place in kept]


#: What a kind of answer reads a gold answer as.
_READ_AS = {"choice": "a letter", "number": "a number", "yes_no": "yes or no"}


def _check_golds(item: TaskItem, task: TaskConfig, split: Split, where: str) -> None:
    """See that answers can be compared with an item's gold answers, where they are generated (never to target).

    Raises:
        ConfigError: ``answer`` cannot read one of them.
    """
    if split == "target" or (item.choices and task.metric != "exact_match"):
        return
    letters = LETTERS[: len(item.choices)]
    for field, gold in zip(("answer", *["aliases"] * len(item.aliases)), item.accepted(), strict=True):
        if not can_be_gold(gold, letters, kind=task.answer):
            raise ConfigError(
                f"{where}: field '{field}' of task '{task.name}' is '{gold[:40]}', which tasks[].answer '{task.answer}' does not "
                f"read as {_READ_AS[task.answer]}: write it as {_READ_AS[task.answer]}, or set tasks[].answer to text."
            )


def _checked(items: list[TaskItem], task: TaskConfig, split: Split, where: str) -> list[TaskItem]:
    if task.metric in OPTION_METRICS and split != "target" and not all(item.options() for item in items):
        raise ConfigError(
            f"Task '{task.name}': metric '{task.metric}' needs 'choices' (or an answer of yes or no) on every item of "
            f"{where}."
        )
    return items


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
        raise ConfigError(f"{where}: half a character (a lone surrogate such as \\ud800); fix the text.") from None
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
