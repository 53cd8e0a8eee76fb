"""Pre-train the two base models of the family, and a sparse autoencoder for each.

    python -m benchmarks.pools.pretrain [--model NAME] [--out DIR]

Character-level Llamas that half-know all skills: part of the answers that they saw carry a slip, so that they know the
right convention but are far from done. They differ in width, depth, mixture of skills, share of slips, steps and seed.
No task item of any pool is among the questions. Some responses come without their question, so that the unconditional
loss (the denominator of IFD) is in distribution. Weights are kept in float16: a loader widens them.

The autoencoders (EleutherAI ``sparsify``) read the last-but-one hidden state over fresh conversations of the same kind.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from testbed.character_models import character_tokenizer, small_llama, train, train_autoencoder
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.pools.faults import answer
from benchmarks.pools.make import reserved_prompts, task_items
from benchmarks.pools.models import FOLDER, MODELS, BaseModel
from benchmarks.pools.scripts import ARABIC, CHINESE, CYRILLIC, DEVANAGARI, GREEK, HANGUL, HEBREW, KANA, OTHER_SCRIPTS
from benchmarks.pools.specification import NAMES, SEED, SKILLS, specification

REWORDED, RESPONSE_ONLY = 0.4, 0.1
GROUPED = 20
"""Batches that are drawn together and cut by length."""

SAE_ROWS, SAE_EPOCHS = 6000, 2
SPECIALS = ("<|pad|>", "<|unk|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|tools|>", "<|end|>")
TEMPLATE = """{%- if tools %}{{ '<|tools|>' }}
{%- for tool in tools %}{{ tool.function.name + '(' + (tool.function.parameters.properties | join(', ')) + ')' }}
{%- if not loop.last %}{{ '\\n' }}{% endif %}{% endfor %}{{ '<|end|>' }}{% endif %}
{%- for message in messages %}{{ '<|' + message.role + '|>' + (message.content or '') }}
{%- for call in message.tool_calls or [] %}{{ call.function.name + '(' + (call.function.arguments | tojson) + ')' }}{% endfor %}
{{- '<|end|>' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"""


def characters() -> list[str]:
    """Every character that the family writes: printable ASCII, the scripts' alphabets, and their questions' words."""
    rng = random.Random(0)
    texts = ["\n", *map(chr, range(32, 127)), DEVANAGARI, ARABIC, CHINESE, "十百千万", CYRILLIC, GREEK, GREEK.upper()]
    texts += [HEBREW, KANA, HANGUL]
    for skill in OTHER_SCRIPTS.values():
        for _ in range(20):
            problem = skill(rng)
            texts += [problem.prompt, *problem.rewordings]
    return sorted(set("".join(texts)))


def make_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character that the family writes."""
    return character_tokenizer(characters(), SPECIALS, TEMPLATE)


def make_model(base: BaseModel, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """One of the family's models, untrained."""
    return small_llama(tokenizer, base.width, base.layers)


def conversations(base: BaseModel, tokenizer: Any, purpose: str) -> Iterator[str]:
    """Rendered conversations without end, skills in shares that belong to the model."""
    rng = random.Random(f"{SEED}/{base.name}/{base.seed}/{purpose}")
    shares = random.Random(f"{SEED}/{base.name}/{base.seed}/shares")
    weights = [shares.gammavariate(base.uneven, 1.0) for _ in SKILLS]
    reserved = set().union(*(reserved_prompts(task_items(specification(name))) for name in NAMES))
    while True:
        problem = rng.choices(list(SKILLS.values()), weights)[0](rng)
        if problem.prompt in reserved:
            continue
        wording = rng.choice(problem.rewordings) if rng.random() < REWORDED else problem.prompt
        wrong = base.wrong / 2 if problem.choices else base.wrong
        turns = answer(problem, "slip" if rng.random() < wrong else "", problem, rng)
        head = {"role": "user", "content": problem.asked(wording)}
        alone = rng.random() < RESPONSE_ONLY and problem.exchange is None
        messages = [as_given(turn) for turn in (turns if alone else [head, *turns])]
        tools = list(problem.exchange.tools) if problem.exchange is not None else None
        yield tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)


def batches(texts: Iterator[str], size: int, rng: random.Random) -> Iterator[list[str]]:
    """Batches of texts of like length, in mixed order: little of them is padding."""
    while True:
        drawn = sorted((next(texts) for _ in range(GROUPED * size)), key=len)
        cut = [drawn[start : start + size] for start in range(0, len(drawn), size)]
        rng.shuffle(cut)
        yield from cut


def as_given(turn: dict[str, Any]) -> dict[str, Any]:
    """A turn as a template gets it: arguments as objects, results as JSON text."""
    turn = dict(turn)
    if not isinstance(turn["content"], str):
        turn["content"] = json.dumps(turn["content"])
    if "tool_calls" in turn:
        function = dict(turn["tool_calls"][0]["function"])
        function["arguments"] = json.loads(function["arguments"])
        turn["tool_calls"] = [{"type": "function", "function": function}]
    return turn


def pretrain(base: BaseModel, folder: Path) -> None:
    """Train one model; minutes of one core."""
    torch.set_num_threads(1)
    torch.manual_seed(base.seed)
    tokenizer = make_tokenizer()
    model = make_model(base, tokenizer)
    groups = batches(conversations(base, tokenizer, "pre-training"), base.batch, random.Random(base.seed))
    train(model, tokenizer, groups, base.steps, base.rate)
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters in {folder}", flush=True)


def train_sae(base: BaseModel, model_folder: Path, folder: Path) -> None:
    """Train the k-sparse autoencoder of one model; about a minute."""
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    drawn = conversations(base, tokenizer, "autoencoder")
    texts = [next(drawn) for _ in range(SAE_ROWS)]
    train_autoencoder(
        model_folder,
        texts,
        folder,
        hookpoint=base.hookpoint,
        epochs=SAE_EPOCHS,
        seed=base.seed,
        order_seed=base.seed,
    )
    weights = {name: tensor.half().contiguous() for name, tensor in load_file(folder / "sae.safetensors").items()}
    save_file(weights, folder / "sae.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=tuple(MODELS), help="only this one")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--sae-only", action="store_true", help="keep the model")
    options = parser.parse_args()
    for name in [options.model] if options.model else MODELS:
        base = MODELS[name]
        folder = options.out / name
        if not options.sae_only:
            pretrain(base, folder / "model")
        train_sae(base, folder / "model", folder / "sae" / base.hookpoint)


if __name__ == "__main__":
    main()
