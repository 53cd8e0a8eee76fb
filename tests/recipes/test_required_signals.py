"""What a recipe reads, what a pool lacks, and which step dropped a row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_materialize import BOOK, TABLE, make_table, random_recipe, recipe

from autoselection.recipes import (
    Recipe,
    dropped_rows,
    lacking_signals,
    materialize,
    ready_recipes,
    recipe_signals,
    rows_by_step,
)
from autoselection.recipes.required_signals import read_signals
from autoselection.reproduce.rows import FixedRow, lacking
from autoselection.signals import signal_names
from autoselection.signals.table import SignalTable


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ([("ifd_filter", {})], ("ifd",)),
        ([("score_filter", {"signal": "loss_conditional"}), ("ifd_filter", {})], ("ifd",)),
        ([("length_filter", {"length": "n_turns", "min": 1})], ("lengths",)),
        ([("length_filter", {"length": "n_tokens", "min": 1})], ("tokens",)),
        ([("semantic_dedup", {"strategy": "exact"})], ("text_hash",)),
        ([("semantic_dedup", {"strategy": "minhash"})], ("near_duplicates",)),
        ([("semantic_dedup", {"strategy": "minhash", "ngram_size": 3})], ()),
        ([("semantic_dedup", {"strategy": "exact", "part": "prompt"})], ()),
        ([("mona_filter", {}), ("semdedup", {})], ("mona", "sae")),
        ([("ngram_entropy", {"scope": "task"})], ("ngram_entropy", "mona")),
        ([("ngram_entropy", {"scope": "cluster"})], ("ngram_entropy", "embeddings")),
        ([("source_mix", {"groups": "cluster"})], ("embeddings",)),
        ([("score_filter", {"signal": "nobody computes this"})], ()),
        ([("decontaminate", {"cosine_threshold": 0.9})], ("contamination", "contamination_cosine")),
        ([("source_filter", {"sources": ["x"]}), ("truncate_samples", {})], ()),
    ],
)
def test_the_signals_that_a_recipe_reads(steps, names):
    assert recipe_signals(recipe(*steps)) == names


def test_recipes_of_unions_count_too():
    inner = recipe(("varentropy_filter", {}))
    outer = Recipe(recipe(("ifd_filter", {}), ("union", {"source_recipe": "a"})).steps, library={"a": inner})
    assert recipe_signals(outer) == ("ifd", "varentropy")


def test_only_what_is_lacking_is_named():
    asked = recipe(("ifd_filter", {}), ("score_filter", {"signal": "reward"}), ("semantic_dedup", {}))
    assert lacking_signals(asked, TABLE) == ("reward",)
    assert lacking_signals(recipe(("ngram_entropy", {"scope": "cluster"})), TABLE) == ()  # clustered by features
    assert lacking_signals(recipe(("source_mix", {"groups": "cluster"})), TABLE) == ()
    for operator in ("diversity", "cluster_balance"):
        found = recipe((operator, {}))
        assert lacking_signals(found, TABLE) == () and read_signals(found, TABLE) == ("sae",)  # likewise
        assert lacking(FixedRow("of a paper", "recipe", found), TABLE) == []
    sentences = recipe(("semantic_dedup", {"strategy": "sentence"}))
    assert lacking_signals(sentences, TABLE) == ("embeddings",)  # nothing stands in
    bare = SignalTable.from_arrays(n=3)
    assert lacking_signals(ready_recipes()["balanced-clusters"].recipe, bare)[1:] == ("embeddings",)
    assert lacking_signals(asked, bare) == ("ifd", "reward", "near_duplicates")


@pytest.mark.parametrize("entry", ready_recipes().values(), ids=list(ready_recipes()))
def test_ready_recipes_name_signals_that_exist(entry):
    assert set(recipe_signals(entry.recipe)) <= set(signal_names())


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_every_row_is_kept_or_dropped_by_one_step(seed):
    """Against the definition: run each prefix by itself, and look for the last step that lost the row."""
    from dataclasses import replace

    excluded = np.arange(TABLE.n) % 7 == 3
    table = replace(make_table(), excluded=excluded)
    drawn = random_recipe(table, seed)
    whole = materialize(drawn, table, seed=seed, book=BOOK)
    prefixes = [
        set(materialize(Recipe(drawn.steps[:count]), table, seed=seed, book=BOOK).rows.tolist())
        for count in range(len(drawn.steps) + 1)
    ]
    assert [set(rows.tolist()) for rows in rows_by_step(drawn, table, seed=seed, book=BOOK)] == prefixes[1:]
    rows, steps = dropped_rows(drawn, table, seed=seed, book=BOOK)
    assert sorted([*rows.tolist(), *whole.rows.tolist()]) == list(range(table.n))
    for row, step in zip(rows.tolist(), steps.tolist(), strict=True):
        if all(row not in kept for kept in prefixes):
            assert step == 0 and excluded[row]
        else:
            last_inside = max(count for count, kept in enumerate(prefixes) if row in kept)
            assert step == last_inside + 1
