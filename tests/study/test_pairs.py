"""Which of two recipes of a study is better, asked in Python and on the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.diagnose import PairTest, study_pairs, which_is_better
from autoselection.errors import ConfigError, StudyError
from autoselection.search.preference import SURE
from autoselection.study import Study

pytestmark = pytest.mark.usefixtures("inline_module")


def test_two_trials_are_told_apart_as_far_as_their_scores_do(finished_study: Study) -> None:
    trials = sorted(finished_study.subsets(), key=lambda trial: trial.score or 0.0)
    worst, best = trials[0].id, trials[-1].id
    found = which_is_better(finished_study, best, worst)
    turned = which_is_better(finished_study, worst, best)
    assert found.probability == pytest.approx(1.0 - turned.probability)
    assert found.probability > 0.5 and found.better == turned.better
    assert found.better == (best if found.probability >= SURE else None)
    assert found.sentences[-1].startswith(f"On dev they scored {trials[-1].score:.4f} and {trials[0].score:.4f}; ")


def test_how_often_answers_are_right_is_tested_on_the_studys_own_pairs(finished_study: Study) -> None:
    recipes = len(finished_study.subsets())
    found = which_is_better(finished_study, "t001", "t002").test
    assert found is not None and found == study_pairs(finished_study)
    assert (found.recipes, found.pairs) == (recipes, recipes * (recipes - 1) // 2)
    assert 0.0 <= found.answered.low <= found.answered.value <= found.answered.high <= 1.0
    assert (found.right is None) == (found.answered.value == 0.0)
    loose = study_pairs(finished_study, sure=0.501)
    assert isinstance(loose, PairTest) and loose.answered.value >= found.answered.value and loose.right is not None
    assert f"{loose.pairs} pairs of the {recipes} recipes" in loose.sentence()


def test_a_recipe_that_was_never_tried_can_be_asked_about(finished_study: Study, tmp_path: Path) -> None:
    recipe = tmp_path / "high.yaml"
    recipe.write_text("version: 1\nsteps:\n- {operator: ngram_entropy, params: {fraction: 0.3, direction: high}}\n")
    found = which_is_better(finished_study, str(recipe), "t001")
    assert 0.0 < found.probability < 1.0 and not any("On dev they" in sentence for sentence in found.sentences)
    if found.better is None:
        assert found.sentences[0].startswith("Which is better is not known: ")


def test_on_the_command_line(finished_study: Study) -> None:
    asked = ["whatif", str(finished_study.path), "--better", "t001,t002"]
    shown = CliRunner().invoke(app, [*asked, "--weights", "boolean=3"])
    assert shown.exit_code == 0 and "pairs of the" in " ".join(shown.output.split())
    document = json.loads(CliRunner().invoke(app, [*asked, "--json", "--sure", "0.6"]).stdout)
    assert (document["one"], document["other"], document["sure"]) == ("t001", "t002", 0.6)
    assert set(document) == {"one", "other", "probability", "better", "sure", "test", "sentences"}


@pytest.mark.parametrize(
    ("one", "other", "sure", "why"),
    [
        ("t001", "t001", 0.9, "t001 and t001 select the same rows"),
        ("t001", "t002", 0.4, "--sure must be between 0.5 and 1, not 0.4"),
        ("t001", "t0999", 0.9, "there is no trial 't0999' and no recipe of this name; known: t001, t002"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(
    finished_study: Study, one: str, other: str, sure: float, why: str
) -> None:
    with pytest.raises(Exception, match=why) as raised:
        which_is_better(finished_study, one, other, sure=sure)
    assert "\n" not in str(raised.value)


def test_nothing_is_asked_or_three_things(finished_study: Study) -> None:
    for options, why in (((), "Say what is asked"), (("--better", "t001,t002,t003"), "takes two trials or recipes")):
        found = CliRunner().invoke(app, ["whatif", str(finished_study.path), *options])
        assert isinstance(found.exception, ConfigError) and why in str(found.exception)


def test_without_the_pool_it_is_said(finished_study: Study, tmp_path: Path) -> None:
    copy = tmp_path / "study"
    shutil.copytree(finished_study.path, copy)
    config = (copy / "config.yaml").read_text().rpartition("# checksum")[0]
    (copy / "config.yaml").write_text(config.replace(str(finished_study.config.pool.path), str(tmp_path / "gone")))
    with pytest.raises(StudyError, match="pairs cannot be judged without the study's pool"):
        which_is_better(Study(copy), "t001", "t002")
    assert study_pairs(Study(copy)) is None
