"""Likelihoods of continuations in packed passes: no padding, and what several of them begin with is read once.

The gold answer of an item and all its options go on from one prompt, and items from the same solved examples. Imports torch:
imported when scoring starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from autoselection.evaluation.engines.contract import Continuation
from autoselection.language.packed import Layout, packed_attention, shared_segments, shared_tokens

#: Tokens of a pass where none are set.
_PASS_TOKENS = {"cpu": 2048, "cuda": 32_768}
#: Numbers of a block of logits: softmax in larger ones takes longer on a CPU.
_BLOCK = {"cpu": 1 << 22, "cuda": 1 << 28}


def packed_likelihoods(
    model: Any,
    asked: Sequence[Continuation],
    *,
    max_length: int,
    pass_tokens: int | None,
    pass_sequences: int | None,
    arithmetic: Callable[[], Any],
) -> list[tuple[float, bool]]:
    """Log-probability of every continuation (nats), and whether greedy decoding would write it.

    Args:
        model: one that can be packed (:func:`autoselection.language.packed.packable`).
        asked: none without context or continuation.
        max_length: longest sequence the model reads (tokens); a longer one loses its beginning.
        pass_tokens: most tokens of a pass, shared ones counted once (a single sequence may have more); None: by the device.
        pass_sequences: most sequences of a pass; None is no limit.
        arithmetic: makes the context in which passes are made.
    """
    read = [((*each.context, *each.ids)[-(max_length + 1) :])[:-1] for each in asked]
    together: dict[tuple[int, ...], list[int]] = {}
    for index, tokens in enumerate(read):
        together.setdefault(tokens, []).append(index)
    limit = pass_tokens or _PASS_TOKENS.get(model.device.type, 8192)
    answers: list[tuple[float, bool]] = [(0.0, False)] * len(asked)
    # One context for all passes: autocast casts the weights once in it.
    with torch.inference_mode(), packed_attention(model), arithmetic():
        for sequences in _passes(sorted(together), limit, pass_sequences):
            members = [index for sequence in sequences for index in together[sequence]]
            found = _scored(model, sequences, [[asked[i].ids for i in together[each]] for each in sequences])
            for index, answer in zip(members, found, strict=True):
                answers[index] = answer
    return answers


def _passes(sequences: Sequence[tuple[int, ...]], limit: int, most: int | None) -> Iterator[list[tuple[int, ...]]]:
    """Neighbours together, as many as the limits allow; tokens that one has in common with the one before count once."""
    batch: list[tuple[int, ...]] = []
    tokens = 0
    for sequence in sequences:
        fresh = len(sequence)
        if batch:
            fresh -= shared_tokens(batch[-1], sequence)
        if batch and (tokens + fresh > limit or len(batch) == most):
            yield batch
            batch, tokens, fresh = [], 0, len(sequence)
        batch.append(sequence)
        tokens += fresh
    if batch:
        yield batch


def _scored(
    model: Any,
    sequences: Sequence[tuple[int, ...]],
    continuations: Sequence[Sequence[Sequence[int]]],
) -> list[tuple[float, bool]]:
    """The answers for all continuations of the sequences, in order; a continuation's last token is not read."""
    segments, chains = shared_segments(sequences)
    layout = Layout(segments, model.device)
    starts = layout.starts.tolist()
    places: list[list[int]] = []  # of each token of each sequence, the place in the pass
    for chain in chains:
        places.append([starts[i] + offset for i in chain for offset in range(len(segments[i].ids))])
    wanted: list[int] = []
    targets: list[int] = []
    counts: list[int] = []
    for own, asked in zip(places, continuations, strict=True):
        for ids in asked:
            wanted += own[len(own) - len(ids) :]
            targets += ids
            counts.append(len(ids))
    kept, rows = torch.unique(torch.tensor(wanted, device=model.device), return_inverse=True)
    logits = model(**layout.given(), use_cache=False, logits_to_keep=kept).logits[0]
    chosen = torch.tensor(targets, device=model.device)
    likelihoods = torch.empty(len(chosen), dtype=torch.float32, device=model.device)
    greedy = torch.empty(len(chosen), dtype=torch.bool, device=model.device)
    size = max(1, _BLOCK.get(model.device.type, 1 << 24) // logits.shape[-1])
    for start in range(0, len(chosen), size):
        part = slice(start, start + size)
        block = logits[rows[part]].float()
        picked = block.gather(1, chosen[part, None])[:, 0]
        likelihoods[part] = picked - block.logsumexp(-1)
        greedy[part] = block.argmax(-1) == chosen[part]
    sums = [float(each.double().sum()) for each in torch.split(likelihoods.cpu(), counts)]
    return list(zip(sums, [bool(each.all()) for each in torch.split(greedy.cpu(), counts)], strict=True))
