"""Pre-train the demo's base model: a character-level Llama of about 0.8M parameters that half-knows the tasks.

    python testbed/pretrain.py            # about 4 minutes on one CPU thread
    python testbed/pretrain.py --width 256 --out models/tiny-4x     # the larger sibling of docs/reproduce.md

The text holds all nine skills; a good part of the target skills' answers carry a slip, so that the model has seen the
right convention but is far from done, and its losses tell right answers from wrong ones without giving them away.
No benchmark question is in it. Some responses come without their question, so that the unconditional loss
(the denominator of IFD) is in distribution.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from pathlib import Path

import torch
from make_pool import DATA, SEED, question, reserved_prompts, task_items
from skills import OFF_TASK, TARGETS
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

STEPS, BATCH, PEAK_RATE = 800, 48, 3e-3
WIDTH, LAYERS, HEAD = 128, 4, 32
TARGET_SHARE = 0.55  # share of conversations about the target skills
WRONG = 0.4  # share of target answers with a slip
WRONG_CHOICES = 0.2  # the same where there are two answers only: at a half nothing could be learned
RESPONSE_ONLY = 0.1  # share of conversations without the user's turn
SPECIALS = ("<|pad|>", "<|unk|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character: line break and printable ASCII; anything else becomes the unknown token."""
    characters = ["\n", *map(chr, range(32, 127))]
    vocabulary = {token: number for number, token in enumerate([*SPECIALS, *characters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|unk|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        unk_token="<|unk|>",
        eos_token="<|end|>",
        additional_special_tokens=["<|system|>", "<|user|>", "<|assistant|>"],
        padding_side="right",
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = TEMPLATE
    return fast


def make_model(tokenizer: PreTrainedTokenizerFast, width: int = WIDTH, layers: int = LAYERS) -> LlamaForCausalLM:
    """A Llama with heads of 32 and tied embeddings; twice the width has about four times the parameters."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=width // HEAD,
        num_key_value_heads=width // HEAD,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config)


def conversations(reserved: set[str], rng: random.Random) -> list[str]:
    """One batch of rendered conversations."""
    texts: list[str] = []
    while len(texts) < BATCH:
        target = rng.random() < TARGET_SHARE
        problem = rng.choice(list((TARGETS if target else OFF_TASK).values()))(rng)
        if question(problem) in reserved:
            continue
        prompt = rng.choice(problem.rewordings) if rng.random() < 0.4 else problem.prompt
        wrong = (WRONG_CHOICES if problem.choices else WRONG) if target else 0.0
        response = problem.slip if rng.random() < wrong else problem.response
        user = "" if rng.random() < RESPONSE_ONLY else f"<|user|>{prompt}<|end|>"
        texts.append(f"{user}<|assistant|>{response}<|end|>")
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description="Pre-train the demo's base model, or a sibling of another size.")
    parser.add_argument("--width", type=int, default=WIDTH, help=f"hidden size, a multiple of {HEAD}")
    parser.add_argument("--layers", type=int, default=LAYERS, help="decoder layers")
    parser.add_argument("--out", type=Path, default=DATA / "model", help="folder to write")
    args = parser.parse_args()
    if args.width % HEAD or (args.out == DATA / "model" and (args.width, args.layers) != (WIDTH, LAYERS)):
        parser.error(f"--width must be a multiple of {HEAD}, and another size needs another --out folder")
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    rng = random.Random(SEED + 2)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, args.width, args.layers).train()
    reserved = reserved_prompts(task_items(random.Random(SEED)))
    rate = PEAK_RATE * WIDTH / args.width
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(step / 50, 1.0) * (0.05 + 0.475 * (1 + math.cos(math.pi * step / STEPS)))
    )
    started = time.monotonic()
    for step in range(STEPS):
        batch = tokenizer(conversations(reserved, rng), return_tensors="pt", padding=True, add_special_tokens=False)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        loss = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 100 == 0 or step == STEPS - 1:
            print(f"step {step} loss {loss.item():.3f} {time.monotonic() - started:.0f} s", flush=True)
    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters in {args.out}")


if __name__ == "__main__":
    main()
