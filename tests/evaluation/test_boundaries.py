"""Tokens that merge across the boundary of an answer: nothing is asked twice, nothing is lost, whatever the metric."""

from __future__ import annotations

import math
import string
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from autoselection.evaluation.config import EvaluationConfig
from autoselection.evaluation.engines.lm_eval_model import ConversationLM
from autoselection.evaluation.harness import load_benchmarks, score
from autoselection.language.chat import ConversationEncoder
from autoselection.tasks import TaskConfig

ALPHABET = ["<unk>", "</s>", *string.ascii_letters, *string.digits, *" :.,?>\n"]

TEMPLATES = {
    "blank": "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n.\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
    "no blank": "{% for m in messages %}{{ m['role'] + '>' + m['content'] + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant>' }}{% endif %}",
    # As Llama 2: the blank in front of an answer is not in the generation prompt, and contents are stripped.
    "blank of the answer": "{% for m in messages %}{% if m['role'] == 'user' %}{{ 'U:' + m['content'].strip() + ' A:' }}"
    "{% else %}{{ ' ' + m['content'].strip() + ' </s>' }}{% endif %}{% endfor %}",
}


def merging_tokenizer(merges: list[tuple[str, str]], template: str) -> Any:
    """A BPE over single characters without pre-tokenizer, so that merges cross every boundary."""
    vocabulary = {character: index for index, character in enumerate(ALPHABET)}
    known = []
    for left, right in merges:
        if left in vocabulary and right in vocabulary:
            vocabulary.setdefault(left + right, len(vocabulary))
            known.append((left, right))
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=known, unk_token="<unk>"))
    made.decoder = decoders.Fuse()
    made.add_special_tokens([AddedToken("</s>", special=True)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = TEMPLATES[template]
    return tokenizer


# Pieces around the boundary, joined twice at most: ": A", ": ", "A\n", "nt>B" and what is in between.
PIECES = [*"ABCDYNysn", " ", ":", ">", "\n", ": ", " A", " B", "A\n", "t>", "\n\n"]
merge_lists = st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(PIECES)), max_size=12)
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def write_items(folder: Any) -> tuple[TaskConfig, TaskConfig]:
    (folder / "choices.jsonl").write_text(
        '{"id": "a", "prompt": "Pick one", "choices": ["red", "blue", "green", "pink"], "answer": "C"}\n'
        '{"id": "b", "prompt": "Which\\n", "choices": ["x", "y"], "answer": "B"}\n'
    )
    (folder / "yes.jsonl").write_text(
        '{"id": "a", "prompt": "Is it?", "answer": "yes"}\n{"id": "b", "prompt": "So?", "answer": "no"}\n'
    )
    return (
        TaskConfig(name="choices", dev=folder / "choices.jsonl", metric="accuracy"),
        TaskConfig(name="yes", dev=folder / "yes.jsonl", metric="option_likelihood", answer="yes_no"),
    )


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> tuple[TaskConfig, TaskConfig]:
    return write_items(tmp_path_factory.mktemp("items"))


def loaded(tasks: Any, tokenizer: Any, key: object) -> Any:
    return load_benchmarks(
        tasks, "dev", tokenizer, context_length=4096, config=EvaluationConfig(), full_metrics=True,
        tokenizer_key=("boundaries", key),
    )  # fmt: skip


def rendered(tokenizer: Any, question: str, answer: str) -> tuple[str, str, str]:
    """The template's text in front of an answer, the answer, and what follows."""
    mark = "\ue0f5"
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": mark}]
    before, after = tokenizer.apply_chat_template(messages, tokenize=False).split(mark)
    return before, answer, after


@QUICK
@example(merges=[(" ", "C"), (":", " C")], template="blank")
@example(merges=[(">", "B"), ("t", ">B"), (">", "n")], template="no blank")
@example(merges=[(":", " "), (": ", "y"), (" ", "A")], template="blank of the answer")
@example(merges=[("A", "\n"), ("B", "\n"), (" ", "B\n")], template="blank")
@given(merges=merge_lists, template=st.sampled_from(sorted(TEMPLATES)))
def test_every_request_spells_the_conversation(tasks, merges, template):
    tokenizer = merging_tokenizer(merges, template)

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    for benchmark in loaded(tasks, tokenizer, (tuple(merges), template)):
        for document in benchmark.tasks["accuracy"].test_docs():
            for option, continuation in zip(document["letters"], document["continuations"], strict=True):
                before, answer, _ = rendered(tokenizer, document["context"], option)
                # Context and option together are the conversation up to the option, as the tokenizer writes it.
                assert document["context_ids"] + continuation == ids(before + answer)
                assert continuation
        for document in benchmark.tasks["nll"].test_docs():
            (gold,) = document["continuations"]
            before, answer, after = rendered(tokenizer, document["context"], document["gold"])
            whole = ids(before + answer + after)
            asked = document["context_ids"] + gold
            assert whole[: len(asked)] == asked
            assert tokenizer.decode(asked).startswith(before + answer)
            # Only tokens without a character of the answer are in the context.
            assert before.startswith(tokenizer.decode(document["context_ids"]))
            assert document["tokens"] == len(gold)
            assert document["bytes"] == len(document["gold"].encode())
        if "exact_match" in benchmark.tasks:
            for document in benchmark.tasks["exact_match"].test_docs():
                question = [{"role": "user", "content": document["context"]}]
                prompt = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
                assert document["context_ids"] == ids(prompt)  # whatever the gold answer merges with


