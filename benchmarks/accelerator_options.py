"""Options that the steps on a GPU and the search among them have in common; imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def add_search_options(parser: argparse.ArgumentParser, path: Callable[[str], Path]) -> None:
    """What a search trains on; ``path`` reads a path."""
    parser.add_argument("--model", type=path, help="model folder (default: random weights)")
    parser.add_argument("--chat-template", help="of --model: a named template or file (default: the model's own)")
    parser.add_argument("--pool", type=path, help="pool file (default: drawn rows)")
    parser.add_argument(
        "--tasks", type=path, help="folder of tasks, each with target.jsonl and dev.jsonl (default: the demo's)"
    )
    parser.add_argument("--sae", type=path, help="SAE of the model, for relevance in the search (default: none)")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--workers", type=int, default=3, help="evaluations of the search side by side")
    parser.add_argument("--rows", type=int, default=16_000, help="drawn rows of the search")
    parser.add_argument("--evaluations", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=1_000_000, help="training tokens of an evaluation of the search")
