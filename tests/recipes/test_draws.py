"""Random steps of one recipe draw independently of each other."""

from __future__ import annotations

import numpy as np
import pytest

from autoselection.recipes import Recipe, RecipeBook, Step, materialize
from autoselection.signals.table import SignalTable


def drawn(table: SignalTable, *steps: Step) -> list[int]:
    """How many rows of each source are left."""
    rows = materialize(Recipe(steps), table, seed=3).rows
    return np.bincount(table.source[rows], minlength=2).tolist()


def one_cluster() -> SignalTable:
    """10,000 rows of one source, 1,000 of another, all alike."""
    sizes = [10_000, 1_000]
    return SignalTable.from_arrays(
        {"ifd": np.ones(sum(sizes)), "kind": np.ones(sum(sizes))},
        source=["a"] * sizes[0] + ["b"] * sizes[1],
        embeddings=np.ones((sum(sizes), 2), np.float32),
    )


SAME = Step("truncate_samples", {"total_samples": 2000})  # 1,000 of each: a tenth of a, all of b


@pytest.mark.parametrize(
    "second",
    [
        Step("cluster_balance", {"fraction": 0.5}),
        Step("source_mix", {"weights": {"1": 1.0}, "groups": {"column": "kind"}, "total_samples": 1000}),
    ],
)
def test_random_steps_of_different_operators_draw_independently(second: Step) -> None:
    """Rows of a that the first step left are its luckiest tenth: the second must not take them for lucky again."""
    left = drawn(one_cluster(), SAME, second)
    assert sum(left) == 1000 and abs(left[0] - 500) < 5 * 16  # five standard deviations of a hypergeometric number


@pytest.mark.parametrize("nested", [False, True])
def test_a_cap_behind_a_union_draws_independently_of_the_caps_in_it(nested: bool) -> None:
    n = 2000
    table = SignalTable.from_arrays({"ifd": np.arange(n) >= n // 2}, source=["a"] * n)
    low, high = (Step("ifd_filter", {"fraction": 0.5, "direction": end}) for end in ("low", "high"))
    capped = Recipe((low, Step("truncate_samples", {"total_samples": 100})), name="capped")
    one = Step("truncate_samples", {"total_samples": 1})
    within = Recipe((low, one, Step("union", {"source_recipe": "capped"})), name="within")
    book = RecipeBook({"capped": capped, "within": within})
    first = Step("union", {"source_recipe": "within" if nested else "capped"})
    steps = (high, first, Step("truncate_samples", {"total_samples": 550}))
    rows = materialize(Recipe(steps), table, seed=3, book=book).rows
    # Of the hundred luckiest of one half all would be lucky again.
    assert len(rows) == 550 and 25 < np.count_nonzero(rows < n // 2) < 75
