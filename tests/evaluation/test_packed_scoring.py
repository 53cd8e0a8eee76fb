"""Passes that score many continuations at once are limited, and give the same however they are cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from autoselection.evaluation.engines import lm_eval_model
from autoselection.evaluation.engines.contract import Continuation
from autoselection.evaluation.engines.lm_eval_model import ConversationLM

MOST = 20


@pytest.mark.parametrize("vocabulary", [102, 204])
def test_the_logits_of_a_pass_are_as_many_as_fit_and_the_answers_those_of_one_pass(
    vocabulary: int, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256,
        )
    ).eval()  # fmt: skip
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