@QUICK
@example(merges=[(" ", "A")], template="blank", answer="A")
@example(merges=[(">", "B")], template="no blank", answer="Bn")
@example(merges=[(":", " "), (": ", "y")], template="blank of the answer", answer="yn")
@example(merges=[("n", "</s>"), ("C", "\n")], template="blank", answer="nC")
@given(
    merges=merge_lists, template=st.sampled_from(sorted(TEMPLATES)), answer=st.text("ABCyn ", min_size=1, max_size=4)
)
def test_a_token_that_straddles_the_start_of_a_response_is_learnt(merges, template, answer):
    """Character by character: what the response mask holds is every token with a character of a response or its end."""
    tokenizer = merging_tokenizer(merges, template)
    answer = answer.strip() or "A"
    conversation = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": answer}]
    encoded = ConversationEncoder(tokenizer, max_length=1 << 20).encode(conversation)
    before, answer, after = rendered(tokenizer, "Hi", answer)
    mark = len(after.rstrip())
    asked = len(tokenizer.apply_chat_template(conversation[:1], tokenize=False, add_generation_prompt=True))
    pieces = [tokenizer.decode([token]) for token in encoded.input_ids]
    assert "".join(pieces) == before + answer + after
    place = 0
    for piece, learnt in zip(pieces, encoded.response, strict=True):
        inside = place < len(before + answer) + mark and place + len(piece) > asked  # behind the prompt
        assert learnt == inside, (pieces, encoded.response)
        place += len(piece)


def test_likelihoods_of_options_are_those_of_the_same_characters(tasks):
    """``: C`` is one token and ``: A`` three: both are what the model gives the text behind ``assistant``."""
    tokenizer = merging_tokenizer([(" ", "C"), (":", " C")], "blank")
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            initializer_range=0.6,
        )
    ).eval()  # fmt: skip
    benchmark = loaded(tasks, tokenizer, "model")[0]
    engine = ConversationLM(model, tokenizer, seed=0, batch_size=None, batch_tokens=None, autocast=False)
    found = score(engine, [benchmark])["choices"]
    document = next(iter(benchmark.tasks["accuracy"].test_docs()))
    before, _, _ = rendered(tokenizer, document["context"], "A")
    context = tokenizer(before.removesuffix(": "), add_special_tokens=False)["input_ids"]
    totals = []
    for letter in "ABCD":
        whole = tokenizer(before + letter, add_special_tokens=False)["input_ids"]
        assert whole[: len(context)] == context
        with torch.no_grad():
            rows = model(torch.tensor([whole])).logits[0].float().log_softmax(-1)
        totals.append(sum(float(rows[i - 1, whole[i]]) for i in range(len(context), len(whole))))
    shares = [math.exp(total) / sum(map(math.exp, totals)) for total in totals]
    assert found.items["option_likelihood"][0] == pytest.approx(shares[2], abs=1e-5)
    assert found.items["accuracy"][0] == float(max(range(4), key=totals.__getitem__) == 2)


def test_options_that_merge_with_nothing_are_one_token_each(tiny_tokenizer, tasks):
    document = next(iter(loaded(tasks, tiny_tokenizer, "tiny")[0].tasks["accuracy"].test_docs()))
    assert [len(continuation) for continuation in document["continuations"]] == [1] * 4


def test_what_is_generated_does_not_depend_on_the_gold_answer_but_spelled_control_tokens_stay_text(tiny_tokenizer):
    encoder = ConversationEncoder(tiny_tokenizer, max_length=1 << 30, turns="last")
    asked = [{"role": "user", "content": "say <|im_end|>"}]
    ids = encoder.encode_prompt(asked)
    end = tiny_tokenizer.convert_tokens_to_ids("<|im_end|>")
    solved = encoder.encode([*asked, {"role": "assistant", "content": "yes"}])
    assert ids == solved.input_ids[: solved.response.index(True)]
    assert ids.count(end) == 1  # that of the template
