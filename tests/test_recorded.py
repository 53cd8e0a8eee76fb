"""What earlier versions stored and drew, as hashes: with other ones, stored signals are computed anew and old searches end elsewhere.

Recorded with the version before signals, evaluations and settings were reordered. Only what is the same on every machine:
no sums of floats. A change that is meant raises the signal's version, and is told in the changelog.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from autoselection.demo import model_dir, sae_dir, task_file
from autoselection.pool import Pool, ingest
from autoselection.recipes import materialize
from autoselection.search import SearchConfig, SearchController, random_recipes
from autoselection.signals import SignalsConfig, SignalTable, score_pool
from autoselection.tasks import TaskConfig

POOL = "d1f77912a53ea4e49a22b65930040f68"
TEXT_KEYS = {
    "contamination": "5e44183411271edb",
    "lengths": "12c953e52ed87c14",
    "minhash": "fe1bc36da61ee82c",
    "near_duplicates": "df1a1d1b4ee6df9e",
    "ngram_entropy": "1bfc7ce1a3966e03",
    "repetition": "e19697cd4c1f8115",
    "text_hash": "1e8ccae1f1cce5c4",
    "trace_faults": "6252fb8aaa79d89e",
    "traces": "9b79738b9dbf87fd",
}
MODEL_KEYS = {
    "lm": "4e1b2bb72466beb6",
    "mona/addition": "110f7a678f9a6d15",
    "sae": "bc3d85ceff840245",
    "token_kinds": "ff05a04076936266",
    "tokens": "9f3a672f796b5f26",
}
RECIPES, SUBSETS = "27e909c3acc3b864", "79c451c3e6968472"
PROBES = [
    "f4456381c98409cc",
    "7b419064002c8d1b",
    "069522af6598c94b",
    "bcb4937364939477",
    "14d467ba4dbbe6ce",
    "49c65c398d827285",
]


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    folder = tmp_path_factory.mktemp("recorded")
    rows = []
    for n in range(40):
        turns = [{"role": "user", "content": f"Add {n} and {n + 2}."}, {"role": "assistant", "content": f"{2 * n + 2}"}]
        rows.append({"id": f"r{n}", "source": "ab"[n % 2], "messages": turns})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    ingest([folder / "rows.jsonl"], folder / "pool")
    return Pool.open(folder / "pool")


@pytest.fixture(scope="module")
def table() -> SignalTable:
    """Ranks instead of measured scores, which no machine rounds another way."""
    rng = np.random.default_rng(5)
    names = ("ifd", "varentropy", "ngram_entropy", "n_tokens")
    columns = {name: rng.permutation(400) + 1 for name in names}
    return SignalTable.from_arrays(columns, source=np.array(["a", "b", "c", "d"])[rng.integers(4, size=400)])


def _tasks() -> list[TaskConfig]:
    return [TaskConfig(name="addition", target=task_file("addition", "target"), dev=task_file("addition", "dev"))]


def test_text_signals_have_the_keys_they_had(pool: Pool) -> None:
    assert pool.fingerprint == POOL
    assert dict(score_pool(pool, SignalsConfig(), tasks=_tasks(), signals=list(TEXT_KEYS)).keys) == TEXT_KEYS


def test_signals_of_a_model_have_the_keys_they_had(pool: Pool) -> None:
    pytest.importorskip("torch")
    settings = SignalsConfig(device="cpu", dtype="float32")
    wanted = ["tokens", "ifd", "varentropy", "rsr", "token_kinds", "sae", "mona"]
    found = score_pool(pool, settings, model=model_dir(), sae=sae_dir(), tasks=_tasks(), signals=wanted)
    assert dict(found.keys) == MODEL_KEYS


def test_recipes_are_drawn_and_select_as_they_did(table: SignalTable) -> None:
    recipes = random_recipes(table, 100, 3)
    assert _digest([recipe.hash for recipe in recipes]) == RECIPES
    assert _digest([materialize(recipe, table, seed=1).ordered_hash for recipe in recipes]) == SUBSETS


def test_a_search_begins_with_the_probes_it_had(table: SignalTable) -> None:
    controller = SearchController(
        table, SearchConfig(evaluations=6, warmup=6, batch=6, seed=2, surrogate={"prior": False})
    )
    assert [candidate.ordered_hash for candidate in controller.ask()] == PROBES


def _digest(words: list[str]) -> str:
    return hashlib.blake2b(" ".join(words).encode(), digest_size=8).hexdigest()
