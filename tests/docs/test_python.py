"""Python on the pages compiles, and what it imports is there."""

import ast
import importlib

import pytest
from pages import PAGES, ROOT, code_blocks

import autoselection
from autoselection.testing import check_signal


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_imports_from_the_package_is_there(page):
    missing = []
    for language, block in code_blocks(page.read_text(encoding="utf-8")):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("autoselection"):
                module = importlib.import_module(node.module)
                missing += [f"{node.module}.{name.name}" for name in node.names if not hasattr(module, name.name)]
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "au":
                missing += [] if hasattr(autoselection, node.attr) else [f"autoselection.{node.attr}"]
    assert not missing


def test_the_signal_written_out_on_a_page_keeps_its_contract():
    (code,) = [
        block for _, block in code_blocks((ROOT / "docs/signals.md").read_text()) if "class Exclamations" in block
    ]
    written = {"__name__": "docs.signals"}
    exec(compile(code, "signals.md", "exec"), written)
    check_signal(written["Exclamations"])
