"""Sequences end to end in one pass give what each gives alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    DeepseekV3Config,
    Gemma2Config,
    Gemma3TextConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    PhimoeConfig,
    Qwen2Config,
    Qwen2MoeConfig,
    Qwen3Config,
)

from autoselection.language import flash, packed  # noqa: E402
from autoselection.language.flash import takes_grouped_heads  # noqa: E402
from autoselection.language.packed import (  # noqa: E402
    Layout,
    NotPackable,
    Segment,
    attention,
    packed_attention,
)
from autoselection.language.packing import Packing, packable, tried_packing  # noqa: E402
from autoselection.language.shared_prefixes import shared_segments  # noqa: E402

VOCABULARY = 40
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
}  # fmt: skip
EXPERTS: dict[str, Any] = {
    **SIZES,
    "num_experts": 2,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}
PACKED = {
    "llama": LlamaConfig(**SIZES),
    "grouped by one": LlamaConfig(**{**SIZES, "num_key_value_heads": 4}),
    "window": MistralConfig(**SIZES, sliding_window=6),
    "qwen2": Qwen2Config(**SIZES),
    "qwen3": Qwen3Config(**SIZES, head_dim=8),
    "gemma3": Gemma3TextConfig(**SIZES, head_dim=8, sliding_window=5, query_pre_attn_scalar=8),
    "narrow values": DeepseekV3Config(
        **{**SIZES, "num_key_value_heads": 4}, first_k_dense_replace=2, q_lora_rank=16, kv_lora_rank=16, qk_rope_head_dim=8,
        qk_nope_head_dim=8, v_head_dim=8,
    ),
}  # fmt: skip
#: And what is said of them. Windows are longer than what is tried.
PADDED = {
    "soft caps": (Gemma2Config(**SIZES, head_dim=8, attn_logit_softcapping=50.0), "its attention is 'eager', not 'sdpa'"),
    "recurrent": (MambaConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2), "its attention is 'eager'"),
    "eager": (LlamaConfig(**SIZES, attn_implementation="eager"), "its attention is 'eager', not 'sdpa'"),
    "windows in masks": (
        Qwen2MoeConfig(**EXPERTS, use_sliding_window=True, sliding_window=64, max_window_layers=2), "a window that its",
    ),
    "a window in masks": (
        PhimoeConfig(**SIZES, num_local_experts=2, sliding_window=64, head_dim=8), "a window that its attention is not told of",
    ),
}  # fmt: skip

Ids = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=24)


def model_of(config: Any) -> Any:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


MODELS = {name: model_of(config) for name, config in PACKED.items()}


def alone(model: Any, ids: list[int]) -> Any:
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


@pytest.mark.parametrize("name", PACKED)
def test_usual_models_can_be_packed_and_are_left_as_they_were(name: str) -> None:
    model = MODELS[name]
    before = model.config._attn_implementation
    assert packable(model) and packable(model, torch.bfloat16)
    assert model.config._attn_implementation == before and not model.training


@pytest.mark.parametrize("name", PADDED)
def test_models_that_do_more_than_attend_are_not_packed_and_it_is_said_why(name: str) -> None:
    config, said = PADDED[name]
    model = model_of(config)
    found = tried_packing(model)
    assert not found.possible and not packable(model)
    assert said in str(found.problem)


@pytest.mark.parametrize(
    "config",
    [
        Qwen2MoeConfig(**EXPERTS),
        PhimoeConfig(**SIZES, num_local_experts=2, head_dim=8),
        Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=64, max_window_layers=1),
        MistralConfig(**SIZES, sliding_window=64),
        LlamaConfig(**SIZES, sliding_window=64),
    ],
    ids=["experts", "more experts", "some layers have a window", "all layers have", "one is named that nobody reads"],
)
def test_models_without_a_window_and_those_that_tell_attention_of_it_are_packed(config: Any) -> None:
    assert tried_packing(model_of(config)) == Packing(True, True, None)


def test_what_attention_is_asked_besides_is_not_left_out_unseen() -> None:
    module = torch.nn.Module()
    tokens = torch.zeros(1, 2, 3, 4)
    layout = Layout([Segment([1, 2, 3])], "cpu")
    assert attention(module, tokens, tokens, tokens, None, packed=layout)[0].shape == (1, 3, 2, 4)
    with pytest.raises(NotPackable, match="a mask of its own"):
        attention(module, tokens, tokens, tokens, torch.zeros(1, 1, 3, 3), packed=layout)
    with pytest.raises(NotPackable, match="its attention has 'softcap'"):
        attention(module, tokens, tokens, tokens, None, packed=layout, softcap=50.0)
    with pytest.raises(NotPackable, match="not causal"):
        attention(module, tokens, tokens, tokens, None, packed=layout, is_causal=False)


ROTATIONS: dict[str, tuple[dict[str, Any], int | None]] = {
    "longrope": (
        {
            "rope_type": "longrope", "rope_theta": 10_000.0, "factor": 8.0, "original_max_position_embeddings": 32,
            "short_factor": [1.0] * 4, "long_factor": [4.0] * 4,
        },
        32,
    ),
    "dynamic": ({"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0}, 256),
    "linear": ({"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.0}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", ROTATIONS)
def test_sequences_whose_length_would_turn_the_others_are_not_packed(name: str) -> None:
    """Frequencies are chosen by the largest position of a pass: up to where they are steady, packing changes nothing."""
    parameters, end = ROTATIONS[name]
    model = model_of(LlamaConfig(**SIZES, rope_parameters=parameters, initializer_range=0.3))
    draw = torch.Generator().manual_seed(5)
    rows = [torch.randint(VOCABULARY, (n,), generator=draw).tolist() for n in (end or 300, 9)]
    assert tried_packing(model, longest=len(rows[0])).possible

    def differs(rows: list[list[int]]) -> bool:
        with torch.no_grad():
            expected = torch.cat([alone(model, ids) for ids in rows])
            with packed_attention(model):
                found = model(**Layout([Segment(ids) for ids in rows], "cpu").given(), use_cache=False).logits[0]
        return not torch.allclose(found, expected, rtol=1e-3, atol=1e-4)

    assert not differs(rows)
    rows[0] = rows[0] * 2
    assert differs(rows) == (end is not None)
    found = tried_packing(model, longest=len(rows[0]))
    assert found.possible == (end is None)
    if end is not None:
        assert f"beyond {end} tokens its rotary frequencies" in str(found.problem)


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(sorted(PACKED)), rows=st.lists(Ids, min_size=1, max_size=12))
def test_logits_and_gradients_are_those_of_each_row_alone(name: str, rows: list[list[int]]) -> None:
    model = MODELS[name]
    weights = torch.randn(sum(map(len, rows)), VOCABULARY, generator=torch.Generator().manual_seed(1))
    model.zero_grad()
    expected = torch.cat([alone(model, ids) for ids in rows])
    (expected * weights).sum().backward()
    wanted = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    layout = Layout([Segment(ids) for ids in rows], "cpu")
    with packed_attention(model):
        found = model(**layout.given(), use_cache=False).logits[0]
    (found * weights).sum().backward()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for parameter, gradient in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(PACKED)),
    stems=st.lists(Ids, min_size=1, max_size=4),
    tails=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 24), Ids), min_size=1, max_size=14),
    least=st.integers(1, 6),
)
def test_shared_beginnings_are_read_once_and_change_nothing(
    name: str, stems: list[list[int]], tails: list[tuple[int, int, list[int]]], least: int
) -> None:
    sequences = [stems[stem % len(stems)][:cut] + tail for stem, cut, tail in tails]
    segments, chains = shared_segments(sequences, least=least)
    assert [[token for i in chain for token in segments[i].ids] for chain in chains] == sequences
    assert all(segment.parent < place and segment.ids for place, segment in enumerate(segments))
    distinct = {tuple(sequence[: end + 1]) for sequence in sequences for end in range(len(sequence))}
    tokens = sum(len(segment.ids) for segment in segments)
    assert len(distinct) <= tokens <= sum(map(len, sequences))
    if least == 1:
        assert tokens == len(distinct)  # every beginning once
    layout = Layout(segments, "cpu")
    model = MODELS[name]
    with torch.no_grad():
        with packed_attention(model):
            logits = model(**layout.given(), use_cache=False).logits[0]
        for sequence, chain in zip(sequences, chains, strict=True):
            places = [int(layout.starts[i]) + k for i in chain for k in range(len(segments[i].ids))]
            torch.testing.assert_close(logits[places], alone(model, sequence), rtol=1e-4, atol=1e-5)


def test_half_precision_is_as_near_as_the_models_own() -> None:
    model = MODELS["llama"]
    draw = torch.Generator().manual_seed(2)
    rows = [torch.randint(VOCABULARY, (n,), generator=draw).tolist() for n in (70, 33, 9, 1)]
    exact = torch.cat([alone(model, ids) for ids in rows])
    layout = Layout([Segment(ids) for ids in rows], "cpu")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        own = torch.cat([alone(model, ids) for ids in rows])
        with packed_attention(model):
            ours = model(**layout.given(), use_cache=False).logits[0]
    assert 0 < (ours - exact).abs().mean() <= 1.2 * (own - exact).abs().mean()


def test_a_pass_that_is_not_packed_is_refused_while_packed_ones_are_taken() -> None:
    model = MODELS["llama"]
    with packed_attention(model), pytest.raises(NotPackable):
        model(input_ids=torch.tensor([[1, 2, 3]]), use_cache=False)
    assert model(input_ids=torch.tensor([[1, 2, 3]]), use_cache=False).logits.shape == (1, 3, VOCABULARY)


def test_the_attention_of_padding_has_no_gradient() -> None:
    """Rows of very different lengths are several blocks; the gradient of each token is that of its row alone."""
    draw = torch.Generator().manual_seed(3)
    lengths = (150, 149, 60, 3)
    layout = Layout([Segment([0] * n) for n in lengths], "cpu")
    total = sum(lengths)
    inputs = [torch.randn(total, heads, 8, generator=draw).requires_grad_() for heads in (4, 2, 2)]
    weights = torch.randn(total, 4, 8, generator=draw)
    found = layout.attend(*inputs, scale=0.3, dropout=0.0, window=None)
    gradients = torch.autograd.grad((found * weights).sum(), inputs)
    start = 0
    for length in lengths:
        part = slice(start, start + length)
        own = [each[part].detach().transpose(0, 1)[None].requires_grad_() for each in inputs]
        expected = torch.nn.functional.scaled_dot_product_attention(*own, is_causal=True, scale=0.3, enable_gqa=True)
        torch.testing.assert_close(found[part], expected[0].transpose(0, 1), rtol=1e-4, atol=1e-5)
        wanted = torch.autograd.grad((expected[0].transpose(0, 1) * weights[part]).sum(), own)
        for gradient, each in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(gradient[part], each[0].transpose(0, 1), rtol=1e-3, atol=1e-4)
        start += length


@pytest.mark.parametrize(
    ("device", "flash", "masked", "fused"),
    [
        ("cpu", False, True, True),
        ("cuda", True, False, True),
        ("cuda", True, True, False),  # shared beginnings, windows
        ("cuda", False, False, False),  # float32, older GPUs
    ],
)
def test_a_gpu_is_given_grouped_heads_only_where_flash_attention_takes_them(
    device: str, flash: bool, masked: bool, fused: bool
) -> None:
    assert takes_grouped_heads(device, flash, masked) == fused


@pytest.mark.parametrize(
    ("kind", "width", "values", "capability", "taken"),
    [
        (torch.bfloat16, 64, 64, (8, 0), True),
        (torch.float32, 64, 64, (8, 0), False),
        (torch.bfloat16, 60, 60, (8, 0), False),
        (torch.bfloat16, 192, 128, (9, 0), False),  # DeepSeek's
        (torch.float16, 64, 64, (7, 5), False),
    ],
)
def test_flash_attention_takes_half_precision_and_values_as_wide_as_queries(
    kind: Any, width: int, values: int, capability: tuple[int, int], taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    query, value = (
        SimpleNamespace(is_cuda=True, dtype=kind, shape=(10, 4, size), device="cuda") for size in (width, values)
    )
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert flash.flash_takes(query, value) == taken  # type: ignore[arg-type]


@pytest.mark.parametrize("window", [None, 4])
def test_repeated_keys_are_those_of_grouped_heads(window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(6)
    layout = Layout([Segment([0] * 9), Segment([0] * 5), Segment([0] * 3, parent=0)], "cpu")
    inputs = [torch.randn(17, heads, 8, generator=draw) for heads in (6, 2, 2)]
    how: dict[str, Any] = {"scale": 0.3, "dropout": 0.0, "window": window}
    expected = layout.attend(*inputs, **how)
    sdpa = torch.nn.functional.scaled_dot_product_attention
    heads: list[tuple[int, bool]] = []

    def spy(query: Any, key: Any, value: Any, **more: Any) -> Any:
        heads.append((key.shape[1], more["enable_gqa"]))
        return sdpa(query, key, value, **more)

    monkeypatch.setattr(packed, "takes_grouped_heads", lambda *_: False)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    torch.testing.assert_close(layout.attend(*inputs, **how), expected)
    assert set(heads) == {(6, False)}


def test_only_passes_that_share_tokens_are_sent_what_their_segments_see(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    send = packed.on_device

    def spy(arrays: Any, device: Any) -> Any:
        sent.append(sum(array.size for array in arrays))
        return send(arrays, device)

    monkeypatch.setattr(packed, "on_device", spy)
    layout = Layout([Segment([1] * 6), Segment([2] * 6)], "cpu")
    sent.clear()
    layout.attend(*(torch.zeros(12, 2, 4) for _ in range(3)), scale=1.0, dropout=0.0, window=None)
    assert sent == [12 + 12]  # the token in each slot, and the slot of each token


def varlen(
    version: str, calls: list[str], gradient: float = 1.0, windows: bool = True, failure: Exception | None = None
) -> Any:
    """PyTorch's ``varlen_attn`` as versions have it: as strict about heads, and row by row."""

    def attend(
        query: Any, key: Any, value: Any, ends: Any, key_ends: Any, scale: Any, window: Any, grouped: bool
    ) -> Any:
        calls.append(version)
        if failure is not None:
            raise failure
        assert grouped or query.shape[1] == key.shape[1], "Try setting enable_gqa=True for GQA."
        assert window[1] == 0 and ends.dtype == key_ends.dtype == torch.int32
        found = []
        for (start, end), (first, last) in zip(pairwise(ends.tolist()), pairwise(key_ends.tolist()), strict=True):
            q, k, v = (each.transpose(0, 1)[None] for each in (query[start:end], key[first:last], value[first:last]))
            reach = torch.arange(last - first)[None] - torch.arange(last - first - (end - start), last - first)[:, None]
            seen = (reach <= 0) & ((reach >= -window[0]) if window[0] >= 0 and windows else True)
            found.append(
                torch.nn.functional.scaled_dot_product_attention(
                    q, k, v, attn_mask=seen, scale=scale, enable_gqa=grouped
                )[0].transpose(0, 1)
            )
        together = torch.cat(found)
        return together.detach() + gradient * (together - together.detach())

    def first(q: Any, k: Any, v: Any, ends: Any, key_ends: Any, max_q: int, max_k: int, is_causal: bool = False) -> Any:
        raise AssertionError("takes neither scale nor window")

    def ungrouped(
        q: Any, k: Any, v: Any, ends: Any, key_ends: Any, max_q: int, max_k: int, *,
        return_aux: Any = None, scale: Any = None, window_size: Any = (-1, -1),
    ) -> Any:  # fmt: skip
        return attend(q, k, v, ends, key_ends, scale, window_size, False)

    def grouped(
        q: Any, k: Any, v: Any, ends: Any, key_ends: Any, max_q: int, max_k: int, *,
        return_aux: Any = None, scale: Any = None, window_size: Any = (-1, -1), enable_gqa: bool = False,
    ) -> Any:  # fmt: skip
        return attend(q, k, v, ends, key_ends, scale, window_size, enable_gqa)

    return {"2.10": first, "2.11": ungrouped, "2.12": grouped}[version]


