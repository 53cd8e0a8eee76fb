"""What is said of a row and a recipe: fate, duplicates, nearest target items."""

from __future__ import annotations

import json

import numpy as np
import pytest

from autoselection.errors import PoolError
from autoselection.inspection import diff, explain, nearest_items, relatives
from autoselection.pool import Pool, ingest
from autoselection.recipes import Recipe, Step, materialize, why
from autoselection.signals import SignalTable, load_table, score_pool
from autoselection.tasks import TaskItem
from autoselection.testing import signal_table

LONG = Recipe((Step("length_filter", {"length": "n_response_words", "fraction": 0.5}),), name="long")
ONCE = Recipe((*LONG.steps, Step("semantic_dedup", {"strategy": "exact"})), name="once")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Thirty rows; the last five are copies of the five before."""
    folder = tmp_path_factory.mktemp("explained")
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(30):
            n = number if number < 25 else number - 5
            words = " ".join(f"w{n}x{k}" for k in range(1 + n))
            row = {"id": f"r{number}", "prompt": f"question {n}", "response": words, "source": "ab"[number % 2]}
            file.write(json.dumps(row) + "\n")
    found = ingest([folder / "rows.jsonl"], folder / "pool").pool
    score_pool(found, signals=["lengths", "text_hash", "near_duplicates"])
    return found


@pytest.fixture(scope="module")
def table(pool: Pool) -> SignalTable:
    return load_table(pool)


def test_a_row_has_its_fate_its_scores_and_its_duplicates(table):
    told = explain(ONCE, table, ["r27", "r3", "r22"])
    copy, short, kept = told
    assert copy.fate.step == 2 and copy.fate.removal.judgement.other == 22
    assert [(twin.id, twin.relative.likeness, twin.selected) for twin in copy.twins] == [
        ("r22", "text", True),
        ("r22", "wording", True),
    ]
    assert short.fate.step == 1 and short.fate.removal.judgement.margin < 0 and not short.twins
    assert kept.fate.selected and [step.kept for step in kept.fate.steps] == [True, True]
    assert copy.ids == {22: "r22"} and copy.shown.scores["n_response_words"].value == 23
    plain = told.to_dict()
    json.dumps(plain, allow_nan=False)
    assert plain["rows"][0]["fate"]["dropped_step"] == 2 and plain["rows"][0]["duplicates"][0]["id"] == "r22"
    assert "r27" in told._repr_html_() and repr(told).startswith("<Explanations 3 rows: length_filter(")


def test_signals_of_no_pool_are_refused():
    with pytest.raises(PoolError, match="made from arrays"):
        explain(LONG, signal_table(0), [1])


def test_relatives_are_the_most_similar_rows_of_each_kind():
    table = signal_table(1, n=40)
    unit = table.sae.to_scipy().toarray()
    norms = np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = (unit / np.where(norms > 0, norms, 1)) @ (unit / np.where(norms > 0, norms, 1)).T
    for row in range(40):
        found = relatives(table, row, 50)
        assert row not in [each.row for each in found]
        same = [each.row for each in found if each.likeness == "text"]
        assert same == [n for n in range(40) if n != row and table.text_hash[n] == table.text_hash[row]]
        features = {each.row: each.similarity for each in found if each.likeness == "features"}
        wanted = {n: cosines[row, n] for n in range(40) if n != row and cosines[row, n] >= 0.9 - 1e-6}
        assert features == pytest.approx(wanted, abs=1e-5)
        values = [each.similarity for each in found if each.likeness == "wording"]
        assert values == sorted(values, reverse=True)
        meaning = [each.row for each in found if each.likeness == "meaning"]
        vectors = np.nan_to_num(np.asarray(table.embeddings, np.float64))
        assert sorted(meaning) == [n for n in range(40) if n != row and vectors[n] @ vectors[row] >= 0.9 - 1e-6]


def test_the_nearest_items_share_rare_words():
    items = {
        "sums": [TaskItem("a", "What is the sum of apples?", "4"), TaskItem("b", "What is the price of pears?", "5")],
        "trees": [TaskItem("c", "Which tree bears pears?", "the pear tree")],
    }
    found = nearest_items("Tell me the price of pears.", items, 1)
    assert [(item.task, item.id) for item in found] == [("sums", "b"), ("trees", "c")]
    assert found[0].similarity > found[1].similarity > 0
    assert nearest_items("zzz", items) == [] and nearest_items("", {}) == []
    exact = nearest_items("Which tree bears pears?\nthe pear tree", items, 1)[-1]
    assert exact.similarity == pytest.approx(1.0)


def test_two_subsets_are_counted_row_by_row(table):
    found = diff(LONG, ONCE, table, names=("long", "once"))
    one, two = (set(materialize(recipe, table).rows.tolist()) for recipe in (LONG, ONCE))
    assert set(found.both.tolist()) == one & two and set(found.only_first.tolist()) == one - two
    assert len(found.only_second) == 0 and found.overlap == len(one & two) / len(one)
    assert sum(counts[2] for counts in found.sources.values()) == len(found.only_first)
    assert {each.row for each in found.examples[0]} <= one - two and found.examples[1] == ()
    assert all(each.fate == why(ONCE, table, [each.row])[0] for each in found.examples[0])
    assert "only in 'long'" in found.sentence
    json.dumps(found.to_dict(), allow_nan=False)


def test_means_states_and_examples_of_two_subsets(table):
    rows = np.arange(10), np.arange(5, 15)
    found = diff(*rows, table, names=("<b>", "x"), examples=2)
    words = table["n_response_words"].astype(float)
    signal = next(each for each in found.signals if each.name == "n_response_words")
    assert signal.first == pytest.approx(words[:10].mean()) and signal.only_second == pytest.approx(words[10:15].mean())
    assert signal.apart == pytest.approx((words[:5].mean() - words[10:15].mean()) / words.std())
    assert [abs(each.apart or 0) for each in found.signals] == sorted(
        (abs(each.apart or 0) for each in found.signals), reverse=True
    )
    assert found.state["retain_ratio"] == (10 / 30, 10 / 30)
    assert len(found.examples[0]) == 2 and found.examples[0][0].fate is None
    assert "<b>" not in found._repr_html_() and found.recipes == (None, None)


def test_equal_subsets_differ_in_nothing(table):
    found = diff(LONG, materialize(LONG, table), table)
    assert found.overlap == 1.0 and found.examples == ((), ())
    with pytest.raises(PoolError, match="Row 99 is not in the pool"):
        diff(LONG, [99], table)
