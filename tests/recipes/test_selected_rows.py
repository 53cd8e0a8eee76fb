"""What a recipe selected, as rows: by id, as data frame and dataset; signals by name; what a notebook shows of both."""

from __future__ import annotations

import numpy as np
import pytest

from autoselection.errors import PoolError, RecipeError, SignalError
from autoselection.inspection import diff, show_rows
from autoselection.pool import Pool, ingest
from autoselection.recipes import Materialization, Recipe, Step, dropped_rows, materialize, rows_by_step, state_vector
from autoselection.signals import SignalsConfig, SignalTable, load_table, score_pool

RECIPE = Recipe(
    (Step("length_filter", {"min": 3.0}), Step("ngram_entropy", {"fraction": 0.5})), "<b>half</b> of the long ones"
)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
    rows = [
        {
            "id": f"r{i}",
            "prompt": f"Say <i>{i}</i>?",
            "completion": " ".join(words[: 1 + i % 8] * 2),
            "source": "ab"[i % 2],
        }
        for i in range(24)
    ]
    return ingest(rows, tmp_path_factory.mktemp("pools") / "pool").pool


@pytest.fixture(scope="module")
def signals(pool: Pool) -> SignalTable:
    score_pool(pool, SignalsConfig(), signals=["tokens", "lengths", "ngram_entropy"])
    return load_table(pool)


@pytest.fixture(scope="module")
def result(signals: SignalTable) -> Materialization:
    return materialize(RECIPE, signals)


def test_the_selected_rows_have_ids_texts_and_columns(result: Materialization, pool: Pool):
    assert result.ids == pool.row_ids(result.rows) and len(result) == len(result.rows) > 3
    assert [row.id for row in result] == result.ids and result[0].id == result.ids[0]
    assert result.ids[1] in result and result[result.ids[1]].row == result.rows[1]
    assert result[1:3].ids == result.ids[1:3]
    assert result.to_polars()["id"].to_list() == result.ids
    dropped = next(row_id for row_id in pool.row_ids() if row_id not in result)
    with pytest.raises(PoolError, match="is not among the"):
        result[dropped]


def test_the_selected_rows_are_a_dataset(result: Materialization):
    pytest.importorskip("datasets")
    assert result.to_dataset()["id"] == result.ids


def test_of_arrays_rows_are_numbers_alone():
    table = SignalTable.from_arrays({"ifd": np.arange(10.0)})
    selected = materialize(Recipe((Step("ifd_filter", {"top_k": 2}),)), table)
    assert len(selected) == 2
    with pytest.raises(PoolError, match=r"numbers alone \(\.rows\): load the signals from a pool"):
        selected.ids
    assert "2 rows selected" in selected._repr_html_()


def test_what_is_no_recipe_and_no_signals_is_refused_in_a_sentence(signals: SignalTable, pool: Pool):
    with pytest.raises(RecipeError, match="takes a Recipe, not str: load_recipe"):
        materialize("text-only", signals)  # type: ignore[arg-type]
    with pytest.raises(SignalError, match=r"takes signals, not Pool: load_table\(pool\)"):
        materialize(RECIPE, pool)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="made of steps"):
        Recipe("ngram_entropy")  # type: ignore[arg-type]
    alone = Step("ngram_entropy")
    assert Recipe([alone]) == Recipe((alone,)) == Recipe(alone)  # type: ignore[arg-type]
    with pytest.raises(SignalError, match="Signals go by name"):
        signals[3]  # type: ignore[index]


def test_signals_of_a_path_are_refused_in_a_sentence():
    for refused in (load_table, score_pool):
        with pytest.raises(SignalError, match=r"not of its path: Pool.open\('mine'\) opens it"):
            refused("mine")  # type: ignore[operator]


