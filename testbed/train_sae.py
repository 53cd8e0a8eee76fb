"""Train the demo's k-sparse autoencoder on the pool with EleutherAI ``sparsify``.

    python -m testbed.train_sae            # about 1 minute on one CPU thread

It reads the last-but-one hidden state (the output of layer 2 of 4, 128 wide) over the tokens of the rendered rows,
padding excluded, and writes ``sae/layers.2/{cfg.json,sae.safetensors}``.
"""

from __future__ import annotations

import json

from transformers import AutoTokenizer

from testbed.character_models import train_autoencoder
from testbed.make_pool import DATA, SEED

HOOKPOINT = "layers.2"


def main() -> None:
    tokenizer = AutoTokenizer.from_pretrained(DATA / "model")
    lines = (DATA / "pool.jsonl").read_text(encoding="utf-8").split("\n")
    texts = [tokenizer.apply_chat_template(json.loads(line)["messages"], tokenize=False) for line in lines if line]
    train_autoencoder(
        DATA / "model", texts, DATA / "sae" / HOOKPOINT, hookpoint=HOOKPOINT, epochs=4, seed=SEED, order_seed=SEED + 3
    )


if __name__ == "__main__":
    main()