@pytest.fixture
def pytorch_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """As if half precision ran on a GPU, with the ``varlen_attn`` of a version of PyTorch; 2.9 has none."""

    def pretend(version: str, **how: Any) -> list[str]:
        calls: list[str] = []
        module = None
        if version != "2.9":
            module = ModuleType("torch.nn.attention.varlen")
            module.varlen_attn = varlen(version, calls, **how)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", module)
        monkeypatch.setattr(
            packed,
            "flash_takes",
            lambda query, value: query.dtype == torch.bfloat16 and query.shape[-1] == value.shape[-1],
        )
        flash.varlen_kernel.cache_clear()
        return calls

    yield pretend
    flash.varlen_kernel.cache_clear()


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize(("version", "used"), [("2.9", False), ("2.10", False), ("2.11", True), ("2.12", True)])
def test_every_version_of_pytorch_packs_with_flash_attention_where_it_has_one(
    version: str, used: bool, name: str, pytorch_of: Any
) -> None:
    calls = pytorch_of(version)
    assert packable(MODELS[name], torch.bfloat16, trained=True)
    assert bool(calls) == (used and name != "narrow values")


@pytest.mark.parametrize("version", ["2.11", "2.12"])
@pytest.mark.parametrize("name", ["llama", "window", "grouped by one"])
def test_flash_attention_is_given_what_the_blocks_see(name: str, version: str, pytorch_of: Any) -> None:
    """Grouped heads, windows and shared tokens, against the same pass by blocks."""
    draw = torch.Generator().manual_seed(4)
    stem, one, other = (torch.randint(VOCABULARY, (n,), generator=draw).tolist() for n in (11, 8, 5))
    layout = Layout([Segment(stem), Segment(one, parent=0), Segment(other), Segment(other, parent=1)], "cpu")
    model = MODELS[name]

    def logits() -> Any:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), packed_attention(model):
            return model(**layout.given(), use_cache=False).logits[0]

    by_blocks = logits()
    calls = pytorch_of(version)
    torch.testing.assert_close(logits(), by_blocks, rtol=0.05, atol=0.02 * float(by_blocks.abs().max()))
    assert len(calls) == SIZES["num_hidden_layers"]


