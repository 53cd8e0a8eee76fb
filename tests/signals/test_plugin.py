"""The example plugin, installed as pip installs it, and used by the command line in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import autoselection

PLUGIN = Path(__file__).resolve().parents[2] / "examples" / "plugin"
ROWS = [
    {"id": "code", "prompt": "How? Why?", "completion": "So:\n```\na = 1\nb = 2\n```\nDone."},
    {"id": "prose", "prompt": "Tell me.", "completion": "No code here."},
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugin and its entry points, as an installer writes it."""
    pytest.importorskip("hatchling", reason="the plugin's build backend")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(out), str(PLUGIN)], check=True, capture_output=True)
    return out


def run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(Path(autoselection.__file__).parents[1])])
    return subprocess.run(
        [sys.executable, "-m", "autoselection", *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def document(result: subprocess.CompletedProcess[str]) -> Any:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def pool_dir(tmp_path: Path) -> Path:
    from autoselection.pool import ingest

    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return ingest([file], tmp_path / "pool").path


def test_the_plugin_scores_rows_and_its_columns_are_columns(site: Path, pool_dir: Path) -> None:
    report = document(run(site, "score", str(pool_dir), "--signals", "code_share,tokens", "--json"))
    assert report["signals"]["code_share"]["params"] == {"fence": "```"}
    assert report["signals"]["code_share"]["missing"] == {"code_share": 0, "n_questions": 0}
    code = "from autoselection.pool import Pool; from autoselection.signals import load_table; import sys, json; "
    code += "t = load_table(Pool.open(sys.argv[1])); "
    code += "print(json.dumps([t.column(n).tolist() for n in ('code_share', 'n_questions')]))"
    path = os.pathsep.join([str(site), str(Path(autoselection.__file__).parents[1])])
    printed = subprocess.run(
        [sys.executable, "-c", code, str(pool_dir)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(printed.stdout) == [[0.5, 0.0], [2.0, 0.0]]
    stats = document(run(site, "pool", "stats", str(pool_dir), "--json"))
    assert stats["signals"]["n_questions"]["mean"] == 1.0


def test_it_is_known_to_suggestions_only_while_installed(site: Path, pool_dir: Path) -> None:
    misspelt = run(site, "score", str(pool_dir), "--signals", "code_shar")
    assert misspelt.returncode == 4
    assert "did you mean 'code_share'?" in " ".join(misspelt.stderr.split())
    absent = run(site.parent, "score", str(pool_dir), "--signals", "code_share")
    assert absent.returncode == 4
    assert "There is no signal 'code_share'" in absent.stderr


def test_a_broken_plugin_is_named(site: Path, pool_dir: Path, tmp_path: Path) -> None:
    info = tmp_path / "site" / "broken-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[autoselection.signals]\nlost = nowhere.to.be.found:Signal\n")
    result = run(tmp_path / "site", "score", str(pool_dir), "--signals", "tokens")
    assert result.returncode == 4
    assert "The signal 'lost' (nowhere.to.be.found:Signal) cannot be imported" in " ".join(result.stderr.split())
