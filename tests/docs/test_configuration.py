"""The page of all configuration keys is written by the command that it names."""

import pytest
from pages import ROOT

from autoselection.config_text import key_reference
from autoselection.signals.registry import SignalRegistry


def test_the_page_of_all_keys_is_what_the_models_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoselection.plugins.entry_points", lambda **_: ())  # packages here may add sections
    monkeypatch.setattr("autoselection.config_text.default_registry", SignalRegistry)  # or options of signals
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == key_reference(), "write it anew: autoselection config --keys > docs/configuration.md"
