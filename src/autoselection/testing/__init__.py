"""Contracts as functions: what the tests of a package that adds an operator, a signal, a trainer, … call.

Each ``check_…`` takes what was added, tries it as AutoSelection would, and raises AssertionError with a sentence that says
which rule was broken, and with what. AutoSelection's own are tested by the same functions. No test framework is needed::

    from autoselection.testing import check_operator

    def test_source_cap_keeps_the_rules_of_operators():
        check_operator(SourceCap)
"""

from __future__ import annotations

from autoselection.testing.engines import check_engine
from autoselection.testing.executors import check_executor
from autoselection.testing.operators import check_operator
from autoselection.testing.search import check_proposer, check_ranker
from autoselection.testing.signals import check_signal
from autoselection.testing.tables import signal_table
from autoselection.testing.trainers import check_trainer

__all__ = [
    "check_engine",
    "check_executor",
    "check_operator",
    "check_proposer",
    "check_ranker",
    "check_signal",
    "check_trainer",
    "signal_table",
]
