"""What a package tests of the signals that it adds."""

from __future__ import annotations

import pytest
from autoselection_plugin_example.signals.code_share import CodeShare
from autoselection_plugin_example.signals.confidence import Confidence
from autoselection_plugin_example.signals.repeated_characters import RepeatedCharacters
from autoselection_plugin_example.signals.same_prompt import SamePrompt

from autoselection import demo
from autoselection.testing import check_signal


@pytest.mark.parametrize("kind", [CodeShare, SamePrompt, RepeatedCharacters])
def test_a_signal_keeps_the_contract(kind: type) -> None:
    check_signal(kind)


def test_a_signal_of_the_base_model_keeps_the_contract() -> None:
    pytest.importorskip("torch")
    check_signal(Confidence, model=demo.model_dir())
