"""Does the score mean right answers: planted trials of which it is known, and journals of before that went on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from journals import write_unchecked
from typer.testing import CliRunner

from autoselection import cli
from autoselection.config import parse_config, to_yaml
from autoselection.diagnose import Agreement, agreement_warnings, agreements
from autoselection.evaluation import EvaluationResult
from autoselection.report import study_markdown
from autoselection.study import Study

ITEMS = 100
Maker = Callable[..., Study]


def result(losses: float, right: Sequence[float], measure: str, seed: int = 0) -> dict[str, Any]:
    """An evaluation of one task: its loss, and who of its items was answered rightly."""
    found = {"nll": losses, "items": len(right), measure: float(np.mean(right))}
    if measure == "accuracy":
        found["guessing"] = 0.25
    items = {"ids": list(range(len(right))), measure: list(right)}
    metrics = {"quiz": found} if measure else {}
    return EvaluationResult(
        "dev", seed, -losses, {"quiz": -losses}, metrics, {"quiz": items}, {"train": 0.0, "eval": 0.0, "total": 0.0}
    ).to_dict()


@pytest.fixture
def planted(tmp_path: Path) -> Maker:
    def make(results: Sequence[Sequence[dict[str, Any]]], **task: Any) -> Study:
        config = parse_config(
            {
                "pool": {"path": "/p"},
                "model": {"path": "m"},
                "tasks": [
                    {"name": "quiz", "dev": "/d.jsonl", **task},
                    {"name": "other", "dev": "/d.jsonl"},
                ],
            },
            tmp_path,
        )
        (tmp_path / "config.yaml").write_text(to_yaml(config))
        events: list[dict[str, Any]] = []
        for number, trainings in enumerate(results):
            recipe = {"version": 1, "steps": []}
            of = {
                "id": f"t{number}",
                "subset_hash": str(number),
                "recipe": recipe,
                "rows": 9,
                "state": {},
                "lineage": [],
            }
            events.append({"event": "trial", "trial": {**of, "origin": "warmup", "parent": None, "edit": ""}})
            events += [
                {"event": "evaluation", "trial": f"t{number}", "seed": found["seed"], "result": found}
                for found in trainings
            ]
        write_unchecked(tmp_path / "journal.jsonl", events)
        return Study(tmp_path)

    return make


def answers(share: float, rng: np.random.Generator) -> list[float]:
    return [float(value) for value in rng.random(ITEMS) < share]


def trials(slope: float, count: int = 15, measure: str = "accuracy", level: float = 0.6) -> list[list[dict[str, Any]]]:
    """Trials whose share of right answers rises by ``slope`` in all as their loss falls from 2 to 1."""
    rng = np.random.default_rng(3)
    steps = np.linspace(-0.5, 0.5, count)
    return [[result(1.5 - step, answers(level + slope * step, rng), measure)] for step in steps]


def only(study: Study) -> Agreement:
    (found,) = agreements(study)
    return found


def test_a_loss_that_goes_with_right_answers_agrees(planted: Maker) -> None:
    found = only(planted(trials(0.6)))
    assert (found.verdict, found.task, found.metric, found.right, found.trials) == (
        "agrees",
        "quiz",
        "nll",
        "accuracy",
        15,
    )
    assert found.sentence().startswith("On 'quiz' nll ranks recipes as accuracy does (rank correlation +0.9")
    assert agreement_warnings([found]) == []


def test_a_loss_that_goes_against_right_answers_is_warned_of(planted: Maker) -> None:
    found = only(planted(trials(-0.6)))
    assert found.verdict == "opposes" and found.correlation is not None and found.correlation.high < 0
    (said,) = agreement_warnings([found])
    assert "what the search takes for better gets fewer answers right" in said and "docs/metrics.md" in said


def test_right_answers_that_come_and_go_whatever_the_loss_are_warned_of_when_that_is_sure(planted: Maker) -> None:
    rng = np.random.default_rng(0)
    rising = np.linspace(0.35, 0.9, 40)
    shares = [*rising[::2], *rising[1::2][::-1]]  # up and down again
    made = [[result(2 - step / 40, answers(share, rng), "accuracy")] for step, share in enumerate(shares)]
    assert only(planted(made)).verdict == "weak"
    assert only(planted(made[::4])).verdict == "unknown"


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (trials(0.6, count=7), "cannot be told from 7 trials: at least 8 are needed"),
        (trials(0.0, level=0.8), "differs by no more than other items would make it differ"),
        (trials(0.1, level=0.25), "none is above chance"),
        (trials(0.0, level=-1.0, measure="exact_match"), "is the same in all of them"),
        (trials(0.0, level=1.0, measure="greedy_match"), "is the same in all of them"),
    ],
)
def test_what_cannot_be_told_is_said_and_not_warned_of(planted: Maker, made: Any, why: str) -> None:
    found = only(planted(made))
    assert found.verdict == "unknown" and why in found.sentence()
    assert not found.warns


def test_at_chance_it_is_said_what_can_be_concluded(planted: Maker) -> None:
    found = only(planted(trials(0.1, level=0.25)))
    (said,) = agreement_warnings([found])
    assert said.startswith("On 'quiz' no trial is above chance: the most accurate of 15 has ")
    assert "guessing gets 25.0%" in said and "is luck" in said


def test_a_guard_is_told_of_and_not_warned_of(planted: Maker) -> None:
    found = only(planted(trials(-0.6), weight=0))
    assert found.verdict == "opposes" and not found.warns and agreement_warnings([found]) == []


def test_chance_in_the_items_makes_a_correlation_look_smaller(planted: Maker) -> None:
    found = only(planted(trials(0.25, count=30)))
    assert found.correlation is not None and found.reliability is not None and found.corrected is not None
    assert found.reliability.value < 0.9 and found.corrected > found.correlation.value
    assert f"about {found.corrected:+.2f} without" in found.sentence()


def test_a_metric_is_not_compared_with_itself(planted: Maker) -> None:
    assert agreements(planted(trials(0.6, measure="exact_match"), metric="exact_match")) == ()


def test_decoded_gold_answers_stand_in_where_nothing_else_tells_of_right_ones(planted: Maker) -> None:
    made = trials(0.6, measure="greedy_match")
    assert only(planted(made)).right == "greedy_match"
    for (trained,), (other,) in zip(made, trials(0.6, measure="exact_match"), strict=True):
        trained["metrics"]["quiz"] |= other["metrics"]["quiz"]
        trained["items"]["quiz"] |= other["items"]["quiz"]
    assert only(planted(made)).right == "exact_match"


@pytest.mark.parametrize("metric", ["accuracy", "exact_match"])
def test_decoded_gold_answers_do_not_stand_in_where_the_metric_counts_right_answers(
    planted: Maker, metric: str
) -> None:
    made = trials(0.6, measure=metric)
    for (trained,), (other,) in zip(made, trials(-0.6, measure="greedy_match"), strict=True):
        trained["metrics"]["quiz"]["greedy_match"] = other["metrics"]["quiz"]["greedy_match"]
        trained["items"]["quiz"]["greedy_match"] = other["items"]["quiz"]["greedy_match"]
    assert agreements(planted(made, metric=metric)) == ()
    assert only(planted(made)).right == metric


def test_the_score_is_compared_with_what_the_tasks_own_metric_counts_where_it_counts_right_answers(
    planted: Maker,
) -> None:
    """Task ``quiz`` is scored by its accuracy, ``other`` by its loss; generated answers to ``quiz`` go the other way."""
    made = trials(0.6)
    for (trained,), (other,) in zip(made, trials(-0.6, measure="exact_match"), strict=True):
        right = trained["metrics"]["quiz"]["accuracy"]
        for measure in ("exact_match", "greedy_match"):
            trained["metrics"]["quiz"][measure] = other["metrics"]["quiz"]["exact_match"]
        trained["tasks"] = {"quiz": right, "other": 0.0}
        trained["metrics"]["other"] = {"nll": 1.0, "accuracy": 0.5, "greedy_match": 0.0, "items": ITEMS}
        trained["score"] = right
    found = {each.task: each for each in agreements(planted(made, metric="accuracy"))}
    assert found["quiz"].right == "exact_match" and found["quiz"].verdict == "opposes"
    assert found["all tasks"].verdict == "agrees"


def test_trials_of_an_earlier_version_that_lack_accuracy_are_left_out_and_counted(planted: Maker) -> None:
    made = trials(0.6, count=20)
    for (trained,) in made[::2]:
        del trained["metrics"]["quiz"]["accuracy"], trained["items"]["quiz"]["accuracy"]
    assert only(planted(made)).trials == 10


def test_trainings_with_several_seeds_count_once(planted: Maker) -> None:
    rng = np.random.default_rng(1)
    made = [
        [result(1.5 - step, answers(0.6 + step, rng), "accuracy", seed) for seed in (0, 1)]
        for step in np.linspace(-0.3, 0.3, 12)
    ]
    found = only(planted(made))
    assert found.trials == 12 and found.verdict == "agrees"


def test_diagnose_and_the_report_tell_it(planted: Maker, tmp_path: Path) -> None:
    study = planted(trials(-0.6, count=7))
    shown = CliRunner().invoke(cli.app, ["diagnose", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    assert "cannot be told from 7 trials" in " ".join(shown.output.split())
    assert "right answers" not in study_markdown(study)
    text = study_markdown(planted(trials(-0.6)))
    assert "## The search metric beside right answers, over the trials" in text
    assert text.count("nll ranks recipes against accuracy") == 2  # under the table, and in the notes


def test_the_study_is_told_as_data(planted: Maker) -> None:
    shown = CliRunner().invoke(cli.app, ["diagnose", str(planted(trials(-0.6)).path), "--json"])
    (found,) = json.loads(shown.stdout)["right_answers"]
    assert (found["verdict"], found["trials"], found["knowledge"]["at_chance"]) == ("opposes", 15, False)
    assert found["sentence"] and found["correlation"]["high"] < 0
