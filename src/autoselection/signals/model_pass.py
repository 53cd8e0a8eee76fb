"""The pass of the base model over the rows, which several signals share: each row is encoded once and read at most twice.

Let y₁…y_T be the response tokens of a row: the trained assistant turns with their end marks, as training sees them. With
``turns: each`` a row may be several samples; then y is the response tokens of all of them, each scored in its own sample.
They are read in two passes:

* conditional: in the whole conversation;
* alone: the *same* tokens after only the beginning-of-sequence token (if the chat template starts with one) and the bare
  assistant header (``<|im_start|>assistant\\n``), so that the first response token is scored in both. In a conversation of
  several turns the headers and responses follow each other without the other turns. A template without header and
  without beginning-of-sequence token gets the tokenizer's bos (else eos) token in front; if there is none either, the
  first response token is left out of both passes.

A signal of the pass is a :class:`PassSignal`. It says which values of each response token it wants, as functions of the
logits (``token_values``, and ``token_values_alone`` for the second pass), which hidden states it reads
(``state_reader``), and what it makes of a batch of rows (``finish``). What nobody wants is not computed: no logits
without token values, no second pass without values alone, and no layers behind the last one that is read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from autoselection.conversation import Message, turn_text
from autoselection.language.chat import ANSWER, CALL, LEFT_OUT, REASONING, ConversationEncoder, Encoded, Row, Turns
from autoselection.language.chat.form import as_conversation
from autoselection.signals.contract import PassGroup, Reads, Rows, Signal
from autoselection.signals.inputs import Inputs
from autoselection.signals.needs import BASE_MODEL, Need
from autoselection.signals.stored import Shard, SignalSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

#: Kinds of response tokens, and the code of each in ``Encoded.kinds``.
TOKEN_KINDS: Mapping[str, int] = {"answer": ANSWER, "reasoning": REASONING, "call": CALL}

#: Numbers of a block of logits; with what is made of it, up to four such arrays of float32 are held at once. On a CPU 16 MB
#: each: softmax and ranks take half the time or less that they take in blocks of 64 MB. A GPU is idle during small blocks:
#: 256 MiB each there, 1 GiB together.
_LOGITS = {"cpu": 1 << 22, "cuda": 1 << 26}
_LOGITS_ELSEWHERE = 1 << 24

#: Values of response tokens by name, each float[M], from their logits, float32[M, V], and ids, int64[M].
TokenValues = Callable[["Tensor", "Tensor"], Mapping[str, "Tensor"]]


@dataclass(frozen=True)
class PassText:
    """What one pass reads.

    Attributes:
        row: the conversation it belongs to.
        ids: token ids.
        scored: positions whose tokens are scored; each has a token before it.
        kinds: kind of each scored token, a code of :data:`TOKEN_KINDS`.
    """

    row: int
    ids: list[int]
    scored: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)


class StateReader(Protocol):
    """What reads hidden states."""

    @property
    def hookpoint(self) -> str:
        """The module whose output it reads: a name below the base model, such as ``layers.14``."""
        ...

    def read(self, states: Tensor, mask: Tensor, texts: Sequence[PassText]) -> Sequence[Any]:
        """What it takes of each text of a batch, from right-padded states [B, L, d] and the mask of real tokens [B, L].

        What stays on the device until ``finish`` asks for it lets a GPU go on to the next batch meanwhile.
        """
        ...


class RowSums:
    """Sums over the scored tokens of each row by kind of token; those of a row may come from several batches."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._sums: dict[str, NDArray[np.float64]] = {}

    def add(self, texts: Sequence[PassText], values: Mapping[str, NDArray[np.float64]]) -> None:
        """Add what was found for all scored tokens of ``texts``, in order."""
        rows = np.repeat([text.row for text in texts], [len(text.scored) for text in texts])
        cells = np.concatenate([text.kinds for text in texts]).astype(np.int64) * self._rows + rows
        for name, added in values.items():
            table = self._table(name)
            table += np.bincount(cells, weights=added, minlength=table.size).reshape(table.shape)

    def means(self, name: str, kind: str | None = None) -> NDArray[np.float64]:
        """The mean over a row's tokens, of one kind or all, float64[rows]; NaN for rows without any."""
        sums, counts = (
            table.sum(axis=0) if kind is None else table[TOKEN_KINDS[kind]]
            for table in (self._table(name), self._table("count"))
        )
        return ratio(sums, counts)

    def _table(self, name: str) -> NDArray[np.float64]:
        return self._sums.setdefault(name, np.zeros((len(TOKEN_KINDS) + 1, self._rows)))


