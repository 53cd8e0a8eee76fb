"""Rows that vanish for want of a score are told of, with the reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoselection.pool import Pool, ingest
from autoselection.recipes import (
    PrefixCache,
    Recipe,
    RecipeBook,
    Step,
    StepLineage,
    lineage_remarks,
    materialize,
    shortfalls,
)
from autoselection.signals import SignalsConfig, cut_rows, load_table, missing_scores, score_pool
from autoselection.signals.table import SignalTable
from autoselection.signals.unscored import REASONS, UNKNOWN, reasons

NAN = float("nan")
CUT = REASONS["response_cut_off"]


def table(scored: int, rows: int = 20) -> SignalTable:
    """A pool of which the first ``scored`` rows have every score and vector, the others none."""
    values = np.where(np.arange(rows) < scored, np.arange(rows, dtype=float), NAN)
    vectors = np.where(np.arange(rows)[:, None] < scored, np.eye(rows), 0.0)
    made = SignalTable.from_arrays(
        dict.fromkeys(("ifd", "varentropy", "n_response_tokens", "mona/a", "reward", "contamination"), values),
        sae=vectors,
        embeddings=vectors,
    )
    why = {CUT: rows - scored}
    known = (*made.columns, "sae", "embeddings")
    return replace(made, unscored=dict.fromkeys(known, why) if scored < rows else {})


STEPS = [
    ("ifd_filter", {}, "dropped"),
    ("ifd_filter", {"missing": "keep"}, "kept"),
    ("varentropy_filter", {"scope": "source"}, "dropped"),
    ("mona_filter", {}, "dropped"),
    ("mona_filter", {"threshold": 0.0}, "dropped"),
    ("score_filter", {"signal": "reward"}, "dropped"),
    ("score_filter", {"signal": "reward", "band_low": 0.0, "band_high": 1.0}, "dropped"),
    ("length_filter", {"fraction": 1.0}, "dropped"),
    ("length_filter", {"min": 0.0, "missing": "keep"}, "kept"),
    ("varentropy_mix", {}, "dropped"),
    ("sample", {"signal": "reward"}, "dropped"),
    ("decontaminate", {}, "kept"),
    ("semantic_dedup", {"strategy": "sentence"}, ""),
    ("semantic_dedup", {"strategy": "embedding"}, ""),
    ("semdedup", {}, ""),
    ("diversity", {}, "dropped"),
    ("cluster_balance", {}, ""),
    ("cluster_balance", {"within": "best", "signal": "reward"}, "dropped"),
]


@pytest.mark.parametrize(("operator", "params", "fate"), STEPS)
def test_every_operator_that_reads_a_score_tells_of_rows_without(operator, params, fate):
    (step,) = materialize(Recipe((Step(operator, params),)), table(12)).lineage
    assert (step.rows_in, step.missing, dict(step.reasons)) == (20, 8, {CUT: 8})
    (found,) = shortfalls([step])
    assert found.share == 0.4 and found.fate == fate
    (said,) = lineage_remarks([step])
    assert f"Step 1 ({operator}): 8 of the 20 rows given (40%)" in said and f"8 {CUT}" in said
    assert lineage_remarks([json.loads(json.dumps(step.to_dict()))]) == [said]  # as a journal holds it
    assert "reasons" not in materialize(Recipe((Step(operator, params),)), table(20)).lineage[0].to_dict()


def test_rows_that_vanish_in_the_recipe_of_a_union_are_told_of():
    inner = Recipe((Step("ifd_filter", {"fraction": 0.5}),))
    outer = Recipe((Step("truncate_samples", {"fraction": 0.5}), Step("union", {"source_recipe": "other"})))
    result = materialize(outer, table(12), book=RecipeBook({"other": inner}))
    assert [step.missing for step in result.lineage] == [0, 0]
    (said,) = lineage_remarks(result.lineage)
    assert said.startswith("In the recipe of step 2 (union), a step (ifd_filter): 8 of the 20 rows given (40%)")
    assert lineage_remarks([json.loads(json.dumps(step.to_dict())) for step in result.lineage]) == [said]
    cache = PrefixCache()
    twice = [materialize(outer, table(12), book=RecipeBook({"other": inner}), cache=cache) for _ in range(2)]
    assert [lineage_remarks(found.lineage) for found in twice] == [[said], [said]]


@settings(max_examples=40, deadline=None)
@given(scored=st.integers(1, 40), rows=st.integers(1, 40))
def test_more_than_a_tenth_is_said_and_no_less(scored: int, rows: int):
    scored = min(scored, rows)
    lineage = materialize(Recipe((Step("ifd_filter", {"fraction": 1.0}),)), table(scored, rows)).lineage
    assert bool(shortfalls(lineage)) == (10 * (rows - scored) > rows)


def test_a_step_that_would_leave_nothing_says_so():
    lineage = materialize(Recipe((Step("ifd_filter", {"threshold": 1e9}),)), table(20)).lineage
    (said,) = lineage_remarks(lineage)
    assert "Step 1 (ifd_filter) would have left no row at all" in said


def test_the_lineage_of_an_old_journal_is_read():
    old = {
        "operator": "ifd_filter",
        "params": {"missing": "drop"},
        "rows_in": 10,
        "rows_out": 1,
        "missing": 9,
        "notes": {},
    }
    (said,) = lineage_remarks([old])
    assert "9 of the 10 rows given (90%)" in said and "were dropped" in said and "not scored" in said


def test_reasons_add_up_to_the_rows_without_a_score():
    stats = {"response_cut_off": 5, "no_prompt": 2, "truncated": 90, "empty_response": 0}
    assert reasons("ifd", 7, stats) == {CUT: 5, REASONS["no_prompt"]: 2}
    assert reasons("loss", 6, stats) == {CUT: 5, UNKNOWN: 1}
    assert reasons("ifd", 0, stats) == {}
    assert reasons("politeness", 3, {"not_english": 3}) == {"not english": 3}  # a plugin's own count
    assert reasons("politeness", 3, {"candidates": 9}) == {UNKNOWN: 3}
    counted = {"loss/0:no_loss": 1, "loss/1:no_loss": 2, "empty_response": 1}  # counts of one column alone
    assert reasons("loss/1", 3, counted) == {REASONS["no_loss"]: 2, REASONS["empty_response"]: 1}


def test_each_column_without_scores_is_told_with_its_own_reason(tmp_path: Path):
    from autoselection.demo import model_dir, sae_dir, task_file
    from autoselection.tasks import TaskConfig

    rows = [{"prompt": f"Add {i} and 1.", "response": f"It is {i + 1}."} for i in range(10)]
    pool = ingest(rows, tmp_path / "pool").pool
    config = SignalsConfig(device="cpu", options={"ngram_entropy": {"n": 12}})
    report = score_pool(pool, config, model=model_dir(), signals=["token_kinds", "ngram_entropy"])
    written = "in the response as the template writes it"
    assert sorted(missing_scores(report)) == [
        "10 of 10 rows (100%) have no ifd_call, varentropy_call, loss_call: 10 no call of a tool " + written + ".",
        "10 of 10 rows (100%) have no ifd_reasoning, varentropy_reasoning, loss_reasoning: 10 no reasoning "
        + written
        + ".",
        "10 of 10 rows (100%) have no ngram_entropy: 10 fewer words and symbols than an n-gram has.",
    ]
    long = [{"prompt": "word " * 100 + str(i), "response": "yes"} for i in range(10)]
    cut = ingest(long, tmp_path / "cut").pool
    task = TaskConfig(name="addition", dev=task_file("addition", "dev"), target=task_file("addition", "target"))
    config = SignalsConfig(device="cpu", max_length=20, trajectory_models=(str(model_dir()), str(model_dir())))
    given = {"model": model_dir(), "sae": sae_dir(), "tasks": [task]}
    report = score_pool(cut, config, signals=["trajectory", "mona"], **given)
    told = missing_scores(report)
    assert "10 of 10 rows (100%) have no loss/0, loss/1, loss_drop, loss_slope: 10 no loss under a checkpoint." in told
    table = load_table(cut)
    assert table.unscored["loss_drop"] == {REASONS["no_loss"]: 10} and "loss" not in table.unscored


def test_a_pool_whose_prompts_fill_the_context_says_where_its_rows_went(tmp_path: Path):
    """The reasons come from what scoring counted, through cache, lineage and card."""
    from autoselection.demo import model_dir
    from autoselection.export import DatasetCard, export_hf_dataset

    lines = [
        {
            "messages": [
                {"role": "user", "content": "word " * (400 if i < 25 else 2) + str(i)},
                {"role": "assistant", "content": "yes indeed"},
            ]
        }
        for i in range(30)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    ingest([tmp_path / "rows.jsonl"], tmp_path / "pool")
    pool = Pool.open(tmp_path / "pool")
    score_pool(pool, SignalsConfig(signals=("tokens", "ifd"), max_length=64), model=model_dir())
    signals = load_table(pool)
    assert signals.unscored["ifd"] == signals.unscored["loss"] == {CUT: 25} and "n_tokens" not in signals.unscored
    result = materialize(Recipe((Step("ifd_filter", {"fraction": 0.3}),)), signals)
    said = [
        f"Step 1 (ifd_filter): 25 of the 30 rows given (83%) have no score for it and were dropped. In the whole pool: 25 {CUT}."
    ]
    assert lineage_remarks(result.lineage) == said
    card = DatasetCard(title="x", recipe={}, lineage=[step.to_dict() for step in result.lineage])
    export_hf_dataset(pool, result.rows, tmp_path / "hf", card)
    assert "25 of the 30 rows given (83%) have no score" in (tmp_path / "hf" / "README.md").read_text()


def test_a_report_names_the_worst_trial_of_each_operator():
    from autoselection.report.tables import unscored_notes
    from autoselection.study import Trial

    def trial(name: str, scored: int, operator: str) -> Trial:
        lineage = materialize(Recipe((Step(operator, {}),)), table(scored)).lineage
        return Trial(name, {"lineage": [step.to_dict() for step in lineage]})

    trials = [trial("t001", 19, "ifd_filter"), trial("t002", 15, "ifd_filter"), trial("t003", 5, "ifd_filter")]
    assert unscored_notes(trials) == [
        "ifd_filter was given more than a tenth of rows without a score in 2 trial(s), up to 75% (15 of 20 rows, in t003). "
        f"In the whole pool: 15 {CUT}."
    ]


@pytest.mark.parametrize(("scored", "rows", "said"), [(18, 20, 0), (17, 20, 1), (27, 30, 0), (26, 30, 1), (63, 70, 0)])
def test_a_tenth_itself_is_not_said(scored: int, rows: int, said: int):
    lineage = materialize(Recipe((Step("ifd_filter", {}),)), table(scored, rows)).lineage
    assert len(shortfalls(lineage)) == said


def test_rows_of_which_a_model_read_the_beginning_are_told_of(tmp_path: Path):
    """On standard error of ``score`` and in a notebook, above a tenth of the rows."""
    from typer.testing import CliRunner

    from autoselection.cli import app
    from autoselection.demo import model_dir, task_file

    def said(long: int) -> tuple[list[str], str]:
        rows = [{"prompt": f"Say {i}", "response": "yes indeed " * (30 if i < long else 1)} for i in range(20)]
        pool = ingest(rows, tmp_path / str(long)).pool
        config = SignalsConfig(signals=("tokens", "ifd"), max_length=64, device="cpu")
        report = score_pool(pool, config, model=model_dir())
        return cut_rows(report), report._repr_html_()

    limit = "signals.max_length (64 tokens) or the model's own limit"
    (told,), page = said(3)
    assert told.startswith(f"3 of 20 rows (15%) are longer than {limit}: ifd, ")
    assert told.endswith(" are of what comes before it.") and "n_tokens" not in told
    assert "3 of 20 rows (15%) are longer than" in page
    assert said(2)[0] == []
    (tmp_path / "study.yaml").write_text(
        f"model: {{path: {model_dir()}}}\npool: {{path: {tmp_path / '3'}}}\nsignals: {{max_length: 64, device: cpu}}\n"
        f"tasks: [{{name: addition, dev: {task_file('addition', 'dev')}}}]\n"
    )
    options = ["--signals", "tokens,ifd", "--config", str(tmp_path / "study.yaml")]
    result = CliRunner().invoke(app, ["score", str(tmp_path / "3"), *options])
    assert result.exit_code == 0, result.output
    assert f"3 of 20 rows (15%) are longer than {limit}" in " ".join(result.stderr.split())


NOTHING = Recipe((Step("ifd_filter", {"threshold": 1e9}),))
SKEWED = Recipe((Step("source_mix", {"weights": {"a": 9, "b": 1}, "total_samples": 15}),))


@pytest.mark.parametrize("operator", ["union", "subtract", "intersect"])
@pytest.mark.parametrize(
    ("inner", "told"),
    [
        (NOTHING, "would have left no row at all; a recipe left with nothing has no rows for the step that names it"),
        (SKEWED, "of its 15 rows (67%) are from groups that had rows left"),
    ],
)
def test_what_befell_the_recipe_of_a_set_operation_is_told(operator: str, inner: Recipe, told: str):
    made = replace(table(20), source=np.repeat(np.int32([0, 1]), [3, 17]), source_names=("a", "b"))
    middle = Recipe((Step("truncate_samples", {"fraction": 0.5}), Step(operator, {"source_recipe": "inner"})))
    outer = Recipe((Step("truncate_samples", {"fraction": 0.5}), Step("union", {"source_recipe": "middle"})))
    lineage = materialize(outer, made, book=RecipeBook({"middle": middle, "inner": inner})).lineage
    said = [each for each in lineage_remarks(lineage) if f"({inner.steps[0].operator})" in each]
    assert len(said) == 1 and told in said[0]
    assert said[0].startswith(f"In the recipe of step 2 (union), a step ({inner.steps[0].operator})")
    assert set(said) <= set(lineage_remarks([json.loads(json.dumps(step.to_dict())) for step in lineage]))


def test_recipes_that_name_each_other_many_times_over_are_told_of_once():
    """Two recipes a level, each naming both of the level below."""
    below = [Recipe((Step("ifd_filter", {"fraction": fraction}),)) for fraction in (0.5, 0.6)]
    for level in range(18):
        names = (f"{level}-a", f"{level}-b")
        steps = tuple(Step("union", {"source_recipe": name}) for name in names)
        below = [
            Recipe(
                (Step("truncate_samples", {"fraction": 0.5 + i / 10}), *steps),
                None,
                dict(zip(names, below, strict=True)),
            )
            for i in (0, 1)
        ]
    lineage = materialize(below[0], table(12)).lineage
    said = lineage_remarks(lineage)
    assert len(said) == 4 and len(json.dumps([step.to_dict() for step in lineage])) < 10_000
    assert lineage[1].inner and all(not step.inner for step in lineage[1].inner)


def test_the_nested_lineage_of_an_old_journal_is_read():
    leaf = {
        "operator": "ifd_filter",
        "params": {},
        "rows_in": 10,
        "rows_out": 1,
        "dropped": 9,
        "missing": 9,
        "notes": {},
    }
    union = {**leaf, "operator": "union", "missing": 0}
    old = {**union, "inner": [{**union, "inner": [leaf]}]}
    (said,) = lineage_remarks([old])
    assert said.startswith("In the recipe of step 1 (union), a step (ifd_filter): 9 of the 10 rows given")
    assert lineage_remarks([StepLineage.from_dict(old)]) == [said]


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"temperature": 100, "total_samples": 80}, "29 of its 80 rows (36%) are from groups that had rows left"),
        ({"weights": {"a": 1, "b": 0}, "total_samples": 100}, "it has 10 of the 100 rows asked for"),
        ({"weights": {"a": 1, "b": 0}, "total_samples": 11}, ""),  # less than a tenth
        ({"temperature": 1, "total_samples": 80}, ""),
    ],
)
def test_a_mix_whose_shares_or_size_are_not_to_be_had_says_so(params: dict, told: str):
    made = SignalTable.from_arrays({"ifd": np.arange(110.0)}, source=["a"] * 10 + ["b"] * 100)
    said = lineage_remarks(materialize(Recipe((Step("source_mix", params),)), made).lineage)
    assert len(said) == bool(told) and (not said or told in said[0])


def test_a_mix_with_a_share_of_a_source_that_is_gone_says_so():
    made = SignalTable.from_arrays({"ifd": np.arange(110.0)}, source=["a"] * 10 + ["b"] * 100)
    gone = Step("source_filter", {"sources": ["a"]})
    even = Step("source_mix", {"weights": {"a": 1, "b": 1}, "total_samples": 40})
    (said,) = lineage_remarks(materialize(Recipe((gone, even)), made).lineage)
    assert "20 of its 40 rows (50%) are from groups that had rows left" in said
