"""Why a recipe left a row out, or kept it: the step, and by how much the row missed or passed it.

Nothing is recorded while recipes run. The recipe is run again for the rows asked about (what a
:class:`~autoselection.recipes.materialize.PrefixCache` still holds is not), and each operator judges them by what it was
given and what it kept. The step named is exact for every operator, also those of plugins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autoselection.errors import RecipeError
from autoselection.operators import Decision, Judgement, Operator, OperatorRegistry, Rows, judged_by_column
from autoselection.recipes.lineage import LEFT_NOTHING
from autoselection.recipes.materialize import PrefixCache, StepRun, step_runs
from autoselection.recipes.recipe import Recipe, RecipeBook
from autoselection.row_numbers import row_numbers
from autoselection.signals.table import SignalTable

#: What is said of a row that the pool's table excludes.
EXCLUDED = "excluded from the pool (contamination)"
_FALLBACK = Judgement("nothing passed this step, and it is the best of the rows given")


@dataclass(frozen=True)
class StepJudgement:
    """What one step made of one row.

    Attributes:
        number: of the step, from 1.
        operator: its name.
        phrase: the step in words.
        given: whether the row was given to it; only a set operation is asked about rows that were not.
        kept: whether the row was there afterwards.
        judgement: why; None where the operator does not tell.
        other: of a set operation that did not keep the row, its fate in the other recipe.
    """

    number: int
    operator: str
    phrase: str
    given: bool
    kept: bool
    judgement: Judgement | None = None
    other: Fate | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "step": self.number,
            "operator": self.operator,
            "phrase": self.phrase,
            "given": self.given,
            "kept": self.kept,
            "why": None if self.judgement is None else self.judgement.to_dict(),
            **({} if self.other is None else {"other_recipe": self.other.to_dict()}),
        }


@dataclass(frozen=True)
class Fate:
    """What a recipe made of one row.

    Attributes:
        row: its number in the pool.
        selected: whether the recipe selects it.
        step: the number, from 1, of the step after which it is absent; 0: it could not be selected at all; None: it is
            selected.
        steps: the steps that judged it, in order: all of them, or only the one that removed it, as was asked.
    """

    row: int
    selected: bool
    step: int | None
    steps: tuple[StepJudgement, ...] = field(default_factory=tuple)

    @property
    def removal(self) -> StepJudgement | None:
        """The step that removed it; None if it is selected, or could not be selected at all."""
        return next((each for each in reversed(self.steps) if each.number == self.step), None)

    @property
    def sentence(self) -> str:
        """The fate in one sentence."""
        removal = self.removal
        if self.selected:
            return "The recipe selects it."
        if removal is None:
            return f"No recipe can select it: it is {EXCLUDED}."
        why = "" if removal.judgement is None else f": {removal.judgement.sentence}"
        return f"Step {removal.number}, {removal.phrase}, dropped it{why}."

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "row": self.row,
            "selected": self.selected,
            "dropped_step": self.step,
            "sentence": self.sentence,
            "steps": [each.to_dict() for each in self.steps],
        }


def why(
    recipe: Recipe,
    signals: SignalTable,
    rows: Iterable[int] | Rows,
    *,
    every_step: bool = False,
    seed: int = 0,
    book: RecipeBook | None = None,
    registry: OperatorRegistry | None = None,
    cache: PrefixCache | None = None,
) -> tuple[Fate, ...]:
    """What a recipe made of each of ``rows``, in their order.

    Args:
        recipe, signals, seed, book, registry, cache: as of :func:`~autoselection.recipes.materialize`.
        rows: row numbers of the pool.
        every_step: let every step that was given the row judge it; else only the one that removed it.

    Raises:
        PoolError: there is no such row.
        RecipeError, SignalError: as of ``materialize``; an operator of a plugin judged wrongly.
    """
    asked = row_numbers(rows, signals.n)
    distinct = np.unique(asked)
    runs = step_runs(recipe, signals, seed=seed, book=book, registry=registry, cache=cache)
    phrases = recipe.describe_steps()
    inside = np.zeros(signals.n, bool)
    inside[signals.selectable] = True
    removed = np.where(inside[distinct], -1, 0)
    found: dict[int, list[StepJudgement]] = {row: [] for row in distinct.tolist()}
    for run in runs:
        decision = _decision(run)
        kept = np.zeros(signals.n, bool)
        kept[run.kept] = True
        given, stays = inside[distinct], kept[distinct]
        removed[given & ~stays] = run.number
        removed[stays] = -1
        ahead = given & ~stays if not every_step else given | (run.member_recipe is not None)
        if ahead.any():
            wanted = distinct[ahead]
            others = _others(run, wanted[~kept[wanted]], signals, seed, registry, cache)
            judged = _judged(run, decision, wanted, inside)
            for row, judgement in zip(wanted.tolist(), judged, strict=True):
                told = StepJudgement(
                    run.number,
                    run.step.operator,
                    phrases[run.number - 1],
                    bool(inside[row]),
                    bool(kept[row]),
                    judgement,
                    others.get(row),
                )
                found[row].append(told)
        inside = kept
    fates = {
        row: Fate(row, step < 0, None if step < 0 else step, _relevant(found[row], step, every_step))
        for row, step in zip(distinct.tolist(), removed.tolist(), strict=True)
    }
    return tuple(fates[row] for row in asked.tolist())


def _relevant(judged: Sequence[StepJudgement], step: int, every_step: bool) -> tuple[StepJudgement, ...]:
    """A row that a set operation brought back was judged by a step that did not remove it in the end."""
    return tuple(judged) if every_step else tuple(each for each in judged if each.number == step)


def _decision(run: StepRun) -> Decision:
    """The step as its operator saw it: where it kept no row, the one that stayed is the recipe's doing."""
    kept = run.kept[:0] if LEFT_NOTHING in run.lineage.notes else run.kept
    return Decision.of(run.given, kept, run.step.params, run.context)


