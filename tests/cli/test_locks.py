"""``--lock``, ``--locked``, ``--dropped`` and ``--why`` of materialize and apply."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from command_line import Outcome

Command = Callable[..., Outcome]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "half.yaml"
    steps = [
        {"operator": "length_filter", "params": {"length": "n_response_characters", "fraction": 0.7}},
        {"operator": "truncate_samples", "params": {"fraction": 0.5}},
    ]
    path.write_text(yaml.safe_dump({"steps": steps}))
    return path


@pytest.fixture
def lock(command: Command, pool: Path, recipe: Path, tmp_path: Path) -> Path:
    path = tmp_path / "half.lock.yaml"
    told = command("materialize", recipe, "--pool", pool, "--seed", "5", "--lock", path, "--ids", tmp_path / "ids.json")
    assert told.code == 0
    return path


def test_a_lock_selects_the_same_rows_elsewhere(command: Command, pool: Path, lock: Path, tmp_path: Path) -> None:
    shutil.copytree(pool, tmp_path / "elsewhere")
    told = command("apply", "--locked", lock, "--pool", tmp_path / "elsewhere", "--out", tmp_path / "out.jsonl")
    assert told.code == 0, told
    written = [json.loads(line)["id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert written == json.loads((tmp_path / "ids.json").read_text())


def test_raw_rows_are_enough_for_a_lock(command: Command, rows: Path, lock: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("AUTOSELECTION_CACHE", str(tmp_path / "cache"))
    told = command("materialize", "--locked", lock, "--pool", rows, "--json")
    assert told.code == 0 and json.loads(told.out)["ordered_hash"] == yaml.safe_load(lock.read_text())["ordered_hash"]


def test_a_pool_that_grew_is_taken_as_it_was(command: Command, pool: Path, lock: Path, tmp_path: Path) -> None:
    shutil.copytree(pool, tmp_path / "grown")
    (tmp_path / "more.jsonl").write_text(
        json.dumps({"prompt": "new", "response": "longer " * 40, "source": "a"}) + "\n"
    )
    assert command("ingest", tmp_path / "more.jsonl", "--out", tmp_path / "grown", "--append").code == 0
    told = command("materialize", "--locked", lock, "--pool", tmp_path / "grown", "--json")
    assert told.code == 0 and json.loads(told.out)["ordered_hash"] == yaml.safe_load(lock.read_text())["ordered_hash"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seed", "6"], "the seed is 6, locked 5"),
        (["text-only"], "the recipe is another one"),
        (["--lock", "LOCK"], "exists"),
        (["--pool", "OTHER"], "the pool"),
    ],
)
def test_what_differs_is_named(
    command: Command, pool: Path, lock: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    (tmp_path / "other.jsonl").write_text(json.dumps({"prompt": "a", "response": "b"}) + "\n")
    command("ingest", tmp_path / "other.jsonl", "--out", tmp_path / "other")
    places = {"LOCK": str(lock), "OTHER": str(tmp_path / "other")}
    given = [places.get(word, word) for word in options]
    own = [] if "--pool" in options else ["--pool", pool]
    told = command("apply", "--locked", lock, "--out", tmp_path / "out.jsonl", *own, *given, "--json")
    assert told.code in (2, 5) and said in json.loads(told.out)["error"]["message"]
    assert not (tmp_path / "out.jsonl").exists()


def test_neither_recipe_nor_lock(command: Command, pool: Path) -> None:
    told = command("materialize", "--pool", pool, "--json")
    assert told.code == 2 and "Name a recipe, or a lock file" in json.loads(told.out)["error"]["message"]


def test_rows_left_out_say_why(command: Command, pool: Path, recipe: Path, tmp_path: Path) -> None:
    told = command("materialize", recipe, "--pool", pool, "--dropped", tmp_path / "rest.jsonl", "--why", "--json")
    document = json.loads(told.out)
    rest = [json.loads(line) for line in (tmp_path / "rest.jsonl").read_text().splitlines()]
    assert told.code == 0 and len(rest) == 60 - document["rows"] == document["dropped"]["rows"]
    cut = [row for row in rest if row["dropped_step"] == 1]
    assert cut and all(row["dropped_margin"] <= 0 and "n_response_characters" in row["dropped_why"] for row in cut)
    assert [by["step"] for by in document["why"]] == [1, 2]
    assert [by["rows"] for by in document["why"]] == [step["dropped"] for step in document["lineage"]]
    assert all(row["fate"]["dropped_step"] == by["step"] for by in document["why"] for row in by["examples"])


def test_why_is_shown_in_tables(command: Command, pool: Path, recipe: Path, tmp_path: Path) -> None:
    told = command("apply", recipe, "--pool", pool, "--out", tmp_path / "out.jsonl", "--why")
    assert told.code == 0 and "Step 1, length_filter(" in told.out and "drawn at random it has place" in told.out
