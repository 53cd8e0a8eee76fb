"""What the search hands out, takes in and keeps: frozen records, each with ``to_dict`` for the study's journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autoselection import notebook
from autoselection.recipes import Recipe, StateVector, StepLineage
from autoselection.search.credit import Credit
from autoselection.search.ranker import LeaveOneOut, Prediction
from autoselection.search.series import Series

Note: TypeAlias = int | float | str
Origin = Literal["initial", "warmup", "edit", "fresh", "reseed", "promotion", "repeat", "baseline", "agent"]

RANKED_KEPT = 10
"""Leading proposals kept in a decision's record."""


@dataclass(frozen=True, eq=False, repr=False)
class Candidate:
    """A recipe to evaluate.

    Attributes:
        id: trial number as text, such as ``t001``.
        number: trial number, counted from 1.
        recipe: the recipe in canonical form.
        rows: the realized subset, in the order of the last step.
        subset_hash: hash of the rows, whatever their order.
        ordered_hash: hash of the rows in their order.
        lineage: what each step kept and dropped.
        state: state vector of the subset.
        origin: how the recipe came about.
        parent: id of the trial it was edited from.
        edit: sentence that says how it was made.
        trajectory: 0 from the first probes, one more for every reseed; a child belongs to its parent's.
        prediction: what the surrogate expected, for a ranked proposal.
        fidelity: what its evaluation costs, in full ones (for a short training its share of the budget); 1 is a full evaluation.
        of: id of the trial that evaluated the same subset first, for a promotion or a repeat.
        replicate: how many full evaluations of the same subset were asked for before this one: its trainings take other
            seeds.
        model: name of another model that is trained instead of the target (:mod:`autoselection.search.levels`); empty: none.
    """

    id: str
    number: int
    recipe: Recipe
    rows: NDArray[np.int64]
    subset_hash: str
    ordered_hash: str
    lineage: tuple[StepLineage, ...]
    state: StateVector
    origin: Origin
    parent: str | None
    edit: str
    trajectory: int
    prediction: Prediction | None = None
    fidelity: float = 1.0
    of: str | None = None
    replicate: int = 0
    model: str = ""

    @property
    def series(self) -> Series:
        """What its score compares with as it is."""
        return (0, self.model, 1.0 - self.fidelity)

    def __repr__(self) -> str:
        return notebook.line(
            "Candidate", f"{self.id}: {notebook.counted(len(self.rows), 'row')},", self.recipe.describe()
        )

    def _repr_html_(self) -> str:
        return notebook.page(f"Candidate {self.id}", _facts(self))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the rows themselves, of which it gives the number."""
        return {
            "id": self.id,
            "number": self.number,
            "recipe": self.recipe.to_dict(),
            "recipe_hash": self.recipe.hash,
            "rows": len(self.rows),
            "subset_hash": self.subset_hash,
            "ordered_hash": self.ordered_hash,
            "lineage": [step.to_dict() for step in self.lineage],
            "state": self.state.to_dict(),
            "origin": self.origin,
            "parent": self.parent,
            "edit": self.edit,
            "trajectory": self.trajectory,
            "prediction": self.prediction.to_dict() if self.prediction else None,
            "fidelity": self.fidelity,
            "of": self.of,
            "replicate": self.replicate,
            **({"model": self.model} if self.model else {}),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], rows: NDArray[np.int64]) -> Candidate:
        """From :meth:`to_dict` and the rows, of this version or an earlier one; further keys are ignored."""
        prediction = document.get("prediction")
        if prediction is not None:
            mu, sigma, ucb, log_ei = (float(prediction.get(name, 0.0)) for name in ("mu", "sigma", "ucb", "log_ei"))
            prediction = Prediction(mu, sigma, ucb, log_ei, prediction.get("meets"))
        return cls(
            id=document["id"],
            number=document["number"],
            recipe=Recipe.from_dict(document["recipe"]),
            rows=rows,
            subset_hash=document["subset_hash"],
            ordered_hash=document["ordered_hash"],
            lineage=tuple(StepLineage.from_dict(step) for step in document["lineage"]),
            state=StateVector.from_dict(document["state"]),
            origin=document["origin"],
            parent=document["parent"],
            edit=document["edit"],
            trajectory=document["trajectory"],
            prediction=prediction,
            fidelity=document.get("fidelity", 1.0),
            of=document.get("of"),
            replicate=document.get("replicate", 0),
            model=document.get("model", ""),
        )


@dataclass(frozen=True)
class Observation:
    """The outcome of one evaluation.

    Attributes:
        candidate_id: the candidate that was evaluated.
        score: higher is better; None for a failed evaluation.
        tasks: score of each task, higher is better.
        reason: why the evaluation failed.
        subset_hash: hash of the evaluated subset; if given it must be the candidate's.

    >>> Observation("t001", 0.7).to_dict()["score"]
    0.7
    """

    candidate_id: str
    score: float | None
    tasks: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None
    subset_hash: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "candidate_id": self.candidate_id,
            "score": self.score,
            "tasks": dict(self.tasks),
            "reason": self.reason,
            "subset_hash": self.subset_hash,
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Observation:
        """From :meth:`to_dict`; further keys are ignored."""
        score = document["score"]
        return cls(
            candidate_id=document["candidate_id"],
            score=None if score is None else float(score),
            tasks={name: float(value) for name, value in document.get("tasks", {}).items()},
            reason=document.get("reason"),
            subset_hash=document.get("subset_hash"),
        )


def _facts(candidate: Candidate) -> dict[str, str]:
    """What people want to know of a candidate."""
    facts = {"rows": f"{len(candidate.rows):,}", "recipe": candidate.recipe.describe(), "origin": candidate.origin}
    return facts | {name: said for name in ("parent", "edit") if (said := getattr(candidate, name))}


@dataclass(frozen=True, eq=False, repr=False)
class EvaluatedCandidate:
    """A candidate and what became of it."""

    candidate: Candidate
    observation: Observation

    @property
    def id(self) -> str:
        return self.candidate.id

    @property
    def score(self) -> float | None:
        return self.observation.score

    @property
    def full(self) -> bool:
        """Whether this was a full evaluation."""
        return self.candidate.fidelity == 1.0

    def __repr__(self) -> str:
        score = "failed" if self.score is None else f"{self.score:.4f}"
        size = notebook.counted(len(self.candidate.rows), "row")
        return notebook.line("EvaluatedCandidate", f"{self.id}: {score}, {size},", self.candidate.recipe.describe())

    def _repr_html_(self) -> str:
        score = f"failed: {self.observation.reason}" if self.score is None else f"{self.score:.4f}"
        tasks = notebook.table(("task", "score"), self.observation.tasks.items(), what="tasks")
        facts = {"score": score, **_facts(self.candidate)}
        return notebook.page(f"Candidate {self.id}", facts, *([tasks] if self.observation.tasks else []))


@dataclass(frozen=True)
class Finding:
    """A sentence about the trials so far, and the trials it rests on."""

    kind: str
    text: str
    trials: tuple[str, ...]
    value: float

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "text": self.text, "trials": list(self.trials), "value": self.value}


@dataclass(frozen=True)
class Ranked:
    """A proposal that was materialized and ranked."""

    recipe: str
    recipe_hash: str
    edit: str
    rows: int
    prediction: Prediction | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe,
            "recipe_hash": self.recipe_hash,
            "edit": self.edit,
            "rows": self.rows,
            "prediction": self.prediction.to_dict() if self.prediction else None,
        }


@dataclass(frozen=True)
class Decision:
    """Why one candidate was chosen.

    Attributes:
        candidate: its id.
        origin: how it was made.
        parent: id of the trial it was edited from.
        generated: recipes drawn for it.
        dropped: how many of them were dropped, by reason.
        valid: how many were left to choose from.
        ranked: the leading ones, best first.
        reason: sentence that says why this one.
        notes: further counts, such as draws that led nowhere.
    """

    candidate: str
    origin: Origin
    parent: str | None
    generated: int
    dropped: Mapping[str, int]
    valid: int
    ranked: tuple[Ranked, ...]
    reason: str
    notes: Mapping[str, Note] = field(default_factory=dict)

    @classmethod
    def about(
        cls,
        candidate: Candidate,
        generated: int,
        dropped: Mapping[str, int],
        ranked: Sequence[Ranked],
        reason: str,
        notes: Mapping[str, Note],
        valid: int | None = None,
    ) -> Decision:
        """The decision for a candidate; ``valid`` is by default the number of ``ranked``."""
        return cls(
            candidate=candidate.id,
            origin=candidate.origin,
            parent=candidate.parent,
            generated=generated,
            dropped=dict(sorted(dropped.items())),
            valid=len(ranked) if valid is None else valid,
            ranked=tuple(ranked[:RANKED_KEPT]),
            reason=reason,
            notes=dict(notes),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "candidate": self.candidate,
            "origin": self.origin,
            "parent": self.parent,
            "generated": self.generated,
            "dropped": dict(self.dropped),
            "valid": self.valid,
            "ranked": [proposal.to_dict() for proposal in self.ranked],
            "reason": self.reason,
            "notes": dict(self.notes),
        }


@dataclass(frozen=True)
class Round:
    """What was known when candidates were asked for, and the decisions that led to them (one a candidate).

    Attributes:
        number: counted from 1.
        told: evaluations known.
        best: id of the best trial known.
        stagnation: evaluations of edits since the best improved (or since the last reseed).
        leave_one_out: rank correlation of the surrogate's leave-one-out predictions with the scores (5 trials or more).
        calibration: the same with what it says of the surrogate's certainty.
        imputed: failed evaluations that the surrogate takes for the worst score.
        credit: operator credit.
        findings: what the trials say.
        decisions: one for each candidate of the round.
        stopped: why fewer candidates were given than asked for, if so.
        unseen: sentences about operators whose cuts the surrogate does not see; in the first round only.
    """

    number: int
    told: int
    best: str | None
    stagnation: int
    leave_one_out: float | None
    calibration: LeaveOneOut | None
    imputed: int
    credit: Credit
    findings: tuple[Finding, ...]
    decisions: tuple[Decision, ...]
    stopped: str | None = None
    unseen: tuple[str, ...] = ()

    @classmethod
    def bare(cls, number: int, decisions: Sequence[Decision]) -> Round:
        """A round of which nothing but the decisions is known."""
        return cls(number, 0, None, 0, None, None, 0, Credit(), (), tuple(decisions))

    def to_dict(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "told": self.told,
            "best": self.best,
            "stagnation": self.stagnation,
            "leave_one_out": self.leave_one_out,
            "calibration": self.calibration.to_dict() if self.calibration else None,
            "imputed": self.imputed,
            "credit": self.credit.to_dict(),
            "findings": [finding.to_dict() for finding in self.findings],
            "decisions": [decision.to_dict() for decision in self.decisions],
            "stopped": self.stopped,
            "unseen": list(self.unseen),
        }


@dataclass(frozen=True, eq=False)
class RecordedRound:
    """A round as a journal holds it: decided, whatever a later version would decide.

    Attributes:
        candidates: what was asked for, in order.
        stopped: why fewer were given than asked for, if so.
    """

    candidates: tuple[Candidate, ...]
    stopped: str | None = None


def trial_id(number: int) -> str:
    """The id of the trial with a number."""
    return f"t{number:03d}"
