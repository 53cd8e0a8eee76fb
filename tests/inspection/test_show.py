"""Rows of a pool as they are shown: which ones, and where their scores stand."""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from autoselection.errors import ConfigError, PoolError, SignalError
from autoselection.inspection import row_scores, show_rows
from autoselection.pool import IngestConfig, Pool, ingest
from autoselection.signals import SignalTable, load_table, score_pool


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """Forty rows of two sources; the tenth has an id that is a number."""
    folder = tmp_path_factory.mktemp("shown")
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(40):
            row = {
                "id": "12" if number == 10 else f"r{number}",
                "prompt": f"question {number}",
                "response": "word " * (1 + number),
                "source": "ab"[number % 2],
                "level": number % 4,
                "tags": ["x"] if number % 3 else None,
            }
            file.write(json.dumps(row) + "\n")
    found = ingest([folder / "rows.jsonl"], folder / "pool", IngestConfig()).pool
    score_pool(found, signals=["tokens", "repetition"])
    return found


def ids(pool: Pool, *args, **options) -> list[str]:
    return [each.row.id for each in show_rows(pool, *args, **options)]


def test_the_first_rows_are_shown_in_row_order(pool):
    shown = show_rows(pool)
    assert [each.row.row for each in shown] == [0, 1, 2, 3, 4] and shown.matching == 40
    assert len(show_rows(pool, limit=None)) == 40
    assert shown[0].line == 1 and str(shown[0].file).endswith("rows.jsonl")


def test_rows_are_named_by_id_or_number_and_keep_that_order(pool):
    assert ids(pool, ["r7", "3", 5], limit=None) == ["r7", "r3", "r5"]
    assert ids(pool, ["12", 12], limit=None) == ["12", "r12"]  # an id goes before a number
    assert ids(pool, [f"r{n}" for n in range(30, 0, -1) if n != 10], limit=1) == ["r30"]
    with pytest.raises(
        PoolError, match="no row with the id 'r99'; a row is named by its id, or by its number from 0 to 39"
    ):
        show_rows(pool, ["r99"])
    with pytest.raises(PoolError, match="Row 77 is not in the pool"):
        show_rows(pool, ["77"])


def test_conditions_see_signals_own_columns_and_what_every_row_has(pool):
    assert ids(pool, where="level = 3 and source = 'b'", limit=None) == [f"r{n}" for n in range(3, 40, 4)]
    assert ids(pool, where="row >= 38") == ["r38", "r39"]
    assert ids(pool, where="tags is missing and row < 7") == ["r0", "r3", "r6"]
    assert ids(pool, where="own.level = 3 and turns = 2 and line < 5") == ["r3"]
    assert ids(pool, where="prompt contains 'QUESTION 21' and not response contains 'question'") == ["r21"]
    tokens = load_table(pool)["n_tokens"]
    wanted = np.flatnonzero(tokens > np.float32(50)).tolist()
    assert [each.row.row for each in show_rows(pool, where="n_tokens > 50", limit=None)] == wanted
    with pytest.raises(ConfigError, match="no column or signal 'levl'; did you mean 'level'"):
        show_rows(pool, where="levl = 3")
    lacking = rf"The pool has no signal 'ifd': run `autoselection score {re.escape(str(pool.path))} --signals ifd"
    with pytest.raises(ConfigError, match=lacking):
        show_rows(pool, where="ifd < 0.3")


