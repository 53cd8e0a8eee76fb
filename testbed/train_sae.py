"""Train the demo's k-sparse autoencoder on the pool with EleutherAI ``sparsify``.

    python testbed/train_sae.py            # about 1 minute on one CPU thread

It reads the last-but-one hidden state (the output of layer 2 of 4, 128 wide) over the tokens of the rendered rows,
padding excluded, and writes ``sae/layers.2/{cfg.json,sae.safetensors}``.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from pathlib import Path

import torch
from datasets import Dataset
from make_pool import DATA, SEED
from sparsify import SaeConfig, TrainConfig, Trainer
from transformers import AutoModelForCausalLM, AutoTokenizer

HOOKPOINT = "layers.2"
LATENTS, ACTIVE, EPOCHS, BATCH = 512, 16, 4, 32


def main() -> None:
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(DATA / "model")
    model = AutoModelForCausalLM.from_pretrained(DATA / "model", dtype=torch.float32)
    lines = (DATA / "pool.jsonl").read_text(encoding="utf-8").split("\n")
    texts = [tokenizer.apply_chat_template(json.loads(line)["messages"], tokenize=False) for line in lines if line]
    rng = random.Random(SEED + 3)
    order = [number for _ in range(EPOCHS) for number in rng.sample(range(len(texts)), len(texts))]
    encoded = tokenizer(texts, padding=True, add_special_tokens=False, return_tensors="pt")["input_ids"]
    dataset = Dataset.from_dict({"input_ids": encoded[order].tolist()}).with_format("torch")
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            SaeConfig(num_latents=LATENTS, k=ACTIVE),
            batch_size=BATCH,
            optimizer="adam",
            lr=2e-3,
            lr_warmup_steps=50,
            auxk_alpha=1 / 32,
            dead_feature_threshold=50_000,
            exclude_tokens=[tokenizer.pad_token_id],
            hookpoints=[HOOKPOINT],
            init_seeds=[SEED],
            log_to_wandb=False,
            save_dir=folder,
            run_name="sae",
        )
        Trainer(config, dataset, model).fit()
        out: Path = DATA / "sae" / HOOKPOINT
        out.mkdir(parents=True, exist_ok=True)
        for name in ("cfg.json", "sae.safetensors"):
            shutil.copyfile(Path(folder) / "sae" / HOOKPOINT / name, out / name)
    print(f"{LATENTS} latents, {ACTIVE} active, in {out}")


if __name__ == "__main__":
    main()
