"""IFD and varentropy: what the base model makes of each response, from two batched forward passes a row.

Let y₁…y_T be the response tokens of a row: the trained assistant turns with their end marks, as training sees them.

* conditional loss: mean cross-entropy of y in the whole conversation.
* unconditional loss: mean cross-entropy of the *same* tokens after only the beginning-of-sequence token (if the chat
  template starts with one) and the bare assistant header (``<|im_start|>assistant\\n``), so that the first response
  token is scored in both. In a conversation of several turns the headers and responses follow each other without the
  other turns. A template without header and without beginning-of-sequence token gets the tokenizer's bos (else eos)
  token in front; if there is none either, the first response token is left out of both losses.
* IFD = conditional / unconditional loss (Cherry LLM). Above 1 the prompt does not help.
* varentropy = mean over y of ``Σ_v p(v) (log p(v) + H)²`` with p the next-token distribution in the conditional pass
  and H its entropy in nats.

Rows without a response (blank, or cut off by the maximum length) have no score. Rows without any prompt have losses and
varentropy but no IFD. Hidden states for SAE features are taken from the conditional pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoselection.chat import ConversationEncoder, Encoded, Message, Turns
from autoselection.signals.store import Shard

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

    from autoselection.signals.sae import SparseEncoder

COLUMNS = ("ifd", "varentropy", "loss_conditional", "loss_unconditional")

#: Largest block of logits held at once, in numbers (64 MB in float32).
_LOGITS = 1 << 24


@dataclass(frozen=True)
class _Row:
    """Token ids of one pass and the positions whose tokens are scored (each has a token before it)."""

    ids: list[int]
    scored: list[int]


def token_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group items of similar length: within a batch, count × longest length ≤ ``budget`` (or a single item).

    Longest first, so that a batch too large for memory shows at once; ties by index.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[list[int]] = []
    for i in order:
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= budget:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


class LanguageModelScorer:
    """Scores conversations with a causal language model.

    Args:
        model: in evaluation mode, on its device.
        encoder: encodes conversations with the model's chat template.
        batch_tokens: padded tokens a batch.
        sae: yields SAE features from the conditional pass; None if they are not wanted.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        encoder: ConversationEncoder,
        *,
        batch_tokens: int,
        sae: SparseEncoder | None = None,
    ) -> None:
        self.model = model
        self.encoder = encoder
        self.batch_tokens = batch_tokens
        self.sae = sae
        self.full_logits: bool | None = None  # whether the output head alone does not give the model's logits

    def score(
        self, conversations: Sequence[Sequence[Message]], *, losses: bool = True, features: bool = False
    ) -> tuple[Shard | None, Shard | None]:
        """Losses and SAE features of conversations, each as a shard (None if not asked for)."""
        import torch

        encoded = self.encoder.encode_batch(conversations)
        refused = sum(item is None for item in encoded)
        truncated = sum(item is not None and item.truncated > 0 for item in encoded)
        common = {"refused_by_template": refused, "truncated": truncated}
        known = [i for i, item in enumerate(encoded) if item is not None and item.input_ids]
        rows: dict[int, tuple[_Row, _Row]] = {}
        stats = dict(common)
        if losses:
            stats |= {"empty_response": 0, "response_cut_off": 0, "no_prompt": 0}
            for i in known:
                item = encoded[i]
                assert item is not None
                if not _has_response(conversations[i], self.encoder.turns):
                    stats["empty_response"] += 1
                    continue
                pair = self._pair(item)
                if pair[0].scored:
                    rows[i] = pair
                else:
                    stats["response_cut_off"] += 1
        columns = {name: np.full(len(conversations), np.nan, np.float64) for name in COLUMNS}
        sparse: list[tuple[NDArray[np.int32], NDArray[np.float32]]] = [
            (np.zeros(0, np.int32), np.zeros(0, np.float32)) for _ in conversations
        ]
        with torch.inference_mode():
            passed = [i for i in known if i in rows or features]
            ids = [_input_ids(encoded[i]) for i in passed]
            for batch in token_batches([len(row) for row in ids], self.batch_tokens):
                chosen = [passed[j] for j in batch]
                scored = [rows[i][0].scored if i in rows else [] for i in chosen]
                loss, varentropy, found = self._forward(
                    [ids[j] for j in batch], scored, varentropy=True, features=features
                )
                columns["loss_conditional"][chosen] = loss
                columns["varentropy"][chosen] = varentropy
                for i, pair_found in zip(chosen, found, strict=False):
                    sparse[i] = pair_found
            alone = sorted(rows)
            for batch in token_batches([len(rows[i][1].ids) for i in alone], self.batch_tokens):
                chosen = [alone[j] for j in batch]
                loss, _, _ = self._forward(
                    [rows[i][1].ids for i in chosen], [rows[i][1].scored for i in chosen], varentropy=False
                )
                columns["loss_unconditional"][chosen] = loss
        lm_shard = feature_shard = None
        if losses:
            prompted = np.asarray([_has_prompt(messages, self.encoder.turns) for messages in conversations], bool)
            stats["no_prompt"] = sum(not prompted[i] for i in rows)
            positive = prompted & (columns["loss_unconditional"] > 0)
            np.divide(columns["loss_conditional"], columns["loss_unconditional"], out=columns["ifd"], where=positive)
            if self.full_logits:
                stats["whole_logits"] = len(rows)
            lm_shard = Shard({name: column.astype(np.float32) for name, column in columns.items()}, stats)
        if features:
            feature_shard = sparse_shard(sparse, common)
        return lm_shard, feature_shard

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
        self, ids: Sequence[Sequence[int]], scored: Sequence[Sequence[int]], *, varentropy: bool, features: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], list[tuple[NDArray[np.int32], NDArray[np.float32]]]]:
        """One right-padded batch: mean loss and varentropy over the scored positions of each row, and SAE features."""
        import torch

        device = self.model.device
        width = max(len(row) for row in ids)
        pad = self.encoder.tokenizer.pad_token_id or 0
        tokens = torch.full((len(ids), width), pad, dtype=torch.long)
        mask = torch.zeros((len(ids), width), dtype=torch.long)
        for i, row in enumerate(ids):
            tokens[i, : len(row)] = torch.as_tensor(row, dtype=torch.long)
            mask[i, : len(row)] = 1
        tokens, mask = tokens.to(device), mask.to(device)
        rows = np.repeat(np.arange(len(ids)), [len(positions) for positions in scored])
        positions = torch.as_tensor([p for row in scored for p in row], dtype=torch.long, device=device)
        row_index = torch.as_tensor(rows, dtype=torch.long, device=device)
        sae = self.sae if features else None
        with capture(self.model, sae.hookpoint if sae else None) as captured:
            hidden = self.model.base_model(input_ids=tokens, attention_mask=mask, use_cache=False)[0]
        found = sae.mean_features(captured["states"], mask) if sae else []
        losses = np.empty(len(rows), np.float64)
        spreads = np.empty(len(rows), np.float64)
        if len(rows):
            whole = self._whole_logits(tokens, mask, hidden)
            chunk = max(1, _LOGITS // self.model.config.get_text_config().vocab_size)
            for start in range(0, len(rows), chunk):
                part = slice(start, start + chunk)
                before = (row_index[part], positions[part] - 1)
                logits = self._head(hidden[before]) if whole is None else whole[before]
                loss, spread = token_scores(logits.float(), tokens[row_index[part], positions[part]], varentropy)
                losses[part] = loss.double().cpu().numpy()
                spreads[part] = spread.double().cpu().numpy()
        return _row_means(rows, losses, len(ids)), _row_means(rows, spreads, len(ids)), found

    def _head(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.model.get_output_embeddings()(hidden)
        return logits

    def _whole_logits(self, tokens: Tensor, mask: Tensor, hidden: Tensor) -> Tensor | None:
        """None if the output head applied to chosen positions gives the model's logits, as in most architectures.

        A model that does more (soft caps, scaling) is found out on the first batch, by comparing one row; its logits
        are then computed whole.
        """
        import torch

        if self.full_logits is None:
            few = (slice(0, 1), slice(0, 64))
            own = self.model(input_ids=tokens[few], attention_mask=mask[few], use_cache=False).logits
            real = mask[few].bool()
            ours = self._head(hidden[few][real]) if self.model.get_output_embeddings() is not None else None
            tolerance = 1e-3 if own.dtype == torch.float32 else 5e-2
            scale = float(own[real].abs().max()) + 1e-6
            self.full_logits = ours is None or float((ours - own[real]).abs().max()) > tolerance * scale
        if not self.full_logits:
            return None
        logits: Tensor = self.model(input_ids=tokens, attention_mask=mask, use_cache=False).logits
        return logits


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


@contextmanager
def capture(model: PreTrainedModel, hookpoint: str | None) -> Iterator[dict[str, Any]]:
    """Collect the output of one module (a name below the base model) of the forward pass run inside."""
    captured: dict[str, Any] = {}
    if hookpoint is None:
        yield captured
        return

    def hook(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        captured["states"] = output[0] if isinstance(output, tuple) else output

    handle = model.base_model.get_submodule(hookpoint).register_forward_hook(hook)
    try:
        yield captured
    finally:
        handle.remove()


def sparse_shard(rows: Sequence[tuple[NDArray[np.int32], NDArray[np.float32]]], stats: dict[str, int]) -> Shard:
    """Join sparse vectors into a shard."""
    arrays = {
        "counts": np.asarray([len(indices) for indices, _ in rows], np.int64),
        "indices": np.concatenate([np.zeros(0, np.int32), *(indices for indices, _ in rows)]),
        "values": np.concatenate([np.zeros(0, np.float32), *(values for _, values in rows)]),
    }
    return Shard(arrays, stats)


def _row_means(rows: NDArray[np.int64], values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    counts = np.bincount(rows, minlength=n)
    sums = np.bincount(rows, weights=values, minlength=n)
    means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(n, np.nan), where=counts > 0)
    return means


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
