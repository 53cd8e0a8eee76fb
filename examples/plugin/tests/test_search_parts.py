"""The ranker and the proposer keep their contracts."""

from __future__ import annotations

from autoselection_plugin_example.proposer import LastStep
from autoselection_plugin_example.ranker import LinearRanker

from autoselection.testing import check_proposer, check_ranker


def test_the_linear_ranker_keeps_the_contract_of_rankers():
    check_ranker(LinearRanker)


def test_last_step_keeps_the_contract_of_proposers():
    check_proposer(LastStep)
