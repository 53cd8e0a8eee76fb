"""What axe-core, the usual checker of accessibility (WCAG 2.2), finds wrong with a page."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest


def faults(page: Any) -> list[str]:
    """Serious and critical faults, a line each: the rule, and the first element that breaks it."""
    package = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed (the extra 'dev' has it).")
    script = files(package).joinpath("axe.min.js").read_text("utf-8")
    # In the page's own world the Content Security Policy would forbid it: evaluate runs beside it.
    page.evaluate(script)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{fault['id']} ({fault['impact']}): {fault['nodes'][0]['html'][:200]}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    ]
