"""The dataset card of an exported subset: how it was selected, what each step dropped, and how it scored.

Names of sources, tasks and models come from data and are untrusted: YAML is written by a YAML writer, everything
in the text is escaped, so that no name can add a heading, a link, a table cell or a front-matter key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from autoselection.documents import dump_yaml, parse_yaml
from autoselection.errors import ConfigError
from autoselection.markup import escape, one_line
from autoselection.notebook import number
from autoselection.recipes.lineage_warnings import lineage_remarks
from autoselection.recipes.state import shown_numbers

#: Tag in the front matter of every card: what tells them from a README of somebody else.
TAG = "autoselection"

_MAX_NAME = 200
_MAX_SOURCES = 50
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True)
class DatasetCard:
    """What a card tells besides the counts, which the export fills in.

    Attributes:
        title: name of the dataset, for people.
        recipe: the recipe as a document (``Recipe.to_dict()``).
        lineage: one mapping a step (``StepLineage.to_dict()``): operator, params, rows_in, rows_out, dropped, missing.
        state: the state vector (``StateVector.to_dict()``); nested mappings are flattened, of many sources the largest
            are told, None is "not measured".
        scores: rows of the score table: label → {task: score, higher is better}; None is "failed or not measured".
        weights: by how much the tasks count in the mean of the score table, where they do not count alike: task → weight.
        scores_about: what the scores are (split, metric, seeds), one sentence.
        base_model: the model the subset was selected for.
        seed: seed of the recipe's randomized steps.
        recipe_hash: hash of the canonical recipe.
        subset_hash: hash of the set of rows.
        license: identifier of the data's licence for the front matter, if it is known.
        description: a paragraph in the user's words.
    """

    title: str
    recipe: Mapping[str, Any]
    lineage: Sequence[Mapping[str, Any]] = ()
    state: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    scores_about: str | None = None
    base_model: str | None = None
    seed: int | None = None
    recipe_hash: str | None = None
    subset_hash: str | None = None
    license: str | None = None
    description: str | None = None


def render_card(
    card: DatasetCard,
    *,
    rows: int,
    pool_rows: int,
    pool_fingerprint: str,
    sources: Mapping[str, tuple[int, int]],
    columns: Mapping[str, str],
    data_files: str = "data/train-*.parquet",
    copies: Mapping[str, int] = MappingProxyType({}),
) -> str:
    """The card as Markdown with YAML front matter.

    Args:
        card: what to tell.
        rows: rows of the subset, with copies.
        pool_rows: rows of the pool it was cut from.
        pool_fingerprint: content hash of that pool.
        sources: rows in the subset (with copies) and rows in the pool, by source.
        columns: what the columns hold, by name (Markdown, not escaped).
        data_files: pattern of the files of rows, from the card's folder.
        copies: rows of the subset that stand there once more, by source.
    """
    different = rows - sum(copies.values())
    share = different / pool_rows if pool_rows else 0.0
    parts = [
        _front_matter(card, rows, data_files),
        f"# {escape(card.title)}",
        f"{different:,} of the {pool_rows:,} rows ({share:.1%}) of a fixed instruction pool, selected by the recipe below "
        "with AutoSelection. No row was changed or rewritten.",
    ]
    if different < rows:
        parts.append(
            f"With copies it has {rows:,} rows: one that counts more than once stands there as often, under one id."
        )
    if card.description:
        parts.append(escape(card.description, limit=4000))
    facts = [
        ("Base model", card.base_model),
        ("Pool fingerprint", pool_fingerprint),
        ("Recipe hash", card.recipe_hash),
        ("Subset hash", card.subset_hash),
        ("Seed", card.seed),
    ]
    parts.append("\n".join(f"- {name}: {escape(value)}" for name, value in facts if value is not None))
    parts += ["## Recipe", _fenced(dump_yaml(_plain(card.recipe)), "yaml")]
    if card.lineage:
        parts += ["## What each step did", _lineage_table(card.lineage)]
        parts += [f"- {escape(said, limit=1000)}" for said in lineage_remarks(card.lineage)]
    if card.scores:
        parts += ["## Scores"]
        if card.scores_about:
            parts.append(escape(card.scores_about, limit=1000))
        parts.append(_score_table(card.scores, card.weights))
    state = shown_numbers([card.state])[0]
    if state:
        parts += [
            "## State vector",
            _table(("measure", "value"), [(escape(name), _number(value)) for name, value in state.items()]),
        ]
    parts += ["## Sources", _source_table(sources, copies)]
    parts += [
        "## Columns",
        "\n".join(f"- {_code(name)}: {what}" for name, what in columns.items()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def is_card(text: str) -> bool:
    """Whether a README is such a card: its front matter has the tag."""
    match = re.match(r"---\n(.*?)\n---\s", text, re.DOTALL)
    try:
        document = parse_yaml(match[1], "front matter")[0] if match else None
    except ConfigError:
        return False
    tags = document.get("tags") if isinstance(document, dict) else None
    return isinstance(tags, list) and TAG in tags


def _code(name: str) -> str:
    """A column's name as code; escaped where it is not a plain one."""
    return f"`{name}`" if re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name) else escape(name)


