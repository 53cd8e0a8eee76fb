"""``import autoselection``: the names that a notebook needs, and nothing imported before it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import autoselection

#: What takes long to import.
HEAVY = ("numpy", "pydantic", "polars", "pyarrow", "torch", "transformers", "scipy", "sklearn", "rich", "typer", "yaml")
#: What the command line needs to print its help.
LIGHT = ("rich", "typer", "yaml")


def imported_by(program: str) -> set[str]:
    """Names of the top-level modules that a fresh interpreter has imported after a program."""
    shown = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(shown.stdout.splitlines()[-1].split())


def test_the_import_imports_nothing_heavy():
    assert imported_by("import autoselection").isdisjoint(HEAVY)
    assert imported_by("from autoselection import AutoSelectionError; dir(sys.modules['autoselection'])").isdisjoint(
        HEAVY
    )


def test_help_imports_nothing_heavy():
    program = "sys.argv = ['autoselection', '--help']\nfrom autoselection.cli import main\ntry: main()\nexcept SystemExit: pass"
    assert imported_by(program).isdisjoint(set(HEAVY) - set(LIGHT))


def test_a_name_imports_what_it_needs_and_no_more():
    loaded = imported_by("import autoselection as au; au.Pool")
    assert "pyarrow" in loaded and loaded.isdisjoint(("torch", "sklearn", "transformers", "scipy"))


@pytest.mark.parametrize("name", autoselection.__all__)
def test_every_name_is_there(name: str):
    found = getattr(autoselection, name)
    assert found is getattr(autoselection, name) and name in dir(autoselection)
    if name != "__version__":
        assert found.__doc__, "what a notebook's ? shows"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'autoselection' has no attribute 'ingset'"):
        autoselection.ingset


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(autoselection.__file__).read_text(encoding="utf-8"))
    branch = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in branch.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert {*seen, "__version__"} == set(autoselection.__all__)
    for name, home in seen.items():
        assert getattr(import_module(str(home)), name) is getattr(autoselection, name)
