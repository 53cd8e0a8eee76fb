"""docs/signals.md lists every option of the signals of this package."""

import re

from pages import ROOT

from autoselection.signals.families import BUILTIN_SIGNALS

#: Options that have a key of the configuration to themselves, such as signals.embedding_model.
WITH_A_KEY = {("action_object_branching", "parser"), ("embeddings", "model"), ("reward", "model"), ("reward", "label")}
WITH_A_KEY |= {("trajectory", "models")}


def test_every_option_is_on_the_page():
    text = (ROOT / "docs" / "signals.md").read_text(encoding="utf-8").partition("## Options")[2]
    listed = set(re.findall(r"(?m)^\| `(\w+)`[^|]*\| `(\w+)` \|", text))
    options = {(signal.name, option) for signal in BUILTIN_SIGNALS for option in signal.options_model.model_fields}
    assert listed == options - WITH_A_KEY
