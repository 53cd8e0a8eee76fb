"""Files of the repository that pages name exist: in the repository, or in the package."""

import re
import subprocess

import pytest
from pages import ROOT, prose

CODE = ("CONTRIBUTING.md", "docs/architecture.md", "docs/decisions.md", "docs/signals.md", "docs/training.md")
CODE += ("docs/evaluation.md", "docs/executors.md", "docs/search.md", "docs/costs.md", "examples/plugin/README.md")


def ends_of_files():
    """Every file that is tracked, and all that may be left off in front of its name."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    return {"/".join(path.split("/")[start:]) for path in tracked for start in range(path.count("/") + 1)}


@pytest.mark.parametrize("page", CODE)
def test_the_source_files_that_a_page_names_exist(page):
    known = ends_of_files() or pytest.skip("not a checkout of git")
    named = re.findall(r"`([\w./-]+\.(?:py|toml))`", prose((ROOT / page).read_text(encoding="utf-8")))
    assert not sorted(set(named) - known)
