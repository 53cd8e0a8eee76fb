"""What needs nothing but the text: token counts, n-gram entropy, lengths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from autoselection.conversation import Message, turn_text
from autoselection.hashing import mixed
from autoselection.language.chat import ConversationEncoder, Row
from autoselection.schema import StrictModel
from autoselection.segmentation import BATCH_BITS, counted, for_batches
from autoselection.segmentation import units as words
from autoselection.signals.contract import Reads, Rows, Signal
from autoselection.signals.families.shingles import ngrams, units_of
from autoselection.signals.inputs import Inputs
from autoselection.signals.needs import BASE_MODEL
from autoselection.signals.stored import Shard, SignalSpec

__all__ = ["count_model_tokens", "count_tokens", "lengths", "ngram_entropy", "words"]


def ngram_entropy(texts: Sequence[str], n: int = 1) -> NDArray[np.float32]:
    """Shannon entropy, in bits, of each text's distribution of n-grams of words, characters and symbols.

    ``H = −Σ_g p(g) log2 p(g)`` with ``p(g)`` the share of n-gram g among the text's n-grams. The units are those of
    ``autoselection.segmentation``. A text with fewer than n units has no distribution: NaN.
    """
    result = np.empty(len(texts), np.float32)

    def work(rows: slice, batch: Sequence[str]) -> None:
        result[rows] = _entropies(batch, n)

    for _ in for_batches(texts, work):
        pass
    return result


def _entropies(texts: Sequence[str], n: int) -> NDArray[np.float64]:
    """By one sort of all n-grams: the number of the text above, the upper bits of the n-gram's hash below."""
    units = units_of(texts)
    totals = np.maximum(units.counts - n + 1, 0)
    keys = mixed(ngrams(units.hashes, units.counts, n))
    keys >>= np.uint64(BATCH_BITS)
    keys |= np.repeat(np.arange(len(texts), dtype=np.uint64) << np.uint64(64 - BATCH_BITS), totals)
    keys.sort()
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    times = np.diff(np.append(first, len(keys)))
    first, times = first[times > 1], times[times > 1]  # one that stands once adds nothing
    owner = (keys[first] >> np.uint64(64 - BATCH_BITS)).astype(np.int64)
    spread = np.bincount(owner, weights=times * np.log2(times), minlength=len(texts))
    known = np.maximum(totals, 1)
    return np.where(totals > 0, np.maximum(0.0, np.log2(known) - spread / known), np.nan)


def count_tokens(conversations: Iterable[Sequence[Message]]) -> dict[str, NDArray[np.float32]]:
    """Token counts without a tokenizer: words, characters of unspaced scripts, and symbols of the texts alone.

    Returns:
        ``n_tokens``, ``n_prompt_tokens``, ``n_response_tokens`` (all assistant turns); the first is the sum.
    """
    sides = _Sides(list(conversations))
    words, symbols = counted(sides.texts)
    return _columns(*sides.sums(words + symbols))


def count_model_tokens(
    conversations: Sequence[Row], encoder: ConversationEncoder
) -> tuple[dict[str, NDArray[np.float32]], dict[str, int]]:
    """Token counts of the rendered conversations, untruncated if the encoder's maximum length is large enough.

    Response tokens are those of the encoder's trained turns, end marks included; all others, the template's
    scaffolding among them, are prompt tokens. Rows that the template refuses are NaN and counted.
    """
    prompt = np.full(len(conversations), np.nan, np.float32)
    response = prompt.copy()
    refused = 0
    for i, encoded in enumerate(encoder.encode_batch(conversations)):
        if encoded is None:
            refused += 1
            continue
        response[i] = sum(encoded.response)
        prompt[i] = len(encoded.input_ids) - response[i]
    return _columns(prompt, response), {"refused_by_template": refused}


def lengths(conversations: Sequence[Sequence[Message]]) -> dict[str, NDArray[np.float32]]:
    """Words, characters and turns of each conversation.

    The response is all assistant turns, the prompt all others. Characters are Unicode code points. Words are runs of
    letters, marks, digits and underscores; in scripts that do not separate words every character (grapheme cluster)
    counts as one. Symbols are not counted.

    Returns:
        ``n_prompt_words``, ``n_response_words``, ``n_prompt_characters``, ``n_response_characters``, ``n_turns``.
    """
    sides = _Sides(conversations)
    columns: dict[str, NDArray[np.float32]] = {}
    characters = np.fromiter(map(len, sides.texts), np.int64, len(sides.texts))
    for unit, counts in (("words", counted(sides.texts)[0]), ("characters", characters)):
        columns[f"n_prompt_{unit}"], columns[f"n_response_{unit}"] = sides.sums(counts)
    return {**columns, "n_turns": sides.turns.astype(np.float32)}


class _Sides:
    """The turns of conversations, and to which row and side (prompt or response) each belongs."""

    def __init__(self, conversations: Sequence[Sequence[Message]]) -> None:
        self.turns = np.asarray([len(messages) for messages in conversations], np.int64)
        flat = [message for messages in conversations for message in messages]
        self.texts = list(map(turn_text, flat))
        answers = np.asarray([message["role"] == "assistant" for message in flat], np.int64)
        self._entry = 2 * np.repeat(np.arange(len(self.turns)), self.turns) + answers

    def sums(self, counts: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A number a turn, summed over the prompt and over the response of each row."""
        sums = np.bincount(self._entry, weights=counts, minlength=2 * len(self.turns)).astype(np.float32)
        return sums[::2], sums[1::2]


def _columns(prompt: NDArray[np.float32], response: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    return {"n_tokens": prompt + response, "n_prompt_tokens": prompt, "n_response_tokens": response}


class Tokens(Signal):
    """Tokens of the base model's tokenizer and chat template; without a model, words and symbols."""

    name = "tokens"
    columns = ("n_tokens", "n_prompt_tokens", "n_response_tokens")
    version = 2
    shard_rows = 4096
    may_use = (BASE_MODEL,)

    title = "Token counts"

    def spec(self, inputs: Inputs, needed: Mapping[str, SignalSpec]) -> SignalSpec:
        if inputs.model is None:
            return SignalSpec(self.name, self.version, {"tokenizer": "words and symbols"})
        params = {"tokenizer": "model", "template": inputs.template_key(inputs.model)}
        return SignalSpec(self.name, self.version, params, model=inputs.model_fingerprint)

    def compute(self, rows: Rows) -> Shard:
        if rows.inputs.model is None:
            return Shard(count_tokens(rows.messages))
        encoder = ConversationEncoder(rows.inputs.tokenizer, max_length=1 << 30, turns="all")
        return Shard(*count_model_tokens(rows.conversations, encoder))


class Lengths(Signal):
    """Words, characters and turns."""

    name = "lengths"
    columns = ("n_prompt_words", "n_response_words", "n_prompt_characters", "n_response_characters", "n_turns")
    version = 2

    def compute(self, rows: Sequence[Any]) -> Shard:
        return Shard(lengths(rows))


class NgramOptions(StrictModel):
    """Options of ``ngram_entropy``."""

    n: int = Field(1, ge=1, description="Length of the n-grams (words and symbols).")


class NgramEntropy(Signal):
    """Entropy of the distribution of n-grams of words and symbols."""

    name = "ngram_entropy"
    columns = ("ngram_entropy",)
    version = 2
    options_model = NgramOptions
    reads: Reads = "texts"

    def compute(self, rows: Sequence[Any]) -> Shard:
        found = ngram_entropy(rows, self.options.n)
        return Shard({"ngram_entropy": found}, {"too_few_units": int(np.isnan(found).sum())})
