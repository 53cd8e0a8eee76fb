"""Other weights of tasks on a finished study: arithmetic on what is known, and the surrogate on what is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.diagnose import parse_weights, what_if
from autoselection.errors import ConfigError
from autoselection.recipes import Recipe
from autoselection.statistics import best_probabilities
from autoselection.study import Study

pytestmark = pytest.mark.usefixtures("inline_module")


def test_trials_are_scored_again_from_their_tasks(finished_study: Study) -> None:
    found = what_if(finished_study, {"boolean": 3.0}, proposals=0)
    expected = {
        trial.id: (trial.tasks["addition"] + 3 * trial.tasks["boolean"]) / 4
        for trial in finished_study.subsets()
        if trial.score is not None
    }
    assert {item.trial: item.score for item in found.trials} == pytest.approx(expected)
    assert [item.score for item in found.trials] == sorted(expected.values(), reverse=True)
    assert sum(item.probability or 0.0 for item in found.trials) == pytest.approx(1.0)
    assert found.untried == ()
    assert found.weights == {"addition": 1.0, "boolean": 3.0}
    # The search has one seed; the verdict trained winner and incumbent with another, which says how much chance there is.
    assert not any("two seeds" in sentence for sentence in found.sentences)
    assert found.trials[0].probability is not None and found.trials[0].probability < 0.9


def test_the_weights_of_the_study_name_its_own_winner(finished_study: Study) -> None:
    best = finished_study.best()
    assert best is not None
    found = what_if(finished_study, {}, proposals=0)
    assert found.trials[0].trial == best.id
    assert found.sentences[0].startswith(f"With these weights {best.id} is still the best")
    one = what_if(finished_study, {"addition": 0.0}, proposals=0)
    assert one.trials[0].score == pytest.approx(max(item.tasks["boolean"] for item in one.trials))


def test_equal_trials_stand_in_the_order_of_the_search(finished_study: Study, tmp_path: Path) -> None:
    """The later of two is the study's best, so asking with the weights that it has changes nothing."""
    path = shutil.copytree(finished_study.path, tmp_path / "study")
    events = [json.loads(line) for line in (path / "journal.jsonl").read_text().splitlines()]
    for event in events:
        event.pop("chain", None)
        if event["event"] == "evaluation":
            event["result"]["scores"] = dict.fromkeys(event["result"]["scores"], -0.5)
            event["result"]["score"] = -0.5
    (path / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    study = Study(path)
    best = study.best()
    assert best is not None
    assert what_if(study, {}, proposals=0).trials[0].trial == best.id


def test_ties_go_to_the_later_trial() -> None:
    alike = [np.array([[1.0, 0.0, 1.0]])]
    assert best_probabilities([alike, alike, [np.zeros((1, 3))]])[:2].tolist()[0] == 0.0


def test_recipes_that_were_not_tried_are_predicted_the_same_way_every_time(finished_study: Study) -> None:
    found = what_if(finished_study, {"boolean": 2.0}, proposals=12)
    assert found.untried
    known = {trial.record["subset_hash"] for trial in finished_study.subsets()}
    for item in found.untried:
        assert item.sigma > 0 and 0 <= item.better <= 1
        assert Recipe.from_dict(item.document).describe() == item.recipe
    spread = max(item.score for item in found.trials) - min(item.score for item in found.trials)
    assert all(item.sigma < 3 * spread for item in found.untried), "nothing of which next to nothing is known"
    assert len(known) > 0
    assert found.to_dict() == what_if(finished_study, {"boolean": 2.0}, proposals=12).to_dict()


def test_without_its_pool_a_study_tells_of_its_trials(finished_study: Study, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(finished_study.path, moved)
    config = (moved / "config.yaml").read_text()
    assert "path" in config
    (moved / "config.yaml").write_text(
        "\n".join(line for line in config.splitlines() if not line.startswith("# checksum")).replace(
            str(finished_study.config.pool.path), str(tmp_path / "gone")
        )
    )
    found = what_if(Study(moved), {"boolean": 2.0})
    assert found.trials and not found.untried
    assert any("pool" in sentence for sentence in found.sentences)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gsm8k", "'gsm8k' is not TASK=WEIGHT"),
        ("gsm8k=two", "'gsm8k=two' is not TASK=WEIGHT"),
        ("gsm8k=-1", "'gsm8k=-1' is not TASK=WEIGHT"),
        ("gsm8k=inf", "is not TASK=WEIGHT"),
        ("gsm8k=nan", "is not TASK=WEIGHT"),
        ("=2", "'=2' is not TASK=WEIGHT"),
        ("a=1,a=2", "'a' stands there twice"),
        (",", "names no task"),
    ],
)
def test_weights_that_are_none_are_refused(given: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_weights(given)
    assert parse_weights("a=1, b=0.5") == {"a": 1.0, "b": 0.5}


def test_tasks_that_the_study_lacks_are_refused(finished_study: Study) -> None:
    with pytest.raises(ConfigError, match="no task 'adition'; did you mean 'addition'"):
        what_if(finished_study, {"adition": 2.0})
    with pytest.raises(ConfigError, match="every task would have weight 0"):
        what_if(finished_study, {"addition": 0.0, "boolean": 0.0})


def test_the_command_prints_tables_and_json(finished_study: Study) -> None:
    run = CliRunner().invoke(app, ["whatif", str(finished_study.path), "--weights", "boolean=3", "--proposals", "8"])
    assert run.exit_code == 0, run.output
    assert "With these weights" in run.output
    as_json = CliRunner().invoke(
        app, ["whatif", str(finished_study.path), "--weights", "boolean=3", "--proposals", "0", "--json"]
    )
    assert json.loads(as_json.output)["weights"] == {"addition": 1.0, "boolean": 3.0}


def test_the_best_of_trials_is_told_by_items_and_by_chance_in_training() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(0, 1, 200)
    near = [[base[None] + shift] for shift in (0.0, 0.02, -3.0)]
    sure = best_probabilities(near)
    assert sure.tolist() == [0.0, 1.0, 0.0]  # items move all alike
    noisy = best_probabilities(near, 0.1)
    assert noisy[1] == pytest.approx(0.556, abs=0.03)  # Phi(0.02 / (0.1 sqrt 2))
    assert noisy[2] == 0.0
    alike = best_probabilities(near, 0.1, correlation=np.full((3, 3), 0.98) + 0.02 * np.eye(3))
    assert alike[1] == pytest.approx(0.841, abs=0.03)
