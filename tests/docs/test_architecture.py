"""The tables of docs/architecture.md have a row for every package and module at the top."""

import re

from pages import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "src" / "autoselection"


def named_in_rows(heading: str) -> set[str]:
    """What stands in backquotes in the first cells of the table below a heading or head row."""
    table = PAGE.partition(heading)[2].partition("\n\n")[0]
    return {
        name for row in table.splitlines() for name in re.findall(r"`([^`]+)`", row.split("|")[1] if "|" in row else "")
    }


def test_every_package_has_a_row():
    there = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    assert len(there) > 20 and named_in_rows("| folder | holds | begin with |") == there


def test_every_single_module_has_a_row():
    there = {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("_")}
    assert named_in_rows("| single modules | are for |") == there
