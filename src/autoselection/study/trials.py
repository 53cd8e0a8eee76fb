"""The trials of a study: subsets with what their evaluations gave."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from autoselection import notebook
from autoselection.errors import RecipeError, StudyError
from autoselection.evaluation import EvaluationResult
from autoselection.evaluation.job import mean_score, mean_scores
from autoselection.recipes import Recipe
from autoselection.tasks import mean_of_repeats
from autoselection.wording import suggestion

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True, repr=False)
class Trial:
    """One evaluated (or pending) subset of the search, as the journal tells it.

    Attributes:
        repeats: evaluations that this one stands for, see :func:`as_one`; empty: its own alone.
    """

    id: str
    record: Mapping[str, Any]
    results: Mapping[int, EvaluationResult] = field(default_factory=dict)
    repeats: tuple[Trial, ...] = ()

    @property
    def fidelity(self) -> float:
        """Cost of the evaluation, in full ones; 1 is a full evaluation."""
        return float(self.record.get("fidelity", 1.0))

    @property
    def model(self) -> str:
        """Name of another model that was trained instead of the target (``search.fidelity.models``); empty: none."""
        return str(self.record.get("model", ""))

    @cached_property
    def failure(self) -> str | None:
        """Why the evaluation failed, or None."""
        return next((result.failure for result in self.results.values() if result.failure), None)

    @cached_property
    def score(self) -> float | None:
        """Mean dev score over the training seeds, and over its repeats (higher is better); None while pending or if a seed
        failed."""
        if self.repeats:
            return self._over_repeats[0]
        if not self.results or self.failure:
            return None
        return mean_score(self.results.values())

    @cached_property
    def tasks(self) -> dict[str, float]:
        """Mean dev score of each task over the seeds, and over its repeats."""
        if self.repeats:
            return self._over_repeats[1]
        if self.score is None:
            return {}
        return mean_scores(list(self.results.values()))

    @cached_property
    def _over_repeats(self) -> tuple[float, dict[str, float]]:
        return mean_of_repeats([one.score or 0.0 for one in self.repeats], [one.tasks for one in self.repeats])

    @property
    def seconds(self) -> float:
        """Time spent on the evaluation, all seeds together (s)."""
        return float(sum(result.seconds["total"] for result in self.results.values()))

    @property
    def size(self) -> int:
        """Rows of the subset (count)."""
        return int(self.record["rows"])

    @property
    def recipe(self) -> Recipe:
        """The recipe that selected the subset.

        Raises:
            StudyError: it names what is not known here.
        """
        return journalled_recipe(self.record["recipe"], self.id)

    @property
    def outcome(self) -> str:
        """The score with four digits, or why there is none, in a word."""
        return "failed" if self.failure else "pending" if self.score is None else f"{self.score:.4f}"

    def __repr__(self) -> str:
        return notebook.line(
            "Trial", f"{self.id}: {self.outcome}, {notebook.counted(self.size, 'row')},", self.recipe.describe()
        )

    def _repr_html_(self) -> str:
        facts = {"score": self.outcome, "rows": f"{self.size:,}", "recipe": self.recipe.describe()}
        facts |= {name: str(self.record[name]) for name in ("origin", "parent", "edit") if self.record.get(name)}
        if self.failure:
            facts["failure"] = self.failure
        tasks = notebook.table(("task", "dev score"), self.tasks.items(), what="tasks") if self.tasks else ""
        return notebook.page(f"Trial {self.id}", facts, tasks)


def journalled_recipe(document: Mapping[str, Any], trial: str) -> Recipe:
    """The recipe that a journal tells of.

    Raises:
        StudyError: it names what is not known here, such as an operator of a package that is not installed.
    """
    try:
        return Recipe.from_dict(document, where=f"the recipe of {trial}")
    except RecipeError as error:
        raise StudyError(
            f"{error} To show this study, install the package that registers what is unknown, or use the version of the package "
            "that runs it."
        ) from error


def as_one(group: Sequence[Trial]) -> Trial:
    """Trials of one subset as one: the first that did not fail, with the results of all that did not.

    Its score is the mean of their scores, as in the search; a repeat that lacks a seed's result does not count yet.
    """
    good = [trial for trial in group if trial.score is not None] or group[:1]
    if len(good) == 1:
        return good[0]
    results = {seed: result for trial in good for seed, result in trial.results.items()}
    done = tuple(trial for trial in good if len(trial.results) >= len(good[0].results))
    return Trial(good[0].id, good[0].record, results, done)


class Trials(Sequence[Trial]):
    """Trials in order: by place, by id (``trials["t003"]``), by slice."""

    def __init__(self, trials: Iterable[Trial] = ()) -> None:
        self._trials = tuple(trials)
        self._by_id = {trial.id: trial for trial in reversed(self._trials)}  # the first of an id

    def __len__(self) -> int:
        return len(self._trials)

    @overload
    def __getitem__(self, index: int | str) -> Trial: ...

    @overload
    def __getitem__(self, index: slice) -> Trials: ...

    def __getitem__(self, index: int | str | slice) -> Trial | Trials:
        """A trial by place or id, or some of them.

        Raises:
            StudyError: there is no trial of this id.
        """
        if isinstance(index, slice):
            return Trials(self._trials[index])
        if isinstance(index, int):
            return self._trials[index]
        if index in self._by_id:
            return self._by_id[index]
        known = suggestion(str(index), [trial.id for trial in self]) if self._trials else ": there is none yet."
        raise StudyError(f"There is no trial '{index}'{known}")

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    def __contains__(self, item: object) -> bool:
        return item in self._by_id if isinstance(item, str) else item in self._trials

    def to_polars(self) -> polars.DataFrame:
        """A row each: ``trial``, ``score`` (null while pending, and of a failure), ``rows``, ``recipe`` in words, ``origin``, ``parent``,
        ``fidelity``, ``model`` (empty: the target), ``seeds`` (trainings), ``seconds``, ``failure``, ``subset`` (hash of the rows), and ``score/TASK``.
        """
        import polars

        tasks = list(dict.fromkeys(name for trial in self for name in trial.tasks))
        rows = [
            {
                "trial": trial.id,
                "score": trial.score,
                "rows": trial.size,
                "recipe": trial.recipe.describe(),
                "origin": trial.record["origin"],
                "parent": trial.record["parent"],
                "fidelity": trial.fidelity,
                "model": trial.model,
                "seeds": len(trial.results),
                "seconds": trial.seconds,
                "failure": trial.failure,
                "subset": trial.record["subset_hash"],
                **{f"score/{name}": trial.tasks.get(name) for name in tasks},
            }
            for trial in self
        ]
        text, number = polars.String, polars.Float64
        schema = {"trial": text, "score": number, "rows": polars.Int64, "recipe": text, "origin": text, "parent": text}
        schema |= {
            "fidelity": number,
            "model": text,
            "seeds": polars.Int64,
            "seconds": number,
            "failure": text,
            "subset": text,
        }
        return polars.DataFrame(rows, schema=schema | dict.fromkeys((f"score/{name}" for name in tasks), number))

    def __repr__(self) -> str:
        return notebook.line("Trials", notebook.counted(len(self), "trial"))

    def _repr_html_(self) -> str:
        return notebook.page(notebook.counted(len(self), "trial"), {}, self.table())

    def table(self) -> str:
        """An HTML table, a row each."""
        rows = [
            (trial.id, trial.outcome, trial.size, trial.record["origin"], trial.recipe.describe()) for trial in self
        ]
        return notebook.table(("trial", "score", "rows", "origin", "recipe"), rows, what="trials", cell=400, shown=100)
