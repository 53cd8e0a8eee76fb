"""Axes of lines, and numbers of tables and hovers."""

from __future__ import annotations

import pytest

from autoselection.notebook import number
from autoselection.report.figures import Interval, Series, bars, distributions, intervals, lines, points


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


def test_no_difference_has_one_sign() -> None:
    drawn = intervals("a", "b", [Interval("web", -0.0), Interval("code", -0.5)], x="difference")
    assert [row[1] for row in drawn.numbers.rows] == ["+0", "-0.5"]


def test_large_counts_are_whole_in_every_table_and_hover() -> None:
    told, count, small = "123,456", 123456.0, 0.12345
    one = Series("one", [count], [small], low=[count], high=[count], words=["a point"])
    drawn = [
        bars("a", "b", {"rows": {"web": count}}, x="rows", name="source"),
        lines("a", "b", [one], x="tokens", y="score"),
        points("a", "b", [one], x="rows", y="score"),
        intervals("a", "b", [Interval("web", count, count, count)], x="rows", zero=False),
        distributions("a", "b", [0.0, count], {"rows": [1.0]}, x="tokens"),
    ]
    for figure in drawn:
        cells = [cell for row in figure.numbers.rows for cell in row]
        assert any(told in cell for cell in cells) and not any("e+" in cell for cell in cells), cells
    for figure in (drawn[0], drawn[2], drawn[3], drawn[4]):
        assert any(told in said for said in figure.traces[0]["customdata"])
    assert (number(count), number(12345.0), number(small), number(999.7)) == (told, "12,345", "0.1235", "999.7")
