"""Why rows went: the step named is the step after which a row is absent, and margins have the right sign."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from autoselection.errors import PoolError, RecipeError
from autoselection.operators import (
    BaseOperator,
    Judgement,
    OperatorRegistry,
    Outcome,
    Param,
    builtin_operators,
    default_registry,
)
from autoselection.recipes import Recipe, RecipeBook, Step, dropped_rows, materialize, rows_by_step, why
from autoselection.signals.table import SignalTable
from autoselection.testing import signal_table

sys.path.insert(0, str(Path(__file__).parent.parent / "operators"))
from operator_tables import random_params

LONGEST = Recipe((Step("length_filter", {"length": "n_tokens", "fraction": 0.6}),))
SHORT = Recipe((Step("score_filter", {"signal": "reward", "fraction": 0.3, "direction": "low"}),))


class Unheard(BaseOperator):
    """A plugin's operator that says nothing of why: it keeps what is better than the mean."""

    name = "unheard"
    family = "score"
    summary = "rows above the mean"
    order = "the order in which the rows were given"
    params: tuple[Param, ...] = (
        Param("direction", "choice", "high", choices=("high", "low"), role="end"),
        Param("signal", "signal", "ifd", role="column"),
    )

    def __call__(self, rows, params, context):
        scores = context.signals.column(params["signal"])[rows]
        mean = np.nanmean(scores) if not np.isnan(scores).all() else 0.0
        return Outcome(rows[scores >= mean if params["direction"] == "high" else scores <= mean])


class Bare:
    """A plugin's operator that is no BaseOperator: every third row."""

    name, family, summary, order = "bare", "size", "every third row", "the order in which the rows were given"
    params: tuple[Param, ...] = ()
    randomized = searched = published = False

    def needs(self, params):
        return ()

    def space(self, signals):
        return ()

    def available(self, signals):
        return True

    def check(self, params):
        pass

    def as_fraction(self, params, signals):
        return None

    def scored_by(self, params):
        return None

    def phrases(self, params, names):
        return []

    def __call__(self, rows, params, context):
        return Outcome(rows[rows % 3 == 0])


ALL = [*default_registry().operators(), Unheard(), Bare()]


def _recipe(operator, table, seed, registry) -> Recipe:
    params = {} if operator.name in ("unheard", "bare") else random_params(operator.name, table, seed)
    recipe = Recipe((*LONGEST.steps, Step(operator.name, params), Step("truncate_samples", {"fraction": 0.8})))
    return RecipeBook({"other": SHORT}).inline(recipe, registry=registry)


@pytest.mark.parametrize("operator", ALL, ids=lambda operator: operator.name)
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_every_operator_names_the_step_and_the_side_of_the_margin(operator, missing):
    registry = OperatorRegistry([*builtin_operators(), *(each for each in ALL if each.name in ("unheard", "bare"))])
    judged = dropped = 0
    for seed in range(16):
        table = signal_table(seed, n=(60, 7, 40)[seed % 3], missing=missing)
        recipe = _recipe(operator, table, seed, registry)
        after = [table.selectable, *rows_by_step(recipe, table, seed=seed, registry=registry)]
        selected = set(materialize(recipe, table, seed=seed, registry=registry).rows.tolist())
        for fate in why(recipe, table, range(table.n), every_step=True, seed=seed, registry=registry):
            assert fate.selected == (fate.row in selected)
            if fate.step:
                assert fate.row in after[fate.step - 1]
                assert not any(fate.row in rows for rows in after[fate.step :])
                assert fate.removal is not None and fate.removal.operator == recipe.steps[fate.step - 1].operator
                assert fate.removal.phrase in fate.sentence
            for told in fate.steps:
                assert told.given == (fate.row in after[told.number - 1])
                assert told.kept == (fate.row in after[told.number])
                if told.number != 2:
                    continue
                judgement = told.judgement
                dropped += not told.kept
                judged += judgement is not None
                if judgement is None:
                    continue
                if judgement.margin is not None:
                    assert judgement.margin >= 0 if told.kept else judgement.margin <= 0, (told, recipe.describe())
                    assert judgement.value is not None and judgement.limit is not None
                    assert abs(judgement.margin) == pytest.approx(abs(judgement.value - judgement.limit), abs=1e-5)
                if judgement.rank is not None and judgement.among is not None:
                    assert 1 <= judgement.rank <= judgement.among
                if judgement.rank is not None and judgement.margin is None and judgement.places is not None:
                    assert told.kept == (judgement.rank <= judgement.places)  # of draws
                if judgement.other is not None and told.given:
                    assert judgement.other in after[told.number - 1] and judgement.other != fate.row
                    assert judgement.other in after[told.number]
    assert judged > 50 or operator.name == "bare"
    assert dropped > 0 or operator.name == "union"


