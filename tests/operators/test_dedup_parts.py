"""Deduplication by the prompt or the response alone against the greedy rule over all pairs."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_tables import apply, make_table

from autoselection.errors import RecipeError, SignalError
from autoselection.operators import (
    default_registry,
    encode_params,
    encoding_names,
    perturb_params,
    sample_params,
    validate_params,
)
from autoselection.pool import Pool, ingest
from autoselection.recipes import Recipe, Step, materialize
from autoselection.signals.families.minhash import shingles
from autoselection.signals.score import load_table
from autoselection.signals.table import SignalTable

OPERATOR = default_registry().get("semantic_dedup")


@st.composite
def parts_and_rows(draw):
    """Prompts and responses that share runs of words, some empty or blank, and distinct rows in any order."""
    run = st.sampled_from(["a b c d", "b c d e", "x y", "A  B c", "a  b c", "a b c", "z", ""])
    text = st.one_of(st.sampled_from(["", " \n"]), st.lists(run, max_size=4).map(" ".join))
    count = draw(st.integers(1, 25))
    parts = {part: draw(st.lists(text, min_size=count, max_size=count)) for part in ("prompt", "response")}
    return parts, draw(st.permutations(range(count)))[: draw(st.integers(1, count))]


def greedy(rows, texts, alike):
    kept = []
    for row in rows:
        empty = not texts[row].strip()
        if empty or not any(texts[other].strip() and alike(texts[other], texts[row]) for other in kept):
            kept.append(row)
    return kept


@settings(max_examples=150, deadline=None)
@given(case=parts_and_rows(), part=st.sampled_from(["prompt", "response"]))
def test_exact_on_a_part_keeps_the_first_of_each_text(case, part):
    parts, rows = case
    outcome = apply(SignalTable.from_arrays(parts=parts), "semantic_dedup", {"strategy": "exact", "part": part}, rows)
    assert outcome.rows.tolist() == greedy(rows, parts[part], lambda a, b: a.rstrip() == b.rstrip())
    assert outcome.missing == sum(not parts[part][row].strip() for row in rows)


@settings(max_examples=150, deadline=None)
@given(
    case=parts_and_rows(),
    part=st.sampled_from(["prompt", "response"]),
    threshold=st.integers(50, 99).map(lambda percent: percent / 100),
)
def test_minhash_on_a_part_equals_the_greedy_rule_on_exact_jaccards(case, part, threshold):
    parts, rows = case

    def alike(a, b):
        one, other = set(shingles(a, 3)), set(shingles(b, 3))
        return len(one & other) / len(one | other) >= threshold

    params = {"jaccard_threshold": threshold, "ngram_size": 3, "part": part}
    outcome = apply(SignalTable.from_arrays(parts=parts), "semantic_dedup", params, rows)
    assert outcome.rows.tolist() == greedy(rows, parts[part], alike)
    assert outcome.missing == sum(not parts[part][row].strip() for row in rows)
    assert outcome.notes == {}


def conversation(prompt: str, response: str, system: str = "") -> dict:
    turns = [{"role": "system", "content": system}] if system else []
    return {"messages": [*turns, {"role": "user", "content": prompt}, {"role": "assistant", "content": response}]}


@pytest.fixture
def pool(tmp_path) -> Pool:
    rows = [
        conversation("What is two plus two, please?", "Four."),
        conversation("Name a large river in Asia now.", "The Yangtze.", system="You are a kind and helpful assistant."),
        conversation("What is two plus two, please? \n", "It is four, of course."),
        conversation("Name a tall mountain in Peru now.", "Four.", system="You are a kind and helpful assistant."),
        conversation("What is two plus two, please? Say why.", "Two and two make four."),
    ]
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ingest([source], tmp_path / "pool")
    return Pool.open(tmp_path / "pool")


def test_the_parts_of_a_pool_are_its_turns_without_the_system_message(pool):
    rows = np.array([3, 0])
    assert pool.parts("prompt", rows) == ["Name a tall mountain in Peru now.", "What is two plus two, please?"]
    assert pool.parts("response", rows) == ["Four.", "Four."]
    assert pool.parts("prompt") == [row[-2]["content"] for row in pool.messages()]


def test_a_pool_that_was_never_scored_is_deduplicated_by_prompts_and_the_pairs_are_stored(pool):
    table = load_table(pool)

    def kept(**params):
        return apply(table, "semantic_dedup", params).rows.tolist()

    assert kept(strategy="exact", part="prompt") == [0, 1, 3, 4]
    assert kept(strategy="exact", part="response") == [0, 1, 2, 4]
    assert kept(part="prompt", ngram_size=3, jaccard_threshold=0.5) == [0, 1, 3]
    assert sorted(path.name for path in (table.folder / "artefacts").iterdir()) == ["part groups", "part pairs"]
    stored = len(list((table.folder / "artefacts").glob("*/*/meta.json")))
    assert stored == 3  # two parts exactly, one by pairs
    again = load_table(pool)
    assert apply(again, "semantic_dedup", {"strategy": "exact", "part": "prompt"}).rows.tolist() == [0, 1, 3, 4]


def test_a_recipe_takes_it_as_any_parameter(pool):
    recipe = Recipe.from_dict(
        {"steps": [{"operator": "semantic_dedup", "params": {"strategy": "exact", "part": "prompt"}}]}
    )
    assert "prompts" in recipe.describe()
    assert materialize(recipe, load_table(pool)).rows.tolist() == [0, 1, 3, 4]


def test_what_is_missing_or_does_not_apply_is_said():
    with pytest.raises(SignalError, match="no prompts of its rows"):
        apply(SignalTable.from_arrays(n=3), "semantic_dedup", {"strategy": "exact", "part": "prompt"})
    with pytest.raises(RecipeError, match="'part' applies only if strategy is exact or minhash"):
        validate_params(OPERATOR, {"strategy": "embedding", "part": "prompt"})
    with pytest.raises(RecipeError, match="must be one of row, prompt, response"):
        validate_params(OPERATOR, {"part": "answer"})


def test_recipes_and_the_default_space_are_those_of_before():
    """The hash, the draws, the moves and the encodings as they were when the whole row was all there was to compare."""
    assert Recipe((Step("semantic_dedup", {}),)).hash == "b6035a7e334a9350"
    assert Recipe((Step("semantic_dedup", {"part": "row"}),)).hash == "b6035a7e334a9350"
    assert Recipe((Step("semantic_dedup", {"part": "prompt"}),)).hash != "b6035a7e334a9350"
    table = make_table(5, n=300, sources=4)
    rng = np.random.default_rng(0)
    seen: list = [list(encoding_names(OPERATOR, table))]
    for _ in range(200):
        drawn = sample_params(OPERATOR, table, rng)
        moved = perturb_params(OPERATOR, drawn, table, rng)
        seen.append([drawn, moved, np.round(encode_params(OPERATOR, moved, table), 9).tolist()])
    digest = hashlib.blake2b(json.dumps(seen, sort_keys=True).encode(), digest_size=8).hexdigest()
    assert digest == "56de54b8ddec3cfa"


def test_a_move_keeps_the_part_while_it_applies():
    rng = np.random.default_rng(1)
    moved = [perturb_params(OPERATOR, {"part": "prompt"}, make_table(1), rng) for _ in range(40)]
    assert {params["strategy"] for params in moved} == {"exact", "minhash", "embedding", "sentence"}
    for params in moved:
        assert params.get("part") == ("prompt" if params["strategy"] in ("exact", "minhash") else None)


@pytest.mark.parametrize("strategy", ["exact", "minhash"])
@pytest.mark.parametrize(
    "texts", [["", "x y z", "\u200b"], ["\u200b", "x y z", ""], ["\ufeff", " ", "\u200b", "\u200b"]]
)
def test_a_part_that_shows_nothing_is_an_empty_one(strategy, texts):
    table = SignalTable.from_arrays(parts={"response": texts, "prompt": texts})
    outcome = apply(table, "semantic_dedup", {"strategy": strategy, "part": "response"})
    assert outcome.rows.tolist() == list(range(len(texts)))
    assert outcome.missing == sum(text != "x y z" for text in texts)