def test_signals_by_name(signals: SignalTable, pool: Pool):
    np.testing.assert_array_equal(signals["ngram_entropy"], signals.column("ngram_entropy"))
    assert len(signals) == len(pool) and "n_tokens" in signals and "ifd" not in signals
    assert tuple(signals) == signals.names
    with pytest.raises(SignalError, match=r"no signal 'ifd': run `autoselection score .* --signals ifd"):
        signals["ifd"]
    hashes = np.arange(3, dtype=np.uint64)
    assert SignalTable.from_arrays(text_hash=hashes)["text_hash"].tolist() == [0, 1, 2]


def test_signals_as_a_data_frame_have_ids_and_nulls(signals: SignalTable):
    frame = signals.to_polars()
    assert frame.columns[:2] == ["id", "source"] and len(frame) == 24
    assert frame["source"][1] == "b"
    table = SignalTable.from_arrays({"ifd": [0.5, np.nan]})
    assert table.to_polars()["ifd"].to_list() == [0.5, None] and "id" not in table.to_polars().columns


def test_what_is_shown_says_what_is_in_it(result: Materialization, signals: SignalTable):
    assert repr(RECIPE).startswith("<Recipe '<b>half</b> of the long ones': length_filter(")
    assert repr(result) == f"<Materialization {len(result)} rows: {RECIPE.describe()}>"
    assert repr(signals).startswith("<SignalTable 24 rows: ") and "ngram_entropy" in repr(signals)
    for shown in (result, signals, RECIPE):
        page = shown._repr_html_()
        assert "<b>" not in page and "<i>" not in page and "ngram_entropy" in page
    page = result._repr_html_()
    assert f'right;vertical-align:top">{result.lineage[0].rows_out}</td>' in page
    empty = Recipe()
    assert repr(empty) == "<Recipe whole pool>" and empty._repr_html_()


def test_a_column_without_any_score_is_shown():
    assert "nothing" in SignalTable.from_arrays({"nothing": [np.nan, np.nan]})._repr_html_()


@pytest.mark.parametrize("seed", [-1, 1.5, "a", True, None])
def test_a_seed_is_a_whole_number_from_0_on(signals: SignalTable, seed: object):
    for run in (materialize, rows_by_step, dropped_rows):
        with pytest.raises(RecipeError, match="A seed is a whole number"):
            run(RECIPE, signals, seed=seed)  # type: ignore[arg-type]
    assert len(materialize(RECIPE, signals, seed=np.int64(3))) > 0  # type: ignore[arg-type]


def test_a_state_vector_is_of_row_numbers_of_the_pool(signals: SignalTable):
    n = signals.n
    for rows, message in (
        (np.array([0, n]), f"Row {n} is not in the pool"),
        (np.array([-1]), "Row -1 is not in the pool"),
        (np.array([0.5]), "array of float64"),
        (np.ones(n, bool), "flatnonzero makes them of a mask"),
        (["r1"], "list of whole numbers, not text"),
        (np.array([[0, 1]]), "of the shape"),
    ):
        with pytest.raises(PoolError, match=message):
            state_vector(rows, signals)  # type: ignore[arg-type]
    assert state_vector(np.array([], np.int64), signals).retain_ratio == 0.0
    assert state_vector([0, 1], signals).retain_ratio == pytest.approx(2 / n)  # type: ignore[arg-type]


def test_a_column_is_one_number_a_row():
    for values, message in (
        (["x", "y"], "Signal 'a' has values that are no numbers"),
        (np.ones((3, 2)), r"Signal 'a' has the shape \(3, 2\)"),
        ({1, 2}, "no numbers"),
    ):
        with pytest.raises(SignalError, match=message):
            SignalTable.from_arrays({"a": values})
    assert SignalTable.from_arrays({"a": [None, 1.0]}).n == 2


def test_names_where_rows_are_expected_are_told_apart(signals: SignalTable, pool: Pool):
    with pytest.raises(RecipeError, match=r"load_recipe\('text-only'\) gives a recipe"):
        diff("text-only", RECIPE, signals)
    with pytest.raises(PoolError, match=r"row_of\(ids\) gives those of ids"):
        diff(["r1"], RECIPE, signals)
    assert [each.row.id for each in show_rows(pool, "r3")] == ["r3"]
