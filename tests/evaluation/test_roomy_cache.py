"""Keys and values that grow in place are those that transformers' own cache holds, and are not copied for every token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.profiler import profile
from transformers import AutoModelForCausalLM, DynamicCache, Gemma3TextConfig, LlamaConfig, Qwen3Config
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from autoselection.evaluation.engines import lm_eval_model
from autoselection.evaluation.engines.contract import Question
from autoselection.evaluation.engines.lm_eval_model import ConversationLM
from autoselection.evaluation.engines.roomy_cache import RoomyLayer, give_room
from autoselection.evaluation.generation import Generation
from autoselection.language.models import load_model

steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 70)),
        st.tuples(st.just("keep"), st.sets(st.integers(0, 3), min_size=1)),
        st.tuples(st.just("reorder"), st.permutations(range(4))),
        st.tuples(st.just("crop"), st.integers(0, 3)),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps, st.booleans())
def test_a_layer_holds_what_transformers_own_holds(steps: list[tuple[str, Any]], half: bool) -> None:
    torch.manual_seed(0)
    rows = 4
    own = DynamicLayer()
    states = torch.randn(2, rows, 2, 3, 8)
    own.update(*states)
    roomy = RoomyLayer(own, torch.bfloat16 if half else None)
    given_back = []
    for what, value in steps:
        if what == "append":
            states = torch.randn(2, rows, 2, value, 8)
            expected, found = own.update(*states), roomy.update(*states)
            given_back.append((found, [each.clone() for each in found]))
            assert all(torch.equal(a.to(b.dtype), b) for a, b in zip(expected, found, strict=True))
        elif what == "crop":
            if own.get_seq_length() > value:
                own.crop(-value), roomy.crop(-value)
        else:
            chosen = torch.tensor(sorted(each for each in value if each < rows) if what == "keep" else value)
            if what == "reorder":
                chosen = chosen[chosen < rows]
            if len(chosen):
                rows = len(chosen)
                for layer in (own, roomy):
                    layer.batch_select_indices(chosen) if what == "keep" else layer.reorder_cache(chosen)
        assert roomy.get_seq_length() == own.get_seq_length()
        assert roomy.get_mask_sizes(1) == own.get_mask_sizes(1)
        assert torch.equal(own.keys.to(roomy.keys.dtype), roomy.keys)
        assert torch.equal(own.values.to(roomy.values.dtype), roomy.values)
    assert not half or roomy.keys.dtype == torch.bfloat16


sizes = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 512,
}  # fmt: skip

MIXED = Gemma3TextConfig(
    **sizes, sliding_window=8, layer_types=["sliding_attention", "full_attention", "sliding_attention"]
)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(
    "config", [LlamaConfig(**sizes), Qwen3Config(**sizes), MIXED], ids=["llama", "qwen3", "gemma3"]
)  # fmt: skip
def test_logits_are_bit_for_bit_those_of_transformers_own_cache(config: Any, half: bool, attention: str) -> None:
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    ids = torch.randint(0, 300, (5, 90))
    mask = torch.ones_like(ids)
    mask[2, :7] = 0
    caches = [DynamicCache(config=config) for _ in range(2)]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        start = 0
        for end in (10, *range(11, 90)):
            logits = [
                model(ids[:, start:end], attention_mask=mask[:, :end], past_key_values=cache).logits for cache in caches
            ]
            assert torch.equal(*logits)
            if start == 0:
                give_room(caches[1], torch.bfloat16 if half else None)
            if end == 40:  # some leave
                ids, mask = ids[[0, 2, 3]], mask[[0, 2, 3]]
                for cache in caches:
                    cache.batch_select_indices(torch.tensor([0, 2, 3]))
            start = end
    kinds = {type(layer) for layer in caches[1].layers}
    assert kinds == ({RoomyLayer, DynamicSlidingWindowLayer} if config is MIXED else {RoomyLayer})


def test_keys_and_values_are_neither_copied_nor_cast_for_every_token(
    tiny_model_dir: Path, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(tiny_model_dir, "cpu", "float32")
    engine = ConversationLM(model, tiny_tokenizer, seed=0, batch_size=None, batch_tokens=None, autocast=True)
    asked = [Question([5, 6, 7, n], [], Generation(60, (), ())) for n in range(8, 14)]

    def traffic() -> tuple[list[tuple[str, bool]], int]:
        """Answers, and how many numbers were copied out of keys and values after the first tokens."""
        with profile(record_shapes=True) as told:
            answers = engine.answers(asked)
        copied = 0
        for event in told.events():
            shapes = event.input_shapes
            if event.name in ("aten::cat", "aten::copy_") and shapes and len(shapes[0]) == 4 and shapes[0][2] > 20:
                copied += 1
        return answers, copied

    answers, copied = traffic()
    monkeypatch.setattr(lm_eval_model, "give_room", lambda cache, arithmetic: None)
    plain, before = traffic()
    assert answers == plain
    layers = model.config.num_hidden_layers
    # Keys and values of each layer are copied when answers have 16, 32 and perhaps 48 tokens more, not 40 times.
    assert copied <= 2 * layers * 4 < 2 * layers * 30 < before
