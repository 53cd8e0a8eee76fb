"""The model, the rows as tokens and their order, as the options ask for them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.stand_ins import Shape, drawn_rows, random_model
from benchmarks.throughput.by_hand import pass_tokens
from benchmarks.throughput.work import IGNORED, SHARD, Row, Work

DRAWN = 10_000


def prepare(options: argparse.Namespace, folder: Path) -> Work:
    """The model, the rows as tokens and their order."""
    import torch
    from transformers import AutoConfig

    from autoselection import demo
    from autoselection.language.chat import ConversationEncoder
    from autoselection.language.models import load_model, load_tokenizer, pick_device

    device = pick_device(options.device)
    shape: Shape | None = options.shape
    base = str(options.model) if shape is None else str(demo.model_dir())

    def model() -> Any:
        return load_model(base, "cpu", "float32").to(device) if shape is None else random_model(shape, device)

    tokenizer = load_tokenizer(base, options.chat_template)
    encoder = ConversationEncoder(tokenizer, max_length=options.max_length)
    conversations, rows = _rows(options, encoder, folder)
    limit = None
    if device.startswith("cuda"):
        config = AutoConfig.from_pretrained(base).get_text_config() if shape is None else shape.config()
        limit = pass_tokens(config, torch.cuda.get_device_properties(0).total_memory)
    return Work(
        folder, base, tokenizer, rows, conversations, model, device, getattr(torch, options.dtype), options.batch_size,
        options.max_length, limit,
    )  # fmt: skip


def _rows(options: argparse.Namespace, encoder: Any, folder: Path) -> tuple[list[Any], list[Row]]:
    """Conversations in random order, and rows up to the tokens of a run (with ``--seconds``: of all)."""
    if options.pool is None and (options.drawn or options.shape):
        conversations: list[Any] = [row["messages"] for row in drawn_rows(options.drawn or DRAWN)]
    else:
        from autoselection import demo
        from autoselection.pool import Pool, ingest

        ingest([options.pool or demo.data_dir() / "pool.jsonl"], folder / "pool")
        pool = Pool.open(folder / "pool")
        conversations = list(pool.conversations(np.random.default_rng(0).permutation(len(pool)).tolist()))
    rows: list[Row] = []
    tokens = 0
    for start in range(0, len(conversations), SHARD):
        for found in encoder.encode_batch(conversations[start : start + SHARD]):
            if found is None or (options.seconds is None and tokens >= options.tokens):
                continue
            ids = np.asarray(found.input_ids, np.int32)
            row = Row(ids, np.where(found.response, ids, IGNORED).astype(np.int32))
            if row.responses:
                rows.append(row)
                tokens += len(ids)
    return conversations, rows
