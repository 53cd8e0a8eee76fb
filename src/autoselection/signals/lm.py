"""IFD, varentropy and rsr: what the base model makes of each response, from two batched forward passes a row.

Let y₁…y_T be the response tokens of a row: the trained assistant turns with their end marks, as training sees them.

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
  one, and tokens of equal logits share the best of their ranks. Ranks are capped (at 100 by default, as there) because a
  few tokens of rank 10,000 would decide the mean. Low: tokens that surprise the model, yet are among its own first
  choices. A row of loss 0 has none.

Rows without a response (blank, or cut off by the maximum length) have no score. Rows without any prompt have losses,
varentropy and rsr but no IFD. Hidden states for SAE features are taken from the conditional pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoselection.chat import ConversationEncoder, Encoded, Message, Turns
from autoselection.signals.kinds import SaeValues
from autoselection.signals.sae import stored_values
from autoselection.signals.store import Shard

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

    from autoselection.signals.sae import SparseEncoder

SparseVector = tuple[NDArray[np.int32], NDArray[np.float32]]

COLUMNS = ("ifd", "varentropy", "loss_conditional", "loss_unconditional", "rsr")

#: Ranks that count as they are in rsr; those behind count as this.
MAX_RANK = 100

#: Largest block of logits held at once, in numbers. On a CPU 16 MB in float32: softmax and ranks take half the time or less
#: that they take in blocks of 64 MB.
_LOGITS, _LOGITS_ON_A_DEVICE = 1 << 22, 1 << 24


@dataclass(frozen=True)
class _Row:
    """Token ids of one pass and the positions whose tokens are scored (each has a token before it)."""

    ids: list[int]
    scored: list[int]


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


@dataclass(frozen=True)
class _Tokens:
    """What a pass says of the scored tokens of a batch, float64[M] each; a column that was not asked for is empty.

    Attributes:
        row: place of each token's row in the batch, int64[M].
        loss: minus the log-probability of the token (nats).
        varentropy: of the distribution that the token is drawn from (nats²).
        rank: of the token in that distribution, from 1.
    """

    row: NDArray[np.int64]
    loss: NDArray[np.float64]
    varentropy: NDArray[np.float64]
    rank: NDArray[np.float64]

    def means(self, values: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
        """The mean of ``values`` over the tokens of each row of the batch; NaN for a row without any."""
        counts = np.bincount(self.row, minlength=rows)
        sums = np.bincount(self.row, weights=values, minlength=rows)
        means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(rows, np.nan), where=counts > 0)
        return means


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
        self, conversations: Sequence[Sequence[Message]], *, losses: bool = True, features: bool = False
    ) -> tuple[Shard | None, Shard | None]:
        """Losses and SAE features of conversations, each as a shard (None if not asked for)."""
        import torch

        encoded = self.encoder.encode_batch(conversations)
        known = [i for i, item in enumerate(encoded) if item is not None and item.input_ids]
        common = _truncation(encoded)
        rows, stats = self._scored_rows(conversations, encoded) if losses else ({}, {})
        columns = {name: np.full(len(conversations), np.nan, np.float64) for name in COLUMNS}
        sparse: list[SparseVector] = [(np.zeros(0, np.int32), np.zeros(0, np.float32)) for _ in conversations]
        with torch.inference_mode():
            for batch in self._batches({i: pair[0] for i, pair in rows.items()}):
                chosen = list(batch)
                tokens, found = self._forward(list(batch.values()), distribution=True, features=features)
                ranks = np.minimum(tokens.rank, self.max_rank)
                for name, values in (
                    ("loss_conditional", tokens.loss),
                    ("varentropy", tokens.varentropy),
                    ("rsr", ranks),
                ):
                    columns[name][chosen] = tokens.means(values, len(chosen))
                for i, vector in zip(chosen, found, strict=False):
                    sparse[i] = vector
            for batch in self._batches({i: pair[1] for i, pair in rows.items()}):
                tokens, _ = self._forward(list(batch.values()))
                columns["loss_unconditional"][list(batch)] = tokens.means(tokens.loss, len(batch))
            rest = {i: _Row(_input_ids(encoded[i]), []) for i in known if features and i not in rows}
            for batch in self._batches(rest):
                for i, vector in zip(batch, self._forward(list(batch.values()), features=True)[1], strict=True):
                    sparse[i] = vector
        lm_shard = feature_shard = None
        if losses:
            prompted = np.asarray([_has_prompt(messages, self.encoder.turns) for messages in conversations], bool)
            stats["no_prompt"] = sum(not prompted[i] for i in rows)
            columns["ifd"] = _ratio(columns["loss_conditional"], columns["loss_unconditional"], where=prompted)
            columns["rsr"] = _ratio(columns["rsr"], columns["loss_conditional"])
            if self.full_logits:
                stats["whole_logits"] = len(rows)
            arrays = {name: column.astype(np.float32) for name, column in columns.items()}
            lm_shard = Shard(arrays, {**common, **stats})
        if features:
            feature_shard = sparse_shard(sparse, common, self.sae_values)
        return lm_shard, feature_shard

    def conditional_loss(self, conversations: Sequence[Sequence[Message]]) -> Shard:
        """The column ``loss`` alone: ``loss_conditional`` of ``score``, without its other passes."""
        import torch

        encoded = self.encoder.encode_batch(conversations)
        rows, stats = self._scored_rows(conversations, encoded)
        losses = np.full(len(conversations), np.nan, np.float32)
        with torch.inference_mode():
            for batch in self._batches({i: pair[0] for i, pair in rows.items()}):
                tokens, _ = self._forward(list(batch.values()))
                losses[list(batch)] = tokens.means(tokens.loss, len(batch))
        return Shard({"loss": losses}, {**_truncation(encoded), **stats})

    def _scored_rows(
        self, conversations: Sequence[Sequence[Message]], encoded: Sequence[Encoded | None]
    ) -> tuple[dict[int, tuple[_Row, _Row]], dict[str, int]]:
        """The rows that have a response left, in the conversation and alone; how many have not, and why."""
        rows: dict[int, tuple[_Row, _Row]] = {}
        stats = {"empty_response": 0, "response_cut_off": 0}
        for i, item in enumerate(encoded):
            if item is None or not item.input_ids:
                continue
            if not _has_response(conversations[i], self.encoder.turns):
                stats["empty_response"] += 1
                continue
            pair = self._pair(item)
            if pair[0].scored:
                rows[i] = pair
            else:
                stats["response_cut_off"] += 1
        return rows, stats

    def _batches(self, rows: Mapping[int, _Row]) -> Iterator[dict[int, _Row]]:
        """The rows in batches of similar length."""
        order = sorted(rows)
        for batch in token_batches([len(rows[i].ids) for i in order], self.batch_tokens):
            yield {order[j]: rows[order[j]] for j in batch}

    def _pair(self, encoded: Encoded) -> tuple[_Row, _Row]:
        """The row in the conversation and alone, with the same scored tokens in both."""
        positions = [i for i, scored in enumerate(encoded.response) if scored]
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
        return _Row(encoded.input_ids, positions[first:]), _Row(alone_ids, alone_positions[first:])

    def _forward(
        self, batch: Sequence[_Row], *, distribution: bool = False, features: bool = False
    ) -> tuple[_Tokens, list[SparseVector]]:
        """One right-padded batch: loss, with ``distribution`` varentropy and rank, of each scored token; SAE features.

        Where no position is scored, the pass ends at the layer that the SAE reads.
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
        found = sae.mean_features(captured["states"], mask) if sae else []
        losses = np.empty(len(rows), np.float64)
        spreads, ranks = np.empty((2, len(rows) if distribution else 0), np.float64)
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
                losses[part] = loss.cpu().numpy()
                if distribution:
                    spreads[part] = spread.cpu().numpy()
                    ranks[part] = token_ranks(logits, targets).cpu().numpy()
        return _Tokens(rows, losses, spreads, ranks), found

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


def _truncation(encoded: Sequence[Encoded | None]) -> dict[str, int]:
    return {
        "refused_by_template": sum(item is None for item in encoded),
        "truncated": sum(item is not None and item.truncated > 0 for item in encoded),
    }


def _input_ids(encoded: Encoded | None) -> list[int]:
    assert encoded is not None
    return encoded.input_ids


def _scored_turns(messages: Sequence[Message], turns: Turns) -> list[int]:
    assistants = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    return assistants if turns == "all" else assistants[-1:]


def _has_response(messages: Sequence[Message], turns: Turns) -> bool:
    return any(messages[i]["content"].strip() for i in _scored_turns(messages, turns))


def _has_prompt(messages: Sequence[Message], turns: Turns) -> bool:
    scored = _scored_turns(messages, turns)
    return any(message["content"].strip() for message in messages[: scored[0] if scored else 0])
