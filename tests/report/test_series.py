"""Axes of lines."""

from __future__ import annotations

import pytest

from autoselection.report.figures.series import Series, lines


@pytest.mark.parametrize(
    ("x", "tick"), [([1, 2, 3], 1), ([1.0, 2.0, 6.0], 1), ([1, 1.5], None), ([1, 40], None), ([], None)]
)
def test_few_counts_have_no_ticks_between_them(x: list[float], tick: int | None) -> None:
    figure = lines("a", "b", [Series("one", x, [0.0] * len(x))], x="evaluations", y="score")
    assert figure.layout["xaxis"].get("dtick") == tick
    assert (
        "dtick"
        not in lines("a", "b", [Series("one", x, [0.0] * len(x))], x="x", y="y", logarithmic=True).layout["xaxis"]
    )
