"""How long the questions of the language-model roles are: a whole search is asked and answered without any model.

    python -m benchmarks.llm_questions --pool POOL_DIR --tokenizer FOLDER [--evaluations 15] [--json]

The search runs over a scored pool with scores that are made up; each question is answered at once by a canned answer of
its form (a summary of 60 words, a proposal, an order of the options), and counted by a tokenizer's chat template. One line a role.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoselection.language.models import load_tokenizer
from autoselection.llm import build_roles
from autoselection.llm.budget import CHARS_PER_TOKEN, Usage
from autoselection.llm.endpoint import Endpoint, Given
from autoselection.pool import Pool
from autoselection.search import LLMConfig, SearchConfig, SearchController
from autoselection.signals import load_table
from benchmarks.rounds import made_up_score

ANSWERS = {
    "summary": {"summary": " ".join(["quality filters within sources helped and deduplication did not;"] * 7)},
    "recipes": {
        "recipes": [{"steps": [{"operator": "ifd_filter", "params": {"fraction": 0.7}}], "reason": "it helped"}]
    },
    "ranking": {"ranking": [{"option": place, "reason": "close to the best so far"} for place in (2, 1, 3)]},
}
"""By the key that the form of an answer begins with."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True, help="a pool with signals")
    parser.add_argument("--tokenizer", required=True, help="folder or name of a tokenizer with a chat template")
    parser.add_argument("--evaluations", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print a line a role")
    options = parser.parse_args()
    table = load_table(Pool.open(options.pool))
    tokenizer = load_tokenizer(options.tokenizer)
    counted: dict[str, list[tuple[int, int]]] = {name: [] for name in ANSWERS}

    def answered(_: Endpoint, request: Mapping[str, Any]) -> Given:
        messages = request["messages"]
        form = messages[-1]["content"].rsplit("\n", 1)[-1]
        kind = next(name for name in ANSWERS if f'"{name}"' in form)
        tokens = len(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False))
        counted[kind].append((tokens, sum(len(message["content"]) for message in messages)))
        return Given(json.dumps(ANSWERS[kind]), "stop", Usage(tokens, 0), 0.0, 1, None)

    Endpoint.ask = answered  # type: ignore[method-assign]
    llm = LLMConfig(model="none", base_url="http://127.0.0.1:9")
    controller = SearchController(table, SearchConfig(evaluations=options.evaluations), roles=build_roles(llm, table))
    controller.run(lambda candidate: made_up_score(candidate, table))
    for kind, found in counted.items():
        tokens, characters = np.array(found).T
        line = {
            "answer": kind,
            "questions": len(found),
            "tokens": [int(tokens.min()), int(np.median(tokens)), int(tokens.max())],
            "total": int(tokens.sum()),
            "characters_per_token": round(float(characters.sum() / tokens.sum()), 2),
            "estimated_at": CHARS_PER_TOKEN,
        }
        print(json.dumps(line) if options.json else line)
    total = sum(tokens for found in counted.values() for tokens, _ in found)
    shape = {"total": total, "sources": len(table.source_names), "tasks": len(table.tasks), "rows": table.n}
    print(json.dumps(shape) if options.json else shape)


if __name__ == "__main__":
    main()
