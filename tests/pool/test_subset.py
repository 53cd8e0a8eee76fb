"""Rows of a pool by id, number, slice and mask; as data frames and datasets; and what a notebook shows of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoselection.errors import PoolError
from autoselection.pool import Pool, ingest

CALL = {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]}  # fmt: skip
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def said(question: str, answer: str, **columns: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **columns}


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    rows = [said(f"q{i}", f"a{i}", id=f"r{i}", source="ab"[i % 2], level=i, mixed=[1, {"x": i}]) for i in range(6)]
    return ingest(rows, tmp_path / "pool").pool


@pytest.fixture
def typed(tmp_path: Path) -> Pool:
    """A row with a call and a declared tool beside plain ones."""
    turns = [{"role": "user", "content": "q"}, CALL, {"role": "tool", "tool_call_id": "c", "content": "2"}]
    rows = [said("q0", "a0"), {"messages": [*turns, {"role": "assistant", "content": "2"}], "tools": [TOOL]}]
    return ingest(rows, tmp_path / "typed").pool


def test_rows_by_id_number_slice_list_and_mask(pool: Pool):
    assert pool["r3"].row == 3 and pool[3].id == "r3" and pool[-1].id == "r5"
    assert pool[3].messages[1]["content"] == "a3" and pool[3].meta["level"] == 3 and pool[3].source == "b"
    assert pool[1:6:2].ids == ["r1", "r3", "r5"]
    assert pool[[5, 0]].ids == ["r5", "r0"] and pool[["r5", "r0"]].ids == ["r5", "r0"] and pool[[]].ids == []
    assert pool[np.arange(6) > 3].ids == ["r4", "r5"]
    assert [row.id for row in pool] == [f"r{i}" for i in range(6)]
    assert "r3" in pool and "r9" not in pool and 3 not in pool


def test_a_subset_is_a_sequence_in_its_own_order(pool: Pool):
    subset = pool[[4, 1, 3]]
    assert len(subset) == 3 and subset[0].id == "r4" and subset[1:].ids == ["r1", "r3"]
    assert subset["r3"].row == 3 and "r1" in subset and subset[0] in subset and "r0" not in subset
    assert [row.row for row in subset] == [4, 1, 3] and subset.sources == {"a": 1, "b": 2}
    with pytest.raises(PoolError, match=r"'r0' of the pool .* is not among the 3 selected"):
        subset["r0"]
    with pytest.raises(PoolError, match="has no row with the id 'nobody'"):
        subset["nobody"]
    with pytest.raises(PoolError, match="'r0' of the pool"):
        subset[["r4", "r0"]]


@pytest.mark.parametrize(
    ("index", "error", "said"),
    [
        (6, IndexError, "There is no row 6: there are 6 rows, counted from 0"),
        (-7, IndexError, "There is no row -7"),
        ([0, 9], IndexError, "There is no row 9"),
        ([True] * 3, IndexError, "The mask has 3 values, and there are 6 rows"),
        (1.5, TypeError, "Rows are named by number, id, slice.* not by float"),
        (None, TypeError, "not by NoneType"),
        (True, TypeError, "not by bool"),
        ([0.5], TypeError, "whole numbers, not by values such as 0.5"),
        ([1, "r1"], TypeError, "whole numbers, not by values such as '1'"),
        (np.zeros((2, 2), int), TypeError, "not by ndarray"),
    ],
    ids=str,
)
def test_what_names_no_row_is_refused_in_a_sentence(pool: Pool, index: Any, error: type[Exception], said: str):
    with pytest.raises(error, match=said):
        pool[index]


def test_rows_of_a_pool_become_a_pool(typed: Pool, pool: Pool, tmp_path: Path):
    again = ingest(typed, tmp_path / "all").pool
    assert again.fingerprint == typed.fingerprint and again.conversations() == typed.conversations()
    some = ingest(pool[[4, 1]], tmp_path / "some").pool
    assert some.row_ids() == ["r4", "r1"] and some.metas() == pool.metas([4, 1]) and some.sources() == ["a", "b"]


def test_a_data_frame_has_the_rows_and_their_own_columns(pool: Pool, typed: Pool):
    frame = pool[[4, 1]].to_polars()
    assert frame.columns == ["id", "source", "messages", "level", "mixed"]
    assert frame["id"].to_list() == ["r4", "r1"] and frame["level"].to_list() == [4, 1]
    assert frame["messages"][0].to_list() == [{"role": "user", "content": "q4"}, {"role": "assistant", "content": "a4"}]
    assert frame["mixed"].to_list() == ['[1, {"x": 4}]', '[1, {"x": 1}]']
    assert len(pool[[]].to_polars()) == 0 and len(pool.to_polars()) == 6
    assert "tools" in typed.to_polars().columns and "tools" not in typed[:1].to_polars().columns
    assert set(typed[:1].to_polars()["messages"][0][0]) == {"role", "content"}


def test_a_frame_makes_the_same_pool_again(pool: Pool, tmp_path: Path):
    frame = pool.to_polars().drop("mixed")
    again = ingest(frame, tmp_path / "again").pool
    assert again.row_ids() == pool.row_ids() and again.sources() == pool.sources()
    assert again.messages() == pool.messages() and again.metas()[2] == {"level": 2}


@pytest.mark.parametrize("name", ["pool", "typed"])
def test_a_dataset_is_what_an_exported_folder_loads_as(name: str, request: pytest.FixtureRequest, tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    from autoselection.export import DatasetCard, export_hf_dataset

    found: Pool = request.getfixturevalue(name)
    rows = np.arange(len(found))[::-1].copy()
    export_hf_dataset(found, rows, tmp_path / "folder", DatasetCard(title="t", recipe={}), columns=["level", "mixed"] * (name == "pool"))  # fmt: skip
    loaded = datasets.load_dataset(str(tmp_path / "folder"), split="train", cache_dir=str(tmp_path / "cache"))
    made = found[rows].to_dataset()
    assert made.features == loaded.features
    assert made.to_list() == loaded.to_list()
    assert ingest(made, tmp_path / "again").pool.messages() == found.messages(rows)


def test_datasets_is_named_where_it_is_not_installed(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    from autoselection.errors import MissingExtraError

    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'datasets'.*autoselection\[train\]"):
        pool.to_dataset()


EVIL = "<script>alert(1)</script>\x1b[31m\u202e$x$ & <b>\n" + "x" * 5000


def test_what_is_shown_is_one_line_or_escaped_html(tmp_path: Path):
    rows = [
        said(EVIL, EVIL, id=f"<i>{i}\x1b", source=f"<img src=x onerror=alert(1)>{i}", **{"<u>col": EVIL})
        for i in range(30)
    ]
    report = ingest(rows, tmp_path / "<b>pool")
    pool = report.pool
    for shown in (report, pool, pool[:20], pool[3]):
        line, page = repr(shown), shown._repr_html_()
        assert len(line) < 500 and "\n" not in line and line.isprintable()
        assert (
            "<script" not in page
            and "<img" not in page
            and "<b>" not in page
            and "<i>" not in page
            and "<u>" not in page
        )
        assert "\x1b" not in page and "\u202e" not in page
        assert len(page) < 20_000, "long texts are cut"
        assert "mathjax_ignore" in page and "tex2jax_ignore" in page
    assert "15 more rows" in pool[:20]._repr_html_() and "20 more sources" in pool._repr_html_()


def test_the_line_says_what_it_is(pool: Pool):
    assert repr(pool) == f"<Pool {pool.path}: 6 rows of 2 sources>"
    assert repr(pool[:1]) == f"<Subset 1 of 6 rows of {pool.path}>"
    assert repr(pool[3]) == "<Row 3 'r3' of b: q3 → a3>"
