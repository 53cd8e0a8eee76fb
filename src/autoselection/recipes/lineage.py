"""What the steps of a recipe did to the rows they were given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from autoselection.operators.base import Note
from autoselection.operators.sampling import REFILLED, SHORT

#: The note of a step that dropped every row: it keeps the best one, whose number the note holds.
LEFT_NOTHING = "would leave nothing; kept the best row"
#: The note of a step after which some rows count more than once: how many there are, counted so.
WITH_COPIES = "rows counting copies"


@dataclass(frozen=True)
class StepLineage:
    """What one step did.

    Attributes:
        operator: its name.
        params: its complete parameters.
        rows_in: rows it was given.
        rows_out: rows it returned.
        dropped: rows it was given and did not return.
        missing: rows that lacked the score it needs.
        notes: further counts.
        reasons: if some lacked it, the rows of the whole pool that lack it, by reason in words.
        inner: of the recipe that a set operation names, and of those that this one names, the steps of which something may have to
            be said (:func:`told_of`), none of them with steps of its own.
    """

    operator: str
    params: Mapping[str, Any]
    rows_in: int
    rows_out: int
    dropped: int
    missing: int
    notes: Mapping[str, Note] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    inner: tuple[StepLineage, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data; ``reasons`` and ``inner`` only if there are any."""
        return {
            "operator": self.operator,
            "params": dict(self.params),
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "dropped": self.dropped,
            "missing": self.missing,
            "notes": dict(self.notes),
            **({"reasons": dict(self.reasons)} if self.reasons else {}),
            **({"inner": [step.to_dict() for step in self.inner]} if self.inner else {}),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> StepLineage:
        """From :meth:`to_dict`; further keys are ignored."""
        known = {item.name: document[item.name] for item in fields(cls) if item.name in document}
        inner = tuple(cls.from_dict(step) for step in document.get("inner", ()))
        return cls(**{**known, "inner": inner})


def told_of(lineage: Iterable[StepLineage]) -> Iterator[StepLineage]:
    """What the step that names a recipe keeps of its steps, each alone: those given rows without a score, those that left nothing
    and mixes that took rows of other groups than asked; behind each what it keeps itself of the recipe that it names.
    """
    for step in lineage:
        own = step.missing or LEFT_NOTHING in step.notes or step.notes.get(REFILLED) or step.notes.get(SHORT)
        if own:
            yield replace(step, inner=())
        yield from step.inner


def selects_nothing(lineage: Iterable[StepLineage]) -> bool:
    """Whether the one row that a recipe selects stands for none: a step left nothing, and none after it added a row."""
    nothing = False
    for step in lineage:
        added = step.rows_out - (step.rows_in - step.dropped)
        nothing = LEFT_NOTHING in step.notes or (nothing and not added)
    return nothing