def _judged(run: StepRun, decision: Decision, wanted: Rows, inside: Any) -> list[Judgement | None]:
    """The judgements of an operator on rows, those that it was not given told apart."""
    given = wanted[inside[wanted]]
    told = dict(zip(given.tolist(), _asked(run.operator, decision, given), strict=True))
    if LEFT_NOTHING in run.lineage.notes:
        told |= {row: _FALLBACK for row in run.kept.tolist() if row in told}
    absent = Judgement("it was not given, and the other recipe does not select it")
    brought = Judgement("the other recipe brings it back")
    return [told[row] if row in told else brought if decision.members[row] else absent for row in wanted.tolist()]


def _asked(operator: Operator, decision: Decision, given: Rows) -> Sequence[Judgement | None]:
    judge = getattr(operator, "judge", None)
    if judge is None:
        return judged_by_column(operator.params, operator.scored_by(decision.params), decision, given)
    judged: Sequence[Judgement | None] = judge(decision, given)
    if len(judged) != len(given) or not all(each is None or isinstance(each, Judgement) for each in judged):
        raise RecipeError(
            f"operator '{operator.name}': judge() returned {len(judged)} judgements of {len(given)} rows, or something else "
            "than Judgement and None: fix the operator."
        )
    return judged


def _others(
    run: StepRun,
    rows: Rows,
    signals: SignalTable,
    seed: int,
    registry: OperatorRegistry | None,
    cache: PrefixCache | None,
) -> Mapping[int, Fate]:
    """The fates of rows in the recipe that a set operation names, of those that it does not select."""
    if run.member_recipe is None or not len(rows):
        return {}
    fates = why(run.member_recipe, signals, rows, seed=seed, registry=registry, cache=cache)
    return {fate.row: fate for fate in fates if not fate.selected}
