"""From public files to ``target.jsonl``, ``dev.jsonl``, ``test.jsonl``, a task file for lm-evaluation-harness, a manifest.

Splits depend on the content of items and a seed alone: not on the order of files, nor on ids, nor on the process. No
item stands twice, within a split or across them. Files that say which split they are keep it: ``test`` stays test, and
target and dev are cut from ``train``; items of files that say nothing are cut into all three, and so are those of files
whose names all say the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from autoselection.errors import ConfigError
from autoselection.files import write_texts
from autoselection.tasks import LETTERS, TASK_NAME
from autoselection.tasks.answers.plain import normalised
from autoselection.tasks.convert.formats import BENCHMARKS, BenchmarkFormat, ItemDraft
from autoselection.tasks.convert.golds import BeyondOptions, MissingField, Unusable
from autoselection.tasks.convert.harness_file import harness_file
from autoselection.tasks.convert.sources import ReadingOptions, SourceFile, records, source_files
from autoselection.wording import suggestion

#: Which split keeps an item that several files hold.
_KEEPS = ("test", "dev", "validation", "target", "train", None)

#: A subtask of yes/no items with so many items and one answer measures nothing (count).
_CONSTANT_ITEMS = 10

#: Numbers that have a decimal point, and those whose comma may stand between two.
_POINT = re.compile(r"[-+]?(?:\d+(?:,\d{3})+\.\d+|\d+\.(?:\d{1,2}|\d{4,})|0?\.\d+)")
_PAIR = re.compile(r"[-+]?\d+,\d{1,2}")

#: Records with an answer that could be two numbers that are named (count).
_MOST_REFUSED = 20

#: Items with the split that their file says.
_Drafts: TypeAlias = list[tuple[ItemDraft, str | None]]


@dataclass(frozen=True)
class ConversionReport:
    """What was written and what was left out.

    Attributes:
        items: items of each split.
        duplicates: records left out because an equal item stands already (same text and options, case and blanks aside).
        unusable: records left out, by reason.
        refused: the first records whose answer could be two numbers, each with its place.
        aliases: items with more than one accepted answer.
        constant: yes/no subtasks left out because all their items have one answer, with their items.
        most_common_answer: of dev and test together, the share of the most common answer: what a constant guess scores.
        unused: items beyond the limits of the splits.
        config: the entry for ``tasks`` of a configuration.
    """

    benchmark: str
    out: str
    items: Mapping[str, int]
    duplicates: int
    unusable: Mapping[str, int]
    constant: Mapping[str, int]
    most_common_answer: float
    unused: int
    seed: int
    refused: Sequence[str] = ()
    aliases: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe form."""
        return asdict(self)


