"""docs/looking-at-rows.md shows the sentence that the program prints for the condition of its example."""

import re

import pytest
from pages import ROOT

from autoselection.errors import ConfigError
from autoselection.inspection import Condition

PAGE = (ROOT / "docs" / "looking-at-rows.md").read_text(encoding="utf-8")


def test_the_fault_is_told_as_the_page_says():
    (shown, condition) = re.search(r"(?m)^    (condition, character \d+ \(at ▸ in '([^']*)'\): .*)$", PAGE).groups()
    with pytest.raises(ConfigError) as told:
        Condition(condition.replace("▸", ""))
    assert str(told.value) == shown


def test_each_sign_of_the_page_compares():
    (row,) = [line for line in PAGE.splitlines() if line.startswith("| `ifd < 0.3`")]
    signs = [sign for sign in re.findall(r"`([^`]+)`", row.split("|")[1]) if "ifd" not in sign]
    assert "==" in signs and len(signs) == 6
    for sign in signs:
        Condition(f"ifd {sign} 0.3")
