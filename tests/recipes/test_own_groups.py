"""Mixing the values of the user's own columns of a pool."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from autoselection.errors import RecipeError, SignalError
from autoselection.operators.groups import group_codes
from autoselection.pool import ingest
from autoselection.recipes import Recipe, Step, materialize
from autoselection.signals.score import load_table
from autoselection.signals.table import SignalTable

TOPICS = ("maths", "code", None, "law")


@pytest.fixture(scope="module")
def signals(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("own")
    rows = [
        {
            "messages": [{"role": "user", "content": f"q{row}"}, {"role": "assistant", "content": f"a{row}"}],
            "level": [3, 20, 1.5][row % 3],
            "checked": row % 5 == 0,
            "words": ["a", "b"],
            "key": f"k{row}",
            **({"topic": TOPICS[row % 4]} if TOPICS[row % 4] else {}),
        }
        for row in range(1200)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_table(ingest([Path(folder / "rows.jsonl")], folder / "pool").pool)


def mix(**params) -> Recipe:
    return Recipe((Step("source_mix", params),))


def test_text_numbers_and_truth_values_are_groups(signals):
    assert group_codes(signals, "column/topic")[1] == ("code", "law", "maths", "without a value")
    codes, names = group_codes(signals, "column/level")
    assert names == ("1.5", "3", "20") and codes[:4].tolist() == [1, 2, 0, 1]
    assert group_codes(signals, "column/checked")[1] == ("false", "true")


def test_different_numbers_are_different_groups(tmp_path):
    long = int("7" * 400)
    numbers = [20240101, 20240102, long + 1, long, 0.1 + 0.2, 0.3, 5.0, 5, -1234567.5, 1e-7]
    rows = [{"prompt": f"q{row}", "response": "a", "number": number} for row, number in enumerate(numbers)]
    table = load_table(ingest(rows, tmp_path / "pool").pool)
    codes, names = group_codes(table, "column/number")
    ascending = ["-1234567.5", "1e-07", "0.3", "0.30000000000000004", "5", "20240101", "20240102", str(long)]
    assert names == (*ascending, str(long + 1))
    assert codes.tolist() == [5, 6, 8, 7, 3, 2, 4, 4, 0, 1]
    found = materialize(mix(weights={"20240101": 1}, other=0, total_samples=1, groups={"column": "number"}), table)
    assert found.rows.tolist() == [0]


def test_different_scores_are_different_groups():
    scores = [0.1, 1234567, 1234568, np.nan, -0.0, 0.0, 2.5e-8]
    codes, names = group_codes(SignalTable.from_arrays({"score": scores}), "column/score")
    assert names == ("0", "2.5e-08", "0.1", "1234567", "1234568", "without a value")
    assert codes.tolist() == [2, 3, 4, 5, 0, 0, 1]


def test_a_mix_of_topics(signals):
    found = materialize(
        mix(weights={"maths": 3, "law": 1}, other=0, total_samples=200, groups={"column": "topic"}), signals
    )
    assert Counter(row["topic"] for row in signals.pool.metas(found.rows)) == {"maths": 150, "law": 50}
    assert found.recipe.describe() == "source_mix(law 1 : maths 3 : others 0, 200 rows, by topic)"
    equal = materialize(mix(temperature=100.0, groups={"column": "topic"}, fraction=0.5), signals)
    assert Counter(row.get("topic") for row in signals.pool.metas(equal.rows)) == dict.fromkeys(TOPICS, 150)


def test_the_short_form_is_the_long_one(tmp_path):
    short, long = mix(groups={"column": "topic"}), mix(groups="column", column="topic")
    assert short.hash == long.hash
    short.dump(tmp_path / "recipe.yaml")
    assert Recipe.load(tmp_path / "recipe.yaml").hash == long.hash
    for wrong in ({"column": "topic", "source": "x"}, {"topic": "column"}, {}):
        with pytest.raises(RecipeError, match="parameter 'groups' must be one of source, task"):
            mix(groups=wrong).canonical()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("topics", "no column 'topics', and there is no signal of that name; did you mean 'topic'"),
        (
            "key",
            "Column 'key' has 1,200 different values, and groups are made of at most 1,024: name one that holds kinds",
        ),
        (
            "words",
            "Column 'words' of the pool's rows holds lists, and groups are made of text, numbers or truth values",
        ),
    ],
)
def test_what_makes_no_groups_is_refused(signals, column, message):
    with pytest.raises(SignalError, match=message):
        materialize(mix(groups={"column": column}), signals)
    with pytest.raises(RecipeError, match="the pool has no topic of 'physics'"):
        materialize(mix(weights={"physics": 1}, groups={"column": "topic"}), signals)
