"""The command line as a script uses it: one JSON document on stdout, exit codes, one sentence for every mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from autoselection import cli
from autoselection.config import load_config
from autoselection.demo import model_dir, sae_dir, task_file
from autoselection.errors import AutoSelectionError
from autoselection.study import Study


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, standard output and error sentence of one command (in this process)."""
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    if isinstance(result.exception, AutoSelectionError):
        return result.exception.exit_code, result.stdout, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def document(*arguments: str | Path) -> dict[str, Any]:
    """The JSON document a command prints; it must be all of standard output."""
    code, stdout, stderr = run(*arguments, "--json")
    assert code == 0, stderr
    parsed: dict[str, Any] = json.loads(stdout)
    return parsed


def test_ingest_score_materialize_apply(raw_pool: Path, tmp_path: Path) -> None:
    pool = tmp_path / "pool"
    read = document("ingest", raw_pool, "--out", pool)
    assert (read["rows"], read["skipped"], read["format"]) == (400, 0, "messages") and read["fingerprint"]
    document("score", pool, "--signals", "tokens,ngram_entropy,text_hash,minhash")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump(
            {
                "version": 1,
                "steps": [
                    {"operator": "ngram_entropy", "params": {"fraction": 0.5}},
                    {"operator": "semantic_dedup", "params": {"strategy": "exact"}},
                ],
            }
        )
    )
    ids = tmp_path / "ids.json"
    made = document("materialize", recipe, "--pool", pool, "--ids", ids)
    assert made["rows"] == len(json.loads(ids.read_text())) <= 200
    assert made["lineage"][0]["rows_in"] == 400 and made["lineage"][0]["rows_out"] == 200
    assert made["state"]["retain_ratio"] == pytest.approx(made["rows"] / 400)
    applied = document("apply", recipe, "--pool", pool, "--out", tmp_path / "subset.jsonl")
    assert applied["subset_hash"] == made["subset_hash"]
    lines = (tmp_path / "subset.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == json.loads(ids.read_text())


def test_report_shows_a_finished_study(finished_study: Study) -> None:
    shown = document("report", finished_study.path)
    assert shown["evaluations"] == 5 and shown["finished"] and shown["best"]["rows"] > 0
    code, stdout, _ = run("report", finished_study.path)
    assert code == 0 and "t001" in stdout and "base model" in stdout


def test_evaluate_scores_a_subset(study_config: Path, finished_study: Study) -> None:
    result = document("evaluate", study_config, "--subset", finished_study.path / "best" / "ids.json", "--split", "dev")
    assert result["split"] == "dev" and result["steps"] == 4 and set(result["scores"]) == {"addition", "boolean"}


def test_init_writes_a_configuration_and_does_not_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    assert run("init", path)[0] == 0
    assert "# " in path.read_text() and yaml.safe_load(path.read_text())["search"]["evaluations"] == 15
    code, _, message = run("init", path)
    assert code == 2 and "--overwrite" in message
    assert run("init", path, "--overwrite", "--full")[0] == 0
    assert "max_jaccard" in yaml.safe_load(path.read_text())["search"]


def test_init_fills_in_what_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = "question,answer\n" + "".join(f"How many legs have {n} hens?,{2 * n}\n" for n in range(60))
    Path("quiz.csv").write_text(table)
    benchmark = (
        "benchmark",
        "number",
        "--source",
        "quiz.csv",
        "--name",
        "hens",
        "--target",
        "5",
        "--out",
        "tasks/hens",
    )
    assert run(*benchmark)[0] == 0
    Path("rows.jsonl").write_text('{"prompt": "Is it late?", "response": "Yes."}\n')
    assert run("ingest", "rows.jsonl", "--out", "pool")[0] == 0
    Path("studies").mkdir()
    given = ("init", "studies/one.yaml", "--pool", "pool", "--model", model_dir(), "--task", "tasks/hens")
    code, *shown = run(*given)
    assert code == 0 and "Now run" in " ".join(shown)
    config = load_config(Path("studies/one.yaml"))
    assert config.pool.path is not None and config.pool.path.resolve() == tmp_path / "pool"
    assert Path(config.model.path).resolve() == model_dir().resolve()
    assert config.tasks[0].name == "hens" and config.tasks[0].dev is not None
    assert config.tasks[0].dev.resolve() == tmp_path / "tasks" / "hens" / "dev.jsonl"
    code, *shown = run("init", "two.yaml", "--pool", "rows.jsonl")
    assert code == 0 and "Fill in model and tasks" in " ".join(shown)
    assert yaml.safe_load(Path("two.yaml").read_text())["pool"]["files"] == ["rows.jsonl"]
    code, _, message = run("init", "three.yaml", "--task", "pool")
    assert code == 2 and "dev.jsonl" in message and not Path("three.yaml").exists()
    assert run("init", "three.yaml", "--pool", "nothing")[0] == 2


def test_doctor_and_version() -> None:
    assert any(package["name"] == "torch" for package in document("doctor")["packages"])
    assert run("--version")[1].startswith("autoselection ")


def _config(folder: Path, **changes: Any) -> Path:
    tasks = [{"name": "addition", **{split: str(task_file("addition", split)) for split in ("target", "dev", "test")}}]
    base = {"pool": {"files": [str(folder / "pool.jsonl")]}, "model": {"path": str(model_dir())}, "tasks": tasks}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**base, **changes}))
    return path