def convert(
    name: str,
    sources: Sequence[str],
    out: Path,
    *,
    seed: int = 0,
    target: int = 100,
    dev: int = 300,
    test: int | None = None,
    keep_constant: bool = False,
    overwrite: bool = False,
    task: str | None = None,
    reading: ReadingOptions | None = None,
) -> ConversionReport:
    """Convert the files of benchmark ``name`` into the folder ``out``.

    Args:
        sources: files or folders, each with an optional ``SPLIT=`` in front (train, dev, validation, test, target).
        seed: of the splits and of shuffled options.
        target: most items of target (count; 0 writes none).
        dev: most items of dev (count).
        test: most items of test (count); None keeps all.
        keep_constant: keep yes/no subtasks whose items all have one answer.
        overwrite: replace task files that lie in ``out``.
        task: what the task is called in configurations, ids and the harness's task file; the benchmark's name if None.
        reading: names of columns, encoding and delimiter, where files do not tell them.

    Raises:
        ConfigError: no such benchmark, a source cannot be read, or counts options from 1; nothing usable is left for dev or
            test, or ``out`` is taken.
    """
    if name not in BENCHMARKS:
        raise ConfigError(f"There is no benchmark format '{name}'{suggestion(name, BENCHMARKS)}")
    task = task or name
    if not re.fullmatch(TASK_NAME, task):
        raise ConfigError(
            f"--name {task}: a task's name holds letters, digits, '_' and '-', and begins with a letter or digit."
        )
    kind = replace(BENCHMARKS[name], name=task)
    written = [out / f"{split}.jsonl" for split in ("target", "dev", "test")]
    taken = [path for path in written if path.exists()]
    if taken and not overwrite:
        raise ConfigError(f"{taken[0]} exists; name another folder, or pass --overwrite.")
    files = source_files(sources)
    own = next((path for path in taken for file in files if path.samefile(file.path)), None)
    if own is not None:
        raise ConfigError(f"{own} is a source of this benchmark and would be replaced: name another folder with --out.")
    drafts, unusable, refused = _drafts(kind, files, reading)
    if kind.answer != "text":  # of a free answer, the other one may be an alias
        drafts, contradicted = _without_contradictions(drafts)
        if contradicted:
            unusable["the same question stands twice, with different answers"] = contradicted
    unique, duplicates = _unique(drafts)
    kept, constant = (unique, {}) if keep_constant else _without_constant(kind, unique)
    limits = {"target": target, "dev": dev, "test": test}
    splits, unused = _split(kept, kind, limits, seed)
    if not (splits["dev"] and splits["test"]):
        advice = _advice(kind, files, reading, unusable, refused) if len(kept) < 2 else ""
        raise ConfigError(_nothing_left(name, kept, files, splits, _reasons(unusable, constant), advice))
    items = {split: [_record(kind, draft, seed) for draft in chosen] for split, chosen in splits.items()}
    _name_items(task, items)
    present = [split for split, entries in items.items() if entries]
    texts = {
        out / f"{split}.jsonl": "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in items[split])
        for split in present
    }
    if kind.private:
        texts[out / ".gitignore"] = "# Its authors ask that these questions not be published.\n*\n"
    aliases = sum("aliases" in entry for entries in items.values() for entry in entries)
    texts |= [harness_file(kind, out, present, aliases=aliases > 0)]
    answers = Counter(_answer_key(entry) for split in ("dev", "test") for entry in items[split])
    report = ConversionReport(
        benchmark=name,
        out=str(out),
        items={split: len(entries) for split, entries in items.items()},
        duplicates=duplicates,
        unusable=dict(unusable),
        constant=constant,
        most_common_answer=round(max(answers.values()) / sum(answers.values()), 4),
        unused=unused,
        seed=seed,
        refused=refused[:_MOST_REFUSED],
        aliases=aliases,
        config={
            "name": task,
            **{split: str(out / f"{split}.jsonl") for split in present},
            # Free answers are searched by the loss: while a model gets none right, all recipes would score the same.
            **({} if kind.metric == "exact_match" else {"metric": kind.metric}),
            "answer": kind.answer,
        },
    )
    manifest = report.to_dict() | {"sources": [_stamp(file) for file in files]}
    texts[out / "manifest.json"] = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    write_texts(texts)
    for path in taken:
        if path not in texts:
            path.unlink()
    return report


def _drafts(
    kind: BenchmarkFormat, files: Sequence[SourceFile], reading: ReadingOptions | None = None
) -> tuple[list[tuple[ItemDraft, str | None]], Counter[str], list[str]]:
    """Drafts with their splits, reasons of unusable records, and the places of answers that could be two numbers."""
    drafts: list[tuple[ItemDraft, str | None]] = []
    places: list[str] = []
    unusable: Counter[str] = Counter()
    for file in files:
        label = kind.labels.get(file.label, file.label) if file.label else None
        worked = file.path.suffix == ".txt"
        first, from_one = len(drafts), 0
        for number, record in enumerate(records(file, reading), start=1):
            try:
                draft = kind.parse(record, file)
                _check_text(draft)
            except Unusable as reason:
                unusable[str(reason)] += 1
                from_one += isinstance(reason, BeyondOptions)
                continue
            drafts.append((draft, "target" if worked else label))
            places.append(f"{file.path}, record {number}")
        if from_one and not any(draft.numbered and draft.right == 0 for draft, _ in drafts[first:]):
            raise ConfigError(
                f"{file.path}: right options seem to be counted from 1: none is number 0, and {from_one:,} records name as many "
                "as there are options. Numbers are places from 0 here: subtract 1, or give letters (A, B, …) or the options' texts."
            )
    pairs = [draft for draft, _ in drafts if draft.form == "decimal comma"]
    if not pairs:
        return drafts, unusable, []
    clear = [draft for draft, _ in drafts if draft.form == "clear"]
    points = any(_POINT.fullmatch(draft.raw.strip()) or re.search(r"[\\,]", draft.answer) for draft in clear)
    if points and all(_PAIR.fullmatch(draft.raw.strip()) for draft in pairs):
        # "1,2" among "2.5" or "\frac12" is no proof of decimal commas: it may be two roots.
        form, told = "decimal comma", "the answer could be a number or two (1,2)"
        why = "could be a number or two, since others in these files have a decimal point or are mathematics"
    else:
        form, told = "ambiguous", "the answer could be two numbers (1.234 or 1234)"
        why = "could be two numbers, since others in these files have a decimal comma"
    refused = [
        f"{place}: '{draft.raw[:40]}' {why}"
        for place, (draft, _) in zip(places, drafts, strict=True)
        if draft.form == form
    ]
    if refused:
        unusable[told] = len(refused)
    return [entry for entry in drafts if entry[0].form != form], unusable, refused


