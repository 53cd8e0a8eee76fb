"""The package's layers: a module imports only from its left, and no modules import one another in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import autoselection

ROOT = Path(autoselection.__file__).parent

#: Modules and packages of the top level, left to right. What is new gets a place here: as far left as it can stand.
LAYERS = (
    *("_version", "former_modules", "errors", "system", "wording", "plugins", "seeds", "schema", "validation"),
    *("secret", "server", "segmentation", "conversation", "hashing", "marks"),
    *(
        "terminal",
        "markup",
        "documents",
        "activity",
        "progress_bar",
        "progress",
        "notebook",
        "files",
        "jsonl",
        "row_numbers",
        "statistics",
    ),
    *(
        "pool",
        "language",
        "tasks",
        "signals",
        "operators",
        "recipes",
        "inspection",
        "search",
        "mixture",
        "llm",
        "export",
    ),
    *("evaluation", "executors", "demo", "testing", "former_keys", "config", "config_text", "ledger", "study"),
    *(
        "diagnose",
        "compare",
        "reproduce",
        "report",
        "watch",
        "tracking",
        "agents",
        "scaffold",
        "doctor",
        "autoselection",
        "cli",
        "__main__",
    ),
)

Edges = Mapping[str, frozenset[str]]


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_module(path): path for path in sorted(ROOT.rglob("*.py"))}


def _imports(tree: ast.AST, annotations: bool) -> Iterator[str]:
    """What is imported anywhere in a file, within functions too; ``annotations``: also what only type checkers read."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from (f"{module}.{name.name}" if f"{module}.{name.name}" in FILES else module for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif annotations or not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            yield from _imports(node, annotations)


def _edges(annotations: bool) -> Edges:
    trees = {module: ast.parse(path.read_text("utf-8")) for module, path in FILES.items()}
    return {module: frozenset(_imports(tree, annotations)) & FILES.keys() for module, tree in trees.items()}


def _reached(edges: Edges, start: str) -> set[str]:
    found, ahead = set[str](), [start]
    while ahead:
        new = edges[ahead.pop()] - found
        found |= new
        ahead += new
    return found


def _circles(edges: Edges) -> set[frozenset[str]]:
    """Modules that reach one another, themselves included."""
    reached = {module: _reached(edges, module) for module in edges}
    inside = [module for module in edges if module in reached[module]]
    return {frozenset(other for other in reached[module] if module in reached[other]) for module in inside}


def _layer(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def test_every_module_has_a_layer() -> None:
    found = {_layer(module) for module in FILES}
    assert found - set(LAYERS) == set(), "give it a place in LAYERS"
    assert set(LAYERS) - found == set(), "there is no such module any more"


def test_nothing_imports_from_its_right() -> None:
    edges = _edges(annotations=True)
    pairs = [(module, other) for module in edges for other in sorted(edges[module])]
    assert [pair for pair in pairs if LAYERS.index(_layer(pair[0])) < LAYERS.index(_layer(pair[1]))] == []


def _named(tree: ast.AST) -> Iterator[str]:
    """Modules that a file imports or starts by a name that stands in it as text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "module_command"):
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and arg.value in FILES)


def test_only_what_is_known_reaches_to_its_right_by_a_name() -> None:
    pairs = [(module, other) for module, path in FILES.items() for other in _named(ast.parse(path.read_text("utf-8")))]
    assert [pair for pair in pairs if LAYERS.index(_layer(pair[0])) < LAYERS.index(_layer(pair[1]))] == [
        ("autoselection.notebook", "autoselection.report.plots"),
        ("autoselection.study.tracked", "autoselection.tracking"),
    ]


@pytest.mark.parametrize("annotations", [False, True], ids=["what runs", "annotations too"])
def test_no_modules_import_one_another_in_a_circle(annotations: bool) -> None:
    assert [sorted(circle) for circle in _circles(_edges(annotations))] == []
