"""What an agent can call: names, what they do, and their arguments. Light to import: a server lists them at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from autoselection.agents.untrusted import TEXT
from autoselection.schema import StrictModel

#: Most rows of an answer, and longest wait (s): clients give up on a call after about a minute.
ROWS, WAIT = 20, 50

_RECIPE = (
    "The recipe: an object with 'steps', each with 'operator' and 'params' (list_operators tells them); or the id of a trial; or "
    "the name of a ready recipe. No file is read."
)


class NoArguments(StrictModel):
    """Nothing to say."""


class StatisticsArguments(StrictModel):
    """What to tell of the pool."""

    signals: tuple[str, ...] | None = Field(None, description="Signals to describe (default: all).", max_length=100)
    by_source: bool = Field(False, description="Describe each signal within each source too.")


class RowsArguments(StrictModel):
    """Which rows to show."""

    ids: tuple[str | int, ...] | None = Field(None, max_length=ROWS, description="Ids or numbers of rows to show.")
    where: str | None = Field(
        None,
        max_length=2_000,
        description="A condition on rows, such as: ifd < 0.3 and n_turns > 2 and source == 'web'.",
    )
    source: str | None = Field(None, description="Only rows of this source.")
    sample: int | None = Field(None, ge=1, le=ROWS, description="Show so many of them at random.")
    limit: int = Field(5, ge=1, le=ROWS, description="Without sample: show the first so many.")
    seed: int = Field(0, ge=0, description="Seed of the sample.")
    signals: tuple[str, ...] | None = Field(None, max_length=100, description="Signals to show (default: all).")
    characters: int = Field(TEXT, ge=50, le=8_000, description="Longest text; longer ones are cut.")


class RecipeArguments(StrictModel):
    """A recipe to try without training."""

    recipe: dict[str, Any] | str = Field(description=_RECIPE)
    examples: int = Field(2, ge=0, le=5, description="Rows to show of what is kept, and of what each step drops.")
    characters: int = Field(400, ge=50, le=4_000, description="Longest text; longer ones are cut.")


class ExplainArguments(StrictModel):
    """Rows to explain."""

    recipe: dict[str, Any] | str = Field(description=_RECIPE)
    rows: tuple[str | int, ...] = Field(min_length=1, max_length=10, description="Ids or numbers of rows.")
    characters: int = Field(800, ge=50, le=8_000, description="Longest text; longer ones are cut.")


class EvaluateArguments(StrictModel):
    """A recipe to train on and score."""

    recipe: dict[str, Any] | str = Field(description=_RECIPE)
    reason: str = Field(
        min_length=1,
        max_length=500,
        description="Why it is worth an evaluation, in a sentence; it stands in the report.",
    )
    parent: str | None = Field(None, max_length=100, description="Id of the trial that it was made from, if one was.")
    wait_seconds: float = Field(20.0, ge=0.0, le=WAIT, description="Wait so long for the result (s).")


class WaitArguments(StrictModel):
    """How long to wait."""

    trial: str | None = Field(None, description="Trial to wait for (default: what is under way).")
    seconds: float = Field(20.0, ge=0.0, le=WAIT, description="Longest wait (s).")


@dataclass(frozen=True)
class Tool:
    """Something to call; :mod:`autoselection.agents.answers` answers it.

    Attributes:
        about: what it does, for the model that calls it.
        arguments: model of its arguments.
        writes: it changes the study.
    """

    name: str
    about: str
    arguments: type[StrictModel]
    writes: bool = False


EVALUATE, WAITING = "evaluate_recipe", "wait_for_evaluation"

TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "study_overview",
            "Begin here: the tasks, what the budget leaves, the trials so far with dev scores, and what is under way.",
            NoArguments,
        ),
        Tool(
            "list_operators",
            "The steps that a recipe can have on this pool, with the ranges of their parameters, and the signals and sources.",
            NoArguments,
        ),
        Tool(
            "pool_statistics",
            "Sources, lengths, turns, duplicates and the distribution of every signal.",
            StatisticsArguments,
        ),
        Tool(
            "show_rows",
            "Show up to 20 rows with their signals and percentiles: by id, by a condition, by source, at random.",
            RowsArguments,
        ),
        Tool(
            "materialize_recipe",
            "Try a recipe without training: how many rows each step leaves, what the subset is like, examples. Costs no budget.",
            RecipeArguments,
        ),
        Tool(
            "explain_rows",
            "Why a recipe kept or dropped rows: the step, by how much they missed, their duplicates.",
            ExplainArguments,
        ),
        Tool(
            EVALUATE,
            "Train on the recipe's rows and score on dev. Costs one evaluation of the budget; takes minutes to hours, so it may "
            "answer that it is running: wait_for_evaluation then gives the result.",
            EvaluateArguments,
            writes=True,
        ),
        Tool(WAITING, "Wait for what is under way, up to 50 seconds a call.", WaitArguments),
        Tool("study_report", "The report so far as Markdown, dev scores only.", NoArguments),
    )
}
