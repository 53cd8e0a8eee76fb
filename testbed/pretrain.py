"""Pre-train the demo's base model: a character-level Llama of about 0.8M parameters that half-knows the tasks.

    python -m testbed.pretrain            # about 4 minutes on one CPU thread
    python -m testbed.pretrain --width 256 --out models/tiny-4x     # the larger sibling of docs/reproduce.md

The text holds all nine skills; a good part of the target skills' answers carry a slip, so that the model has seen the
right convention but is far from done, and its losses tell right answers from wrong ones without giving them away.
No benchmark question is in it. Some responses come without their question, so that the unconditional loss
(the denominator of IFD) is in distribution.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from testbed.character_models import HEAD, character_tokenizer, small_llama, train
from testbed.make_pool import DATA, SEED, question, reserved_prompts, task_items
from testbed.skills import OFF_TASK, TARGETS

STEPS, BATCH, PEAK_RATE = 800, 48, 3e-3
WIDTH, LAYERS = 128, 4
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
    """One token a character: line break and printable ASCII."""
    return character_tokenizer(["\n", *map(chr, range(32, 127))], SPECIALS, TEMPLATE)


def make_model(tokenizer: PreTrainedTokenizerFast, width: int = WIDTH, layers: int = LAYERS) -> LlamaForCausalLM:
    """The demo's model, or a sibling of another size."""
    return small_llama(tokenizer, width, layers)


def batches(reserved: set[str], rng: random.Random) -> Iterator[list[str]]:
    """Batches of rendered conversations without end."""
    while True:
        yield conversations(reserved, rng)


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
    model = make_model(tokenizer, args.width, args.layers)
    reserved = reserved_prompts(task_items(random.Random(SEED)))
    train(model, tokenizer, batches(reserved, rng), STEPS, PEAK_RATE * WIDTH / args.width)
    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters in {args.out}")


if __name__ == "__main__":
    main()
