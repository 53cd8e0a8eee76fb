"""What is in a pool, counted: sources, lengths, turns, roles, system prompts, exact duplicates.

The table is read a batch at a time, with columnar functions alone, so that memory holds a few numbers and a hash a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from autoselection.pool.pool import Pool
from autoselection.pool.rows import turn_texts
from autoselection.segmentation import counted, same_text

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
#: System prompts listed by their text.
_LISTED_PROMPTS = 5
_LENGTHS = ("prompt_characters", "response_characters", "prompt_words", "response_words", "turns")
#: What some turns have, and how it is called here.
_ROWS_WITH = {"tool_calls": "calls", "reasoning_content": "reasoning", "weight": "context_only", "name": "names"}
_BATCH_ROWS = 16_384
_SHOWN_CHARACTERS = 80

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Distribution:
    """A number a row, summed up.

    Attributes:
        mean: over the rows that have one (None if there are none).
        quantiles: value by share of the rows at or below it (``QUANTILES``); empty if there are none.
        missing: rows without a value.
    """

    rows: int
    mean: float | None
    quantiles: Mapping[float, float]
    missing: int = 0

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Distribution:
        """Of an array in which NaN stands for a missing value."""
        known = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        if not len(known):
            return cls(len(values), None, {}, len(values))
        found = np.quantile(known.astype(np.float64), QUANTILES)
        return cls(
            rows=len(values),
            mean=float(known.mean(dtype=np.float64)),
            quantiles=dict(zip(QUANTILES, found.tolist(), strict=True)),
            missing=len(values) - len(known),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; quantiles are named p0, p5, …, p100."""
        named = {f"p{share * 100:g}": value for share, value in self.quantiles.items()}
        return {"rows": self.rows, "missing": self.missing, "mean": self.mean, **named}


@dataclass(frozen=True)
class Duplicates:
    """Rows that say the same: texts that are equal but for Unicode form, line ends and blanks at the ends of lines.

    Attributes:
        groups: distinct texts that occur more than once.
        rows: rows that have such a text.
        extra: rows that would go if one of each group stayed.
    """

    groups: int
    rows: int
    extra: int

    @classmethod
    def of(cls, keys: npt.NDArray[np.generic]) -> Duplicates:
        """Of one key a row; rows with equal keys are a group."""
        counts = np.unique(keys, return_counts=True)[1]
        repeated = counts[counts > 1]
        return cls(len(repeated), int(repeated.sum()), int(repeated.sum()) - len(repeated))

    def to_dict(self) -> dict[str, int]:
        """As JSON values."""
        return {"groups": self.groups, "rows": self.rows, "extra": self.extra}


@dataclass(frozen=True)
class SystemPrompts:
    """System turns. ``most_common``: beginnings of the texts found most often, with the rows that have them."""

    rows: int
    distinct: int
    most_common: tuple[tuple[str, int], ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        listed = [{"text": text, "rows": rows} for text, rows in self.most_common]
        return {"rows": self.rows, "distinct": self.distinct, "most_common": listed}


@dataclass(frozen=True)
class PoolDescription:
    """What a pool holds, from its rows alone.

    Attributes:
        sources: rows of each source.
        lengths: characters and words of prompt (all turns but the assistant's) and response, and turns, of each row.
        roles: turns of each role.
        multi_turn: rows with more than one assistant turn.
        rows_with: rows that have tools, calls, reasoning, answers of weight 0 (``context_only``), names of speakers.
        exact_duplicates: rows with the same text.
        same_prompt: rows with the same prompt.
    """

    rows: int
    skipped: int
    fingerprint: str
    bytes: int
    sources: Mapping[str, int]
    lengths: Mapping[str, Distribution]
    roles: Mapping[str, int]
    multi_turn: int
    rows_with: Mapping[str, int]
    system_prompts: SystemPrompts
    exact_duplicates: Duplicates
    same_prompt: Duplicates
    special_tokens: Mapping[str, int]
    special_token_rows: int
    appended: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "rows": self.rows,
            "skipped": self.skipped,
            "fingerprint": self.fingerprint,
            "bytes": self.bytes,
            "appended": list(self.appended),
            "sources": {
                name: {"rows": rows, "share": rows / self.rows if self.rows else 0.0}
                for name, rows in self.sources.items()
            },
            "lengths": {name: found.to_dict() for name, found in self.lengths.items()},
            "roles": dict(self.roles),
            "multi_turn": self.multi_turn,
            "rows_with": dict(self.rows_with),
            "system_prompts": self.system_prompts.to_dict(),
            "exact_duplicates": self.exact_duplicates.to_dict(),
            "same_prompt": self.same_prompt.to_dict(),
            "special_tokens": dict(self.special_tokens),
            "special_token_rows": self.special_token_rows,
        }


