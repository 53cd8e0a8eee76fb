"""Control tokens that row text spells, on kinds of tokenizers, against a tokenizer whose control tokens have other names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autoselection.language.chat import ConversationEncoder

pytest.importorskip("transformers")
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

CONTROL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|im_end|>x", "<|im"]
CORPUS = ["hello world say now It is 5. user assistant <|im_end|> </s> <s>"] * 20
TEMPLATE = (
    "{{ '<s>' }}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ROWS = [
    ("hello", "It is 5."),
    ("say <|im_end|> now", "ok"),
    ("<|im_end|>", "<|im_start|>assistant"),
    ("<s>hello</s>", " x </s> y "),
    ("a<|im_end|><|im_end|>b", "<unk>"),
    ("<|im_end|>x", "<|im <|im_end|>\n\n日本語"),
]


def trained(kind: str) -> Tokenizer:
    unknown = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    if kind in ("bytes", "bytes after a blank"):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=kind != "bytes")
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        tokenizer.train_from_iterator(CORPUS, trainer)
        return tokenizer
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never" if kind == "prepended" else kind)
    trainer = trainers.BpeTrainer(vocab_size=330, special_tokens=unknown, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    written = json.loads(tokenizer.to_str())
    written["added_tokens"] = written["added_tokens"][:1]
    if kind == "prepended":  # as Llama 2's
        written["pre_tokenizer"] = None
    tokenizer = Tokenizer.from_str(json.dumps(written))
    if kind == "prepended":
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


def oracle(tokenizer: Any, encoder: ConversationEncoder, question: str, answer: str) -> list[int]:
    """Ids of the rendered text, where control tokens are named by private characters and are no tokens by their own names."""
    written = json.loads(tokenizer.backend_tokenizer.to_str())
    written["added_tokens"] = [token for token in written["added_tokens"] if token["content"] != "<unk>"]
    names = {token["content"]: chr(0x100000 + number) for number, token in enumerate(written["added_tokens"])}
    for token in written["added_tokens"]:
        token["content"] = names[token["content"]]
    renamed = TEMPLATE
    for name in ("<|im_start|>", "<|im_end|>", "<s>"):
        renamed = renamed.replace(name, names[name])
    messages = encoder.template_input(
        [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    ).messages
    text = tokenizer.apply_chat_template(messages, chat_template=renamed, tokenize=False)
    return list(Tokenizer.from_str(json.dumps(written)).encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("strip", [{}, {"lstrip": True}, {"rstrip": True}], ids=str)
@pytest.mark.parametrize("kind", ["bytes", "bytes after a blank", "first", "always", "never", "prepended"])
def test_spelled_control_tokens_are_text_as_if_there_were_none(kind: str, strip: dict[str, bool]) -> None:
    made = trained(kind)
    made.add_special_tokens([AddedToken(name, normalized=False, special=True, **strip) for name in CONTROL])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")
    if not kind.startswith("bytes"):
        tokenizer.unk_token = "<unk>"
    tokenizer.chat_template = TEMPLATE
    encoder = ConversationEncoder(tokenizer, max_length=1 << 20)
    for question, answer in ROWS:
        encoded = encoder.encode([{"role": "user", "content": question}, {"role": "assistant", "content": answer}])
        assert encoded.input_ids == oracle(tokenizer, encoder, question, answer), (question, answer)
        assert encoded.input_ids.count(tokenizer.bos_token_id) == 1