def test_the_same_rows_are_dropped_at_the_same_steps_as_in_lists_of_dropped_rows():
    table = signal_table(3, n=60)
    recipe = Recipe((Step("semantic_dedup", {"strategy": "exact"}), Step("ifd_filter"), Step("truncate_samples")))
    rows, steps = dropped_rows(recipe, table, seed=4)
    fates = why(recipe, table, rows, seed=4)
    assert [fate.step for fate in fates] == steps.tolist()
    assert all([each.number for each in fate.steps] == [fate.step] for fate in fates)


def test_a_cut_tells_score_limit_and_place():
    table = SignalTable.from_arrays({"ifd": [0.5, 0.9, 0.1, np.nan, 0.5, 0.7]})
    recipe = Recipe((Step("ifd_filter", {"fraction": 0.6}),))
    best, first_tie, lowest, unscored, second_tie = why(recipe, table, [1, 0, 2, 3, 4], every_step=True)
    assert best.selected and best.steps[0].judgement.margin == pytest.approx(0.4)
    assert first_tie.selected and first_tie.steps[0].judgement.margin == 0
    assert second_tie.step == 1 and second_tie.removal.judgement.margin == 0
    assert (second_tie.removal.judgement.rank, second_tie.removal.judgement.places) == (4, 3)
    assert lowest.removal.judgement.margin == pytest.approx(-0.4)
    assert "place 5 of 5" in lowest.sentence and "down to 0.5" in lowest.sentence
    assert unscored.removal.judgement.value is None and "no score in ifd" in unscored.sentence


def test_a_duplicate_names_the_row_that_was_kept():
    table = SignalTable.from_arrays(
        {"ifd": [0.1, 0.9, 0.5]}, text_hash=np.array([7, 7, 8]), embeddings=np.array([[1.0, 0], [1, 0.1], [0, 1]])
    )
    best_first = Step("ifd_filter", {"fraction": 1.0})
    exact = Recipe((best_first, Step("semantic_dedup", {"strategy": "exact"})))
    assert why(exact, table, [0])[0].removal.judgement.other == 1
    similar = Recipe((best_first, Step("semantic_dedup", {"strategy": "sentence"})))
    judged = why(similar, table, [0])[0].removal.judgement
    assert judged.other == 1 and judged.value == pytest.approx(1 / np.sqrt(1.01)) and judged.margin < 0


def test_a_row_that_no_recipe_may_select_says_so():
    table = signal_table(0, n=20)
    excluded = np.zeros(20, bool)
    excluded[3] = True
    table = SignalTable(table.n, table.source, table.source_names, table.columns, excluded=excluded)
    fate = why(LONGEST, table, [3])[0]
    assert (fate.step, fate.selected, fate.removal) == (0, False, None)
    assert "excluded" in fate.sentence


def test_a_row_that_alone_is_left_of_nothing_is_told_apart():
    table = SignalTable.from_arrays({"ifd": [0.1, 0.2, 0.3]})
    fates = why(Recipe((Step("ifd_filter", {"threshold": 0.9}),)), table, [0, 1, 2], every_step=True)
    assert [fate.selected for fate in fates] == [False, False, True]
    assert "nothing passed" in fates[2].steps[0].judgement.sentence
    assert fates[1].removal.judgement.margin == pytest.approx(-0.7)


def test_a_set_operation_tells_the_fate_in_the_other_recipe():
    table = SignalTable.from_arrays({"ifd": [0.1, 0.2, 0.3, 0.4]})
    other = Recipe((Step("ifd_filter", {"top_k": 1}),))
    recipe = Recipe((Step("intersect", {"source_recipe": "other"}),), library={"other": other})
    removal = why(recipe, table, [0])[0].removal
    assert removal.other.step == 1 and removal.other.removal.judgement.rank == 4


def test_rows_may_be_named_twice_and_must_exist():
    table = signal_table(0, n=20)
    assert [fate.row for fate in why(LONGEST, table, [5, 2, 5])] == [5, 2, 5]
    assert why(LONGEST, table, []) == ()
    with pytest.raises(PoolError, match=r"Row 20 is not in the pool, whose rows are 0 to 19\."):
        why(LONGEST, table, [3, 20])


def test_an_operator_that_judges_wrongly_is_named():
    class Wrong(Unheard):
        name = "wrong"

        def judge(self, decision, asked):
            return [Judgement("x")]

    registry = OperatorRegistry([*builtin_operators(), Wrong()])
    with pytest.raises(RecipeError, match=r"operator 'wrong': judge\(\) returned 1 judgements of"):
        why(Recipe((Step("wrong"),)), signal_table(0, n=30), range(30), every_step=True, registry=registry)
