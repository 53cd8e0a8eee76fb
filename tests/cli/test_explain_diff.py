"""``explain`` and ``diff`` of recipes and lists of ids on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Outcome

Command = Callable[..., Outcome]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "half.yaml"
    path.write_text("steps:\n- {operator: length_filter, params: {length: n_response_characters, fraction: 0.5}}\n")
    return path


def test_a_row_is_explained(command: Command, pool: Path, recipe: Path) -> None:
    told = command("explain", recipe, "7", "6", "--pool", pool)
    assert told.code == 0 and "Row 7: " in told.out and "Step 1, length_filter(" in told.out
    assert "The recipe selects it." in told.out
    document = json.loads(command("explain", recipe, "7", "--pool", pool, "--json").out)
    assert document["rows"][0]["fate"]["dropped_step"] == 1 and document["warnings"] == []


def test_a_recipe_and_a_list_of_ids_are_compared(command: Command, pool: Path, recipe: Path, tmp_path: Path) -> None:
    command("materialize", recipe, "--pool", pool, "--ids", tmp_path / "ids.json")
    ids = json.loads((tmp_path / "ids.json").read_text())
    (tmp_path / "some.json").write_text(json.dumps(ids[:20]))
    found = json.loads(command("diff", recipe, tmp_path / "some.json", "--pool", pool, "--json").out)
    assert len(found["both"]) == 20 and len(found["only_first"]) == len(ids) - 20 and found["only_second"] == []
    told = command("diff", tmp_path / "some.json", recipe, "--pool", pool)
    assert told.code == 0 and "20 rows are in both, 0 only in" in told.out and "Means of signals" in told.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "text-only", "0"], "text-only: name the pool with --pool; only a study has one of its own."),
        (["explain", "text-onyl", "0", "--pool", "POOL"], "no ready recipe 'text-onyl'; did you mean 'text-only'?"),
        (["explain", "text-only", "r99", "--pool", "POOL"], "no row with the id 'r99'"),
        (["explain", "IDS", "0", "--pool", "POOL"], "is a list of ids: name a recipe or a study"),
        (["diff", "text-only", "nowhere/else", "--pool", "POOL"], "no such recipe, study or file of ids"),
        (["diff", "text-only", "POOL", "--pool", "POOL"], "is a folder, and no study"),
        (["diff", "text-only", "IDS", "--pool", "POOL"], "has no row with the id 'a'"),
    ],
)
def test_a_fault_is_one_sentence(command: Command, pool: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "ids.json").write_text('["a"]')
    places = {"POOL": str(pool), "IDS": str(tmp_path / "ids.json")}
    if arguments[1] == "IDS":
        first = json.loads(command("pool", "show", pool, "0", "--json").out)["rows"][0]["id"]
        (tmp_path / "ids.json").write_text(json.dumps([first]))
    told = command(*(places.get(word, word) for word in arguments), "--json")
    assert told.code in (2, 3, 5, 7), told
    assert said in json.loads(told.out)["error"]["message"]
