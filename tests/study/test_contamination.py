"""The guard against benchmark items in the pool: warns, drops or refuses before anything is trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoselection.config import StudyConfig, parse_config
from autoselection.demo import task_file
from autoselection.errors import ConfigError, StudyError
from autoselection.pool import Pool
from autoselection.recipes import Recipe, Step, materialize
from autoselection.report import study_markdown
from autoselection.study import run_study, summary
from autoselection.study.final import final_entries, rows_of_entry
from autoselection.study.prepare import (
    Contamination,
    list_contamination,
    measure_contamination,
    prepare,
    refusal,
)

PLANTED = 7


@pytest.fixture(scope="module")
def planted(raw_pool: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The small pool with copies of items of the counting task's test split, and its files of items."""
    folder = tmp_path_factory.mktemp("planted")
    items = [json.loads(line) for line in task_file("counting", "test").read_text().splitlines()]
    long = [item for item in items if len(item["prompt"].split()) >= 9][:12]
    lines = [
        json.dumps(
            {
                "source": "leak",
                "messages": [
                    {"role": "user", "content": f"Please: {item['prompt']}"},
                    {"role": "assistant", "content": item["answer"]},
                ],
            }
        )
        for item in long[:PLANTED]
    ]
    dev = [{"id": "d1", "prompt": "Tell me of an animal that swims in no sea.", "answer": "eel"}]
    files = {"pool": folder / "pool.jsonl", "test": folder / "test.jsonl", "dev": folder / "dev.jsonl"}
    files["pool"].write_text(raw_pool.read_text() + "\n".join(lines) + "\n")
    files["test"].write_text("\n".join(json.dumps(item) for item in long) + "\n")
    files["dev"].write_text("\n".join(json.dumps(item) for item in dev) + "\n")
    return files


def config_of(planted: dict[str, Path], action: str, **changes: Any) -> StudyConfig:
    from autoselection.demo import model_dir

    return parse_config(
        {
            "name": "guarded",
            "pool": {"files": [str(planted["pool"])], "on_contamination": action},
            "model": {"path": str(model_dir())},
            "tasks": [{"name": "planted", "dev": str(planted["dev"]), "test": str(planted["test"])}],
            "signals": {"signals": ["tokens", "ngram_entropy", "text_hash"]},
            "evaluation": {"threads": 1, "sft": {"max_steps": 2, "batch_size": 8, "max_length": 128}},
            "search": {"evaluations": 2, "warmup": 1, "proposals": 4, "min_rows": 20, "include_full": True},
            "executor": {"workers": 1},
            "final": {"single_operators": 0},
            "export": {"sharegpt": False, "hf_dataset": False},
            **changes,
        },
        Path.cwd(),
    )


def test_warn_counts_by_task_and_split_and_changes_nothing(planted, tmp_path, capsys):
    prepared = prepare(config_of(planted, "warn"), tmp_path)
    assert prepared.contamination.parts == {"planted/test": PLANTED}
    assert prepared.table.excluded is None
    said = " ".join(capsys.readouterr().err.split())
    assert f"{PLANTED} of {prepared.table.n} rows share text" in said and "set pool.on_contamination: drop" in said


def test_refuse_stops_before_anything_is_trained(planted, tmp_path):
    with pytest.raises(StudyError, match=rf"{PLANTED} rows of the pool share text .*planted/test {PLANTED}"):
        prepare(config_of(planted, "refuse"), tmp_path)


