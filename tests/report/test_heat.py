"""Colours of a table: one outlier does not leave the other cells pale."""

from __future__ import annotations

from autoselection.report.figures.heat import heat
from autoselection.report.page import Figure


def _drawn(values: list[list[float | None]]) -> Figure:
    names, columns = [f"t{n}" for n in range(len(values))], [f"task {n}" for n in range(len(values[0]))]
    words = [["" if value is None else f"{value:.2f}" for value in row] for row in values]
    return heat("Tasks", "By colour.", names, columns, values, words, by="difference", heading="trial", middle=0.0)


def test_one_outlier_does_not_set_the_scale() -> None:
    usual = [[0.1 * (n % 3 - 1), 0.2 * (n % 2), None] for n in range(20)]
    plain = _drawn(usual)
    assert plain.traces[0]["zmid"] == 0.0 and "zmin" not in plain.traces[0] and plain.told == "By colour."
    drawn = _drawn([*usual, [-3.5, 0.0, None]])
    trace = drawn.traces[0]
    assert (trace["zmin"], trace["zmax"]) == (-0.2, 0.2) and trace["z"][-1][0] == -3.5
    assert drawn.told == "By colour. Beyond 0.2 it stays the same."


def test_cells_without_a_value_or_without_a_difference_have_a_scale() -> None:
    for values in ([[None]], [[0.0, 0.0]]):
        assert "zmin" not in _drawn(values).traces[0]
