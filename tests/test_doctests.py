"""The examples in the docstrings of the public API run as they are written."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path

import pytest

import autoselection

#: What has none: settings, whose keys docs/configuration.md has, errors, and what needs a model.
WITHOUT = {"AutoSelectionError", "IngestConfig", "SearchConfig", "SignalsConfig", "Study", "run_study", "__version__"}
NAMES = [name for name in autoselection.__all__ if name not in WITHOUT]


def examples(name: str) -> list[doctest.DocTest]:
    """The examples of a public name, and of its methods."""
    found = getattr(autoselection, name)
    own = vars(inspect.getmodule(found))
    return [test for test in doctest.DocTestFinder().find(found, name, globs=dict(own)) if test.examples]


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_public_name_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tests = examples(name)
    assert tests, f"{name} has no example in its docstring"
    runner = doctest.DocTestRunner(verbose=False)
    said: list[str] = []
    for test in tests:
        runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)
