"""Killed at many moments, everything goes on: the same results, nothing evaluated twice, nothing left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from autoselection.activity import FILE as ACTIVITY
from autoselection.demo import model_dir, pool_file, task_file
from autoselection.files import STAMPS_FILE
from autoselection.pool import Pool, ingest
from autoselection.signals import load_table
from autoselection.study import decisions, read_events

pytestmark = pytest.mark.slow

ROWS = 1500
MOMENTS = 10
#: Kept between runs on purpose: locks, and what was found right; and an activity that was cut off, written anew next time.
KEPT = {".lock", STAMPS_FILE, f".{ACTIVITY}.part"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "autoselection", *map(str, arguments)]


def seconds(arguments: list[str]) -> float:
    started = time.monotonic()
    subprocess.run(arguments, check=True, capture_output=True)
    return time.monotonic() - started


def killed_after(arguments: list[str], delay: float) -> None:
    """Run a command and everything it starts, and kill all of it after a while."""
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def moments(whole: float, seed: int) -> list[float]:
    """Delays over the run of a command, most of them behind the start of its interpreter."""
    draw = random.Random(seed)
    return [whole * (0.3 + 0.75 * (n + draw.random()) / MOMENTS) for n in range(MOMENTS)]


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*") if path.name not in KEPT)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_bytes(b"\n".join(pool_file().read_bytes().split(b"\n")[:ROWS]) + b"\n")
    return path


def test_ingest_and_append(rows: Path, tmp_path: Path) -> None:
    more = tmp_path / "more.jsonl"
    lines = pool_file().read_bytes().split(b"\n")[ROWS : 2 * ROWS]
    more.write_bytes(b"\n".join(lines) + b"\n")
    first = command("ingest", rows, "--out", tmp_path / "whole" / "pool")
    second = command("ingest", more, "--out", tmp_path / "whole" / "pool", "--append")
    took = [seconds(first), seconds(second)]
    right = Pool.open(tmp_path / "whole" / "pool")
    out = tmp_path / "killed" / "pool"
    for delay in moments(took[0], 1):
        killed_after(command("ingest", rows, "--out", out), delay)
    ingest([rows], out)
    assert Pool.open(out).row_ids() == right.row_ids()[:ROWS]
    for delay in moments(took[1], 2):
        killed_after(command("ingest", more, "--out", out, "--append"), delay)
        assert len(Pool.open(out)) in (ROWS, 2 * ROWS), "an append is done, or it is not"
    if len(Pool.open(out)) == ROWS:
        ingest([more], out, append=True)
    pool = Pool.open(out)
    pool.verify()
    assert pool.messages() == right.messages() and pool.fingerprint == right.fingerprint
    assert leftovers(out.parent) == []


def test_score(rows: Path, tmp_path: Path) -> None:
    wanted = ("--signals", "lengths,ngram_entropy,repetition,text_hash,minhash")
    tables, took = [], 0.0
    for name in ("whole", "killed"):
        ingest([rows], tmp_path / name / "pool")
        score = command("score", tmp_path / name / "pool", *wanted)
        if name == "killed":
            for delay in moments(took, 3):
                killed_after(score, delay)
        took = seconds(score)
        tables.append(load_table(Pool.open(tmp_path / name / "pool")))
    assert tables[0].keys == tables[1].keys and tables[0].names == tables[1].names
    for column, values in tables[0].columns.items():
        np.testing.assert_array_equal(values, tables[1].columns[column])
    np.testing.assert_array_equal(tables[0].minhash, tables[1].minhash)
    assert leftovers(tmp_path / "killed") == []
    assert not list((tmp_path / "killed").rglob("shards-*"))


@pytest.mark.parametrize("form", ["messages", "hf"])
def test_apply(form: str, rows: Path, tmp_path: Path) -> None:
    ingest([rows], tmp_path / "pool")
    (tmp_path / "all.yaml").write_text("version: 1\nsteps: []\n")

    def apply(out: Path) -> list[str]:
        more = () if form == "messages" else ("--format", "hf")
        return command("apply", tmp_path / "all.yaml", "--pool", tmp_path / "pool", "--out", out, "--overwrite", *more)

    def content(out: Path) -> dict[str, bytes]:
        paths = [out] if out.is_file() else sorted(path for path in out.rglob("*") if path.is_file())
        return {str(path.relative_to(out)): path.read_bytes() for path in paths}

    name = "rows.jsonl" if form == "messages" else "rows"
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    took = seconds(apply(tmp_path / "whole" / name))
    right = content(tmp_path / "whole" / name)
    out = tmp_path / "killed" / name
    for delay in moments(took, 4):
        killed_after(apply(out), delay)
        assert not out.exists() or content(out) == right, "whole or not there"
    subprocess.run(apply(out), check=True, capture_output=True)
    assert content(out) == right and [path.name for path in out.parent.iterdir()] == [name]


@pytest.fixture(scope="module")
def study_file(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    document = {
        "name": "kills",
        "pool": {"files": [str(rows)], "on_contamination": "accept"},
        "model": {"path": str(model_dir())},
        "tasks": [
            {"name": "addition", "dev_limit": 12, "test_limit": 12}
            | {split: str(task_file("addition", split)) for split in ("dev", "test")}
        ],
        "benchmarks_check": "warn",
        "signals": {"signals": ["lengths", "ngram_entropy", "text_hash"]},
        "evaluation": {
            "threads": 1,
            "sft": {"max_steps": 4, "batch_size": 8, "learning_rate": 1e-3, "max_length": 96},
        },
        "search": {"evaluations": 5, "warmup": 2, "batch": 1},
        "executor": {"workers": 1},
        "final": {"full": False},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(document))
    return folder / "study.yaml"


def evaluations(out: Path) -> list[tuple[str, int]]:
    names = {"evaluation": "trial", "incumbent_evaluation": "label", "test": "name"}
    events = read_events(out / "journal.jsonl") if (out / "journal.jsonl").exists() else []
    return [(event[names[event["event"]]], event["seed"]) for event in events if event["event"] in names]


def settled(out: Path) -> list[str]:
    plain = decisions([event for event in read_events(out / "journal.jsonl") if event["event"] != "interruption"])
    return [json.dumps(event, sort_keys=True).replace(str(out), "OUT") for event in plain]


def test_search(study_file: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "killed"
    took = seconds(command("search", study_file, "--out", whole))
    kept: list[tuple[str, int]] = []
    right = evaluations(whole)
    last = max(took, 1.0)
    for number in range(4 * MOMENTS):
        # Every start costs seconds before the first event: kills are spread over what comes behind.
        killed_after(command("search", study_file, "--out", out), last * (0.25 + 0.6 * random.Random(number).random()))
        now = evaluations(out)
        assert now[: len(kept)] == kept and len(set(now)) == len(now), "nothing is lost or made twice"
        kept = now
        if len(kept) == len(right):
            break
    subprocess.run(command("search", study_file, "--out", out), check=True, capture_output=True)
    assert evaluations(out) == right
    assert settled(out) == settled(whole)
    for name in ("best/ids.json", "best/messages.jsonl", "best/recipe.yaml"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert leftovers(out) == []