def test_refuse_finds_items_of_a_script_without_spaces(planted, tmp_path):
    questions = [f"第{i}题：某工厂在三十天内要生产{i * 37}个零件，请问平均每天要生产多少个零件？" for i in range(1, 30)]
    pool = tmp_path / "chinese.jsonl"
    turns = [[{"role": "user", "content": q}, {"role": "assistant", "content": "答案见下。"}] for q in questions[:9]]
    pool.write_text(planted["pool"].read_text() + "\n".join(json.dumps({"messages": turn}) for turn in turns) + "\n")
    items = tmp_path / "items.jsonl"
    items.write_text(
        "\n".join(json.dumps({"id": str(i), "prompt": q, "answer": str(i)}) for i, q in enumerate(questions))
    )
    config = config_of({**planted, "pool": pool, "dev": items}, "refuse")
    with pytest.raises(StudyError, match=rf"{9 + PLANTED} rows .*planted/dev 9, planted/test {PLANTED}"):
        prepare(config, tmp_path / "study")


def test_items_that_cannot_be_looked_for_are_shown(planted, tmp_path, capsys):
    head = "Read the following short text with care and then name the one word that does not belong there:"
    prompts = [*(f"{head} {word} and nothing else" for word in ("red", "blue", "green")), head, "Why so?", "你好吗？"]
    items = tmp_path / "items.jsonl"
    items.write_text("\n".join(json.dumps({"id": str(i), "prompt": p, "answer": "x"}) for i, p in enumerate(prompts)))
    files = {**planted, "dev": items, "test": items}
    prepared = prepare(config_of(files, "warn", benchmarks_check="warn"), tmp_path / "study")
    found = prepared.contamination
    assert (found.rows, found.items, found.too_short, found.template_only) == (0, 12, 4, 2)
    sentence = (
        "6 of 12 benchmark items cannot be searched for: 4 of fewer than 5 words and 2 of nothing but text that many items "
        "of their task share. No row shares text with the others."
    )
    assert found.sentence(prepared.table.n) == sentence
    assert f"Contamination: {sentence}" in " ".join(capsys.readouterr().err.split())
    event = found.to_dict()
    assert Contamination.of(event) == found
    old = {name: event[name] for name in ("rows", "parts", "ngram", "action")}
    assert Contamination.of(old).sentence(1) == "", "a journal from before they were counted"


def test_drop_keeps_the_rows_out_of_every_subset(planted, tmp_path):
    prepared = prepare(config_of(planted, "drop"), tmp_path)
    table = prepared.table
    dirty = np.flatnonzero(table.column("contamination") > 0)
    assert len(dirty) == PLANTED
    np.testing.assert_array_equal(materialize(Recipe(), table).rows, np.setdiff1d(np.arange(table.n), dirty))
    everything = Recipe((Step("union", {"source_recipe": "all"}),), library={"all": Recipe()})
    assert not np.isin(dirty, materialize(everything, table).rows).any()
    assert table.fingerprint != prepare(config_of(planted, "warn"), tmp_path).table.fingerprint


def test_a_study_journals_and_reports_what_it_found_and_its_baselines_are_clean(planted, tmp_path, ends):
    ends(lambda _: None)
    study = run_study(config_of(planted, "drop"), tmp_path / "study")
    found = {
        "rows": PLANTED,
        "parts": {"planted/test": PLANTED},
        "ngram": 13,
        "action": "drop",
        "similar": None,
        "cosine": 0.95,
        "items": 13,
        "too_short": 0,
        "template_only": 0,
    }
    assert summary(study)["contamination"] == found
    assert [event["event"] for event in study.journal.events].index("contamination") == 1
    assert f"{PLANTED} of {400 + PLANTED} rows share text" in study_markdown(study)
    assert "left out of every subset" in study_markdown(study)
    pool = Pool.open(study.path / "pool")
    dirty = [row for row, source in enumerate(pool.sources()) if source == "leak"]
    prepared = prepare(study.config, study.path)
    best = study.best()
    assert best is not None
    for entry in final_entries(study, prepared, best):
        rows = rows_of_entry(entry.to_dict(), study, prepared)
        assert rows is None or not np.isin(dirty, rows).any()
    run_study(study.config, study.path)  # goes on where it stopped: nothing is journalled twice
    assert len(study.journal.of("contamination")) == 1


