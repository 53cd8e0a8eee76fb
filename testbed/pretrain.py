"""Pre-train the demo's base model: a character-level Llama of about 0.8M parameters that half-knows the tasks.

    python testbed/pretrain.py            # about 4 minutes on one CPU thread

The text holds all nine skills; a good part of the target skills' answers carry a slip, so that the model has seen the
right convention but is far from done, and its losses tell right answers from wrong ones without giving them away.
No benchmark question is in it. Some responses come without their question, so that the unconditional loss
(the denominator of IFD) is in distribution.
"""

from __future__ import annotations

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


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Four layers, 128 wide, tied embeddings."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
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
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    rng = random.Random(SEED + 2)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer).train()
    reserved = reserved_prompts(task_items(random.Random(SEED)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01)
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
    out: Path = DATA / "model"
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters in {out}")


if __name__ == "__main__":
    main()
