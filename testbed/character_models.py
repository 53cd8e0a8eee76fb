"""Character-level language models small enough to train in minutes, and their sparse autoencoders.

What the demo's model and those of the pool family (``benchmarks/pools``) have in common; what they read is theirs.
"""

from __future__ import annotations

import math
import random
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HEAD, CONTEXT = 32, 256
LATENTS, ACTIVE = 512, 16


def character_tokenizer(characters: Iterable[str], specials: Sequence[str], template: str) -> PreTrainedTokenizerFast:
    """One token a character; anything else becomes the unknown token.

    Args:
        specials: special tokens: padding, unknown, those of the chat template, and last the end of a turn.
    """
    vocabulary = {token: number for number, token in enumerate([*specials, *characters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=specials[1]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=specials[0],
        unk_token=specials[1],
        eos_token=specials[-1],
        additional_special_tokens=list(specials[2:-1]),
        padding_side="right",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = template
    return fast


def small_llama(tokenizer: PreTrainedTokenizerFast, width: int, layers: int) -> LlamaForCausalLM:
    """A Llama with heads of 32 and tied embeddings; twice the width has about four times the parameters."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=width // HEAD,
        num_key_value_heads=width // HEAD,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def train(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, batches: Iterator[list[str]], steps: int, rate: float
) -> None:
    """Train on batches of rendered conversations, in place; the rate warms up over 50 steps and falls to a twentieth."""
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(step / 50, 1.0) * (0.05 + 0.475 * (1 + math.cos(math.pi * step / steps)))
    )
    started = time.monotonic()
    for step in range(steps):
        batch = tokenizer(next(batches), return_tensors="pt", padding=True, add_special_tokens=False)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        loss = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step} loss {loss.item():.3f} {time.monotonic() - started:.0f} s", flush=True)


def train_autoencoder(
    model_folder: Path, texts: Sequence[str], out: Path, *, hookpoint: str, epochs: int, seed: int, order_seed: int
) -> None:
    """Train a k-sparse autoencoder (EleutherAI ``sparsify``) on a layer's output over rendered conversations, padding
    excluded; writes ``cfg.json`` and ``sae.safetensors``.

    Args:
        order_seed: seed of the order of the texts in each epoch.
    """
    from datasets import Dataset
    from sparsify import SaeConfig, TrainConfig, Trainer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    rng = random.Random(order_seed)
    order = [number for _ in range(epochs) for number in rng.sample(range(len(texts)), len(texts))]
    encoded = tokenizer(list(texts), padding=True, add_special_tokens=False, return_tensors="pt")["input_ids"]
    dataset = Dataset.from_dict({"input_ids": encoded[order].tolist()}).with_format("torch")
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            SaeConfig(num_latents=LATENTS, k=ACTIVE),
            batch_size=32,
            optimizer="adam",
            lr=2e-3,
            lr_warmup_steps=50,
            auxk_alpha=1 / 32,
            dead_feature_threshold=50_000,
            exclude_tokens=[tokenizer.pad_token_id],
            hookpoints=[hookpoint],
            init_seeds=[seed],
            log_to_wandb=False,
            save_dir=folder,
            run_name="sae",
        )
        Trainer(config, dataset, model).fit()
        out.mkdir(parents=True, exist_ok=True)
        for name in ("cfg.json", "sae.safetensors"):
            shutil.copyfile(Path(folder) / "sae" / hookpoint / name, out / name)
    print(f"{LATENTS} latents, {ACTIVE} active, in {out}", flush=True)