def _check_text(draft: ItemDraft) -> None:
    texts = (draft.prompt, draft.answer, *draft.choices, *draft.aliases, draft.rationale or "", draft.subtask or "")
    try:
        "".join((*texts, draft.source_id or "")).encode("utf-8")
    except UnicodeEncodeError:
        raise Unusable("half a character in its text (a lone surrogate)") from None


def _content(draft: ItemDraft) -> str:
    """What makes two items the same: the text and the set of options, case and blanks aside."""
    parts = [draft.prompt, *sorted(draft.choices)]
    return "\0".join(" ".join(part.casefold().split()) for part in parts)


def _without_contradictions(drafts: _Drafts) -> tuple[_Drafts, int]:
    """Without the questions of which two records give different right answers, and how many records that were."""
    right: dict[str, set[str]] = {}
    several: set[str] = set()
    for draft, _ in drafts:
        own = {normalised(text) for text in (draft.answer, *draft.aliases, *draft.choices[draft.right :][:1]) if text}
        common = right.setdefault(_content(draft), own)
        common &= own
        if not common:
            several.add(_content(draft))
    kept = [entry for entry in drafts if _content(entry[0]) not in several]
    return kept, len(drafts) - len(kept)


def _unique(drafts: _Drafts) -> tuple[_Drafts, int]:
    kept: dict[str, tuple[ItemDraft, str | None]] = {}
    for entry in sorted(drafts, key=lambda entry: _KEEPS.index(entry[1])):
        kept.setdefault(_content(entry[0]), entry)
    return list(kept.values()), len(drafts) - len(kept)


def _without_constant(
    kind: BenchmarkFormat, drafts: Sequence[tuple[ItemDraft, str | None]]
) -> tuple[list[tuple[ItemDraft, str | None]], dict[str, int]]:
    if kind.answer != "yes_no":
        return list(drafts), {}
    answers: dict[str, Counter[str]] = {}
    for draft, _ in drafts:
        answers.setdefault(draft.subtask or "", Counter())[draft.answer] += 1
    constant = {
        subtask: sum(counts.values())
        for subtask, counts in answers.items()
        if len(counts) == 1 and sum(counts.values()) >= _CONSTANT_ITEMS
    }
    return [entry for entry in drafts if (entry[0].subtask or "") not in constant], constant


