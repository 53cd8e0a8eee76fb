"""docs/install.md has a row for every extra that there is, and none for another."""

import re

from pages import ROOT


def test_the_table_of_extras_is_complete():
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = declared.split("[project.optional-dependencies]")[1].split("\n[")[0]
    extras = set(re.findall(r"(?m)^(\w+) = \[", section))
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert extras == {name for row in rows for name in re.findall(r"`(\w+)`", row)}