def _search(config: Path) -> tuple[int, str]:
    code, stdout, message = run("search", config, "--out", config.parent / "study", "--json")
    assert stdout == ""
    return code, message


def test_unknown_config_key(tmp_path: Path) -> None:
    code, message = _search(_config(tmp_path, serach={}))
    assert code == 2 and "did you mean 'search'?" in message


def test_missing_pool_file(tmp_path: Path) -> None:
    code, message = _search(_config(tmp_path))
    assert code == 3 and "pool.jsonl" in message


def test_empty_pool(tmp_path: Path) -> None:
    (tmp_path / "pool.jsonl").write_text("")
    code, message = _search(_config(tmp_path))
    assert code == 3 and "pool.jsonl" in message


def test_malformed_row_when_refused(tmp_path: Path) -> None:
    (tmp_path / "pool.jsonl").write_text('{"messages": [{"role": "user", "content": "x"}\n')
    code, _, message = run("ingest", tmp_path / "pool.jsonl", "--out", tmp_path / "pool", "--on-bad-row", "refuse")
    assert code == 3 and "pool.jsonl:1" in message


def test_task_without_dev_items(tmp_path: Path) -> None:
    empty = tmp_path / "dev.jsonl"
    empty.write_text("")
    code, message = _search(_config(tmp_path, tasks=[{"name": "addition", "dev": str(empty)}]))
    assert code == 2 and "'addition'" in message and "holds no items" in message


def test_sae_of_the_wrong_width(raw_pool: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "sae"
    folder.mkdir()
    tensors = load_file(sae_dir() / "sae.safetensors")
    narrow = {name: array[..., :64] if array.shape[-1] == 128 else array for name, array in tensors.items()}
    save_file({name: array.copy() for name, array in narrow.items()}, folder / "sae.safetensors")
    described = json.loads((sae_dir() / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({**described, "d_in": 64}))
    pool = tmp_path / "pool"
    document("ingest", raw_pool, "--out", pool)
    code, _, message = run("score", pool, "--model", model_dir(), "--sae", folder, "--signals", "sae", "--json")
    assert code == 4 and "64" in message and "128" in message


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"operator": "ifd_filte"}, "did you mean 'ifd_filter'?"),
        ({"operator": "ngram_entropy", "params": {"fraction": 1.5}}, "fraction"),
        ({"operator": "union", "params": {"source_recipe": "0123456789abcdef"}}, "0123456789abcdef"),
    ],
)
def test_a_wrong_recipe(step: dict[str, Any], words: str, scored_pool: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"version": 1, "steps": [step]}))
    code, stdout, message = run("materialize", recipe, "--pool", scored_pool, "--json")
    assert code == 5 and words in message and stdout == ""


def test_ready_recipes_are_listed_printed_and_used_by_name(scored_pool: Path, tmp_path: Path) -> None:
    listed = document("recipes")["recipes"]
    assert {"name", "for", "source", "signals", "steps", "describe"} == set(listed[0])
    code, text, _ = run("recipes", "relevant-low-ifd")
    assert code == 0 and yaml.safe_load(text)["name"] == "relevant-low-ifd"
    saved = tmp_path / "saved.yaml"
    saved.write_text(text)
    by_name = document("materialize", "relevant-low-ifd", "--pool", scored_pool)
    assert by_name["subset_hash"] == document("materialize", saved, "--pool", scored_pool)["subset_hash"]
    applied = document("apply", "relevant-low-ifd", "--pool", scored_pool, "--out", tmp_path / "rows.jsonl")
    assert applied["rows"] == by_name["rows"]
    code, _, error = run("recipes", "relevant-lowifd")
    assert code == 5 and "did you mean 'relevant-low-ifd'" in error
    assert "longest-responses" in run("recipes")[1]