@dataclass(frozen=True)
class TokenNumbers:
    """Values of scored tokens, where they were computed.

    Attributes:
        names: of the values.
        numbers: float64[names, M] (float32 on a device without it).
    """

    names: tuple[str, ...]
    numbers: Tensor | None

    def fetched(self) -> dict[str, NDArray[np.float64]]:
        """The values by name, in one copy."""
        if self.numbers is None:
            return {}
        return dict(zip(self.names, self.numbers.cpu().numpy().astype(np.float64, copy=False), strict=True))


@dataclass(frozen=True)
class PassResult:
    """What the pass found for a batch of rows.

    Attributes:
        sums: values of response tokens; those of the pass alone have ``alone/`` before their names.
        states: by signal, for each row what its reader took of each of the row's texts.
        scored: rows of which a response token was scored.
        prompted: bool[rows], those of them that have a prompt.
        counts: rows refused by the template, truncated, or of which it leaves something out, and turns that it rewrote.
        unscored: rows without a response, and those whose response was cut off.
        whole_logits: whether the model's own logits had to be computed at all positions.
    """

    sums: RowSums
    states: Mapping[str, Sequence[Sequence[Any]]]
    scored: frozenset[int]
    prompted: NDArray[np.bool_]
    counts: Mapping[str, int]
    unscored: Mapping[str, int]
    whole_logits: bool

    def __len__(self) -> int:
        return len(self.prompted)

    def means(self, name: str, kind: str | None = None, *, alone: bool = False) -> NDArray[np.float64]:
        """Mean of a value over each row's response tokens, of one kind or all; NaN for rows without any."""
        return self.sums.means(f"alone/{name}" if alone else name, kind)


