"""IFD, varentropy and rsr: what the base model makes of each response, from two batched forward passes a row.

Let y₁…y_T be the response tokens of a row: the trained assistant turns with their end marks, as training sees them. With
``turns: each`` a row may be several samples; then y is the response tokens of all of them, each scored in its own sample.

* conditional loss: mean cross-entropy of y in the whole conversation (nats a token); the table calls it ``loss`` too.
* unconditional loss: mean cross-entropy of the *same* tokens after only the beginning-of-sequence token (if the chat
  template starts with one) and the bare assistant header (``<|im_start|>assistant\\n``), so that the first response
  token is scored in both. In a conversation of several turns the headers and responses follow each other without the
  other turns. A template without header and without beginning-of-sequence token gets the tokenizer's bos (else eos)
  token in front; if there is none either, the first response token is left out of both losses.
* IFD = conditional / unconditional loss (Cherry LLM). Above 1 the prompt does not help.
* varentropy = mean over y of ``Σ_v p(v) (log p(v) + H)²`` with p the next-token distribution in the conditional pass
  and H its entropy in nats.
* rsr (rank-surprisal ratio, arXiv 2601.14249) = mean over y of ``min(rank, rsr_max_rank)`` / conditional loss. The rank of
  a token is one plus the number of tokens that the conditional pass gives a strictly larger logit: 1 is the most likely
  one, and tokens of equal logits share the best of their ranks. Ranks are capped (at 100 by default) because a
  few tokens of rank 10,000 would decide the mean. Low: tokens that surprise the model, yet are among its own first
  choices. A row of loss 0 has none.
* by kind of token (``ifd_reasoning``, ``loss_call``, …, on request): the same means over the answer's, the reasoning's and the
  calls' tokens alone (``Encoded.kinds``), from the same passes. What the response says before a token stands before it in
  both passes, so that ``ifd_answer`` is what the prompt adds once the reasoning is there. A row without tokens of a kind has
  no score of this kind.

Rows without a response (blank, or cut off by the maximum length) have no score. Rows without any prompt have losses,
varentropy and rsr but no IFD. Hidden states for SAE features are taken from the conditional pass.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoselection.conversation import Message, turn_text
from autoselection.language.chat import ANSWER, CALL, REASONING, ConversationEncoder, Encoded, Row, Turns
from autoselection.language.chat.form import as_conversation
from autoselection.signals.families.sae import FeatureSums, SparseVector, stored_values
from autoselection.signals.kinds import KIND_COLUMNS, TOKEN_KINDS, SaeValues
from autoselection.signals.store import Shard

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

    from autoselection.signals.families.sae import SparseEncoder

COLUMNS = ("ifd", "varentropy", "loss_conditional", "loss_unconditional", "rsr")

#: Code in ``Encoded.kinds`` of each kind of token.
_CODES: Mapping[str, int] = dict(zip(TOKEN_KINDS, (ANSWER, REASONING, CALL), strict=True))
_SUMMED = ("loss_conditional", "varentropy", "rank", "loss_unconditional")

#: Ranks that count as they are in rsr; those behind count as this.
MAX_RANK = 100

#: Largest block of logits held at once, in numbers. On a CPU 16 MB in float32: softmax and ranks take half the time or less
#: that they take in blocks of 64 MB.
_LOGITS, _LOGITS_ON_A_DEVICE = 1 << 22, 1 << 24


@dataclass(frozen=True)
class _Text:
    """What one pass reads.

    Attributes:
        row: the conversation it belongs to.
        ids: token ids.
        scored: positions whose tokens are scored; each has a token before it.
        kinds: kind of each scored token.
    """

    row: int
    ids: list[int]
    scored: list[int] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)


class _Sums:
    """Sums over the scored tokens of each row by kind of token; those of a row may come from several batches."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._sums = {name: np.zeros((len(_CODES) + 1, rows)) for name in ("count", *_SUMMED)}

    def add(self, texts: Sequence[_Text], **values: NDArray[np.float64]) -> None:
        """Add what was found for all scored tokens of ``texts``, in order."""
        rows = np.repeat([text.row for text in texts], [len(text.scored) for text in texts])
        cells = np.concatenate([text.kinds for text in texts]).astype(np.int64) * self._rows + rows
        for name, added in values.items():
            sums = np.bincount(cells, weights=added, minlength=self._sums[name].size)
            self._sums[name] += sums.reshape(self._sums[name].shape)

    def means(self, name: str, kind: str | None = None) -> NDArray[np.float64]:
        """The mean over a row's tokens, of one kind or all, float64[rows]; NaN for rows without any."""
        sums, counts = (
            table.sum(axis=0) if kind is None else table[_CODES[kind]]
            for table in (self._sums[name], self._sums["count"])
        )
        return _ratio(sums, counts)


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


