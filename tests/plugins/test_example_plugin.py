"""The tests of ``examples/plugin`` pass as the author of a package runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[2] / "examples" / "plugin"


@pytest.mark.slow
def test_the_example_plugin_passes_its_own_tests(tmp_path: Path):
    paths = os.pathsep.join([str(PLUGIN / "src"), *sys.path])
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(PLUGIN),
            str(PLUGIN / "tests"),
        ],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_the_operator_in_the_readme_keeps_its_contract():
    blocks = re.findall(r"```python\n(.*?)```", (PLUGIN / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2 and "check_operator(CodeFilter" in blocks[1]
    exec("\n".join(blocks), {"__name__": "readme"})
