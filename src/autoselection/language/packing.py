"""Whether a model can be packed (:mod:`autoselection.language.packed`): tried, not assumed.

A few tokens are run through the model, packed and alone. What such a trial cannot see is asked of the configuration: windows that
attention is not told of, and rotary frequencies that hang on the longest sequence of a pass.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from autoselection.language.models import one_line
from autoselection.language.packed import Layout, NotPackable, Segment, kernel_for, packed_attention

#: Kinds of layers whose attention is what this module computes.
_LAYERS = {"full_attention", "sliding_attention"}

#: A window that is tried, and the tokens of sequences that are longer: two, and one that goes on from the first.
_TRIED_WINDOW, _LONGER = 8, (24, 17, 9)

#: How far FlashAttention's values and gradients may lie from float32's, by their norm; or so many times as far as the blocks'
#: own in half precision, which are far off where one key has almost all of the attention.
_TOLERANCE, _RATIO = 5e-2, 2.0


@dataclass(frozen=True)
class Packing:
    """How packed passes of a model are made.

    Attributes:
        possible: whether they give what the model itself gives; otherwise sequences are padded.
        flash: whether FlashAttention computes attention where it takes the queries; padded blocks do otherwise.
        problem: what a trial failed at: of packing, or, where that is possible, of FlashAttention. A clause; None where
            nothing failed.
    """

    possible: bool
    flash: bool
    problem: str | None


def packable(model: Any, arithmetic: torch.dtype | None = None, *, trained: bool = False) -> bool:
    """Whether a trial of packed passes fails at nothing; see :func:`tried_packing`."""
    return tried_packing(model, arithmetic, trained=trained).problem is None


def tried_packing(
    model: Any, arithmetic: torch.dtype | None = None, *, trained: bool = False, longest: int | None = None
) -> Packing:
    """Whether packed passes of ``model`` give what its own passes give: tried on a few tokens, with shared ones too.

    FlashAttention is tried first, where it takes the model's queries; where that fails, the blocks are.

    Args:
        arithmetic: of autocast; None is the model's own.
        trained: whether the gradients of attention have to be right, too.
        longest: tokens of the longest sequence that will be packed; None is not asked.
    """
    problem = _known_problem(model.config, longest)
    if problem is not None:
        return Packing(False, False, problem)
    problem, kernel = _trial(model, arithmetic, trained, flash=True)
    if problem is None:
        return Packing(True, True, None)
    if not kernel:
        return Packing(False, False, problem)
    by_blocks, _ = _trial(model, arithmetic, trained, flash=False)
    return Packing(by_blocks is None, False, problem if by_blocks is None else by_blocks)


def _known_problem(config: Any, longest: int | None) -> str | None:
    """What the configuration says against packing."""
    text = config.get_text_config()
    if config._attn_implementation != "sdpa":
        return f"its attention is '{config._attn_implementation}', not 'sdpa'"
    others = set(getattr(text, "layer_types", None) or _LAYERS) - _LAYERS
    if others:
        return f"it has layers of the kind '{min(others)}'"
    if getattr(text, "attention_chunk_size", None):
        return "its attention is cut into chunks"
    end = steady_rotation(text)
    return rotation_problem(end, longest) if longest is not None and end is not None and longest > end else None


def rotation_problem(end: int, longest: int) -> str:
    """Why sequences of up to ``longest`` tokens are not packed where frequencies are steady up to ``end`` of them."""
    return (
        f"beyond {end:,} tokens its rotary frequencies are chosen by the longest sequence of a pass, and these have up to "
        f"{longest:,}"
    )


def steady_rotation(config: Any) -> int | None:
    """Longest sequence (tokens) up to which rotary frequencies are the same for every pass; None is any.

    ``longrope`` and ``dynamic`` frequencies are chosen by the largest position of a whole pass: one longer sequence would
    change all others of it.
    """
    stated = getattr(config, "rope_parameters", None) or {}
    kinds = [each for each in stated.values() if isinstance(each, dict)] or [stated]  # of each kind of layer, or of all
    most = getattr(config, "max_position_embeddings", None)
    ends = []
    for each in kinds:
        kind = str(each.get("rope_type", ""))
        if kind == "longrope":
            ends.append(each.get("original_max_position_embeddings") or most)
        elif "dynamic" in kind:
            ends.append(most)
    return min((int(end) for end in ends if end), default=None)


def _untold_window(model: Any, windows: Sequence[int | None]) -> str | None:
    """Whether layers have a window that attention was not given: such a one is in their masks alone, which are not made.

    Args:
        windows: what every call of attention in a pass was given.
    """
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    if not window or not _makes_windows(model):
        return None
    kinds = getattr(config, "layer_types", None)
    expected = len(windows) if kinds is None else list(kinds).count("sliding_attention")
    return None if windows.count(window) >= expected else "it has a window that its attention is not told of"


def _makes_windows(model: Any) -> bool:
    """Whether the model's code may look at a window: a configuration of Llama's may name one that nobody reads."""
    sources = {type(module).__module__ for module in model.modules() if hasattr(module, "config")}
    known = [sys.modules[source] for source in sources if source.startswith("transformers.")]
    return len(known) < len(sources) or any(hasattr(source, "create_sliding_window_causal_mask") for source in known)


def _trial(model: Any, arithmetic: torch.dtype | None, trained: bool, *, flash: bool) -> tuple[str | None, bool]:
    """What packed passes of a few tokens fail at (None: at nothing), and whether FlashAttention was asked."""
    config = model.config.get_text_config()
    draw = torch.Generator().manual_seed(0)
    first, second, third = (torch.randint(int(config.vocab_size), (n,), generator=draw).tolist() for n in (9, 7, 5))
    shared = _Listening([Segment(first), Segment(second), Segment(third, parent=0)], model.device)
    unshared = _Listening([Segment(first), Segment(second)], model.device)
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.autocast(model.device.type, arithmetic, enabled=arithmetic is not None):
            alone = [
                model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0]
                for ids in (first, second, first + third)
            ]
            with packed_attention(model, flash=flash):
                found = model(**shared.given(), use_cache=False).logits[0]
                if trained:
                    model(**unshared.given(), use_cache=False)
        problem = _untold_window(model, shared.windows) or shared.window_problem(trained)
        if problem is None and not unshared.gradients_are_right():
            problem = "the gradients of packed attention are not right"
    except torch.OutOfMemoryError:
        raise
    except (NotPackable, TypeError, ValueError, RuntimeError, NotImplementedError) as error:
        problem = one_line(error)
    finally:
        model.train(training)
    if problem is not None:
        return problem, shared.kernel or unshared.kernel
    expected = torch.cat([alone[0], alone[1], alone[2][len(first) :]])
    tolerance = 1e-4 if arithmetic is None and expected.dtype == torch.float32 else 5e-2
    if not bool(torch.isfinite(expected).all()):
        problem = "its logits of a few drawn tokens are not finite"
    elif found.shape != expected.shape or not bool((found - expected).abs().max() <= tolerance * expected.abs().max()):
        problem = "its logits of packed sequences are not those of each alone"
    return problem, shared.kernel


class _Listening(Layout):
    """A layout that keeps what each kind of layer gives FlashAttention, once.

    Attributes:
        windows: what every call of attention was given.
        kernel: whether FlashAttention was asked.
    """

    def __init__(self, segments: Sequence[Segment], device: torch.device | str) -> None:
        super().__init__(segments, device)
        self._heard: dict[tuple[Any, ...], tuple[list[Tensor], dict[str, Any]]] = {}
        self.windows: list[int | None] = []
        self.kernel = False

    def attend(self, query: Tensor, key: Tensor, value: Tensor, *, flash: bool = True, **how: Any) -> Tensor:
        self.windows.append(how["window"])
        if flash and kernel_for(query, value, how["dropout"]) is not None:
            self.kernel = True
            kind = (query.shape, key.shape, *how.values())
            self._heard.setdefault(kind, ([each.detach() for each in (query, key, value)], how))
        return super().attend(query, key, value, **how, flash=flash)

    def gradients_are_right(self) -> bool:
        """Whether the gradients of what was heard are those of the blocks."""
        return all(_agree(self, partial(_gradients, inputs=inputs, how=how)) for inputs, how in self._heard.values())

    def window_problem(self, trained: bool) -> str | None:
        """What is not right about FlashAttention within a window, on drawn queries, keys and values that are longer.

        What a model reads in a trial is shorter than its window, so that FlashAttention was not asked for one.
        """
        for inputs, how in self._heard.values():
            if how["window"] is None:
                continue
            how = {**how, "window": _TRIED_WINDOW}
            *apart, after = (Segment([0] * length) for length in _LONGER)
            shared, unshared = (
                Layout(segments, self.device) for segments in ([*apart, replace(after, parent=0)], apart)
            )
            if not _agree(shared, partial(_values, inputs=_drawn_like(inputs, sum(_LONGER)), how=how)):
                return "attention within a window is not right"
            if trained:
                inputs = _drawn_like(inputs, sum(_LONGER[:-1]))
                if not _agree(unshared, partial(_gradients, inputs=inputs, how=how)):
                    return "the gradients of attention within a window are not right"
        return None


def _agree(layout: Layout, found: Callable[..., tuple[Tensor, ...]]) -> bool:
    """Whether FlashAttention gives what the blocks give: ``found`` of an attention, in float32 or as it is."""
    ours, half = (found(partial(Layout.attend, layout, flash=flash)) for flash in (True, False))
    exact = found(partial(Layout.attend, layout, flash=False), kind=torch.float32)
    return all(
        bool((own - true).norm() <= max(_TOLERANCE * true.norm(), _RATIO * (other - true).norm()))
        for own, other, true in zip(ours, half, exact, strict=True)
    )


def _drawn_like(inputs: Sequence[Tensor], tokens: int) -> list[Tensor]:
    """Queries, keys and values of so many tokens, drawn, with the heads, arithmetic and device of ``inputs``."""
    draw = torch.Generator().manual_seed(2)
    return [torch.randn(tokens, *each.shape[1:], generator=draw).to(each) for each in inputs]


def _values(
    attend: Callable[..., Tensor], inputs: Sequence[Tensor], how: Mapping[str, Any], kind: torch.dtype | None = None
) -> tuple[Tensor, ...]:
    """What attention finds, computed in the arithmetic ``kind``; float32."""
    with torch.no_grad():
        return (attend(*(each.to(kind or each.dtype) for each in inputs), **how).float(),)


def _gradients(
    attend: Callable[..., Tensor], inputs: Sequence[Tensor], how: Mapping[str, Any], kind: torch.dtype | None = None
) -> tuple[Tensor, ...]:
    """Gradients of a weighted sum of what attention finds, for queries, keys and values, in the arithmetic ``kind``; float32."""
    tokens = [each.to(kind or each.dtype, copy=True).requires_grad_() for each in inputs]
    with torch.enable_grad():
        found = attend(*tokens, **how).float()
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).to(found.device)
    return tuple(each.float() for each in torch.autograd.grad((found * weights).sum(), tokens))
