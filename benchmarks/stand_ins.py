"""Stand-ins that cost what the real thing costs: random weights of real shapes, and drawn rows. Nothing is fetched.

A shape is a name of :data:`SHAPES` (sizes of published configurations, and one with a window) or numbers with commas between them: layers,
width, intermediate size, heads, key and value heads, vocabulary; or layers, width, vocabulary, with heads of 64 that share
no keys.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Shape:
    """Sizes of a causal language model with tied embeddings.

    Attributes:
        kind: transformers' model type: llama, qwen2 (biases on queries, keys and values), or mistral (a window).
        window: how many tokens up to its own a token sees; None is all.
    """

    layers: int
    width: int
    intermediate: int
    heads: int
    key_value_heads: int
    vocabulary: int
    kind: str = "llama"
    window: int | None = None

    def config(self) -> Any:
        """The configuration for transformers."""
        from transformers import AutoConfig

        return AutoConfig.for_model(
            self.kind,
            num_hidden_layers=self.layers,
            hidden_size=self.width,
            intermediate_size=self.intermediate,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_value_heads,
            vocab_size=self.vocabulary,
            max_position_embeddings=8192,
            tie_word_embeddings=True,
            **({} if self.window is None else {"sliding_window": self.window}),
        )


SHAPES = {
    "smollm2-135m": Shape(30, 576, 1536, 9, 3, 49152),
    "qwen2.5-1.5b": Shape(28, 1536, 8960, 12, 2, 151936, "qwen2"),
    "windowed": Shape(2, 576, 1536, 9, 3, 49152, "mistral", window=64),  # no published model: rows outgrow the window
}


def parse_shape(text: str) -> Shape:
    """A shape by name or numbers.

    Raises:
        ValueError: it is neither.
    """
    if text in SHAPES:
        return SHAPES[text]
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 3:
        layers, width, vocabulary = numbers
        heads = max(1, width // 64)
        numbers = [layers, width, width * 8 // 3, heads, heads, vocabulary]
    if len(numbers) != 6:
        raise ValueError(
            f"no shape '{text}': give {', '.join(SHAPES)}, or layers,width,intermediate,heads,key-value heads,vocabulary"
        )
    return Shape(*numbers)


def shape_option(text: str) -> Shape:
    """A shape as an option of a command."""
    try:
        return parse_shape(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def random_model(shape: Shape, device: str = "cpu") -> Any:
    """An untrained model in float32, made on the device; the same weights each time on one kind of device."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(shape.config(), dtype=torch.float32)


def random_weights(folder: Path, shape: Shape) -> None:
    """A folder with an untrained model and the demo's tokenizer (ids below 102)."""
    from transformers import AutoTokenizer

    from autoselection import demo

    random_model(shape).save_pretrained(folder)
    AutoTokenizer.from_pretrained(demo.model_dir()).save_pretrained(folder)


def drawn_rows(count: int, sources: int = 20, seed: int = 0) -> list[dict[str, Any]]:
    """Conversations of random letters: about 120 tokens of the demo's tokenizer each, a quarter of them responses."""
    rng = np.random.default_rng(seed)
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz ", np.uint8)
    sizes = np.stack([rng.integers(30, 140, size=count), rng.integers(10, 50, size=count)], axis=1)
    text = letters[rng.integers(len(letters), size=int(sizes.sum()))].tobytes().decode()
    ends = np.cumsum(sizes.ravel())
    parts = [text[start:end] for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)]
    return [
        {"messages": _turns(parts[2 * row : 2 * row + 2]), "source": f"source {row % sources}"} for row in range(count)
    ]


def _turns(texts: Sequence[str]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in zip(("user", "assistant"), texts, strict=True)]
