"""What has to be said aloud of a materialized recipe: steps that many rows reach without a score, that leave nothing, or that could
not keep shares or a size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from autoselection.operators import default_registry, in_role
from autoselection.operators.sampling import REFILLED, SHORT
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
        said = (
            f"{_where(self.step, self.operator, self.inside)}: {self.missing:,} of the {self.rows_in:,} rows given ({self.share:.0%}) have no "
            f"score for it{fate}"
        )
        return f"{said}. {why(self.reasons)}"


def why(reasons: Mapping[str, int]) -> str:
    """The sentence about reasons, by count."""
    if not reasons:
        return "Why is not known: they were not scored."
    return f"In the whole pool: {', '.join(f'{count:,} {reason}' for reason, count in reasons.items())}."


def shortfalls(lineage: Iterable[StepLineage | Mapping[str, Any]]) -> list[Shortfall]:
    """The steps given more than a tenth of rows without a score; ``lineage`` may be that of a journal, old or new."""
    found = []
    for number, step, inside in _steps(lineage):
        missing, rows_in, name = int(step.get("missing") or 0), int(step.get("rows_in") or 0), str(step["operator"])
        if missing > SAID_FROM * rows_in:
            fate = _fate(name, step.get("params") or {})
            found.append(Shortfall(number, name, rows_in, missing, fate, dict(step.get("reasons") or {}), inside))
    return found


def _steps(
    lineage: Iterable[StepLineage | Mapping[str, Any]], inside: str = ""
) -> Iterator[tuple[int, Mapping[str, Any], str]]:
    """The steps as plain data with their numbers, each followed by those of the recipe that it names.

    Args:
        inside: the step of the outer recipe that names this one, in words; it comes with each step. Older journals hold the steps of
            recipes within recipes as a tree.
    """
    for number, entry in enumerate(lineage, start=1):
        step = entry.to_dict() if isinstance(entry, StepLineage) else entry
        yield number, step, inside
        yield from _steps(step.get("inner") or (), inside or f"step {number} ({step['operator']})")


def _where(number: int, operator: str, inside: str) -> str:
    """A step as the subject of a sentence."""
    return f"In the recipe of {inside}, a step ({operator})" if inside else f"Step {number} ({operator})"


def _fate(operator: str, params: Mapping[str, Any]) -> str:
    registry = default_registry()
    declared = registry.get(operator).params if operator in registry.names() else ()  # a journal outlives its plugins
    missing = in_role(declared, "missing")
    return "" if missing is None else {"drop": "dropped", "keep": "kept"}.get(str(params.get(missing.name)), "")


def lineage_remarks(lineage: Iterable[StepLineage | Mapping[str, Any]]) -> list[str]:
    """What a reader of a subset has to know: missing scores above a tenth, shares and sizes that were not to be had, and steps that
    would have left nothing; of the recipes that set operations name, too."""
    lineage = list(lineage)
    said = [found.sentence() for found in shortfalls(lineage)]
    for number, step, inside in _steps(lineage):
        where = _where(number, str(step["operator"]), inside)
        notes = step.get("notes") or {}
        said += _of_mix(where, notes)
        if LEFT_NOTHING in notes:
            kept = (
                "a recipe left with nothing has no rows for the step that names it"
                if inside
                else "one was kept, so that the result is not empty"
            )
            said.append(f"{where} would have left no row at all; {kept}: it is hardly what you want.")
    return said


def _of_mix(where: str, notes: Mapping[str, Any]) -> list[str]:
    """What is said of a mix some of whose groups have too few rows."""
    total = sum(count for name, count in notes.items() if name.startswith("from "))
    others, short = (int(notes.get(name) or 0) for name in (REFILLED, SHORT))
    said = []
    if others > SAID_FROM * total:
        said.append(
            f"{where}: {others:,} of its {total:,} rows ({others / total:.0%}) are from groups that had rows left, because "
            "others have too few for their shares: take fewer rows, let rows count more often (max_repeats of source_mix), or change the shares."
        )
    if short > SAID_FROM * (total + short):
        said.append(
            f"{where}: it has {total:,} of the {total + short:,} rows asked for, because the groups with a share have no more: "
            "take fewer rows, let rows count more often (max_repeats of source_mix), or give more groups a share."
        )
    return said