def _front_matter(card: DatasetCard, rows: int, data_files: str) -> str:
    document: dict[str, Any] = {"pretty_name": one_line(card.title)[:_MAX_NAME]}
    if card.license:
        document["license"] = one_line(card.license)[:_MAX_NAME]
    document |= {
        "task_categories": ["text-generation"],
        "tags": [TAG, "data-selection", "instruction-tuning"],
        "size_categories": [next((name for limit, name in _SIZES if rows < limit), "n>1M")],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": data_files}]}],
    }
    # One line a scalar: a folded one could put "---" at the start of a line.
    text = dump_yaml(document, width=10**6)
    return f"---\n{text}---"


def _fenced(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: bool = True) -> str:
    """A Markdown table; cells are escaped by the caller. All columns but the first are numbers."""
    rule = ["---", *(["---:" if numeric else "---"] * (len(header) - 1))]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def _lineage_table(lineage: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for place, step in enumerate(lineage, start=1):
        params = step.get("params")
        told = (
            ", ".join(f"{name}={_short(value)}" for name, value in params.items())
            if isinstance(params, Mapping)
            else ""
        )
        counts = [_number(step.get(name)) for name in ("rows_in", "rows_out", "dropped", "missing")]
        rows.append((str(place), escape(step.get("operator", "")), escape(told, limit=400), *counts))
    return _table(("step", "operator", "parameters", "rows in", "rows out", "dropped", "without score"), rows)


def _score_table(scores: Mapping[str, Mapping[str, float | None]], weights: Mapping[str, float]) -> str:
    tasks = list(dict.fromkeys(task for row in scores.values() for task in row))
    rows = []
    for label, row in scores.items():
        values = [row.get(task) for task in tasks]
        known = [value for value in values if value is not None and math.isfinite(value)]
        by = [weights.get(task, 1.0) for task in tasks]
        total = sum(value * weight for value, weight in zip(known, by, strict=False))
        mean = _number(total / sum(by)) if len(known) == len(tasks) and sum(by) > 0 else "–"
        rows.append((escape(label), *map(_number, values), mean))
    named = (f"{escape(task)} (weight {weights[task]:g})" if task in weights else escape(task) for task in tasks)
    return _table(("subset", *named, "mean by weights" if weights else "mean"), rows)


def _source_table(sources: Mapping[str, tuple[int, int]], copies: Mapping[str, int]) -> str:
    """Rows of each source; where some count more than once, different ones and all with copies."""
    ordered = sorted(sources.items(), key=lambda item: (-item[1][0], item[0]))
    counted = [(escape(name), [kept - copies.get(name, 0), kept, total]) for name, (kept, total) in ordered]
    shown, rest = counted[:_MAX_SOURCES], [counts for _, counts in counted[_MAX_SOURCES:]]
    if rest:
        shown.append((f"{len(rest)} more", [sum(column) for column in zip(*rest, strict=True)]))
    header = ["source", "rows", "with copies", "rows in the pool"]
    lines = [[name, *(f"{count:,}" for count in counts)] for name, counts in shown]
    if not copies:
        header, lines = [*header[:2], header[3]], [[*line[:2], line[3]] for line in lines]
    return _table(header, lines)


def _number(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return escape(value)
    return number(value)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """Plain containers and scalars, for the safe YAML writer."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.item() if hasattr(value, "item") else str(value)
