"""What holds for every operator: the contract that ``autoselection.testing`` checks, and that it finds what breaks it."""

from __future__ import annotations

import numpy as np
import pytest
from operator_tables import random_params

from autoselection.operators import BaseOperator, Operator, Outcome, Param, builtin_operators
from autoselection.testing import check_operator, signal_table

#: Which rows these keep depends on the order in which they are given.
GREEDY = ("semantic_dedup", "semdedup", "union")


@pytest.mark.parametrize("operator", builtin_operators(), ids=lambda operator: operator.name)
def test_operators_keep_their_contract(operator: Operator):
    check_operator(
        operator,
        params=lambda table, seed: random_params(operator.name, table, seed),
        seeds=range(36),
        greedy=operator.name in GREEDY,
    )


class Half(BaseOperator):
    """The rows of even number, an operator that keeps its contract; those below break it in one place each."""

    name = "half"
    family = "size"
    summary = "the rows of even number"
    order = "the order in which the rows were given"
    params: tuple[Param, ...] = (
        Param("above", "float", 0.5, low=0.0, high=1.0, searched=True),
        Param("missing", "choice", "drop", choices=("drop", "keep"), role="missing"),
        Param("signal", "signal", "ifd", choices=("ifd",), role="column"),
    )

    def needs(self, params):
        return ("ifd",)

    def kept(self, rows, params, context):
        scores = context.signals.column("ifd")[rows]
        return np.where(np.isnan(scores), params["missing"] == "keep", scores > params["above"])

    def __call__(self, rows, params, context):
        missing = int(np.isnan(context.signals.column("ifd")[rows]).sum())
        return Outcome(rows[self.kept(rows, params, context)], missing=missing)


class Silent(Half):
    summary = ""


class BadDefault(Half):
    params = (Param("above", "float", 2.0, low=0.0, high=1.0), *Half.params[1:])


class OtherSpace(Half):
    def space(self, signals):
        return Half.params[1:]


class Refusing(Half):
    def check(self, params):
        if params["above"] > 0.1:
            raise ValueError("too much")


class Shouting(Half):
    def phrases(self, params, names):
        return "HALF"


class Invents(Half):
    def __call__(self, rows, params, context):
        return Outcome(np.arange(context.signals.n, dtype=np.int64))


class Repeats(Half):
    def __call__(self, rows, params, context):
        return Outcome(np.concatenate([rows, rows[:1]]))


class Floats(Half):
    def __call__(self, rows, params, context):
        return Outcome(rows.astype(float))


class Sorts(Half):
    def __call__(self, rows, params, context):
        outcome = super().__call__(rows, params, context)
        return Outcome(np.sort(outcome.rows), missing=outcome.missing)


class SortsInPlace(Half):
    def __call__(self, rows, params, context):
        outcome = super().__call__(rows, params, context)
        rows.sort()
        return outcome


class ChangesSignals(Half):
    def __call__(self, rows, params, context):
        outcome = super().__call__(rows, params, context)
        context.signals.column("ifd")[rows] += 1
        return outcome