@pytest.mark.parametrize("gradient", [0.5, 0.0, -1.0])
def test_a_kernel_with_wrong_gradients_scores_and_blocks_train(gradient: float, pytorch_of: Any) -> None:
    pytorch_of("2.12", gradient=gradient)
    assert packable(MODELS["llama"], torch.bfloat16)
    found = tried_packing(MODELS["llama"], torch.bfloat16, trained=True)
    assert found == Packing(True, False, "the gradients of packed attention are not right")  # by blocks


@pytest.mark.parametrize("trained", [True, False])
def test_a_kernel_that_does_not_run_is_told_and_blocks_take_its_place(trained: bool, pytorch_of: Any) -> None:
    calls = pytorch_of("2.12", failure=RuntimeError("no kernel image is available"))
    model = MODELS["llama"]
    found = tried_packing(model, torch.bfloat16, trained=trained)
    assert found == Packing(True, False, "no kernel image is available") and calls
    calls.clear()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), packed_attention(model, flash=found.flash):
        model(**Layout([Segment([1, 2, 3])], "cpu").given(), use_cache=False)
    assert not calls


@pytest.mark.parametrize("name", ["window", "gemma3", "llama"])
def test_a_kernel_is_tried_within_a_window_where_the_model_has_one(name: str, pytorch_of: Any) -> None:
    """The model's own window is longer than what it reads in the trial."""
    config = PACKED[name].__class__.from_dict({**PACKED[name].to_dict(), "sliding_window": 64})
    model = model_of(config)
    pytorch_of("2.12")
    assert tried_packing(model, torch.bfloat16, trained=True) == Packing(True, True, None)
    pytorch_of("2.12", windows=False)
    found = tried_packing(model, torch.bfloat16)
    if name == "llama":
        assert found == Packing(True, True, None)
    else:
        assert found == Packing(True, False, "attention within a window is not right")


def test_a_gpu_is_sent_a_pass_from_pinned_memory_before_the_model_runs(
    pytorch_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One copy, nothing waited for: every other way to the device would drain its queue in the middle of a pass."""
    pytorch_of("2.12")
    pinned: list[Any] = []
    sent: list[bool] = []
    to = torch.Tensor.to

    def pin(tensor: Any) -> Any:
        pinned.append(tensor)
        return tensor

    def move(tensor: Any, *where: Any, **how: Any) -> Any:
        if not where or torch.device("cuda") not in where:
            return to(tensor, *where, **how)
        sent.append(how.get("non_blocking", False) and any(tensor is each for each in pinned))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    monkeypatch.setattr(torch.Tensor, "to", move)
    layout = Layout([Segment([1, 2, 3]), Segment([4], parent=0), Segment([5, 6])], "cuda")
    assert sent == [True]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), packed_attention(MODELS["llama"]):
        MODELS["llama"](**layout.given(), use_cache=False)
    assert sent == [True]
