"""``apply`` and ``materialize``: what is read is never replaced, and outputs appear together or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Outcome

from autoselection.pool import Pool, ingest

Command = Callable[..., Outcome]


@pytest.fixture
def raw(rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A raw file of the user's own, with its pool ``p`` beside it, named as from its folder."""
    monkeypatch.setenv("AUTOSELECTION_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    shutil.copy(rows, "raw.jsonl")
    ingest([Path("raw.jsonl")], Path("p"))
    Path("recipe.yaml").write_text(
        "steps:\n- {operator: length_filter, params: {length: n_response_characters, fraction: 0.5, direction: high}}\n"
    )
    return Path("raw.jsonl")


@pytest.mark.parametrize("option", ["--out", "--dropped", "--report"])
@pytest.mark.parametrize("pool", ["raw.jsonl", "p"])
@pytest.mark.parametrize("name", ["raw.jsonl", "other/../raw.jsonl", "link.jsonl", "hard.jsonl"])
def test_the_raw_rows_are_never_replaced(option: str, pool: str, name: str, raw: Path, command: Command) -> None:
    Path("other").mkdir()
    Path("link.jsonl").symlink_to("raw.jsonl")
    Path("hard.jsonl").hardlink_to("raw.jsonl")
    before = raw.read_bytes()
    places = {"--out": "out.jsonl", option: name}
    if option == "--report":
        places["--against"] = "p"
    arguments = [word for entry in places.items() for word in entry]
    told = command("apply", "text-only", "--pool", pool, *arguments, "--overwrite", "--json")
    assert told.code == 2 and f"{option}: {name}" in told.error["message"]
    assert raw.read_bytes() == before and not Path("out.jsonl").exists()


def test_every_file_besides_the_rows_is_named(raw: Path, command: Command) -> None:
    pytest.importorskip("plotly")
    told = command("materialize", "text-only", "--pool", "p", "--ids", "i.json", "--html", "h.html", "--lock", "l.yaml")
    assert told.code == 0
    for said in ("Wrote the ids to i.json.", "Wrote the page to h.html.", "Wrote the lock to l.yaml."):
        assert said in told.out
    changes = ("--against", "p", "--report", "r.json")
    told = command("apply", "text-only", "--pool", "p", "--out", "o.jsonl", "--lock", "m.yaml", *changes)
    assert told.code == 0 and "Wrote the lock to m.yaml." in told.out and "Wrote what changed to r.json." in told.out
    told = command("materialize", "text-only", "--pool", "p", "--ids", "j.json", "--json")
    assert json.loads(told.out)["rows"] and "Wrote" not in told.out


def test_a_moved_raw_file_of_a_pool_is_known_by_name_and_size(raw: Path, command: Command) -> None:
    Path("elsewhere").mkdir()
    Path("raw.jsonl").rename("elsewhere/raw.jsonl")
    told = command("apply", "text-only", "--pool", "p", "--out", "elsewhere/raw.jsonl", "--overwrite")
    assert told.code == 2


@pytest.mark.parametrize("name", ["recipe.yaml", "p/skipped.jsonl", "p/manifest.json", "again.json"])
def test_recipes_pools_and_what_is_compared_with_are_never_replaced(name: str, raw: Path, command: Command) -> None:
    shutil.copy(raw, "again.jsonl")
    Path("again.jsonl").rename("again.json")
    Path("again.json").write_text(json.dumps([json.loads(line) for line in raw.read_text().splitlines()]))
    before = Path(name).read_bytes()
    told = command(
        *("apply", "recipe.yaml", "--pool", "p", "--out", "o.jsonl", "--against", "again.json"),
        *("--report", name, "--overwrite"),
    )
    assert told.code == 2 and Path(name).read_bytes() == before and not Path("o.jsonl").exists()
    if name != "recipe.yaml":
        return
    assert command("materialize", "recipe.yaml", "--pool", "p", "--ids", name).code == 2
    assert Path(name).read_bytes() == before


def test_a_dataset_folder_that_was_read_is_never_replaced(raw: Path, command: Command) -> None:
    assert command("apply", "text-only", "--pool", "p", "--out", "data-set").code == 0
    before = sorted(Path("data-set").rglob("*"))
    told = command("apply", "recipe.yaml", "--pool", "data-set", "--out", "data-set", "--overwrite")
    assert told.code == 2 and sorted(Path("data-set").rglob("*")) == before
    ingest([Path("data-set")], Path("q"))
    assert command("apply", "recipe.yaml", "--pool", "q", "--out", "data-set", "--overwrite").code == 2


@pytest.mark.parametrize("out", ["o.jsonl", "o", "o.parquet"])
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("failing", ["--dropped", "--report"])
def test_outputs_appear_together_or_not_at_all(
    out: str, there: bool, failing: str, raw: Path, command: Command
) -> None:
    if there:
        assert command("apply", "text-only", "--pool", "p", "--out", out).code == 0
    Path("file").write_text("no folder")
    before = {path: path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file() and "p" not in path.parts}
    extra = ["--against", "p", "--dropped", "new/d.jsonl"] if failing == "--report" else []
    told = command(
        *("apply", "recipe.yaml", "--pool", "p", "--out", out, "--overwrite", *extra, failing, "file/x.jsonl")
    )
    assert told.code == 5, told.err
    after = {path: path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file() and "p" not in path.parts}
    assert after == before and not Path("new").exists()
    told = command("apply", "recipe.yaml", "--pool", "p", "--out", out, "--overwrite", "--dropped", "new/d.jsonl")
    assert told.code == 0 and len(Path("new/d.jsonl").read_text().splitlines()) == 30
    ingest([Path(out)], Path("q"))
    assert len(Pool.open(Path("q"))) == 30


@pytest.mark.parametrize("failing", ["--dropped", "--lock", "--html", "--ids"])
def test_outputs_of_materialize_appear_together_or_not_at_all(failing: str, raw: Path, command: Command) -> None:
    Path("file").write_text("no folder")
    outputs = {"--ids": "new/i.json", "--lock": "l.lock.yaml", "--dropped": "new/d.jsonl", "--html": "s.html"}
    before = {path: path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file() and "p" not in path.parts}
    asked = [word for entry in (outputs | {failing: "file/x.jsonl"}).items() for word in entry]
    told = command("materialize", "recipe.yaml", "--pool", "p", *asked)
    assert told.code == 5, told.err
    after = {path: path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file() and "p" not in path.parts}
    assert after == before and not Path("new").exists()


@pytest.mark.parametrize("columns", [",", " , ", ""])
def test_columns_that_name_nothing_are_refused(columns: str, raw: Path, command: Command) -> None:
    told = command("apply", "recipe.yaml", "--pool", "p", "--out", "o.jsonl", "--columns", columns)
    assert told.code == 2 and "names no column" in told.err


@pytest.mark.parametrize("form", ["sharegpt", "axolotl"])
def test_columns_are_never_asked_for_in_vain(form: str, raw: Path, command: Command) -> None:
    asked = ("apply", "recipe.yaml", "--pool", "p", "--out", "new", "--format", form, "--columns", "_line")
    told = command(*asked)
    assert told.code == 2 and "has no columns of the data's own (_line)" in told.err and not Path("new").exists()
    told = command(*asked, "--dropped", "d.jsonl")
    assert told.code == 0 and all("_line" in json.loads(line) for line in Path("d.jsonl").read_text().splitlines())
    assert command(*asked[:-1], "none", "--overwrite").code == 0
