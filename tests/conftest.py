"""Fixtures that several parts share: a tiny random Llama with a character-level tokenizer."""

from __future__ import annotations

import os
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes tells of the machine's load, not of the code.
settings.register_profile("any load", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any load")

# One thread, set before torch is imported: on a busy machine two threads on tiny matrices wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

#: What takes longest, run first: two processes then end at about the same time.
_LONGEST = ("tests/study/test_run.py", "tests/evaluation/", "tests/study/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, each file's tests in their order."""
    items.sort(key=lambda item: [not item.nodeid.startswith(start) for start in _LONGEST])


SPECIAL = ("<|pad|>", "<|bos|>", "<|eos|>", "<|im_start|>", "<|im_end|>")
TINY_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def build_tiny_model(
    folder: Path, *, hidden: int = 32, layers: int = 2, seed: int = 0, template: str | None = TINY_TEMPLATE
) -> Path:
    """Write a random Llama (vocabulary of about 100 characters) and its tokenizer into ``folder``."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    characters = sorted(set(string.digits + string.ascii_letters + string.punctuation + " \n"))
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, "<unk>", *characters])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    inner.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<|pad|>",
        bos_token="<|bos|>",
        eos_token="<|im_end|>",
        unk_token="<unk>",
        additional_special_tokens=["<|im_start|>", "<|eos|>"],
        model_max_length=512,
    )
    if template is not None:
        tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=vocabulary["<|pad|>"],
        bos_token_id=vocabulary["<|bos|>"],
        eos_token_id=vocabulary["<|im_end|>"],
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        with torch.no_grad():
            for parameter in model.parameters():  # larger than the usual start, so that losses differ between tokens
                if parameter.ndim > 1:
                    parameter.mul_(8.0)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tiny model; do not write into it."""
    return build_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_model_dir: Path) -> Any:
    """The tiny model's tokenizer, as ``load_tokenizer`` gives it."""
    from autoselection.language.models import load_tokenizer

    return load_tokenizer(tiny_model_dir)
