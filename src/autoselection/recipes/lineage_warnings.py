"""What has to be said aloud of a materialized recipe: steps that many rows reach without a score, or that leave nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoselection.operators import default_registry, in_role
from autoselection.recipes.lineage import LEFT_NOTHING, StepLineage

#: More than this share of the rows given to a step without the score it cuts by brings a warning.
SAID_FROM = 0.1


@dataclass(frozen=True)
class Shortfall:
    """One step that was given many rows without the score it cuts by.

    Attributes:
        step: its number, from 1.
        fate: what became of these rows: ``dropped``, ``kept``, or empty if the step does not say.
        reasons: of the whole pool's rows without this score, by reason in words; empty if unknown.
        inside: the step of the outer recipe that names the recipe of this step, in words; empty for a step of its own.
    """

    step: int
    operator: str
    rows_in: int
    missing: int
    fate: str
    reasons: Mapping[str, int]
    inside: str = ""

    @property
    def share(self) -> float:
        """Share of the rows given that lack the score."""
        return self.missing / max(1, self.rows_in)

    def sentence(self) -> str:
        """For people."""
        fate = f" and were {self.fate}" if self.fate else ""
        where = f"In the recipe of {self.inside}, a step" if self.inside else f"Step {self.step}"
        said = (
            f"{where} ({self.operator}): {self.missing:,} of the {self.rows_in:,} rows given ({self.share:.0%}) have no "
            f"score for it{fate}"
        )
        return f"{said}. {why(self.reasons)}"


def why(reasons: Mapping[str, int]) -> str:
    """The sentence about reasons, by count."""
    if not reasons:
        return "Why is not known: they were not scored."
    return f"In the whole pool: {', '.join(f'{count:,} {reason}' for reason, count in reasons.items())}."


def shortfalls(lineage: Iterable[StepLineage | Mapping[str, Any]], inside: str = "") -> list[Shortfall]:
    """The steps given more than a tenth of rows without a score; ``lineage`` may be that of a journal, old or new.

    Args:
        inside: the step of another recipe that names this one, in words.
    """
    found = []
    for number, entry in enumerate(lineage, start=1):
        step = entry.to_dict() if isinstance(entry, StepLineage) else entry
        missing, rows_in, name = int(step.get("missing") or 0), int(step.get("rows_in") or 0), str(step["operator"])
        if missing > SAID_FROM * rows_in:
            fate = _fate(name, step.get("params") or {})
            found.append(Shortfall(number, name, rows_in, missing, fate, dict(step.get("reasons") or {}), inside))
        found += shortfalls(step.get("inner") or (), inside or f"step {number} ({name})")
    return found


def _fate(operator: str, params: Mapping[str, Any]) -> str:
    registry = default_registry()
    declared = registry.get(operator).params if operator in registry.names() else ()  # a journal outlives its plugins
    missing = in_role(declared, "missing")
    return "" if missing is None else {"drop": "dropped", "keep": "kept"}.get(str(params.get(missing.name)), "")


def lineage_remarks(lineage: Sequence[StepLineage | Mapping[str, Any]]) -> list[str]:
    """What a reader of a subset has to know: missing scores above a tenth, shares that were not to be had, and steps that would have
    left nothing."""
    said = [found.sentence() for found in shortfalls(lineage)]
    for number, entry in enumerate(lineage, start=1):
        step = entry.to_dict() if isinstance(entry, StepLineage) else entry
        said += _refilled(number, step)
        if LEFT_NOTHING in (step.get("notes") or {}):
            said.append(
                f"Step {number} ({step['operator']}) would have left no row at all; one was kept, so that the result is "
                "not empty: it is hardly what you want."
            )
    return said


def _refilled(number: int, step: Mapping[str, Any]) -> list[str]:
    """What is said of a mix by given weights some of whose groups have too few rows."""
    if not (step.get("params") or {}).get("weights"):
        return []
    notes = step.get("notes") or {}
    total = sum(count for name, count in notes.items() if name.startswith("from "))
    others = int(notes.get("refilled") or 0)
    if others <= SAID_FROM * total:
        return []
    return [
        f"Step {number} ({step['operator']}): {others:,} of its {total:,} rows ({others / total:.0%}) are from groups that had rows left, because "
        "others have too few for their shares: take fewer rows, or let rows count more often (max_repeats)."
    ]
