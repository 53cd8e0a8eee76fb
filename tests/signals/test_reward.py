"""Rewards against plain PyTorch, one row at a time without padding."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoselection.errors import SignalError
from autoselection.language.models import load_tokenizer
from autoselection.pool import Pool, ingest
from autoselection.signals import SignalsConfig, load_table, score_pool
from autoselection.signals.families.reward import Classifier


def chat(prompt: str, response: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]


ROWS = [
    chat("Add 2 and 3", "It is 5."),
    chat("Say a long thing", "abcdefghij klmnop " * 9),
    chat("?", "  "),
    chat("Sort b a c", "a b c"),
    [*chat("first", "one"), *chat("second", "two")],
]
EMPTY = [False, False, True, False, False]


@pytest.fixture(scope="module")
def bert_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with three labels, positions for 64 tokens, and a character tokenizer with [CLS] and [SEP]."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *map(chr, range(32, 127)), "\n"]
    vocabulary = {name: i for i, name in enumerate(names)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(names),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
        id2label={0: "bad", 1: "fair", 2: "good"},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def llama_dir(folder: Path, tiny_model_dir: Path, pad: str | None) -> Path:
    """A decoder with a regression head and the tiny model's tokenizer; ``pad`` is the padding its configuration names."""
    from transformers import LlamaConfig, LlamaForSequenceClassification

    tokenizer = load_tokenizer(tiny_model_dir)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        num_labels=1,
        initializer_range=0.3,
        pad_token_id=None if pad is None else tokenizer.convert_tokens_to_ids(pad),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        LlamaForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def rewards(folder: Path, rows: list[Any] = ROWS, **options: Any) -> tuple[np.ndarray[Any, Any], dict[str, int]]:
    shard = Classifier(folder, device="cpu", **options).judge(rows)
    return shard.arrays["reward"], dict(shard.stats)


@pytest.mark.parametrize("pad", [None, "<|pad|>", "\n"])
@pytest.mark.parametrize("batch_tokens", [1, 4096])
def test_decoder_with_a_regression_head(
    tmp_path: Path, tiny_model_dir: Path, tiny_tokenizer: Any, pad: str | None, batch_tokens: int
) -> None:
    # The rendered rows end with "\n": as a padding id it moves where the model itself reads its score.
    from transformers import AutoModelForSequenceClassification

    folder = llama_dir(tmp_path / "reward", tiny_model_dir, pad)
    found, stats = rewards(folder, batch_tokens=batch_tokens)
    plain = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for row, missing, score in zip(ROWS, EMPTY, found, strict=True):
        text = tiny_tokenizer.apply_chat_template(row, tokenize=False)
        with torch.no_grad():
            output = plain(**tiny_tokenizer(text, add_special_tokens=False, return_tensors="pt"))
        assert np.isnan(score) if missing else score == pytest.approx(float(output.logits[0, 0]), rel=1e-4, abs=1e-5)
    assert stats == {"empty_response": 1, "refused_by_template": 0, "response_cut_off": 0, "truncated": 0}


@pytest.mark.parametrize("text", ["chat", "both", "pair", "response"])
@pytest.mark.parametrize(("label", "index"), [("good", 2), ("1", 1)])
def test_encoder_with_labels(bert_dir: Path, text: Any, label: str, index: int) -> None:
    from transformers import AutoModelForSequenceClassification

    plain = AutoModelForSequenceClassification.from_pretrained(bert_dir).eval()
    tokenizer = load_tokenizer(bert_dir)
    logit, stats = rewards(bert_dir, label=label, text=text)
    share, _ = rewards(bert_dir, label=label, text=text, score="probability", batch_tokens=64)
    cut = 0
    for i, row in enumerate(ROWS):
        if EMPTY[i]:
            assert np.isnan(logit[i])
            continue
        prompt = "\n".join(message["content"] for message in row if message["role"] == "user")
        response = "\n".join(message["content"] for message in row if message["role"] == "assistant")
        parts = {"pair": [prompt, response], "response": [response]}.get(text, [f"{prompt}\n{response}"])
        cut += sum(map(len, parts)) + 1 + len(parts) > 64
        with torch.no_grad():
            output = plain(**tokenizer(*parts, truncation=True, max_length=64, return_tensors="pt")).logits[0]
        assert logit[i] == pytest.approx(float(output[index]), rel=1e-4, abs=1e-5)
        assert share[i] == pytest.approx(float(output.softmax(0)[index]), rel=1e-4)
    assert stats["truncated"] == cut == 1
    assert stats["empty_response"] == 1