def test_warn_stops_above_the_limit_with_a_list_unless_the_rows_are_dropped_or_accepted(planted, tmp_path):
    def limited(action: str) -> StudyConfig:
        config = config_of(planted, action)
        return config.model_copy(update={"pool": config.pool.model_copy(update={"contamination_limit": 0.01})})

    with pytest.raises(
        StudyError, match=r"7 rows .*contamination_limit allows \(0\.01 of the rows\).*accept"
    ) as caught:
        prepare(limited("warn"), tmp_path)
    listed = [json.loads(line) for line in (tmp_path / "contamination.jsonl").read_text().splitlines()]
    pool = Pool.open(tmp_path / "pool")
    assert {entry["row"] for entry in listed} == {r for r, source in enumerate(pool.sources()) if source == "leak"}
    assert all(entry["parts"] == ["planted/test"] and 0 < entry["share"] <= 1 for entry in listed)
    assert all(entry["id"] in str(caught.value) for entry in listed)
    assert prepare(limited("accept"), tmp_path).table.excluded is None
    assert prepare(limited("drop"), tmp_path).table.excluded is not None
    # A study that began before there was the limit goes on.
    done = prepare(limited("accept"), tmp_path)
    opening = {"pool": done.pool.fingerprint, "signal_report": done.score.to_dict()}
    assert prepare(limited("warn"), tmp_path, opening).table.fingerprint == done.table.fingerprint


@pytest.mark.parametrize(("limit", "rows", "most"), [(0.01, 700, 7), (0.01, 799, 7), (0.29, 100, 29), (0.0, 50, 0)])
def test_the_limit_is_a_share_of_the_rows_up_to_which_it_goes_on(planted, limit, rows, most):
    config = config_of(planted, "warn")
    config = config.model_copy(update={"pool": config.pool.model_copy(update={"contamination_limit": limit})})
    found = Contamination(most, {"planted/test": most}, 13, "warn")
    assert refusal(found, most, rows, config) is None
    said = refusal(found, most + 1, rows, config)
    assert said is not None and f"{most + 1} rows" in said


def test_the_list_begins_with_the_rows_that_share_most(planted, tmp_path):
    config = config_of(planted, "warn")
    prepared = prepare(config, tmp_path)
    shares = np.zeros(prepared.table.n, np.float32)
    shares[[5, 9, 30]] = [0.2, 0.9, 0.5]
    table = replace(prepared.table, columns={**prepared.table.columns, "contamination": shares})
    said = list_contamination(prepared.pool, table, shares > 0, config)
    assert said == f"They are {', '.join(prepared.pool.row_ids(np.array([9, 30, 5])))}."


def test_a_cosine_needs_embeddings(planted, tmp_path):
    config = config_of(planted, "warn")
    config = config.model_copy(update={"pool": config.pool.model_copy(update={"contamination_cosine": 0.9})})
    with pytest.raises(ConfigError, match=r"signals\.embedding_model"):
        prepare(config, tmp_path)


def test_rows_that_are_like_items_count_and_are_dropped(planted, tmp_path):
    found = prepare(config_of(planted, "drop"), tmp_path)
    cosines = np.zeros(found.table.n, np.float32)
    cosines[[3, 5]] = [0.97, 0.91]
    table = replace(found.table, columns={**found.table.columns, "contamination_cosine": cosines}, excluded=None)
    config = config_of(planted, "drop")
    measured, dirty = measure_contamination(table, found.score, config)
    assert measured.similar == 1 and dirty.sum() == PLANTED, "only counted without a limit"
    config = config.model_copy(update={"pool": config.pool.model_copy(update={"contamination_cosine": 0.9})})
    measured, dirty = measure_contamination(table, found.score, config)
    assert measured.similar == 2 and dirty[[3, 5]].all() and dirty.sum() == PLANTED + 2
    assert "2 rows are similar to an item (cosine of 0.9 or more)" in measured.sentence(table.n)
