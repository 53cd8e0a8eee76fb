"""The signals of this package that need nothing but a row's text, in the form that plugins have too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from autoselection.signals.contract import Reads, Signal, response_of
from autoselection.signals.families import minhash as duplicates
from autoselection.signals.families import shingles, syntax, text, traces
from autoselection.signals.families.repetition import repetition
from autoselection.signals.store import Shard
from autoselection.signals.table import MinHashParams


def _at_least(signal: str, name: str, value: int, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ValueError(f"{signal}: '{name}' must be a whole number of at least {low}, not {value!r}")


@dataclass(frozen=True)
class Tokens(Signal):
    """Words and symbols; ``score_pool`` counts with the model's tokenizer instead if it is given a model."""

    name = "tokens"
    columns = ("n_tokens", "n_prompt_tokens", "n_response_tokens")
    version = 2
    shard_rows = 4096

    @property
    def params(self) -> Mapping[str, Any]:
        return {"tokenizer": "words and symbols"}

    def compute(self, rows: Sequence[Any]) -> Shard:
        return Shard(text.count_tokens(rows))


@dataclass(frozen=True)
class NgramEntropy(Signal):
    """Entropy of the distribution of n-grams of words and symbols."""

    n: int = 1

    name = "ngram_entropy"
    columns = ("ngram_entropy",)
    version = 2
    reads: ClassVar[Reads] = "texts"

    def __post_init__(self) -> None:
        _at_least(self.name, "n", self.n, 1)

    @property
    def params(self) -> Mapping[str, Any]:
        return {"n": self.n}

    def compute(self, rows: Sequence[Any]) -> Shard:
        return Shard({"ngram_entropy": text.ngram_entropy(rows, self.n)})


@dataclass(frozen=True)
class ActionObjectBranching(Signal):
    """Verbs and what hangs on them; the spaCy model is looked up when the parameters are asked for."""

    parser: str = "en_core_web_sm"
    max_characters: int = 100_000

    name = syntax.SIGNAL
    columns = (syntax.SIGNAL,)
    reads: ClassVar[Reads] = "texts"
    shard_rows = 1024

    def __post_init__(self) -> None:
        _at_least(self.name, "max_characters", self.max_characters, 1)

    @property
    def params(self) -> Mapping[str, Any]:
        package, version = syntax.find_parser(self.parser)
        return {"parser": f"{package}-{version}", "max_characters": self.max_characters}

    def compute(self, rows: Sequence[Any]) -> Shard:
        parser = syntax.load_parser(syntax.find_parser(self.parser)[0])
        scores, stats = syntax.action_object_branching(rows, parser, max_characters=self.max_characters)
        return Shard({syntax.SIGNAL: scores}, stats)


@dataclass(frozen=True)
class TextHash(Signal):
    """Hash of the text, by which exact duplicates are found."""

    name = "text_hash"
    columns = ("text_hash",)
    version = 2
    reads: ClassVar[Reads] = "texts"

    def compute(self, rows: Sequence[Any]) -> Shard:
        return Shard({"text_hash": duplicates.text_hashes(rows)})


@dataclass(frozen=True)
class MinHash(Signal):
    """MinHash signatures of n-grams of words and symbols."""

    ngram_size: int = 5
    num_perm: int = 128
    seed: int = 0

    name = "minhash"
    columns = ("minhash",)
    version = 3
    reads: ClassVar[Reads] = "texts"

    def __post_init__(self) -> None:
        for name, low in (("ngram_size", 1), ("num_perm", 16), ("seed", 0)):
            _at_least(self.name, name, getattr(self, name), low)

    @property
    def params(self) -> Mapping[str, Any]:
        return {
            "ngram_size": self.ngram_size,
            "num_perm": self.num_perm,
            "seed": self.seed,
            "shingles": shingles.VERSION,
        }

    def compute(self, rows: Sequence[Any]) -> Shard:
        params = MinHashParams(self.ngram_size, self.num_perm, self.seed)
        return Shard({"minhash": duplicates.minhash_signatures(rows, params)})


@dataclass(frozen=True)
class Lengths(Signal):
    """Words, characters and turns."""

    name = "lengths"
    columns = ("n_prompt_words", "n_response_words", "n_prompt_characters", "n_response_characters", "n_turns")
    version = 2

    def compute(self, rows: Sequence[Any]) -> Shard:
        return Shard(text.lengths(rows))


@dataclass(frozen=True)
class Repetition(Signal):
    """Share of the response's character n-grams that repeat earlier ones."""

    n: int = 8

    name = "repetition"
    columns = ("repetition",)
    version = 2

    def __post_init__(self) -> None:
        _at_least(self.name, "n", self.n, 1)

    @property
    def params(self) -> Mapping[str, Any]:
        return {"n": self.n}

    def compute(self, rows: Sequence[Any]) -> Shard:
        responses = [response_of(messages) for messages in rows]
        empty = sum(not response.strip() for response in responses)
        return Shard({"repetition": repetition(responses, self.n)}, {"empty_response": empty})


@dataclass(frozen=True)
class TraceFaults(Signal):
    """What is wrong with traces of tool calls and reasoning: a count for each kind of fault, and all of them together."""

    name = "trace_faults"
    columns = ("trace_faults", *traces.FAULTS, traces.BAD_SCHEMAS)
    version = 2
    reads: ClassVar[Reads] = "conversations"

    def compute(self, rows: Sequence[Any]) -> Shard:
        found = np.full((len(rows), len(self.columns)), np.nan, np.float32)
        for i, row in enumerate(rows):
            if row.messages:
                *counts, bad_schemas = traces.fault_counts(row)
                found[i] = (sum(counts), *counts, bad_schemas)
        empty = sum(not row.messages for row in rows)
        return Shard(dict(zip(self.columns, found.T.copy(), strict=True)), {"empty": empty})


@dataclass(frozen=True)
class Traces(Signal):
    """What traces consist of: calls, results, declared tools, and how much of what the assistant wrote is reasoning."""

    name = "traces"
    columns = (*traces.CONTENTS, traces.TOOL_NAMES)
    version = 2
    reads: ClassVar[Reads] = "conversations"

    def compute(self, rows: Sequence[Any]) -> Shard:
        found = np.asarray([traces.contents(row) for row in rows], np.float32).reshape(len(rows), len(self.columns))
        silent = int(np.isnan(found[:, traces.CONTENTS.index("reasoning_share")]).sum())
        return Shard(dict(zip(self.columns, found.T.copy(), strict=True)), {"empty_response": silent})


#: In the order in which they are computed and shown.
BUILTIN_SIGNALS: tuple[type[Signal], ...] = (
    Tokens,
    Lengths,
    NgramEntropy,
    Repetition,
    ActionObjectBranching,
    TextHash,
    MinHash,
    TraceFaults,
    Traces,
)
