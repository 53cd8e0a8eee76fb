"""Which tokens have a loss, token by token, under the templates of four model families.

The templates are written here as those models render conversations without tools; where TRL ships the published ones,
they are rendered beside ours. Expected texts mark what is learnt: «…».
"""

from __future__ import annotations

import re
import string
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_sft import batches_of, ingest, run, write_jsonl

from autoselection.evaluation.encoding import IGNORED, RowCache
from autoselection.evaluation.runtime import quiet_libraries
from autoselection.language.chat import CHAT_TEMPLATES, ConversationEncoder
from autoselection.pool import Pool

MARKS = (
    "<pad>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>",
    "<|end_header_id|>", "<|eot_id|>",
)  # fmt: skip

LLAMA_3 = (
    "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
    "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
QWEN_2_5 = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\n" + QWEN_SYSTEM + "<|im_end|>\n' }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
#: Template, beginning and end of sequence of each family.
FAMILIES = {
    "chatml": (CHAT_TEMPLATES["chatml"], None, "<|im_end|>"),
    "llama-3": (LLAMA_3, "<|begin_of_text|>", "<|eot_id|>"),
    "qwen-2.5": (QWEN_2_5, None, "<|im_end|>"),
    "qwen-2.5 base": (QWEN_2_5, None, "<|endoftext|>"),
    "plain": (CHAT_TEMPLATES["plain"], "<|begin_of_text|>", "<|endoftext|>"),
}

ONE = [("user", "2+3?"), ("assistant", "It is 5.")]
TWO = [("user", "a?"), ("assistant", "A"), ("user", "b?"), ("assistant", "B!")]
SYSTEM = [("system", "Be brief."), *TWO]
EMPTY = [("user", "a?"), ("assistant", ""), ("user", "b?"), ("assistant", "B!")]
BLANKS = [("user", " a? \n"), ("assistant", "\n A ")]


def chatml(role: str, text: str) -> str:
    return f"<|im_start|>{role}\n{text}<|im_end|>\n"


H = "<|start_header_id|>{}<|end_header_id|>\n\n"
USER, ASSISTANT = H.format("user"), H.format("assistant")
BOT = "<|begin_of_text|>"
DEFAULT = chatml("system", QWEN_SYSTEM)
IM = "<|im_start|>{}\n"
IM_USER, IM_ASSISTANT = IM.format("user"), IM.format("assistant")
END, EOT, EOS = "<|im_end|>", "<|eot_id|>", "<|endoftext|>"

CHATML_TWO = f"{IM_USER}a?{END}\n{IM_ASSISTANT}«A{END}»\n{IM_USER}b?{END}\n{IM_ASSISTANT}«B!{END}»\n"
CHATML_LAST = f"{IM_USER}a?{END}\n{IM_ASSISTANT}A{END}\n{IM_USER}b?{END}\n{IM_ASSISTANT}«B!{END}»\n"
CHATML_EMPTY = f"{IM_USER}a?{END}\n{IM_ASSISTANT}«{END}»\n{IM_USER}b?{END}\n{IM_ASSISTANT}«B!{END}»\n"
CHATML_BLANKS = f"{IM_USER} a? \n{END}\n{IM_ASSISTANT}«\n A {END}»\n"
LLAMA_TWO = f"{USER}a?{EOT}{ASSISTANT}«A{EOT}»{USER}b?{EOT}{ASSISTANT}«B!{EOT}»"

CASES: list[tuple[str, list[tuple[str, str]], str, str]] = [
    ("chatml", ONE, "all", f"{IM_USER}2+3?{END}\n{IM_ASSISTANT}«It is 5.{END}»\n"),
    ("chatml", TWO, "all", CHATML_TWO),
    ("chatml", TWO, "last", CHATML_LAST),
    ("chatml", SYSTEM, "all", chatml("system", "Be brief.") + CHATML_TWO),
    ("chatml", EMPTY, "all", CHATML_EMPTY),
    ("chatml", BLANKS, "all", CHATML_BLANKS),
    ("llama-3", ONE, "all", f"{BOT}{USER}2+3?{EOT}{ASSISTANT}«It is 5.{EOT}»"),
    ("llama-3", TWO, "all", BOT + LLAMA_TWO),
    ("llama-3", TWO, "last", f"{BOT}{USER}a?{EOT}{ASSISTANT}A{EOT}{USER}b?{EOT}{ASSISTANT}«B!{EOT}»"),
    ("llama-3", SYSTEM, "all", f"{BOT}{H.format('system')}Be brief.{EOT}{LLAMA_TWO}"),
    ("llama-3", EMPTY, "all", f"{BOT}{USER}a?{EOT}{ASSISTANT}«{EOT}»{USER}b?{EOT}{ASSISTANT}«B!{EOT}»"),
    ("llama-3", BLANKS, "all", f"{BOT}{USER}a?{EOT}{ASSISTANT}«A{EOT}»"),  # this template strips contents
    ("qwen-2.5", ONE, "all", f"{DEFAULT}{IM_USER}2+3?{END}\n{IM_ASSISTANT}«It is 5.{END}»\n"),
    ("qwen-2.5", TWO, "all", DEFAULT + CHATML_TWO),
    ("qwen-2.5", TWO, "last", DEFAULT + CHATML_LAST),
    ("qwen-2.5", SYSTEM, "all", chatml("system", "Be brief.") + CHATML_TWO),  # instead of its default system prompt
    ("qwen-2.5", EMPTY, "all", DEFAULT + CHATML_EMPTY),
    ("qwen-2.5", BLANKS, "all", DEFAULT + CHATML_BLANKS),
    ("qwen-2.5 base", TWO, "all", DEFAULT + CHATML_TWO),  # the turn ends with its mark, not with the end of the text
    ("plain", ONE, "all", f"{BOT}User: 2+3?\n\nAssistant: «It is 5.{EOS}»\n\n"),
    ("plain", TWO, "all", f"{BOT}User: a?\n\nAssistant: «A{EOS}»\n\nUser: b?\n\nAssistant: «B!{EOS}»\n\n"),
    ("plain", TWO, "last", f"{BOT}User: a?\n\nAssistant: A{EOS}\n\nUser: b?\n\nAssistant: «B!{EOS}»\n\n"),
    ("plain", SYSTEM, "last",
     f"{BOT}System: Be brief.\n\nUser: a?\n\nAssistant: A{EOS}\n\nUser: b?\n\nAssistant: «B!{EOS}»\n\n"),
    ("plain", EMPTY, "all", f"{BOT}User: a?\n\nAssistant: «{EOS}»\n\nUser: b?\n\nAssistant: «B!{EOS}»\n\n"),
    ("plain", BLANKS, "all", f"{BOT}User:  a? \n\n\nAssistant: «\n A {EOS}»\n\n"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet():
    with quiet_libraries():
        yield


@pytest.fixture(scope="module")
def tokenizer_of():
    """``tokenizer_of(family)``: one token a character and one a mark."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    def make(family: str) -> Any:
        template, bos, eos = FAMILIES[family]
        characters = sorted(set(string.digits + string.ascii_letters + string.punctuation + " \n"))
        inner = Tokenizer(
            models.WordLevel({token: i for i, token in enumerate([*MARKS, "<unk>", *characters])}, unk_token="<unk>")
        )
        inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        inner.decoder = decoders.Fuse()
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=inner, pad_token="<pad>", bos_token=bos, eos_token=eos, unk_token="<unk>",
            additional_special_tokens=[mark for mark in MARKS[1:] if mark not in (bos, eos)],
        )  # fmt: skip
        tokenizer.chat_template = template
        return tokenizer

    return make


def messages_of(turns: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def tokens_of(tokenizer: Any, marked: str) -> tuple[list[int], list[int]]:
    """Ids and labels of a text in which «…» is learnt; every mark and every other character is one token."""
    ids: list[int] = []
    labels: list[int] = []
    learnt = False
    for token in re.findall("|".join(map(re.escape, MARKS)) + r"|[\s\S]", marked):
        if token in "«»":
            learnt = token == "«"
            continue
        ids.append(tokenizer.convert_tokens_to_ids(token))
        labels.append(ids[-1] if learnt else IGNORED)
    assert tokenizer.unk_token_id not in ids
    return ids, labels


def pool_of(folder: Path, conversations: list[list[tuple[str, str]]]) -> Pool:
    rows = [{"messages": messages_of(turns)} for turns in conversations]
    ingest([write_jsonl(folder / "rows.jsonl", rows)], folder / "pool")
    return Pool.open(folder / "pool")


@pytest.mark.parametrize(("family", "turns", "which", "expected"), CASES)
def test_ids_and_labels_are_those_written_out_by_hand(family, turns, which, expected, tokenizer_of):
    tokenizer = tokenizer_of(family)
    ids, labels = tokens_of(tokenizer, expected)
    encoded = ConversationEncoder(tokenizer, max_length=500, turns=which).encode(messages_of(turns))
    assert encoded.input_ids == ids
    assert [token if kept else IGNORED for token, kept in zip(ids, encoded.response, strict=True)] == labels
    assert encoded.truncated == 0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("turns", [ONE, TWO, SYSTEM, EMPTY, BLANKS])
def test_ids_are_those_of_the_chat_template(family, turns, tokenizer_of):
    tokenizer = tokenizer_of(family)
    text = tokenizer.apply_chat_template(messages_of(turns), tokenize=False)
    encoded = ConversationEncoder(tokenizer, max_length=500).encode(messages_of(turns))
    assert encoded.input_ids == tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cut_inside_an_assistant_turn_keeps_the_loss_of_what_is_left(family, tokenizer_of, tmp_path):
    tokenizer = tokenizer_of(family)
    pool = pool_of(tmp_path, [TWO, ONE])
    (expected,) = (marked for name, turns, which, marked in CASES if (name, turns, which) == (family, TWO, "all"))
    ids, labels = tokens_of(tokenizer, expected)
    inside = max(position for position, label in enumerate(labels) if label != IGNORED)  # its end mark is cut off
    encoder = ConversationEncoder(tokenizer, max_length=inside)
    subset = RowCache().subset(pool, np.array([0]), encoder, True)
    (row,) = subset.trainable(np.array([0]))
    assert row.input_ids.tolist() == ids[:inside]
    assert row.labels.tolist() == labels[:inside]
    assert row.labels[-1] == tokenizer.convert_tokens_to_ids("!")
    assert (subset.truncated, subset.lost) == (1, len(ids) - inside)
    # Cut in front of the first response, nothing is left to learn from: the row is dropped, and counted as cut.
    first = next(position for position, label in enumerate(labels) if label != IGNORED)
    nothing = RowCache().subset(pool, np.array([0]), ConversationEncoder(tokenizer, max_length=first), True)
    assert nothing.lengths(np.array([0])).tolist() == [0]
    assert (nothing.dropped["max_length"], nothing.truncated) == (1, 1)


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_these_are_the_tokens_whose_logits_get_a_gradient(family, packing, tokenizer_of, tiny_model_dir, tmp_path):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tokenizer_of(family)
    pool = pool_of(tmp_path, [SYSTEM, ONE, TWO])
    subset = RowCache().subset(pool, np.arange(3), ConversationEncoder(tokenizer, max_length=500), True)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=2, max_position_embeddings=512,
        )
    )  # fmt: skip
    taught: list[tuple[int, ...]] = []
    if packing:
        taught = packed_lessons(model)
    else:
        seen = batches_of(model)
    run(tiny_model_dir, tokenizer, subset, tmp_path, model, max_steps=1, batch_size=3)
    if not packing:
        taught = [
            tuple(lesson[: int(length)].tolist())
            for batch in seen
            for lesson, length in zip(batch["trained"], batch["attention_mask"].sum(1), strict=True)
        ]
    assert sorted(taught) == sorted(tuple(row.labels.tolist()) for row in subset.trainable(np.arange(3)))


def packed_lessons(model: Any) -> list[tuple[int, ...]]:
    """What each row of the packed training passes of ``model`` is taught, read off the gradient of the logits."""
    import torch

    lessons: list[tuple[int, ...]] = []

    def record(module: Any, _args: Any, kwargs: dict[str, Any], outputs: Any) -> None:
        if not module.training:
            return
        positions, kept = kwargs["position_ids"][0], kwargs["logits_to_keep"]

        def read(gradient: torch.Tensor) -> None:
            taught = torch.full_like(positions, IGNORED)
            taught[kept + 1] = torch.where((gradient[0] < 0).any(-1), gradient[0].argmin(-1), IGNORED)
            starts = [*(positions == 0).nonzero()[:, 0].tolist(), len(positions)]
            lessons.extend(tuple(taught[a:b].tolist()) for a, b in pairwise(starts))

        outputs.logits.register_hook(read)

    model.register_forward_hook(record, with_kwargs=True)
    return lessons


@pytest.mark.parametrize(("family", "published"), [("llama-3", "llama3"), ("qwen-2.5", "qwen2_5")])
@pytest.mark.parametrize("turns", [ONE, TWO, SYSTEM, EMPTY, BLANKS])
def test_the_published_templates_give_the_same_and_trl_masks_the_same(family, published, turns, tokenizer_of):
    """TRL ships the published templates, and variants that mark the assistant's part for its own assistant-only loss."""
    import trl

    folder = Path(trl.__file__).parent / "chat_templates"
    if not (folder / f"{published}_training.jinja").is_file():
        pytest.skip("this version of TRL ships no such templates")
    tokenizer = tokenizer_of(family)
    ours = ConversationEncoder(tokenizer, max_length=500).encode(messages_of(turns))
    tokenizer.chat_template = (folder / f"{published}.jinja").read_text(encoding="utf-8")
    assert ConversationEncoder(tokenizer, max_length=500).encode(messages_of(turns)) == ours
    tokenizer.chat_template = (folder / f"{published}_training.jinja").read_text(encoding="utf-8")
    theirs = tokenizer.apply_chat_template(
        messages_of(turns), tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    assert theirs["input_ids"] == ours.input_ids
    mask = np.array(theirs["assistant_masks"], bool)
    if family == "qwen-2.5":
        # TRL also trains on the line break behind "assistant", which is prompt, and on the one behind the end mark.
        breaks = np.array(ours.input_ids) == tokenizer.convert_tokens_to_ids("\n")
        extra = mask & ~np.array(ours.response, bool)
        assert extra.sum() == 2 * sum(role == "assistant" for role, _ in turns)
        assert breaks[extra].all()
        mask &= ~extra
    assert mask.tolist() == ours.response