class LanguageModelScorer:
    """Scores conversations with a causal language model.

    Args:
        model: in evaluation mode, on its device.
        encoder: encodes conversations with the model's chat template.
        batch_tokens: padded tokens a batch; None: ``default_batch_tokens`` of the model's device.
        sae: yields SAE features from the conditional pass; None if they are not wanted.
        sae_values: how a shard holds the features' values (``sae.stored_values``).
        max_rank: largest rank that counts as it is in rsr; None: all do.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        encoder: ConversationEncoder,
        *,
        batch_tokens: int | None = None,
        sae: SparseEncoder | None = None,
        sae_values: SaeValues = "float32",
        max_rank: int | None = MAX_RANK,
    ) -> None:
        self.model = model
        self.encoder = encoder
        self.batch_tokens = default_batch_tokens(str(model.device)) if batch_tokens is None else batch_tokens
        self.sae = sae
        self.sae_values: SaeValues = sae_values
        self.max_rank = np.inf if max_rank is None else max_rank
        self.full_logits: bool | None = None  # whether the output head alone does not give the model's logits
        self.masked = True  # whether padding behind a row changes it, so that it must be masked

    def score(
        self, rows: Sequence[Row], *, losses: bool = True, features: bool = False, kinds: bool = False
    ) -> tuple[Shard | None, Shard | None]:
        """Losses and SAE features of conversations, each as a shard (None if not asked for).

        Args:
            kinds: the shard of losses also holds ``KIND_COLUMNS``.
        """
        import torch

        encoded = self.encoder.sample_batch(rows)
        texts = _texts(encoded)
        common = _counts(encoded)
        pairs, stats = self._scored_texts(rows, encoded, texts) if losses else ({}, {})
        sums = _Sums(len(rows))
        parts: list[list[FeatureSums]] = [[] for _ in rows]
        with torch.inference_mode():
            for batch in self._batches([pair[0] for pair in pairs.values()]):
                self._add_conditional(batch, sums, parts if features else None)
            for batch in self._batches([pair[1] for pair in pairs.values()]):
                sums.add(batch, loss_unconditional=self._forward(batch)[0]["loss"])
            rest = [_Text(row, item.input_ids) for place, (row, item) in enumerate(texts) if place not in pairs]
            for batch in self._batches(rest if features else []):
                for text, found in zip(batch, self._forward(batch, features=True)[1], strict=True):
                    parts[text.row].append(found)
        lm_shard = feature_shard = None
        if losses:
            scored = {pair[0].row for pair in pairs.values()}
            prompted = np.asarray([i in scored and self._has_prompt(row) for i, row in enumerate(rows)], bool)
            stats["no_prompt"] = len(scored) - int(prompted.sum())
            if self.full_logits:
                stats["whole_logits"] = len(scored)
            columns = _columns(sums, prompted)
            if kinds:
                columns |= _kind_columns(sums, prompted)
            arrays = {name: column.astype(np.float32) for name, column in columns.items()}
            lm_shard = Shard(arrays, {**common, **stats, **(_kind_counts(sums, scored, prompted) if kinds else {})})
        if features:
            assert self.sae is not None
            feature_shard = sparse_shard([self.sae.mean(found) for found in parts], common, self.sae_values)
        return lm_shard, feature_shard

    def conditional_loss(self, rows: Sequence[Row]) -> Shard:
        """The column ``loss`` alone: ``loss_conditional`` of ``score``, without its other passes."""
        import torch

        encoded = self.encoder.sample_batch(rows)
        pairs, stats = self._scored_texts(rows, encoded, _texts(encoded))
        sums = _Sums(len(rows))
        with torch.inference_mode():
            for batch in self._batches([pair[0] for pair in pairs.values()]):
                loss = self._forward(batch)[0]["loss"]
                sums.add(batch, count=np.ones(len(loss)), loss_conditional=loss)
        return Shard({"loss": sums.means("loss_conditional").astype(np.float32)}, {**_counts(encoded), **stats})

    def _add_conditional(self, batch: Sequence[_Text], sums: _Sums, parts: list[list[FeatureSums]] | None) -> None:
        """The conditional pass over a batch: what it says of scored tokens, and where ``parts`` are given, features."""
        tokens, found = self._forward(batch, distribution=True, features=parts is not None)
        sums.add(
            batch,
            count=np.ones(len(tokens["loss"])),
            loss_conditional=tokens["loss"],
            varentropy=tokens["varentropy"],
            rank=np.minimum(tokens["rank"], self.max_rank),
        )
        for text, features in zip(batch, found, strict=False):
            assert parts is not None
            parts[text.row].append(features)

    def _scored_texts(
        self, rows: Sequence[Row], encoded: Sequence[list[Encoded] | None], texts: Sequence[tuple[int, Encoded]]
    ) -> tuple[dict[int, tuple[_Text, _Text]], dict[str, int]]:
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

    def _batches(self, texts: Sequence[_Text]) -> Iterator[list[_Text]]:
        """The texts in batches of similar length."""
        for batch in token_batches([len(text.ids) for text in texts], self.batch_tokens):
            yield [texts[i] for i in batch]

    def _pair(self, row: int, encoded: Encoded) -> tuple[_Text, _Text]:
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
            _Text(row, encoded.input_ids, positions[first:], kinds[first:]),
            _Text(row, alone_ids, alone_positions[first:], kinds[first:]),
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
        self, batch: Sequence[_Text], *, distribution: bool = False, features: bool = False
    ) -> tuple[dict[str, NDArray[np.float64]], list[FeatureSums]]:
        """One right-padded batch: what is found for each scored token, in order, and the SAE features of each text.

        Tokens have ``loss`` (nats); with ``distribution`` also ``varentropy`` (nats²) of the distribution that they are
        drawn from and ``rank`` in it, from 1. Where no position is scored, the pass ends at the layer that the SAE reads.
        """
        import torch

        device = self.model.device
        if self.full_logits is None:
            self._probe(batch[0].ids)
        lengths = [len(row.ids) for row in batch]
        tokens = torch.full((len(batch), max(lengths)), self.encoder.tokenizer.pad_token_id or 0)
        for i, row in enumerate(batch):
            tokens[i, : len(row.ids)] = torch.as_tensor(row.ids)
        tokens = tokens.to(device)
        mask = (torch.arange(max(lengths)) < torch.as_tensor(lengths)[:, None]).long().to(device)
        given = mask if self.masked and min(lengths) < max(lengths) else None
        counts = [len(row.scored) for row in batch]
        rows = np.repeat(np.arange(len(batch)), counts)
        sae = self.sae if features else None
        with capture(self.model, sae.hookpoint if sae else None, stop=not len(rows)) as captured:
            hidden = self.model.base_model(input_ids=tokens, attention_mask=given, use_cache=False)[0]
        found = sae.sum_features(captured["states"], mask) if sae else []
        scores = {name: np.empty(len(rows)) for name in ("loss", *(("varentropy", "rank") if distribution else ()))}
        if len(rows):
            whole = self._whole_logits(tokens, given) if self.full_logits else None
            positions = torch.as_tensor([p for row in batch for p in row.scored], device=device)
            row_index = torch.as_tensor(rows, device=device)
            block = _LOGITS if device.type == "cpu" else _LOGITS_ON_A_DEVICE
            chunk = max(1, block // self.model.config.get_text_config().vocab_size)
            for start in range(0, len(rows), chunk):
                part = slice(start, start + chunk)
                before = (row_index[part], positions[part] - 1)
                logits = self._head(hidden[before]) if whole is None else whole[before]
                logits, targets = logits.float(), tokens[row_index[part], positions[part]]
                loss, spread = token_scores(logits, targets, distribution)
                scores["loss"][part] = loss.cpu().numpy()
                if distribution:
                    scores["varentropy"][part] = spread.cpu().numpy()
                    scores["rank"][part] = token_ranks(logits, targets).cpu().numpy()
        return scores, found

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


def token_scores(logits: Tensor, targets: Tensor, varentropy: bool = True) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each target and varentropy (nats²) of each distribution, from float32 logits [M, V]."""
    import torch

    log_p = torch.log_softmax(logits, dim=-1)
    loss = -log_p.gather(1, targets[:, None])[:, 0]
    if not varentropy:
        return loss, torch.zeros_like(loss)
    log_p = log_p.clamp_min_(-1e4)  # a token ruled out (−inf) has weight 0, and must not make 0·∞
    p = log_p.exp()
    entropy = -(p * log_p).sum(-1, keepdim=True)
    return loss, (p * (log_p + entropy).square_()).sum(-1)


