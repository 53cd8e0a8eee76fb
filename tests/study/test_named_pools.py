"""Pools, studies and raw files wherever a pool is named; signals computed where a recipe lacks them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_cli import document, run

from autoselection.demo import model_dir, sae_dir, task_file
from autoselection.errors import PoolError
from autoselection.pool import Pool, ingest
from autoselection.pool.cached import cached_pool
from autoselection.recipes import Recipe, Step
from autoselection.study import Study
from autoselection.study.named_pools import open_named_pool, open_scored_pool, own_files


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("AUTOSELECTION_CACHE", str(folder))
    return folder


def small_file(folder: Path, name: str = "rows.jsonl", rows: int = 40) -> Path:
    path = folder / name
    lines = [{"instruction": f"Say {i} {'very ' * (i % 5)}well", "output": f"{i} " * (1 + i % 7)} for i in range(rows)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_raw_files_are_read_once_and_again_when_they_change(tmp_path: Path, cache: Path) -> None:
    path = small_file(tmp_path)
    pool, report = cached_pool([path])
    assert len(pool) == 40 and report is not None and report.rows == 40
    again, nothing = cached_pool([path])
    assert nothing is None and again.path == pool.path and again.fingerprint == pool.fingerprint
    stat = path.stat()
    path.write_text(path.read_text().replace("Say 3 ", "Say 4 ", 1))  # same size
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # and same time of change
    changed, report = cached_pool([path])
    assert report is not None and changed.fingerprint != pool.fingerprint
    assert changed.path == pool.path and len(list((cache / "pools").iterdir())) == 1  # nothing is left behind
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["rows.jsonl"]


@pytest.mark.parametrize("constant", ["RULES", "FORMAT_VERSION"])
def test_raw_files_are_read_again_by_newer_rules(
    constant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_file(tmp_path)
    with monkeypatch.context() as former:
        former.setattr(f"autoselection.pool.cached.{constant}", 1)
        assert cached_pool([path])[1] is not None and cached_pool([path])[1] is None
    assert cached_pool([path])[1] is not None and cached_pool([path])[1] is None


def test_several_raw_files_are_one_pool(tmp_path: Path) -> None:
    first, second = small_file(tmp_path, "a.jsonl", 3), small_file(tmp_path, "b.jsonl", 4)
    assert len(open_named_pool([first, second]).pool) == 7
    ingest([first], tmp_path / "pool")
    with pytest.raises(PoolError, match="name it alone"):
        open_named_pool([first, tmp_path / "pool"])


def test_a_half_read_cache_is_read_again(tmp_path: Path) -> None:
    path = small_file(tmp_path)
    pool, _ = cached_pool([path])
    (pool.path.parent / "files.json").unlink()
    assert cached_pool([path])[1] is not None
    (pool.path.parent / "files.json").write_text("[[")
    assert cached_pool([path])[1] is not None


def test_what_is_not_there_or_no_pool_is_said(tmp_path: Path) -> None:
    code, _, said = run("pool", "stats", tmp_path / "nothing.jsonl")
    assert code == 3 and "nothing.jsonl" in said and "does not exist" in said
    (tmp_path / "empty").mkdir()
    code, _, said = run("materialize", "text-only", "--pool", tmp_path / "empty")
    assert code in (3, 8) and "empty" in said


def test_a_refused_file_leaves_nothing_in_the_cache_and_names_a_command_that_helps(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "faq.csv"
    path.write_text("Frage,Antwort\nWas ist 2+2?,Vier.\nSag nein,Nein\n")
    code, _, said = run("materialize", "text-only", "--pool", path)
    assert code == 3 and list((cache / "pools").iterdir()) == [] and str(cache) not in said
    command = said.split("`autoselection ")[1].split("`")[0].replace("POOL", str(tmp_path / "mine")).split()
    assert run(*command)[0] == 0
    assert document("materialize", "text-only", "--pool", tmp_path / "mine")["rows"] == 2


def test_every_command_takes_pool_study_and_raw_files(tmp_path: Path, finished_study: Study, scored_pool: Path) -> None:
    path = small_file(tmp_path)
    for place, rows in ((path, 40), (scored_pool, 400), (finished_study.path, 400)):
        assert document("pool", "stats", place)["rows"] == rows
        assert document("score", place, "--signals", "text_hash")["rows"] == rows
        made = document("materialize", "text-only", "--pool", place)
        applied = document("apply", "text-only", "--pool", place, "--out", tmp_path / f"{rows}{place.name}.jsonl")
        assert 0 < made["rows"] == applied["rows"] < rows and made["subset_hash"] == applied["subset_hash"]
    code, out, _ = run("apply", "text-only", "--pool", path, "--against", scored_pool, "--out", tmp_path / "x.jsonl")
    assert code == 0 and "the pools share 0 rows" in " ".join(out.split())


def test_only_what_a_recipe_needs_is_computed(tmp_path: Path) -> None:
    path = small_file(tmp_path)
    recipe = Recipe(
        (Step("ngram_entropy", {}), Step("length_filter", {"length": "n_response_tokens", "fraction": 0.5}))
    )
    place = open_scored_pool(path, recipe)
    assert set(place.table.keys) == {"ngram_entropy", "tokens", "pool"}
    document("score", path, "--for", "text-only")
    stored = {entry.name for entry in (place.pool.path / "signals").iterdir() if entry.is_dir()}
    assert stored == {"ngram_entropy", "tokens", "minhash", "near_duplicates", "repetition"}


def test_a_model_is_taken_from_the_configuration_or_asked_for_by_a_command_that_works(
    tmp_path: Path, study_config: Path
) -> None:
    path = small_file(tmp_path)
    recipe = tmp_path / "low.yaml"
    recipe.write_text(yaml.safe_dump({"steps": [{"operator": "ifd_filter", "params": {"direction": "low"}}]}))
    code, _, said = run("materialize", recipe, "--pool", path)
    assert code == 4 and f"autoselection score {path} --for {recipe} --model MODEL" in said
    command = said.split("Run: autoselection ")[1].replace("MODEL", str(model_dir())).split()
    assert run(*command)[0] == 0
    first = document("materialize", recipe, "--pool", path)
    other = small_file(tmp_path, "other.jsonl")
    assert document("materialize", recipe, "--pool", other, "--config", study_config)["rows"] == first["rows"] == 20


def test_a_study_computes_what_it_lacks_with_its_own_model(finished_study: Study) -> None:
    lacking = Recipe((Step("score_filter", {"signal": "repetition"}), Step("ifd_filter", {})))
    before = open_scored_pool(finished_study.path)
    assert "repetition" not in before.table.columns
    place = open_scored_pool(finished_study.path, lacking)
    assert "repetition" in place.table.columns
    assert {name: place.table.keys[name] for name in before.table.keys} == before.table.keys


TARGET = task_file("addition", "target")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--target", "svamp=missing.jsonl"], "missing.jsonl does not exist"),
        (["--target", "svamp=EMPTY"], "holds no items"),
        (["--target", "svamp=WRONG"], "not valid JSON"),
        (["--target", f"a={TARGET}", "--target", f"a={TARGET}"], "was given before"),
        (["--target", "svamp"], "expected TASK=FILE"),
        (["--target", "=x"], "expected TASK=FILE"),
        (["--target", f"a={TARGET}"], "--target has no effect: it is for mona, and no model was given"),
        (["--target", f"a={TARGET}", "--model", model_dir()], "--target has no effect: it is for mona, and no SAE"),
        (["--target", f"a={TARGET}", "--signals", "tokens"], "--target has no effect"),
        (["--sae", "no-such-folder", "--model", model_dir()], "no-such-folder"),
        (["--sae", sae_dir()], "--sae has no effect: it is for mona, sae, and no model was given"),
        (["--sae", sae_dir(), "--signals", "minhash"], "--sae has no effect"),
        (["--reward-label", "good"], "--reward-label has no effect"),
        (["--reward-label", "good", "--signals", "tokens"], "--reward-label has no effect"),
        (["--embedding-model", "x", "--signals", "tokens"], "--embedding-model has no effect"),
        (["--trajectory-model", "x", "--signals", "tokens"], "--trajectory-model has no effect"),
        (["--signals", "tokens,ngram_entrpy"], "did you mean 'ngram_entropy'?"),
        (["--signals", ","], "names no signal"),
        (["--signals", ""], "names no signal"),
        (["--signals", "ifd"], "no model was given; give --model MODEL"),
        (["--signals", "mona", "--model", model_dir(), "--sae", sae_dir()], "give --model MODEL --sae SAE --target"),
        (["--signals", "tokens", "--for", "text-only"], "give one of them"),
        (["--for", "text-onl"], "did you mean 'text-only'"),
        (["--set", "search.evaluations=3"], "--config"),
    ],
)
def test_options_of_score_that_are_wrong_or_do_nothing_are_refused(
    options: list[Any], words: str, scored_pool: Path, tmp_path: Path
) -> None:
    (tmp_path / "EMPTY").write_text("\n")
    (tmp_path / "WRONG").write_text("{\n")
    given = [
        str(option).replace("=EMPTY", f"={tmp_path}/EMPTY").replace("=WRONG", f"={tmp_path}/WRONG")
        for option in options
    ]
    before = (scored_pool / "signals" / "current.json").read_text()
    code, out, said = run("score", scored_pool, *given)
    assert code in (2, 4, 5) and words in said and out == ""
    assert (scored_pool / "signals" / "current.json").read_text() == before


def test_a_target_of_a_task_of_the_configuration_is_refused(study_config: Path, scored_pool: Path) -> None:
    code, _, said = run("score", scored_pool, "--config", study_config, "--target", f"addition={TARGET}")
    assert code == 2 and "the configuration has a task of this name" in said


def test_a_model_that_nothing_reads_is_told_of(scored_pool: Path) -> None:
    code, out, said = run("score", scored_pool, "--signals", "minhash", "--model", model_dir())
    assert code == 0 and "--model has no effect" in said and "was there" in out


def test_screens_are_short_tables_and_details_on_demand(scored_pool: Path) -> None:
    code, short, _ = run("materialize", "relevant-low-ifd", "--pool", scored_pool)
    _, long, _ = run("materialize", "relevant-low-ifd", "--pool", scored_pool, "--verbose")
    assert code == 0 and "rows in" in short and "scores kept" in short and "State vector" not in short
    assert "State vector" in long and "subset " in long and "{" not in short
    _, scores, _ = run("score", scored_pool, "--signals", "tokens,text_hash")
    assert "was there" in scores and "{" not in scores and len(scores.splitlines()) < 12


def test_copies_are_told_apart_from_rows(scored_pool: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mix.yaml"
    mix = "{weights: {logic: 1, tally: 1}, other: 0, total_samples: 300, max_repeats: 8}"
    recipe.write_text(f"steps:\n- {{operator: source_mix, params: {mix}}}\n")
    code, told, _ = run("materialize", recipe, "--pool", scored_pool)
    found = document("materialize", recipe, "--pool", scored_pool)
    distinct = found["distinct_rows"]
    assert code == 0 and found["rows"] == 300 > distinct == found["lineage"][0]["rows_out"]
    assert (
        f"mix.yaml: {distinct} of 400 rows, 300 with copies" in told
        and "with copies" in told.split("Rows by source")[1]
    )
    assert "150" in told.split("Rows by source")[1].split("tally")[1].splitlines()[0]


def test_cheap_signals_come_before_parsing(tmp_path: Path) -> None:
    ingest([small_file(tmp_path)], tmp_path / "pool")
    names = list(document("score", tmp_path / "pool")["signals"])
    assert names[-1] == "action_object_branching" and len(names) > 6
    assert Pool.open(tmp_path / "pool")


def test_nobody_else_writes_what_a_study_writes(finished_study: Study) -> None:
    written = {path.name for path in finished_study.path.iterdir() if not path.name.startswith((".", "report."))}
    assert written <= {path.name for path in own_files(finished_study.path)}
    for file in ("subsets/t001.npy", "journal.jsonl", "contamination.jsonl", "activity.json"):
        path = finished_study.path / file
        if path.exists():
            before = path.read_bytes()
            code, _, err = run("pool", "stats", finished_study.path, "--html", path)
            assert code != 0 and "--html" in err and path.read_bytes() == before, file
