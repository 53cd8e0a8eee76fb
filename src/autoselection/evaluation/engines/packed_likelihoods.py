"""Likelihoods of continuations in packed passes: no padding, and what several of them begin with is read once.

The gold answer of an item and all its options go on from one prompt, and items from the same solved examples. Imports torch:
imported when scoring starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from autoselection.evaluation.engines.contract import Continuation
from autoselection.language.packed import Layout, on_device, packed_attention
from autoselection.language.shared_prefixes import shared_segments, shared_tokens

#: Tokens of a pass where none are set.
_PASS_TOKENS = {"cpu": 2048, "cuda": 32_768}
#: Most keys that the segments of a pass see together, in tokens of a pass. Attention gathers them, shared ones once for every
#: segment that goes on from them: 32,768 tokens of Llama-2-7B may gather 8 GiB of keys and values in a layer, and four times
#: less where four heads share theirs. More would spare little: 3,000 common tokens before questions of 80 are read again
#: after 170 of these, a fifth of the pass.
_KEYS = 16
#: Numbers of a block of logits: softmax in larger ones takes longer on a CPU.
_BLOCK = {"cpu": 1 << 22, "cuda": 1 << 28}


def packed_likelihoods(
    model: Any,
    asked: Sequence[Continuation],
    *,
    max_length: int,
    pass_tokens: int | None,
    pass_positions: int | None,
    pass_sequences: int | None,
    arithmetic: Callable[[], Any],
    flash: bool = True,
) -> list[tuple[float, bool]]:
    """Log-probability of every continuation (nats), and whether greedy decoding would write it.

    Args:
        model: one that can be packed (:func:`autoselection.language.packing.tried_packing`).
        asked: none without context or continuation.
        max_length: longest sequence the model reads (tokens); a longer one loses its beginning.
        pass_tokens: most tokens of a pass, shared ones counted once, and a sixteenth of the keys that attention may gather in
            it (a single sequence may have more); None: by the device.
        pass_positions: most positions of a pass whose logits are made (a single sequence may have more); None is no limit.
        pass_sequences: most sequences of a pass; None is no limit.
        arithmetic: makes the context in which passes are made.
        flash: whether FlashAttention may compute attention (:class:`autoselection.language.packing.Packing`).
    """
    read = [((*each.context, *each.ids)[-(max_length + 1) :])[:-1] for each in asked]
    together: dict[tuple[int, ...], list[int]] = {}
    for index, tokens in enumerate(read):
        together.setdefault(tokens, []).append(index)
    limits = (pass_tokens or _PASS_TOKENS.get(model.device.type, 8192), pass_positions, pass_sequences)
    wanted = {tokens: max(len(asked[i].ids) for i in members) for tokens, members in together.items()}
    order: list[int] = []
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    # One context for all passes: autocast casts the weights once in it, but not in inference mode.
    with torch.no_grad(), packed_attention(model, flash=flash), arithmetic():
        for sequences in _passes(sorted(together), wanted, *limits):
            order += [index for sequence in sequences for index in together[sequence]]
            found.append(_scored(model, sequences, [[asked[i].ids for i in together[each]] for each in sequences]))
    if not found:
        return []
    # Fetched at the end: a GPU is not waited for between passes.
    likelihoods, greedy = (torch.cat(each).cpu() for each in zip(*found, strict=True))
    counts = [len(asked[index].ids) for index in order]
    answers: list[tuple[float, bool]] = [(0.0, False)] * len(asked)
    for index, each, written in zip(order, torch.split(likelihoods, counts), torch.split(greedy, counts), strict=True):
        answers[index] = float(each.double().sum()), bool(written.all())
    return answers


def _passes(
    sequences: Sequence[tuple[int, ...]],
    wanted: Mapping[tuple[int, ...], int],
    most_tokens: int,
    most_positions: int | None,
    most: int | None,
) -> Iterator[list[tuple[int, ...]]]:
    """Neighbours together, as many as the limits allow; tokens that one has in common with the one before count once.

    The keys of a segment are the tokens that its last one sees. A sequence that leaves the one before within a segment cuts
    that in two: what both begin with is then one more segment.

    Args:
        sequences: sorted, each once.
        wanted: of each sequence the positions whose logits are made.
    """
    batch: list[tuple[int, ...]] = []
    ends: list[int] = []  # of the segments of the last sequence
    tokens = positions = keys = 0
    for sequence in sequences:
        common = shared_tokens(batch[-1], sequence) if batch else 0
        kept = [end for end in ends if end <= common]
        cut = common if common not in (0, *kept) else 0
        full = (
            tokens + len(sequence) - common > most_tokens
            or keys + len(sequence) + cut > _KEYS * most_tokens
            or (most_positions is not None and positions + wanted[sequence] > most_positions)
            or len(batch) == most
        )
        if batch and full:
            yield batch
            batch, kept, tokens, positions, keys, common, cut = [], [], 0, 0, 0, 0, 0
        batch.append(sequence)
        ends = [*kept, *([cut] if cut else []), len(sequence)]
        tokens += len(sequence) - common
        keys += len(sequence) + cut
        positions += wanted[sequence]
    if batch:
        yield batch


def _scored(
    model: Any,
    sequences: Sequence[tuple[int, ...]],
    continuations: Sequence[Sequence[Sequence[int]]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of every token of all continuations of the sequences, in order, its log-probability and whether it is the likeliest.

    A continuation's last token is not read.
    """
    segments, chains = shared_segments(sequences)
    layout = Layout(segments, model.device)
    starts = layout.starts.tolist()
    places: list[list[int]] = []  # of each token of each sequence, the place in the pass
    for chain in chains:
        places.append([starts[i] + offset for i in chain for offset in range(len(segments[i].ids))])
    wanted: list[int] = []
    targets: list[int] = []
    for own, asked in zip(places, continuations, strict=True):
        for ids in asked:
            wanted += own[len(own) - len(ids) :]
            targets += ids
    kept, rows, chosen = on_device(
        [*np.unique(np.array(wanted, np.int64), return_inverse=True), np.array(targets, np.int64)], model.device
    )
    logits = model(**layout.given(), use_cache=False, logits_to_keep=kept).logits[0]
    likelihoods = torch.empty(len(chosen), dtype=torch.float32, device=model.device)
    greedy = torch.empty(len(chosen), dtype=torch.bool, device=model.device)
    size = max(1, _BLOCK.get(model.device.type, 1 << 24) // logits.shape[-1])
    for start in range(0, len(chosen), size):
        part = slice(start, start + size)
        block = logits[rows[part]].float()
        picked = block.gather(1, chosen[part, None])[:, 0]
        likelihoods[part] = picked - block.logsumexp(-1)
        greedy[part] = block.argmax(-1) == chosen[part]
    return likelihoods, greedy
