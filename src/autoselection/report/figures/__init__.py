"""Plots of the usual forms, each a pure function from numbers to a figure with its table; what several pages draw is drawn here."""

from autoselection.report.figures.bars import bars
from autoselection.report.figures.distributions import distributions, two_distributions
from autoselection.report.figures.flow import Link, flow
from autoselection.report.figures.heat import heat
from autoselection.report.figures.intervals import Interval, intervals
from autoselection.report.figures.parallel import parallel
from autoselection.report.figures.series import Series, lines, points

__all__ = [
    "Interval",
    "Link",
    "Series",
    "bars",
    "distributions",
    "flow",
    "heat",
    "intervals",
    "lines",
    "parallel",
    "points",
    "two_distributions",
]
