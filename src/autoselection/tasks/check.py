"""Whether benchmarks can be trusted: repeated items, items that two splits share, one answer for all, ids used twice.

Items are the same if their prompts and their sets of options are, letter case and white space aside. An id twice in one
file is always refused (``tasks.load_items``): item scores are kept by id.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from autoselection.tasks import Split, TaskConfig, TaskItem, load_items

#: Fewer items than this may all have one answer by chance.
_ANSWERS_FROM = 5
#: Ids named in a sentence.
_NAMED = 10

Key = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class TaskProblem:
    """Something wrong with the benchmarks.

    Attributes:
        kind: ``repeated``, ``shared``, ``one answer`` or ``ids``.
        where: the ``task/split`` concerned, one or two.
        items: pairs of ids (the later and the earlier item), or the ids concerned.
        sentence: the finding for people.
    """

    kind: str
    where: tuple[str, ...]
    items: tuple[str, ...]
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data for the journal."""
        return asdict(self)


def check_benchmarks(tasks: Sequence[TaskConfig], *, test: bool = True) -> list[TaskProblem]:
    """Look through target, dev and (with ``test``) test of every task, as far as tasks bring them.

    Raises:
        ConfigError: a file is missing or malformed, or uses an id twice.
    """
    splits: tuple[Split, ...] = ("target", "dev", "test") if test else ("target", "dev")
    parts: dict[tuple[str, str], list[TaskItem]] = {
        (task.name, split): load_items(task, split) for task in tasks for split in splits if task.brings(split)
    }
    findings = [found for (task, split), items in parts.items() for found in _within(f"{task}/{split}", split, items)]
    keys = {part: {_key(item): item.id for item in reversed(items)} for part, items in parts.items()}
    ordered = list(parts)
    for place, first in enumerate(ordered):
        for second in ordered[place + 1 :]:
            if first[1] != second[1]:
                findings += _between(first, second, keys, parts)
    return findings


def _key(item: TaskItem) -> Key:
    return _plain(item.prompt), tuple(sorted(map(_plain, item.choices)))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _within(where: str, split: str, items: Sequence[TaskItem]) -> list[TaskProblem]:
    first: dict[Key, str] = {}
    repeated = []
    for item in items:
        earlier = first.setdefault(_key(item), item.id)
        if earlier != item.id:
            repeated.append(f"{item.id} = {earlier}")
    found = []
    if repeated:
        sentence = f"{where}: {len(repeated):,} of {len(items):,} items repeat an earlier one ({_listed(repeated)})."
        found.append(TaskProblem("repeated", (where,), tuple(repeated), sentence))
    answers = {_plain(item.answer) for item in items}
    if split != "target" and len(answers) == 1 and len(items) >= _ANSWERS_FROM:
        sentence = f"{where}: all {len(items):,} items have the answer '{items[0].answer[:40]}'."
        found.append(TaskProblem("one answer", (where,), (), sentence))
    return found


def _between(
    first: tuple[str, str],
    second: tuple[str, str],
    keys: Mapping[tuple[str, str], Mapping[Key, str]],
    parts: Mapping[tuple[str, str], Sequence[TaskItem]],
) -> list[TaskProblem]:
    where = tuple("/".join(part) for part in (first, second))
    found = []
    pairs = [(keys[second][key], name) for key, name in keys[first].items() if key in keys[second]]
    shared = [name if other == name else f"{other} = {name}" for other, name in pairs]
    if shared:
        sentence = f"{where[0]} and {where[1]} share {len(shared):,} items ({_listed(shared)})."
        found.append(TaskProblem("shared", where, tuple(shared), sentence))
    if first[0] == second[0]:
        known = {item.id: _key(item) for item in parts[first]}
        twice = [item.id for item in parts[second] if item.id in known and known[item.id] != _key(item)]
        if twice:
            sentence = f"{where[0]} and {where[1]} use {len(twice):,} ids for different items ({_listed(twice)})."
            found.append(TaskProblem("ids", where, tuple(twice), sentence))
    return found


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