def describe_pool(pool: Pool) -> PoolDescription:
    """Count what a pool holds. Reads every row once, in bounded memory."""
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    roles: Counter[str] = Counter()
    systems: Counter[int] = Counter()  # by hash: a pool may have a system prompt of its own for every row
    beginnings: dict[int, str] = {}
    rows_with = dict.fromkeys(("tools", *_ROWS_WITH.values()), 0)
    for batch in pool.table.select(["messages", "tools"]).to_batches(max_chunksize=_BATCH_ROWS):
        frame = _turns(batch.column("messages"))
        rows_with["tools"] += len(batch) - batch.column("tools").null_count
        for field, name in _ROWS_WITH.items():
            rows_with[name] += _rows_that_have(batch.column("messages"), field)
        roles.update(dict(frame.group_by("role").len().iter_rows()))
        for name, values in _per_row(frame, len(batch)).items():
            parts.setdefault(name, []).append(values)
        prompts = frame.filter(pl.col("role") == "system").group_by("content").len()
        hashes = prompts["content"].hash(seed=0).to_list()
        systems.update(dict(zip(hashes, prompts["len"].to_list(), strict=True)))
        beginnings |= zip(hashes, prompts["content"].str.head(_SHOWN_CHARACTERS).to_list(), strict=True)
    columns = {name: np.concatenate(arrays) for name, arrays in parts.items()}
    manifest = pool.manifest
    starts = [0, *(rows for _, rows in pool.parents), len(pool)]
    return PoolDescription(
        rows=len(pool),
        skipped=manifest.skipped,
        fingerprint=pool.fingerprint,
        bytes=manifest.table_bytes,
        sources=dict(sorted(manifest.sources.items(), key=lambda item: (-item[1], item[0]))),
        lengths={name: Distribution.of(columns[name]) for name in _LENGTHS},
        roles=dict(sorted(roles.items(), key=lambda item: (-item[1], item[0]))),
        multi_turn=int((columns["answers"] > 1).sum()),
        rows_with=rows_with,
        system_prompts=SystemPrompts(
            rows=int(columns["system"].sum()),
            distinct=len(systems),
            most_common=tuple(
                (beginnings[found], count)
                for found, count in sorted(systems.items(), key=lambda item: (-item[1], beginnings[item[0]]))
            )[:_LISTED_PROMPTS],
        ),
        exact_duplicates=Duplicates.of(columns["text"]),
        same_prompt=Duplicates.of(columns["prompt"]),
        special_tokens=manifest.special_tokens.counts,
        special_token_rows=manifest.special_tokens.rows,
        appended=tuple(np.diff(starts)[1:].tolist()),
    )


def _turns(conversations: Any) -> pl.DataFrame:
    """A turn a row: which conversation it belongs to, its role and its text (``turn_text``)."""
    lengths = conversations.value_lengths().to_numpy(zero_copy_only=False)
    flat = conversations.flatten()
    frame = pl.from_arrow(pa.table({"role": flat.field("role"), "content": turn_texts(conversations)}))
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(pl.Series("row", np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)))


def _rows_that_have(conversations: Any, field: str) -> int:
    """Conversations in which a turn has a field."""
    column = conversations.flatten().field(field)
    if column.null_count == len(column):
        return 0
    lengths = conversations.value_lengths().to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(len(lengths)), lengths)
    return len(np.unique(row[column.is_valid().to_numpy(zero_copy_only=False)]))


def _per_row(frame: pl.DataFrame, rows: int) -> dict[str, npt.NDArray[Any]]:
    """Numbers of each row of a batch of turns; ``text`` and ``prompt`` are hashes of the texts."""
    row = frame["row"].to_numpy()
    role = frame["role"]
    answer = (role == "assistant").to_numpy()
    characters = frame["content"].str.len_chars().to_numpy()
    words, _ = counted(frame["content"].to_list())
    turn_hash = _normal_hashes(frame)
    return {
        "prompt_characters": _sums(row, characters * ~answer, rows),
        "response_characters": _sums(row, characters * answer, rows),
        "prompt_words": _sums(row, words * ~answer, rows),
        "response_words": _sums(row, words * answer, rows),
        "turns": _sums(row, np.ones(len(row)), rows),
        "answers": _sums(row, answer, rows),
        "system": _sums(row, (role == "system").to_numpy(), rows) > 0,
        "text": _chained(row, turn_hash, rows),
        "prompt": _chained(row[~answer], turn_hash[~answer], rows),
    }


def _sums(row: IntArray, values: npt.NDArray[Any], rows: int) -> IntArray:
    return np.bincount(row, weights=values, minlength=rows).astype(np.int64)


def _normal_hashes(frame: pl.DataFrame) -> npt.NDArray[np.uint64]:
    """64-bit hash of each turn's role and content."""
    content = pl.Series("content", map(same_text, frame["content"].to_list()), dtype=pl.String)
    hashed = frame.select(pl.struct(pl.col("role"), content).hash(seed=0))
    return hashed.to_series().to_numpy()


def _chained(row: IntArray, hashes: npt.NDArray[np.uint64], rows: int) -> npt.NDArray[np.uint64]:
    """One hash a row of the hashes of its turns, in order: ``Σ (hash + 1)·Kⁱ`` modulo 2⁶⁴ with i the turn's number."""
    first = np.searchsorted(row, row, side="left")
    weight = np.full(len(row), 0x9E3779B97F4A7C15, np.uint64) ** (np.arange(len(row)) - first).astype(np.uint64)
    mixed = (hashes + np.uint64(1)) * weight
    total = np.zeros(rows, np.uint64)
    np.add.at(total, row, mixed)
    return total