def test_control_words_in_a_row_stay_text(bert_dir: Path) -> None:
    signal = Classifier(bert_dir, label="good", device="cpu")
    inputs = signal._inputs([chat("a[SEP]b", "c")])
    assert inputs[0] is not None
    assert inputs[0].ids.count(3) == 1  # the tokenizer's own, at the end


@pytest.mark.parametrize("text", ["chat", "both", "pair", "response"])
def test_a_row_of_whose_response_nothing_is_left_has_no_reward(
    bert_dir: Path, tmp_path: Path, tiny_model_dir: Path, text: Any
) -> None:
    """Where the classifier reads the prompt alone, its score is not the response's."""
    long = chat("a long prompt " * 50, "Yes.")
    muted = [*long[:1], {**long[1], "weight": 0}]
    rows = [
        long,
        chat("short", "an answer that is cut " * 40),
        chat("?", "Yes."),
        muted,
        [{**turn} for turn in long[1:]],
    ]
    folders = {"decoder": llama_dir(tmp_path / "reward", tiny_model_dir, None)} | (
        {} if text == "chat" else {"encoder": bert_dir}
    )
    for kind, folder in folders.items():
        found, stats = rewards(folder, rows, text=text, max_length=60, label="good" if kind == "encoder" else None)
        lost = text in ("chat", "both")  # of a pair the longer segment is cut, and is so only where it is the longer
        assert np.isnan(found).tolist() == [lost, False, False, lost, False]
        assert stats["response_cut_off"] == 2 * lost
        assert stats["truncated"] == (1 if text == "response" else 3)


def test_labels_and_heads_are_checked(bert_dir: Path, tiny_model_dir: Path) -> None:
    with pytest.raises(SignalError, match=r"several labels \(bad, fair, good\): set signals.reward_label"):
        rewards(bert_dir)
    with pytest.raises(SignalError, match=r"no label 'great'.*it has: bad, fair, good"):
        rewards(bert_dir, label="great")
    with pytest.raises(SignalError, match=r"no trained sequence classifier \(without weights: score.weight\)"):
        rewards(tiny_model_dir)


@pytest.mark.parametrize("text", ["both", "pair", "response"])
def test_a_slow_tokenizer_is_refused(bert_dir: Path, text: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    signal = Classifier(bert_dir, label="good", text=text, device="cpu")
    monkeypatch.setattr(type(signal.tokenizer), "is_fast", False)
    with pytest.raises(SignalError, match=r"tokenizer of the classifier .* is not a fast tokenizer; convert it"):
        signal.judge(ROWS)


def test_rows_that_the_template_refuses(tmp_path: Path, tiny_model_dir: Path) -> None:
    folder = llama_dir(tmp_path / "reward", tiny_model_dir, None)
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
        "{{ m.role + m.content + '<|im_end|>' }}{% endfor %}"
    )
    tokenizer.save_pretrained(folder)
    found, stats = rewards(folder, [[{"role": "system", "content": "s"}, *ROWS[0]], ROWS[0]])
    assert np.isnan(found).tolist() == [True, False]
    assert stats["refused_by_template"] == 1


def test_reward_of_a_pool_is_cached(tmp_path: Path, tiny_model_dir: Path) -> None:
    import json

    (tmp_path / "rows.jsonl").write_text(
        "".join(json.dumps({"messages": row}) + "\n" for row in ROWS if row != ROWS[2])
    )
    ingest([tmp_path / "rows.jsonl"], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    with pytest.raises(SignalError, match=r"'reward' needs a sequence classifier: give --reward-model"):
        score_pool(pool, SignalsConfig(), signals=["reward"])
    folder = llama_dir(tmp_path / "model", tiny_model_dir, None)
    config = SignalsConfig(reward_model=str(folder), device="cpu")
    score_pool(pool, config, signals=["reward"])
    expected, _ = rewards(folder, [row for row in ROWS if row != ROWS[2]])
    np.testing.assert_allclose(load_table(pool).column("reward"), expected, rtol=1e-5)
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    again = score_pool(pool, SignalsConfig(reward_model=str(moved), device="cpu"), signals=["reward"])
    assert again.cached
