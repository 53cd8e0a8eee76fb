"""Passes that score many continuations at once are limited, and give the same however they are cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from autoselection.evaluation import evaluate
from autoselection.evaluation.engines import lm_eval_model
from autoselection.evaluation.engines.contract import Continuation
from autoselection.evaluation.engines.lm_eval_model import ConversationLM
from autoselection.evaluation.remarks import padding_remark
from autoselection.language.packing import Packing

MOST = 20


def small_model(vocabulary: int) -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=1024,
        )
    ).eval()  # fmt: skip


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if what is remarked were remarked of a GPU."""
    monkeypatch.setattr(lm_eval_model, "padding_remark", lambda what, _, *told: padding_remark(what, "cuda", *told))


@pytest.mark.usefixtures("on_a_gpu")
def test_scoring_that_has_to_pad_says_why(make_job: Any, choices: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for name, config, packing in (
        ("packed", {}, Packing(True, True, None)),
        ("by blocks", {}, Packing(True, False, "no kernel image")),
        ("padded", {}, Packing(False, False, "it has layers of another kind")),
        ("asked for", {"compile": True}, None),
    ):
        monkeypatch.setattr(lm_eval_model, "tried_packing", lambda *_, packing=packing, **__: packing)
        monkeypatch.setattr(torch, "compile", lambda model, **_: model)
        found[name] = evaluate(make_job(rows=None, tasks=(choices,), config=config))
    assert found["packed"].remarks == found["asked for"].remarks == ()
    assert "without FlashAttention (no kernel image)" in found["by blocks"].remarks[0]
    assert "was not packed (it has layers of another kind)" in found["padded"].remarks[0]
    assert found["padded"].scores == pytest.approx(found["packed"].scores, rel=1e-4)


@pytest.mark.usefixtures("on_a_gpu")
def test_contexts_that_would_turn_the_others_of_a_pass_are_padded(tiny_tokenizer: Any) -> None:
    torch.manual_seed(0)
    rotation = {
        "rope_type": "longrope", "rope_theta": 10_000.0, "factor": 8.0, "original_max_position_embeddings": 32,
        "short_factor": [1.0] * 4, "long_factor": [4.0] * 4,
    }  # fmt: skip
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=102, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
            max_position_embeddings=256, rope_parameters=rotation,
        )
    ).eval()  # fmt: skip
    engine = ConversationLM(model, tiny_tokenizer, seed=0, batch_size=None, batch_tokens=None, autocast=False)
    short = [Continuation([5] * 8, [7, 8]), Continuation([6] * 30, [7, 8, 9])]
    engine.likelihoods(short)
    assert engine.remarks == ()
    engine.likelihoods([*short, Continuation([6] * 30, [7, 8, 9, 10])])
    assert "beyond 32 tokens its rotary frequencies are chosen by the longest sequence" in engine.remarks[0]


@pytest.mark.parametrize("vocabulary", [102, 204])
def test_the_logits_of_a_pass_are_as_many_as_fit_and_the_answers_those_of_one_pass(
    vocabulary: int, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model(vocabulary)
    draw = torch.Generator().manual_seed(1)

    def tokens(count: int) -> list[int]:
        found: list[int] = torch.randint(vocabulary, (count,), generator=draw).tolist()
        return found

    asked = [Continuation(tokens(6), tokens(2 * MOST))]  # more than fit: a pass of its own
    for _ in range(8):
        prompt = tokens(10)
        asked.append(Continuation(prompt, tokens(7)))
        asked += [Continuation(prompt, tokens(1)) for _ in range(4)]
    made: list[int] = []
    model.lm_head.register_forward_pre_hook(lambda _module, inputs: made.append(inputs[0].shape[-2]))

    def answers(**limits: Any) -> list[tuple[float, bool]]:
        settings: dict[str, Any] = {"seed": 0, "batch_size": None, "batch_tokens": None, "autocast": False, **limits}
        engine = ConversationLM(model, tiny_tokenizer, **settings)
        made.clear()
        return engine.likelihoods(asked)

    whole = answers(batch_tokens=10_000)
    assert made == [2 * MOST + 8 * 7]  # the prompt's last position is wanted once for all that go on from it
    # Numbers of 8 bytes: twice the vocabulary leaves half as many positions.
    monkeypatch.setitem(lm_eval_model._LOGIT_BYTES, "cpu", 8 * 102 * MOST)
    cut = answers()
    most = MOST * 102 // vocabulary
    assert sorted(made)[-1] == 2 * MOST and 7 <= sorted(made)[-2] <= most
    assert [one for one, _ in cut] == pytest.approx([one for one, _ in whole], rel=1e-5)
    assert [greedy for _, greedy in cut] == [greedy for _, greedy in whole]
    for (likelihood, greedy), each in zip(cut, asked, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([each.context + each.ids])).logits[0, len(each.context) - 1 : -1]
        targets = torch.tensor(each.ids)
        exact = logits.log_softmax(-1).gather(1, targets[:, None]).sum().item()
        assert likelihood == pytest.approx(exact, rel=1e-5)
        assert greedy == bool((logits.argmax(-1) == targets).all())


def test_the_keys_of_a_pass_are_limited_and_the_answers_those_of_one_pass(tiny_tokenizer: Any) -> None:
    """Solved examples, questions behind them, and answers: what is common is gathered for each that goes on from it."""
    model = small_model(102)
    draw = torch.Generator().manual_seed(1)

    def tokens(count: int) -> list[int]:
        found: list[int] = torch.randint(102, (count,), generator=draw).tolist()
        return found

    examples = tokens(120)
    asked = [Continuation(tokens(30), tokens(6))]  # behind no examples
    for _ in range(20):
        prompt = examples + tokens(4)
        asked += [Continuation(prompt, tokens(3)) for _ in range(3)]
    seen: list[tuple[int, int]] = []

    def note(_module: Any, _given: Any, named: dict[str, Any]) -> None:
        if (layout := named.get("packed")) is not None:
            total = layout.ids.shape[1]
            last = [*(layout.starts[1:] - 1).tolist(), total - 1]
            seen.append((total, int((layout.positions[0, last] + 1).sum())))

    model.register_forward_pre_hook(note, with_kwargs=True)

    def answers(batch_tokens: int) -> list[tuple[float, bool]]:
        engine = ConversationLM(
            model, tiny_tokenizer, seed=0, batch_size=None, batch_tokens=batch_tokens, autocast=False
        )
        seen.clear()
        return engine.likelihoods(asked)

    whole = answers(100_000)
    ((total, gathered),) = seen
    most = 250
    assert total < 2 * most and gathered > 40 * most  # two passes by its tokens alone
    cut = answers(most)
    assert all(one <= most and keys <= 16 * most for one, keys in seen)
    # As many as fit: one more answer would have been too much.
    assert len(seen) == 3 and all(keys > 16 * most - 3 * 130 for _, keys in seen[:-1])
    assert [one for one, _ in cut] == pytest.approx([one for one, _ in whole], rel=1e-5)
    assert [greedy for _, greedy in cut] == [greedy for _, greedy in whole]