def token_ranks(logits: Tensor, targets: Tensor) -> Tensor:
    """Rank of each target among logits [M, V]: one plus the number of strictly larger ones; int32[M]."""
    import torch

    ranks: Tensor = (logits > logits.gather(1, targets[:, None])).sum(-1, dtype=torch.int32)  # half the time of int64
    return ranks + 1


class _Enough(Exception):
    """Ends a forward pass whose remaining layers nobody reads."""


@contextmanager
def capture(model: PreTrainedModel, hookpoint: str | None, *, stop: bool = False) -> Iterator[dict[str, Any]]:
    """Collect the output of one module (a name below the base model) of the forward pass run inside.

    With ``stop`` the pass, and with it the block, ends at that module.
    """
    captured: dict[str, Any] = {}
    if hookpoint is None:
        yield captured
        return

    def hook(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        captured["states"] = output[0] if isinstance(output, tuple) else output
        if stop:
            raise _Enough

    handle = model.base_model.get_submodule(hookpoint).register_forward_hook(hook)
    try:
        yield captured
    except _Enough:
        pass
    finally:
        handle.remove()


def sparse_shard(rows: Sequence[SparseVector], stats: dict[str, int], kind: SaeValues = "float32") -> Shard:
    """Join sparse vectors into a shard; ``kind`` is how their values are stored."""
    counts = np.asarray([len(indices) for indices, _ in rows], np.int64)
    indices = np.concatenate([np.zeros(0, np.int32), *(indices for indices, _ in rows)])
    values = np.concatenate([np.zeros(0, np.float32), *(values for _, values in rows)])
    stored, clipped = stored_values(values, counts, kind)
    stats = stats if kind == "float32" else {**stats, "values_clipped": clipped}
    return Shard({"counts": counts, "indices": indices, **stored}, stats)


def _ratio(
    over: NDArray[np.float64], under: NDArray[np.float64], where: NDArray[np.bool_] | bool = True
) -> NDArray[np.float64]:
    """``over / under``; NaN where ``under`` is no positive number, or where not asked for."""
    ratio: NDArray[np.float64] = np.divide(over, under, out=np.full_like(over, np.nan), where=where & (under > 0))
    return ratio


def _columns(sums: _Sums, prompted: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """``COLUMNS``, float64[rows] each; IFD of the rows that have a prompt."""
    loss, alone = sums.means("loss_conditional"), sums.means("loss_unconditional")
    found = {"ifd": _ratio(loss, alone, prompted), "varentropy": sums.means("varentropy")}
    return {
        **found,
        "loss_conditional": loss,
        "loss_unconditional": alone,
        "rsr": _ratio(sums.means("rank"), loss),
    }


def _kind_columns(sums: _Sums, prompted: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """``KIND_COLUMNS``, float64[rows] each."""
    found: dict[str, NDArray[np.float64]] = {}
    for kind in TOKEN_KINDS:
        loss, alone = sums.means("loss_conditional", kind), sums.means("loss_unconditional", kind)
        found |= {f"ifd_{kind}": _ratio(loss, alone, prompted), f"loss_{kind}": loss}
        found[f"varentropy_{kind}"] = sums.means("varentropy", kind)
    return {name: found[name] for name in KIND_COLUMNS}


def _kind_counts(sums: _Sums, scored: Collection[int], prompted: NDArray[np.bool_]) -> dict[str, int]:
    """Rows with a response that have no score of a kind, by reason."""
    found = {}
    for kind in TOKEN_KINDS:
        there = ~np.isnan(sums.means("loss_conditional", kind))
        found[f"no_{kind}"] = len(scored) - int(there.sum())
        found[f"no_prompt_{kind}"] = int((there & ~prompted).sum())
    return found


def _texts(encoded: Sequence[list[Encoded] | None]) -> list[tuple[int, Encoded]]:
    """The texts of all rows that hold any token, each with its row."""
    return [(row, item) for row, found in enumerate(encoded) for item in found or () if item.input_ids]


def _counts(encoded: Sequence[list[Encoded] | None]) -> dict[str, int]:
    return {
        "refused_by_template": sum(found is None for found in encoded),
        "truncated": sum(any(item.truncated for item in found or ()) for found in encoded),
        "turns_rewritten": sum(item.rewritten for found in encoded for item in found or ()),
    }


def _scored_turns(messages: Sequence[Message], turns: Turns) -> list[int]:
    """The assistant's turns that have a loss."""
    assistants = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    chosen = assistants[-1:] if turns == "last" else assistants
    return [i for i in chosen if messages[i].get("weight", 1)]
