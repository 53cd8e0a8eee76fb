"""``autoselection new`` writes packages whose own tests pass, and overwrites nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from autoselection.errors import ConfigError
from autoselection.scaffold import KINDS, write_plugin

NAMES = {"operator": "short_rows", "signal": "shouting", "trainer": "plain"}


def test_what_is_written_passes_its_own_tests(tmp_path: Path):
    folders = [write_plugin(kind, NAMES[kind], tmp_path / kind) for kind in KINDS]
    paths = os.pathsep.join([*(str(folder / "src") for folder in folders), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", str(tmp_path)]
        + [str(folder / "tests") for folder in folders],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "6 passed" in done.stdout, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("kind", KINDS)
def test_the_package_registers_what_it_adds_and_is_well_formed(kind, tmp_path: Path):
    name = NAMES[kind]
    folder = write_plugin(kind, name, tmp_path / "it")
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == [
        "README.md",
        "pyproject.toml",
        f"src/autoselection_{name}/__init__.py",
        f"src/autoselection_{name}/{name}.py",
        f"tests/test_{name}.py",
    ]
    project = (folder / "pyproject.toml").read_text()
    point = re.search(rf'\[project.entry-points."autoselection.{kind}s"\]\n{name} = "([\w.]+):(\w+)"', project)
    assert point and f"class {point[2]}(" in (folder / "src" / (point[1].replace(".", "/") + ".py")).read_text()
    assert "${" not in "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    linted = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--isolated",
            "--select",
            "E,F,B,UP",
            "--line-length",
            "120",
            str(folder),
        ],
        capture_output=True,
        text=True,
    )
    assert linted.returncode == 0 or "No module named" in linted.stderr, linted.stdout


def test_nothing_is_overwritten(tmp_path: Path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ConfigError, match="mine exists, and nothing is overwritten: name another folder with --out"):
        write_plugin("operator", "short_rows", tmp_path / "mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="nothing is overwritten"):
        write_plugin("operator", "short_rows", tmp_path / "link")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "mine"]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        ("operator", "Short-Rows", "'Short-Rows' cannot be the name of a operator: use up to 40 small letters"),
        ("operator", "../x", "cannot be the name"),
        ("operator", "", "cannot be the name"),
        ("signal", "x" * 41, "cannot be the name"),
        ("signal", "class", "'class' is a word of Python's"),
        ("operator", "truncate_samples", "There is a operator called 'truncate_samples' already"),
        ("signal", "ifd", "There is a signal called 'ifd' already"),
        ("signal", "n_tokens", "There is a signal called 'n_tokens' already"),
        ("signal", "shard", "The class of 'shard' would be Shard, a name that the package uses"),
        ("signal", "pool", "would be Pool, a name that the package uses"),
        ("operator", "outcome", "would be Outcome, a name that the package uses"),
        ("operator", "step", "would be Step, a name that the package uses"),
        ("trainer", "trained", "would be Trained, a name that the package uses"),
        ("trainer", "value_error", "would be ValueError, a name that the package uses"),
        ("signal", "turns", "Every row has a column 'turns', which the signal would hide behind"),
        ("trainer", "trl", "There is a trainer called 'trl' already"),
    ],
)
def test_a_name_that_cannot_be_used_is_one_sentence(kind, name, why, tmp_path: Path):
    with pytest.raises(ConfigError, match=re.escape(why.replace(" a operator", " an operator"))) as refused:
        write_plugin(kind, name, tmp_path / "it")
    assert "\n" not in str(refused.value) and not list(tmp_path.iterdir())