def _split(
    drafts: Sequence[tuple[ItemDraft, str | None]], kind: BenchmarkFormat, limits: Mapping[str, int | None], seed: int
) -> tuple[dict[str, list[ItemDraft]], int]:
    """Cut into target, dev and test; the order within each is that of the seeded hashes."""
    parts: dict[str | None, list[ItemDraft]] = {}
    for draft, label in sorted(drafts, key=lambda entry: _rank(entry[0], seed)):
        parts.setdefault({"validation": "dev"}.get(label or "", label), []).append(draft)
    free, train = parts.get(None, []), parts.get("train", [])
    for_test = None if parts.get("test") else free or train
    chosen: dict[str, list[ItemDraft]] = {}
    for split in ("target", "dev", "test"):
        own, limit = parts.get(split, []), limits[split]
        if own:
            chosen[split] = own if limit is None else own[:limit]
            continue
        supply = (for_test or []) if split == "test" else train or free
        take = len(supply) if limit is None else min(limit, len(supply))
        others = (supply is for_test and split != "test") + (split == "target" and not parts.get("dev"))
        if others:  # leave something for them
            take = max(0, min(take, len(supply) // 2 if len(supply) > others else 1, len(supply) - others))
        chosen[split], supply[:take] = supply[:take], []
    return chosen, len(drafts) - sum(map(len, chosen.values()))


def _rank(draft: ItemDraft, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}\0{_content(draft)}".encode(), digest_size=16).digest()


def _record(kind: BenchmarkFormat, draft: ItemDraft, seed: int) -> dict[str, Any]:
    content = hashlib.blake2b(_content(draft).encode(), digest_size=6).hexdigest()
    entry: dict[str, Any] = {"id": draft.source_id or content, "task": kind.name, "prompt": draft.prompt}
    if draft.choices:
        order = list(range(len(draft.choices)))
        if kind.shuffle:
            order = option_order(entry["id"], len(order), seed)
        entry["answer"] = LETTERS[order.index(draft.right)]
        entry["choices"] = [draft.choices[index] for index in order]
    else:
        entry["answer"] = draft.answer
        if draft.aliases:
            entry["aliases"] = list(draft.aliases)
    if draft.rationale:
        entry["rationale"] = draft.rationale
    if draft.subtask:
        entry["subtask"] = draft.subtask
    return entry


def option_order(item_id: str, options: int, seed: int) -> list[int]:
    """A permutation of the options of an item that depends on its id and the seed alone, now and in later versions."""
    keys = [hashlib.blake2b(f"{seed}\0{item_id}\0{index}".encode(), digest_size=8).digest() for index in range(options)]
    return sorted(range(options), key=keys.__getitem__)


def _name_items(name: str, items: Mapping[str, list[dict[str, Any]]]) -> None:
    """Make ids unique in the benchmark: an id of the source that stands twice is followed by a number that no other has."""
    entries = [entry for split in ("target", "dev", "test") for entry in items[split]]
    own = {f"{name}-{entry['id']}" for entry in entries}
    seen: Counter[str] = Counter()
    for entry in entries:
        identifier = first = f"{name}-{entry['id']}"
        seen[first] += 1
        while seen[first] > 1 and identifier in own:
            identifier = f"{first}-{seen[first]}"
            seen[first] += identifier in own
        own.add(identifier)
        entry["id"] = identifier


def _answer_key(entry: Mapping[str, Any]) -> str:
    return str(entry["answer"])


def _nothing_left(
    name: str,
    kept: Sequence[tuple[ItemDraft, str | None]],
    files: Sequence[SourceFile],
    splits: Mapping[str, Sequence[ItemDraft]],
    reasons: str,
    advice: str,
) -> str:
    """Why dev or test is empty, and what fills it."""
    empty = " and ".join(split for split in ("dev", "test") if not splits[split])
    told = f"{name}: {len(kept)} usable items leave none for {empty} ({reasons})"
    labels = sorted({file.label for file in files if file.label})
    if len(kept) < 2:
        return f"{told}; dev and test need one item each.{advice}"
    if labels and len(kept) > 1 and all(file.label for file in files) and "train" not in labels:
        return (
            f"{told}: every source is {' or '.join(labels)}; name one for {empty} as well (--split {empty.split()[-1]}=FILE), "
            "or give a single --source FILE without a split, which is cut into all three."
        )
    return f"{told}; give a source for {empty} (--split {empty.split()[-1]}=FILE)."


def _advice(
    kind: BenchmarkFormat,
    files: Sequence[SourceFile],
    reading: ReadingOptions | None,
    unusable: Counter[str],
    refused: Sequence[str],
) -> str:
    """What helps where hardly a record is an item, against the most common reason; empty if nothing else is to be said."""
    most = unusable.most_common(1)
    for file in files if most else ():
        for record in records(file, reading):
            try:
                kind.parse(record, file)
            except Unusable as reason:
                if str(reason) == most[0][0]:
                    return _fields(files, reading) if isinstance(reason, MissingField) else _remedy(kind, reason)
    if refused:
        return " Write numbers with a decimal point and no separators (1234.5), and two numbers with a blank between (1, 5)."
    return ""


def _remedy(kind: BenchmarkFormat, reason: Unusable) -> str:
    if reason.value is None:
        return (
            f" {reason.remedy[0].upper()}{reason.remedy[1:]}." if reason.remedy else f" This format reads {kind.files}."
        )
    remedy = reason.remedy or f"write the answers as this format reads them ({kind.files})"
    return f" The first such answer is '{str(reason.value)[:40]}': {remedy}."


def _fields(files: Sequence[SourceFile], reading: ReadingOptions | None) -> str:
    """Sentences that name the fields of the first record, and how others are named."""
    first = next((record for file in files for record in records(file, reading)), None)
    named = (
        f" The first record has the fields {', '.join(repr(str(field)) for field in list(first)[:12])}."
        if isinstance(first, Mapping)
        else ""
    )
    return f"{named} Columns of other names are mapped: --map question=COLUMN,answer=COLUMN."


def _reasons(unusable: Mapping[str, int], constant: Mapping[str, int]) -> str:
    found = [f"{count} records: {reason}" for reason, count in unusable.items()]
    found += [f"{count} items of {subtask}: one answer for all" for subtask, count in constant.items()]
    return "; ".join(found) or "all records were usable"


def _stamp(file: SourceFile) -> dict[str, Any]:
    digest = hashlib.blake2b(file.path.read_bytes(), digest_size=16).hexdigest()
    return {"file": file.path.name, "split": file.label, "blake2b": digest}