class BaseModelPass:
    """The pass group of the base model: loads it when a batch has to be read."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs

    def run(self, rows: Rows, signals: Sequence[PassSignal]) -> Mapping[str, Shard]:
        """The shards of all ``signals`` for these rows, by name."""
        return self.scorer().run(rows.conversations, signals)

    def scorer(self) -> PassReader:
        """Of the base model; one for all batches."""
        inputs = self.inputs

        def make() -> PassReader:
            model = inputs.load(inputs.base_model)
            encoder = inputs.encoder(model, inputs.tokenizer)
            return PassReader(model, encoder, batch_tokens=inputs.settings.batch_tokens)

        return inputs.keep(PassReader, make, BASE_MODEL)


class PassSignal(Signal):
    """A signal from the pass of the base model."""

    pass_group: ClassVar[type[PassGroup] | None] = BaseModelPass
    reads: Reads = "conversations"
    needs: ClassVar[tuple[Need, ...]] = (BASE_MODEL,)
    cost = 5

    @property
    def token_values(self) -> Sequence[TokenValues]:
        """Functions of the logits of each response token in the whole conversation; equal ones are called once."""
        return ()

    @property
    def token_values_alone(self) -> Sequence[TokenValues]:
        """The same where the response stands alone."""
        return ()

    def state_reader(self, model: PreTrainedModel) -> StateReader | None:
        """What reads hidden states of ``model``; the same object each time."""
        return None

    def finish(self, found: PassResult) -> Shard:
        """The shard of a batch of rows."""
        raise NotImplementedError(f"the signal '{self.name}' has no 'finish'")

    def spec(self, inputs: Inputs, needed: Mapping[str, SignalSpec]) -> SignalSpec:
        spec = super().spec(inputs, needed)
        params = {**inputs.pass_params(inputs.base_model), "turns": inputs.settings.turns, **self.params}
        if self.token_values_alone and inputs.asks_by_row:  # earlier versions left out headers that not all rows have
            params["headers"] = "of the row"
        return replace(spec, params=params)

    def rows_at_once(self, inputs: Inputs) -> int:
        return inputs.settings.shard_rows


def token_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group items of similar length: within a batch, count × longest length ≤ ``budget`` (or a single item).

    A batch that holds at least an eighth of the budget is closed early where going on would pad an item by more than a
    tenth. Longest first, so that a batch too large for memory shows at once; ties by index.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    longest = 0
    for i in order:
        count = len(batches[-1]) if batches else 0
        padded = 10 * lengths[i] < 9 * longest and 8 * count * longest >= budget
        if count and (count + 1) * longest <= budget and not padded:
            batches[-1].append(i)
        else:
            batches.append([i])
            longest = lengths[i]
    return batches


def default_batch_tokens(device: str) -> int:
    """Padded tokens a batch where none are set: small on a CPU, where activations should stay in its caches."""
    return 1024 if device.startswith("cpu") else 8192


class PassReader:
    """Reads conversations with a causal language model, for several signals at once.

    Args:
        model: in evaluation mode, on its device.
        encoder: encodes conversations with the model's chat template.
        batch_tokens: padded tokens a batch; None: ``default_batch_tokens`` of the model's device.
    """

    def __init__(
        self, model: PreTrainedModel, encoder: ConversationEncoder, *, batch_tokens: int | None = None
    ) -> None:
        self.model = model
        self.encoder = encoder
        self.batch_tokens = default_batch_tokens(str(model.device)) if batch_tokens is None else batch_tokens
        self.full_logits: bool | None = None  # whether the output head alone does not give the model's logits
        self.masked = True  # whether padding behind a row changes it, so that it must be masked

    def run(self, rows: Sequence[Row], signals: Sequence[PassSignal]) -> dict[str, Shard]:
        """The shards of ``signals`` for conversations, by name."""
        import torch

        encoded = self.encoder.sample_batch(rows)
        texts = _texts(encoded)
        values = list(dict.fromkeys(value for signal in signals for value in signal.token_values))
        alone = list(dict.fromkeys(value for signal in signals for value in signal.token_values_alone))
        readers = {signal.name: reader for signal in signals if (reader := signal.state_reader(self.model))}
        pairs, unscored = self._scored_texts(rows, encoded, texts) if values else ({}, {})
        sums = RowSums(len(rows))
        states: dict[str, list[list[Any]]] = {name: [[] for _ in rows] for name in readers}
        with torch.inference_mode():
            # Fetched when all passes have been asked for: a device that is read in between has nothing to do meanwhile.
            asked: list[tuple[list[PassText], str, TokenNumbers]] = []
            for batch in self._batches([pair[0] for pair in pairs.values()]):
                asked.append((batch, "", self._forward(batch, values, readers, states)))
                sums.add(batch, {"count": np.ones(sum(len(text.scored) for text in batch))})
            for batch in self._batches([pair[1] for pair in pairs.values()] if alone else []):
                asked.append((batch, "alone/", self._forward(batch, alone)))
            rest = [PassText(row, item.input_ids) for place, (row, item) in enumerate(texts) if place not in pairs]
            for batch in self._batches(rest if readers else []):
                self._forward(batch, (), readers, states)
            for batch, prefix, found in asked:
                sums.add(batch, {prefix + name: each for name, each in found.fetched().items()})
        scored = frozenset(pair[0].row for pair in pairs.values())
        prompted = np.asarray([i in scored and self._has_prompt(row) for i, row in enumerate(rows)], bool)
        result = PassResult(sums, states, scored, prompted, _counts(encoded), unscored, bool(self.full_logits))
        return {signal.name: signal.finish(result) for signal in signals}

    def _scored_texts(
        self, rows: Sequence[Row], encoded: Sequence[list[Encoded] | None], texts: Sequence[tuple[int, Encoded]]
    ) -> tuple[dict[int, tuple[PassText, PassText]], dict[str, int]]:
        """The texts (by their place) that have a response left, in the conversation and alone; rows that have none."""
        answered = [found is not None and self._has_response(row) for row, found in zip(rows, encoded, strict=True)]
        pairs = {place: self._pair(*text) for place, text in enumerate(texts) if answered[text[0]]}
        pairs = {place: pair for place, pair in pairs.items() if pair[0].scored}
        read = {row for row, _ in texts}
        left = {pair[0].row for pair in pairs.values()}
        stats = {
            "empty_response": sum(not answered[row] for row in read),
            "response_cut_off": sum(answered[row] and row not in left for row in read),
        }
        return pairs, stats

    def _batches(self, texts: Sequence[PassText]) -> Iterator[list[PassText]]:
        """The texts in batches of similar length."""
        for batch in token_batches([len(text.ids) for text in texts], self.batch_tokens):
            yield [texts[i] for i in batch]

    def _pair(self, row: int, encoded: Encoded) -> tuple[PassText, PassText]:
        """A text in the conversation and alone, with the same scored tokens in both."""
        positions = [i for i, scored in enumerate(encoded.response) if scored]
        kinds = [encoded.kinds[i] for i in positions]
        kept = [i for i, alone in enumerate(encoded.alone) if alone]
        alone_ids = [encoded.input_ids[i] for i in kept]
        alone_positions = [new for new, old in enumerate(kept) if encoded.response[old]]
        if alone_positions and alone_positions[0] == 0:
            tokenizer = self.encoder.tokenizer
            start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
            if start is not None:
                alone_ids = [start, *alone_ids]
                alone_positions = [position + 1 for position in alone_positions]
        first = 1 if positions and (positions[0] == 0 or alone_positions[0] == 0) else 0
        return (
            PassText(row, encoded.input_ids, positions[first:], kinds[first:]),
            PassText(row, alone_ids, alone_positions[first:], kinds[first:]),
        )

    def _has_response(self, row: Row) -> bool:
        messages = as_conversation(row).messages
        return any(turn_text(messages[i]).strip() for i in _scored_turns(messages, self.encoder.turns))

    def _has_prompt(self, row: Row) -> bool:
        conversation = as_conversation(row)
        scored = _scored_turns(conversation.messages, self.encoder.turns)
        before = conversation.messages[: scored[0] if scored else 0]
        tools = conversation.tools is not None and self.encoder.shows_tools
        return tools or any(turn_text(message).strip() for message in before)

    def _forward(
        self,
        batch: Sequence[PassText],
        values: Sequence[TokenValues],
        readers: Mapping[str, StateReader] | None = None,
        states: Mapping[str, list[list[Any]]] | None = None,
    ) -> TokenNumbers:
        """One right-padded batch: the values of each scored token, in order; what readers take goes to ``states``.

        Where no position is scored, the pass ends at the last layer that is read.
        """
        import torch

        from autoselection.language.packed import on_device

        device = self.model.device
        if self.full_logits is None:
            self._probe(batch[0].ids)
        lengths = np.array([len(row.ids) for row in batch])
        padded = np.full((len(batch), lengths.max()), self.encoder.tokenizer.pad_token_id or 0, np.int64)
        real = np.arange(lengths.max()) < lengths[:, None]
        padded[real] = np.concatenate([row.ids for row in batch])
        rows = np.repeat(np.arange(len(batch)), [len(row.scored) for row in batch])
        scored = np.array([position for row in batch for position in row.scored], np.int64)
        tokens, mask, row_index, positions = on_device([padded, real.astype(np.int64), rows, scored], device)
        given = mask if self.masked and not real.all() else None
        hookpoints = {reader.hookpoint for reader in (readers or {}).values()}
        with capture(self.model, hookpoints, stop=not len(rows)) as captured:
            hidden = self.model.base_model(input_ids=tokens, attention_mask=given, use_cache=False)[0]
        if states is not None:
            for name, reader in (readers or {}).items():
                for text, taken in zip(batch, reader.read(captured[reader.hookpoint], mask, batch), strict=True):
                    states[name][text.row].append(taken)
        if not len(rows):
            return TokenNumbers((), None)
        whole = self._whole_logits(tokens, given) if self.full_logits else None
        block = _LOGITS.get(device.type, _LOGITS_ELSEWHERE)
        chunk = max(1, block // self.model.config.get_text_config().vocab_size)
        kind = torch.float32 if device.type == "mps" else torch.float64
        scores: dict[str, list[Tensor]] = {}
        for start in range(0, len(rows), chunk):
            part = slice(start, start + chunk)
            before = (row_index[part], positions[part] - 1)
            logits = self._head(hidden[before]) if whole is None else whole[before]
            logits, targets = logits.float(), tokens[row_index[part], positions[part]]
            for value in values:
                for name, each in value(logits, targets).items():
                    scores.setdefault(name, []).append(each.to(kind))
        numbers = torch.stack([torch.cat(parts) for parts in scores.values()]) if scores else None
        return TokenNumbers(tuple(scores), numbers)

    def _head(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.model.get_output_embeddings()(hidden)
        return logits

    def _whole_logits(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        logits: Tensor = self.model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
        return logits

    def _probe(self, ids: Sequence[int]) -> None:
        """Find out on the first row which short cuts give what the model itself gives.

        In most architectures the output head applied to chosen positions gives the model's logits, and what stands
        behind a token cannot change it, so that right padding needs no mask (attention is faster without one). A model
        that does more with its logits (soft caps, scaling) or looks ahead is computed whole, or masked.
        """
        import torch

        few = torch.as_tensor(ids[:64], device=self.model.device)[None]
        mask = torch.ones_like(few)
        logits = self.model(input_ids=few, attention_mask=mask, use_cache=False).logits
        tolerance = 1e-3 if logits.dtype == torch.float32 else 5e-2

        def differ(ours: Tensor, own: Tensor) -> bool:
            return float((ours - own).abs().max()) > tolerance * (float(own.abs().max()) + 1e-6)

        hidden = self.model.base_model(input_ids=few, attention_mask=mask, use_cache=False)[0]
        longer = self.model.base_model(input_ids=torch.cat([few, few.flip(1)], 1), use_cache=False)[0]
        self.masked = differ(longer[:, : few.shape[1]], hidden)
        self.full_logits = self.model.get_output_embeddings() is None or differ(self._head(hidden), logits)


class _Enough(Exception):
    """Ends a forward pass whose remaining layers nobody reads."""


@contextmanager
def capture(model: PreTrainedModel, hookpoints: Collection[str], *, stop: bool = False) -> Iterator[dict[str, Any]]:
    """Collect the outputs of modules (names below the base model) of the forward pass run inside.

    With ``stop`` the pass, and with it the block, ends at the last of these modules.
    """
    captured: dict[str, Any] = {}

    def hook(name: str) -> Callable[[torch.nn.Module, Any, Any], None]:
        def collect(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
            captured[name] = output[0] if isinstance(output, tuple) else output
            if stop and len(captured) == len(hookpoints):
                raise _Enough

        return collect

    base = model.base_model
    handles = [base.get_submodule(name).register_forward_hook(hook(name)) for name in hookpoints]
    try:
        yield captured
    except _Enough:
        pass
    finally:
        for handle in handles:
            handle.remove()


def ratio(
    over: NDArray[np.float64], under: NDArray[np.float64], where: NDArray[np.bool_] | bool = True
) -> NDArray[np.float64]:
    """``over / under``; NaN where ``under`` is no positive number, or where not asked for."""
    ratio: NDArray[np.float64] = np.divide(over, under, out=np.full_like(over, np.nan), where=where & (under > 0))
    return ratio


def _texts(encoded: Sequence[list[Encoded] | None]) -> list[tuple[int, Encoded]]:
    """The texts of all rows that hold any token, each with its row."""
    return [(row, item) for row, found in enumerate(encoded) for item in found or () if item.input_ids]


def _counts(encoded: Sequence[list[Encoded] | None]) -> dict[str, int]:
    return {
        "refused_by_template": sum(found is None for found in encoded),
        "truncated": sum(any(item.truncated for item in found or ()) for found in encoded),
        "turns_rewritten": sum(item.rewritten for found in encoded for item in found or ()),
        **{f"{name}_left_out": sum(name in found[0].left_out for found in encoded if found) for name in LEFT_OUT},
    }


def _scored_turns(messages: Sequence[Message], turns: Turns) -> list[int]:
    """The assistant's turns that have a loss."""
    assistants = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    chosen = assistants[-1:] if turns == "last" else assistants
    return [i for i in chosen if messages[i].get("weight", 1)]
