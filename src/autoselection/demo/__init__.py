"""The embedded demo: a tiny base model, a sparse autoencoder for it, a pool with known faults and four tasks.

Everything under ``data/`` is made by the scripts in the repository's ``testbed/`` folder, without any download:

- ``model/``: a character-level Llama of about 0.8M parameters (4 layers, 128 wide, float32 safetensors) with a chat
  template, pre-trained for a few minutes on nine toy skills with 40% of the target answers wrong (20% of two-way choices);
- ``sae/layers.2/``: a k-sparse autoencoder (512 latents, 16 active) of its last-but-one hidden state, trained on the
  pool with EleutherAI ``sparsify``;
- ``pool.jsonl``: 3,700 rows from seven sources that carry the faults of real pools: another convention (digits added
  without a carry, descending order, negated truth, counting from zero), cut-off responses, near copies, off-task skills, slips;
- ``tasks/<task>/{target,dev,test}.jsonl``: addition, sorting, boolean (is a number over another: a two-way choice) and counting;
- ``ood/<task>/{dev,test}.jsonl``: reversing and shouting, skills of the pool that none of these asks for: guards of the study.

This testbed was built to contain something to find: it shows that the machinery works, not how much selection
gains on a real pool.
"""

from __future__ import annotations

from pathlib import Path

TASKS: tuple[str, ...] = ("addition", "boolean", "counting", "sorting")
"""Names of the demo's tasks: the folders under ``data/tasks``."""


def data_dir() -> Path:
    """The folder of the demo's files."""
    return Path(__file__).resolve().parent / "data"


def model_dir() -> Path:
    """The base model with its tokenizer and chat template."""
    return data_dir() / "model"


def sae_dir() -> Path:
    """The sparse autoencoder's checkpoint (``cfg.json``, ``sae.safetensors``) of the layer it was trained on."""
    return data_dir() / "sae" / "layers.2"


def pool_file() -> Path:
    """The pool as JSON lines in messages format."""
    return data_dir() / "pool.jsonl"


def task_file(task: str, split: str) -> Path:
    """The items of one task (``TASKS``) and split (``target``, ``dev``, ``test``)."""
    return data_dir() / "tasks" / task / f"{split}.jsonl"


def config_path() -> Path:
    """The demo's study configuration."""
    return Path(__file__).resolve().parent / "demo.yaml"
