"""``autoselection init``: what is named stands in the configuration in such a way that it is found again from there."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.cli._outcome import run
from autoselection.config import StudyConfig, load_config
from autoselection.config_text import key_list
from autoselection.errors import AutoSelectionError, ConfigError, PoolError
from autoselection.pool import ingest
from autoselection.pool.addresses import shown


@pytest.fixture(autouse=True)
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Raw files and two pools of them, in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("shards").mkdir()
    for name in ("rows.jsonl", "shards/a.jsonl", "shards/b.jsonl"):
        Path(name).write_text('{"prompt": "Is it late?", "response": "Yes."}\n')
    for pool in ("pool", "other"):
        ingest([Path("rows.jsonl")], Path(pool))
    return tmp_path / "rows.jsonl"


def _init(path: str, *arguments: str) -> StudyConfig:
    done = CliRunner().invoke(app, ["init", path, *arguments])
    if isinstance(done.exception, AutoSelectionError):
        raise done.exception
    assert done.exit_code == 0
    return load_config(Path(path))


def test_raw_rows_are_named_as_for_every_command(tmp_path: Path) -> None:
    named = ("rows.jsonl", "shards/*.jsonl", "s3://b/a.jsonl", "https://h/*.jsonl.gz", "org/name:part@main")
    files = _init("in/study.yaml", *(word for name in named for word in ("--pool", name))).pool.files
    assert [*map(shown, files)] == [
        str(tmp_path / "rows.jsonl"),
        str(tmp_path / "shards" / "*.jsonl"),
        "s3://b/a.jsonl",
        "https://h/*.jsonl.gz",
        "hf://datasets/org/name:part@main",
    ]
    with pytest.raises(PoolError, match=r"The pattern shards/\*\.csv matches no file"):
        _init("b.yaml", "--pool", "shards/*.csv")
    with pytest.raises(ConfigError, match="--pool s3://b/a: leave user and password out of the address") as told:
        _init("b.yaml", "--pool", "s3://me:hunter2@b/a")
    assert "hunter2" not in str(told.value) and not Path("b.yaml").exists()


def test_what_init_wrote_takes_each_budget_of_training_and_a_second_one_is_told_how_to_leave() -> None:
    _init("study.yaml")
    for budget in ("max_tokens=5000000", "max_steps=20", "epochs=2"):
        name, _, value = budget.partition("=")
        sft = load_config(Path("study.yaml"), [f"evaluation.sft.{budget}"]).evaluation.sft
        assert getattr(sft, name) == int(value)
    both = ["evaluation.sft.epochs=2", "evaluation.sft.max_steps=20"]
    with pytest.raises(ConfigError, match=r"\(--set evaluation\.sft\.epochs=null\)"):
        load_config(Path("study.yaml"), both)
    assert load_config(Path("study.yaml"), [*both, "evaluation.sft.epochs=null"]).evaluation.sft.max_steps == 20


def test_full_writes_every_key_of_the_reference_but_those_that_it_says_it_leaves_out() -> None:
    assert _init("study.yaml", "--full", "--task", str(_task()))
    document = yaml.safe_load(Path("study.yaml").read_text(encoding="utf-8"))
    keys = [one["key"] for one in key_list()]
    assert {"tasks[].fewshot", "search.llm.model", "signals.options.minhash.num_perm"} <= set(keys)
    lacking = [key for key in keys if not _has(document, key.split("."))]
    left_out = ("search.llm.", "signals.options.", "search.zones[].", "search.fidelity.models[].")
    assert [key for key in lacking if not key.startswith(left_out)] == []
    assert "# Its keys: autoselection config --keys\n  llm: null" in Path("study.yaml").read_text(encoding="utf-8")


def _task() -> Path:
    folder = Path("tasks/quiz")
    folder.mkdir(parents=True)
    (folder / "dev.jsonl").write_text('{"id": "1", "prompt": "q", "answer": "a"}\n')
    return folder


def _has(document: Any, words: Sequence[str]) -> bool:
    if not words:
        return True
    name = words[0].removesuffix("[]")
    inside = document.get(name, {}) if isinstance(document, dict) and name in document else None
    if inside is None:
        return isinstance(document, dict) and name in document and len(words) == 1
    return _has(inside[0] if words[0].endswith("[]") and inside else inside, words[1:])


def test_init_and_config_print_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*words: str) -> Any:
        assert run(app, [*words, "--json"]) == 0
        shown = capsys.readouterr()
        assert not shown.err
        return json.loads(shown.out)

    assert printed("init", "study.yaml", "--pool", "pool") == {"file": "study.yaml", "to_fill_in": ["model", "tasks"]}
    assert printed("config", "study.yaml", "--set", "search.evaluations=3")["search"]["evaluations"] == 3
    assert "search" in printed("config", "--schema")["properties"]
    told = {one["key"]: one for one in printed("config", "--keys")["keys"]}
    assert told["search.evaluations"]["default"] == 15 and told["tasks[].name"]["required"]
    assert run(app, ["config", "--json"]) == 2 and "error" in json.loads(capsys.readouterr().out)


def test_every_command_has_json_but_the_one_whose_output_is_a_protocol() -> None:
    def without(command: Any, name: str) -> list[str]:
        if hasattr(command, "commands"):
            return [found for key, one in command.commands.items() for found in without(one, f"{name} {key}".strip())]
        return [] if any("--json" in option.opts for option in command.params) else [name]

    assert without(typer.main.get_command(app), "") == ["mcp"]


def test_a_pool_is_named_alone() -> None:
    for others in (("pool", "other"), ("rows.jsonl", "pool")):
        with pytest.raises(ConfigError, match="--pool pool: a study has one pool, so name it alone"):
            _init("a.yaml", *(word for name in others for word in ("--pool", name)))
    assert not Path("a.yaml").exists()


def test_a_study_stands_for_its_pool(tmp_path: Path) -> None:
    Path("study").mkdir()
    Path("study/journal.jsonl").write_text("")
    Path("study/config.yaml").write_text(
        f"pool: {{path: {tmp_path / 'other'}}}\nmodel: {{path: m}}\ntasks: [{{name: t, dev: d}}]"
    )
    assert _init("a.yaml", "--pool", "study").pool.path == tmp_path / "other"
    ingest([Path("rows.jsonl")], Path("study/pool"))
    assert _init("b.yaml", "--pool", "study").pool.path == tmp_path / "study" / "pool"


def test_what_is_named_is_found_through_links(tmp_path: Path) -> None:
    Path("far/away").mkdir(parents=True)
    Path("far/rows.jsonl").write_text("")
    Path("link").symlink_to("far/away")
    Path("data").symlink_to("far")
    Path("written.yaml").symlink_to("far/away/study.yaml")
    for path, given in (
        ("link/study.yaml", "rows.jsonl"),
        ("written.yaml", "rows.jsonl"),
        ("a.yaml", "link/../rows.jsonl"),
        ("link/b.yaml", "link/../rows.jsonl"),
    ):
        (found,) = _init(path, "--pool", given, "--overwrite").pool.files
        assert found.samefile(given)
    assert _init("c.yaml", "--pool", "data/rows.jsonl").pool.files == (tmp_path / "data" / "rows.jsonl",)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf8_cannot_stand_in_a_configuration() -> None:
    name = os.fsdecode(b"caf\xe9.jsonl")
    Path(name).write_text("")
    with pytest.raises(ConfigError, match=r"caf\ufffd\.jsonl: the name is not UTF-8"):
        _init("a.yaml", "--pool", name)
    assert not Path("a.yaml").exists()