class FirstOnes(Half):
    def __call__(self, rows, params, context):
        outcome = super().__call__(rows, params, context)
        return Outcome(outcome.rows[: len(outcome.rows) // 2 + 1], missing=outcome.missing)


class GlobalRandom(Half):
    def kept(self, rows, params, context):
        return super().kept(rows, params, context) & (np.random.random(context.signals.n)[rows] < 0.5)


class Undeclared(Half):
    def kept(self, rows, params, context):
        return super().kept(rows, params, context) & (context.rng().random(context.signals.n)[rows] < 0.5)


class Remembers(Half):
    calls = 0

    def kept(self, rows, params, context):
        self.calls += 1
        return super().kept(rows, params, context) & (rows % 7 != self.calls % 7)


class SmallSeeds(Half):
    randomized = True

    def kept(self, rows, params, context):
        if context.seed > 2**32:
            raise OverflowError("seed")
        return super().kept(rows, params, context)


class Uncounted(Half):
    def __call__(self, rows, params, context):
        return Outcome(rows[self.kept(rows, params, context)])


class KeepsAll(Half):
    def kept(self, rows, params, context):
        scores = context.signals.column("ifd")[rows]
        return np.isnan(scores) | (scores > params["above"])


class WantsRows(Half):
    def __call__(self, rows, params, context):
        return super().__call__(rows, params, context) if len(rows) else Outcome(np.arange(1, dtype=np.int64))


class Alone(Half):
    made = 0

    def __init__(self):
        Alone.made += 1
        self.number = Alone.made

    def kept(self, rows, params, context):
        return super().kept(rows, params, context) & (rows % 7 != self.number % 7)


class Demanding(Half):
    def available(self, signals):
        return "unheard" in signals.columns


class OwnColumn(BaseOperator):
    """Cuts by a column that a signal of the same package makes."""

    name, family, summary, order = (
        "own_column",
        "score",
        "rows that score high",
        "the order in which the rows were given",
    )
    params: tuple[Param, ...] = (Param("column", "signal", "politeness", role="column"),)

    def __call__(self, rows, params, context):
        scores = context.signals.column(params["column"])[rows]
        return Outcome(rows[scores > 0.5], missing=int(np.isnan(scores).sum()))


class TwoColumns(Half):
    params = (*Half.params, Param("other", "signal", "rsr", choices=("rsr",), role="column"))


class Blank(Half):
    name = "the half"


class BlankParameter(Half):
    params = (Param("from above", "float", 0.5, low=0.0, high=1.0), *Half.params[1:])


class Taken(Half):
    name = "ifd_filter"


class Bare(Half):
    def __call__(self, rows, params, context):
        return super().__call__(rows, params, context).rows


class Unseeded(Half):
    randomized = True
    draws = np.random.default_rng(0)  # of the process, not of the seed

    def kept(self, rows, params, context):
        return super().kept(rows, params, context) & (self.draws.random(len(rows)) < 0.5)


def test_an_operator_of_an_own_column_is_tried_on_tables_that_have_it():
    check_operator(OwnColumn, columns=["politeness"])
    check_operator(OwnColumn, params=lambda table, seed: {"column": "ifd"})
    with pytest.raises(AssertionError, match=r"'own_column' .* reads 'politeness', .* columns=\[...\]"):
        check_operator(OwnColumn)
    assert np.isnan(signal_table(0, columns=["politeness"]).column("politeness")).any()


def test_an_operator_that_keeps_its_contract_passes():
    check_operator(Half)
    check_operator(Half())


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Silent, "'summary' must be a text of one line"),
        (BadDefault, "the default of 'above' must be a number from 0 to 1"),
        (OtherSpace, r"space\(\) must have the parameters of 'params'"),
        (Refusing, "its space holds parameters that it refuses"),
        (Shouting, r"phrases\(\) must be a list of texts"),
        (Invents, "it returns rows that it was not given|step 1"),
        (Repeats, "it returns a row twice"),
        (Floats, "rows must be one array of int64"),
        (Sorts, "it does not keep the order in which the rows were given"),
        (SortsInPlace, "it changes the rows that it is given"),
        (ChangesSignals, "it changes the signals"),
        (FirstOnes, "given in another order, other rows are kept"),
        (GlobalRandom, "draws from NumPy's global random numbers"),
        (Undeclared, "is not declared as 'randomized'"),
        (Remembers, "the same call keeps other rows"),
        (SmallSeeds, "seed"),
        (Uncounted, "it counts 0 rows without a score in 'ifd', of"),
        (KeepsAll, "it keeps rows without a score that 'missing: drop' drops"),
        (WantsRows, "given no row, it returns"),
        (Alone, "another object of the class keeps other rows"),
        (TwoColumns, "the parameters 'signal' and 'other' both have the role column"),
        (Blank, "its name, 'the half', is no plain word"),
        (BlankParameter, "the name of a parameter, 'from above', is no plain word"),
        (Taken, "an operator of AutoSelection's own has that name"),
        (Bare, "'half' .* it returns a ndarray, not an Outcome"),
        (Unseeded, r"the same call keeps other rows .* not drawn from context.rng\(\), such as np.random"),
        (Demanding, "none of the tables has what it needs"),
    ],
    ids=lambda case: case.__name__ if isinstance(case, type) else "",
)
def test_what_breaks_the_contract_is_named(broken: type, said: str):
    with pytest.raises((AssertionError, OverflowError), match=said):
        check_operator(broken)
