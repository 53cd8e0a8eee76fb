"""Trials and untried recipes under other weights of the tasks."""

from __future__ import annotations

from autoselection.diagnose import WhatIf
from autoselection.report.sheet import Sheet


def whatif_sheets(found: WhatIf) -> list[Sheet]:
    """One table of the trials, and one of what was not tried, if something was proposed."""
    headings = ("trial", "score", "before", "best with", *found.weights, "rows", "recipe")
    rows = [
        (
            item.trial,
            f"{item.score:.4f}",
            f"{item.before:.4f}",
            "" if item.probability is None else f"{item.probability:.0%}",
            *(f"{item.tasks[name]:.4f}{' < floor' if name in item.below else ''}" for name in found.weights),
            f"{item.rows:,}",
            item.recipe,
        )
        for item in found.trials
    ]
    counted = ", ".join(f"{name} {weight:g}" for name, weight in found.weights.items())
    sheets = [Sheet.of(f"Trials with the weights {counted} (dev; no training)", headings, rows)]
    if found.untried:
        floors = any(item.meets is not None for item in found.untried)
        untried = [
            (
                f"{item.mu:.4f} ± {item.sigma:.4f}",
                f"{item.better:.0%}",
                *((f"{item.meets or 0.0:.0%}",) if floors else ()),
                f"{item.rows:,}",
                item.recipe,
            )
            for item in found.untried
        ]
        above = ("better, within the floors", "meets the floors") if floors else ("better than all trials",)
        title = "Not tried yet, the highest expected improvement first (what is less certain may improve more)"
        sheets.append(Sheet.of(title, ("expected score", *above, "rows", "recipe"), untried))
    return sheets