def test_large_whole_numbers_are_told_apart_and_stop_no_other_column(tmp_path: Path):
    rows = [
        {"id": f"r{n}", "prompt": "Say it.", "response": "word " * (n + 1), "code": str(n), "post": 2**53 + n}
        | {
            "name": str(1801234567890123456 + n),
            "big": 10**400 if n == 1 else n,
            "part": [0.5, 2**60, None, -(2**60)][n],
        }
        for n in range(4)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pool = ingest([tmp_path / "rows.jsonl"], tmp_path / "pool").pool
    score_pool(pool, signals=["lengths"])
    for where, found in (
        ("code = '1'", ["r1"]),
        (f"post = {2**53 + 1}", ["r1"]),
        (f"post in ({2**53}, {2**53 + 3})", ["r0", "r3"]),
        (f"post > {2**53 + 1} and post <= {2**53 + 2}", ["r2"]),
        ("name = 1801234567890123457", ["r1"]),  # numbers written as text
        ("big > 1e300", ["r1"]),
        (f"big = 1{'0' * 400}", ["r1"]),
        ("big > row", ["r1"]),
        ("part = 0.5", ["r0"]),
        (f"part = {2**60 + 1} or part is missing", ["r2"]),
        ("n_response_words < 1e300", ["r0", "r1", "r2", "r3"]),
        (f"n_response_words > -{'9' * 5000} and turns = 2", ["r0", "r1", "r2", "r3"]),
    ):
        assert ids(pool, where=where, limit=None) == found, where
    with pytest.raises(ConfigError, match="only text contains"):
        show_rows(pool, where="post contains '9'")
    for name in ("9" * 5000, "9" * 23, 10**22, 10**5000):
        with pytest.raises(PoolError, match=r"has no row with the id .[91]"):
            show_rows(pool, [name])


def test_a_sample_is_drawn_by_seed_among_the_rows_that_match(pool):
    one, again, other = (ids(pool, source="a", sample=6, seed=seed) for seed in (1, 1, 2))
    assert one == again != other and len(one) == 6
    numbers = [each.row.row for each in show_rows(pool, source="a", sample=6, seed=1)]
    assert numbers == sorted(numbers) and all(number % 2 == 0 for number in numbers)
    assert len(show_rows(pool, source="a", sample=100)) == 20
    with pytest.raises(PoolError, match="has no source 'c'"):
        show_rows(pool, source="c")
    with pytest.raises(ConfigError, match="at least one row"):
        show_rows(pool, sample=0)


def test_percentiles_are_those_of_the_pool_and_of_the_source():
    table = SignalTable.from_arrays({"x": [1.0, 2.0, 2.0, 4.0, np.nan]}, source=["a", "a", "b", "b", "b"])
    scores = row_scores(table, [1, 3, 4])
    assert (scores[0]["x"].value, scores[0]["x"].pool, scores[0]["x"].source) == (2.0, 50.0, 75.0)
    assert (scores[1]["x"].pool, scores[1]["x"].source) == (87.5, 75.0)
    assert scores[2]["x"].to_dict() == {"value": None, "pool": None, "source": None}


def test_as_many_sources_as_rows_need_no_more_memory_than_the_rows():
    """A mask of all rows for each of 2,000 sources would be 8 MB."""
    values = np.arange(4000.0) % 7
    table = SignalTable.from_arrays({"x": values}, source=[f"s{row // 2}" for row in range(4000)])
    names = [table.source_names[code] for code in table.source]
    tracemalloc.start()
    scores = row_scores(table, [3999, 0, 2001, 0])
    few = tracemalloc.get_traced_memory()[1]
    every = row_scores(table, range(4000), ["x"])
    all_rows = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert few < 1_000_000 and all_rows < 8_000_000
    for row, found in [(3999, scores[0]), (0, scores[1]), (2001, scores[2]), (0, scores[3]), *enumerate(every)]:
        (other,) = (place for place in (row - 1, row + 1) if 0 <= place < 4000 and names[place] == names[row])
        assert found["x"].value == values[row]
        assert found["x"].source == 25.0 + 50.0 * (values[other] < values[row]) + 25.0 * (values[other] == values[row])


def test_signals_may_be_chosen(pool):
    (shown,) = show_rows(pool, ["r3"], columns=["n_tokens"])
    assert list(shown.scores) == ["n_tokens"]
    with pytest.raises(SignalError, match="no signal"):
        show_rows(pool, columns=["nothing"])


def test_a_notebook_shows_rows_escaped(tmp_path: Path):
    row = {"prompt": "<script>x</script>", "response": "a\x1b[31m", "id": "<b>", "source": "s"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    shown = show_rows(ingest([tmp_path / "rows.jsonl"], tmp_path / "pool").pool)
    page = shown._repr_html_()
    assert "<script>" not in page and "\x1b" not in page and "&lt;script&gt;" in page
    assert repr(shown) == "<ShownRows 1 of 1 row>"
