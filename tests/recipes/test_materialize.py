"""From recipes to rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoselection.errors import RecipeError, SignalError
from autoselection.operators import BaseOperator, OperatorRegistry, Outcome, default_registry, sample_params
from autoselection.recipes import PrefixCache, Recipe, RecipeBook, Step, materialize, subset_hash
from autoselection.signals.table import SignalTable


def make_table(n: int = 80, seed: int = 0) -> SignalTable:
    rng = np.random.default_rng(seed)
    names = ("ifd", "varentropy", "ngram_entropy", "action_object_branching", "mona/a", "mona/b", "n_tokens")
    return SignalTable.from_arrays(
        {name: rng.random(n) for name in names},
        source=np.array(["x", "y", "z"])[rng.integers(0, 3, n)],
        text_hash=rng.integers(0, n, n),
        minhash=rng.integers(0, 2, (n, 128)),
        sae=rng.random((n, 20)) * (rng.random((n, 20)) < 0.4),
    )


def recipe(*steps: tuple[str, dict]) -> Recipe:
    return Recipe(tuple(Step(operator, params) for operator, params in steps))


def random_recipe(table: SignalTable, seed: int) -> Recipe:
    rng = np.random.default_rng(seed)
    space = default_registry().default_space(table)
    steps = []
    for index in rng.integers(0, len(space), rng.integers(0, 5)).tolist():
        steps.append((space[index].name, sample_params(space[index], table, rng, recipes=("other",))))
    return recipe(*steps)


TABLE = make_table()
BOOK = RecipeBook({"other": recipe(("ifd_filter", {"fraction": 0.2}))})


def test_the_empty_recipe_is_the_whole_pool_in_row_order():
    result = materialize(Recipe(), TABLE)
    assert result.rows.tolist() == list(range(TABLE.n))
    assert result.lineage == ()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_every_recipe_gives_distinct_rows_and_gives_them_again(seed):
    drawn = random_recipe(TABLE, seed)
    first = materialize(drawn, TABLE, seed=seed, book=BOOK)
    again = materialize(first.recipe, make_table(), seed=seed, cache=PrefixCache())
    assert first.rows.dtype == np.int64 and len(first.rows) > 0
    assert len(np.unique(first.rows)) == len(first.rows)
    assert first.ordered_hash == again.ordered_hash
    assert [step.to_dict() for step in first.lineage] == [step.to_dict() for step in again.lineage]
    before = TABLE.n
    for step in first.lineage:
        assert step.rows_in == before
        assert step.rows_out == step.rows_in - step.dropped + (
            step.notes.get("added", 0) if step.operator == "union" else 0
        )
        before = step.rows_out
    assert before == len(first.rows)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_a_shared_cache_changes_nothing(seed):
    cache = PrefixCache(limit=200)
    for offset in range(4):
        drawn = random_recipe(TABLE, seed + offset)
        longer = Recipe((*drawn.steps, Step("ifd_filter")))
        for each in (drawn, longer):
            cached = materialize(each, TABLE, seed=1, book=BOOK, cache=cache)
            assert cached.ordered_hash == materialize(each, TABLE, seed=1, book=BOOK).ordered_hash


def test_the_cache_is_used_for_shared_prefixes_of_the_same_table_and_seed():
    cache = PrefixCache()
    steps = (("mona_filter", {}), ("ifd_filter", {}))
    materialize(recipe(*steps), TABLE, cache=cache)
    materialize(recipe(*steps, ("ngram_entropy", {})), TABLE, cache=cache)
    assert cache.hits == 2
    materialize(recipe(*steps), TABLE, seed=1, cache=cache)
    materialize(recipe(*steps), make_table(), cache=cache)
    assert cache.hits == 2


def test_order_is_part_of_the_result():
    best_first = materialize(recipe(("ifd_filter", {"fraction": 1.0})), TABLE)
    whole = materialize(Recipe(), TABLE)
    assert best_first.subset_hash == whole.subset_hash == subset_hash(best_first.rows)
    assert best_first.ordered_hash != whole.ordered_hash


def test_rows_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        materialize(recipe(("ifd_filter", {})), TABLE).rows[0] = 3


def test_the_seed_changes_random_steps_only():
    capped = recipe(("truncate_samples", {"fraction": 0.5}))
    assert materialize(capped, TABLE, seed=0).subset_hash != materialize(capped, TABLE, seed=1).subset_hash
    best = recipe(("ifd_filter", {}))
    assert materialize(best, TABLE, seed=0).subset_hash == materialize(best, TABLE, seed=1).subset_hash


def test_a_random_step_draws_alike_behind_another_step_but_not_behind_its_like():
    capped = ("truncate_samples", {"fraction": 0.5})
    alone = materialize(recipe(capped), TABLE).rows
    behind = materialize(recipe(("ifd_filter", {"fraction": 1.0}), capped), TABLE).rows
    assert set(alone.tolist()) == set(behind.tolist())
    halves = materialize(recipe(capped, capped), TABLE)
    nested = materialize(recipe(("truncate_samples", {"total_samples": len(halves.rows)})), TABLE)
    assert halves.subset_hash != nested.subset_hash


def test_a_step_that_leaves_nothing_keeps_the_best_row():
    result = materialize(recipe(("ifd_filter", {"threshold": 9.0}), ("ngram_entropy", {})), TABLE)
    assert result.rows.tolist() == [int(np.argmax(TABLE.column("ifd")))]
    assert result.lineage[0].notes == {"would leave nothing; kept the best row": int(result.rows[0])}
    dropped = materialize(recipe(("ngram_entropy", {}), ("source_filter", {"sources": ["x", "y", "z"]})), TABLE)
    assert dropped.rows.tolist() == [int(np.argmax(TABLE.column("ngram_entropy")))]


def test_lineage_counts_missing_scores():
    table = SignalTable.from_arrays({"ifd": [0.1, np.nan, 0.3, np.nan]})
    dropped = materialize(recipe(("ifd_filter", {"fraction": 1.0})), table)
    kept = materialize(recipe(("ifd_filter", {"fraction": 1.0, "missing": "keep"})), table)
    assert (dropped.lineage[0].missing, dropped.rows.tolist()) == (2, [2, 0])
    assert (kept.lineage[0].missing, kept.rows.tolist()) == (2, [2, 0, 1, 3])


def test_union_appends_the_other_recipes_rows():
    result = materialize(recipe(("mona_filter", {"top_k": 3}), ("union", {"source_recipe": "other"})), TABLE, book=BOOK)
    mona = materialize(recipe(("mona_filter", {"top_k": 3})), TABLE).rows.tolist()
    other = materialize(BOOK["other"], TABLE).rows.tolist()
    assert result.rows.tolist() == mona + [row for row in other if row not in mona]
    assert result.lineage[1].notes == {"other rows": len(other), "added": len(result.rows) - len(mona)}
    assert materialize(result.recipe, TABLE).ordered_hash == result.ordered_hash  # travels without the book


def test_union_of_an_unknown_recipe_is_an_error():
    with pytest.raises(RecipeError, match="step 1: operator 'union': unknown recipe 'nope'"):
        materialize(recipe(("union", {"source_recipe": "nope"})), TABLE, book=BOOK)


def test_a_missing_signal_names_the_step_and_the_command():
    bare = SignalTable.from_arrays({"ngram_entropy": [1.0, 2.0]})
    with pytest.raises(SignalError, match=r"step 2: operator 'ifd_filter': .*autoselection score"):
        materialize(recipe(("ngram_entropy", {}), ("ifd_filter", {})), bare)


def test_an_unknown_source_names_the_step():
    with pytest.raises(RecipeError, match="step 1: operator 'source_filter': the pool has no source 'w'"):
        materialize(recipe(("source_filter", {"sources": ["w"]})), TABLE)


def test_an_empty_pool_is_refused():
    with pytest.raises(RecipeError, match="no rows"):
        materialize(Recipe(), SignalTable.from_arrays({"ifd": []}))


@pytest.mark.parametrize(
    ("rows", "problem"),
    [([0, 0], "returned a row twice"), ([99], "does not have"), ([-1], "does not have"), ([1], "was not given")],
)
def test_an_operator_that_breaks_the_rules_is_refused(rows, problem):
    class Broken(BaseOperator):
        name, family, summary, order = "broken", "test", "breaks the rules", "none"

        def __call__(self, given, params, context):
            return Outcome(np.array(rows))

    registry = OperatorRegistry([default_registry().get("ifd_filter"), Broken()])
    table = SignalTable.from_arrays({"ifd": [0.9, 0.1]})
    with pytest.raises(RecipeError, match=problem):
        materialize(recipe(("ifd_filter", {}), ("broken", {})), table, registry=registry)


def test_an_operator_that_returns_no_outcome_is_refused():
    class Bare(BaseOperator):
        name, family, summary, order = "bare", "test", "returns an array", "none"

        def __call__(self, given, params, context):
            return given

    registry, table = OperatorRegistry([Bare()]), SignalTable.from_arrays({"ifd": [0.9]})
    with pytest.raises(RecipeError, match="step 1: operator 'bare' returned a ndarray, not an Outcome"):
        materialize(recipe(("bare", {})), table, registry=registry)


def test_golden_rows():
    result = materialize(
        recipe(
            ("source_filter", {"sources": ["z"]}),
            ("ifd_filter", {"fraction": 0.65, "direction": "low", "scope": "source"}),
            ("semantic_dedup", {"strategy": "exact"}),
            ("truncate_samples", {"total_samples": 6}),
        ),
        TABLE,
        seed=7,
    )
    assert result.rows.tolist() == [13, 66, 46, 43, 19, 75]
    assert (result.subset_hash, result.ordered_hash) == ("294add86c984c108", "ef4a4108dd5178d7")


NOTHING = recipe(("ifd_filter", {"threshold": 9.0}), ("ngram_entropy", {}))


def test_a_named_recipe_that_selects_nothing_has_no_rows():
    """The one row that it keeps on its own is no row that it asks for."""
    book, few = RecipeBook({"none": NOTHING, "other": BOOK["other"]}), ("mona_filter", {"top_k": 3})
    own = materialize(NOTHING, TABLE).rows
    given = materialize(recipe(few), TABLE).rows.tolist()
    for operator in ("union", "subtract"):
        found = materialize(recipe(few, (operator, {"source_recipe": "none"})), TABLE, book=book)
        assert found.rows.tolist() == given and found.lineage[1].notes["other rows"] == 0
        whole = materialize(recipe((operator, {"source_recipe": "none"})), TABLE, book=book)
        assert len(own) == 1 and whole.rows.tolist() == list(range(TABLE.n))
    shared = materialize(recipe(("intersect", {"source_recipe": "none"})), TABLE, book=book)
    assert "would leave nothing; kept the best row" in shared.lineage[0].notes
    more = recipe(
        *((step.operator, dict(step.params)) for step in NOTHING.steps), ("union", {"source_recipe": "other"})
    )
    book = RecipeBook({"more": more, "other": BOOK["other"]})
    found = materialize(recipe(few, ("union", {"source_recipe": "more"})), TABLE, book=book)
    assert found.lineage[1].notes["other rows"] == len(materialize(more, TABLE, book=book).rows) > 1
