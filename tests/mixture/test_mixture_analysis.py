"""What is found in a table with known effects, on the screen, as JSON and as a page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from tables import SOURCES, mixtures, two_levels, write
from tests.report.drawn import figures_of
from typer.testing import CliRunner

from autoselection.cli import app
from autoselection.cli._outcome import run
from autoselection.errors import ConfigError
from autoselection.mixture import Analysis, ScoreColumns, analyse, column_place, column_weights, read_runs
from autoselection.mixture.analysis import APART, _compared, distance, doubled, halved, nondominated
from autoselection.mixture.findings import short_names
from autoselection.report.mixture import mixture_page, sentences, sheets, weights_said
from autoselection.report.page import page_html

OPTIONS = ["--share", "share/*", "--score", "loss/*:min", "--level", "model", "--cost", "small=1,large=20"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shares, values, levels = two_levels(30, 8)
    return write(tmp_path_factory.mktemp("runs") / "runs.csv", shares, -values, levels)


@pytest.fixture(scope="module")
def analysis(table: Path) -> Analysis:
    runs = read_runs(table, ["share/*"], [ScoreColumns("loss/*", True)], "model", None, {"small": 1, "large": 20})
    return analyse(
        runs,
        column_weights(runs, {}),
        pareto=[0, 1],
        following=2,
        what_if=[column_weights(runs, {"code": 9})],
    )


def test_known_effects_are_found_with_their_signs(analysis: Analysis) -> None:
    effects = {effect.source: effect.columns for effect in analysis.effects}
    assert effects["share/web"][0].low > 0 and effects["share/code"][1].low > 0  # each helps its own loss
    assert effects["share/maths"][0].high < 0  # what takes room from web and books costs web's loss
    web = effects["share/web"][0]
    average = analysis.runs.shares[analysis.runs.level == 1].mean(axis=0)
    truth = -0.6 * (np.log(doubled(average, 0)) - np.log(average)) @ np.array([-0.6, 0.0, 0.0, -0.2])
    assert web.low <= truth <= web.high


def test_another_question_leaves_the_other_answers_alone(table: Path, analysis: Analysis) -> None:
    runs = analysis.runs
    without = analyse(runs, column_weights(runs, {}), pareto=[0, 1], following=2)
    told, alone = analysis.to_dict(), without.to_dict()
    assert told.pop("what_if") and not alone.pop("what_if")
    assert told == alone


def test_predictions_of_left_out_runs_are_told_for_the_target(analysis: Analysis) -> None:
    assert analysis.level == "large"
    own = analysis.foretold[0]
    assert own.column is None and own.rank_correlation is not None and own.rank_correlation.value > 0.9
    assert own.error < 0.3 * own.spread


def test_predictions_that_differ_by_rounding_rank_nothing() -> None:
    mean, score = np.array([0.3, 0.1 + 0.2] * 3), np.arange(6.0)
    for one, other in ((mean, score), (score, mean)):
        assert _compared("loss", one, other, np.ones(6), -1.0).rank_correlation is None


def test_best_mixtures_stay_within_what_was_seen_and_never_below_the_best_run(analysis: Analysis) -> None:
    highest = analysis.runs.shares.max(axis=0)
    assert all((rated.shares <= highest + 1e-9).all() for rated in analysis.predicted)
    assert analysis.predicted[0].objective.value >= analysis.seen[0].objective.value - 1e-9
    values = [rated.objective.value for rated in analysis.predicted]
    assert values == sorted(values, reverse=True)


def test_a_table_with_scores_at_a_middle_level_alone_is_analysed(tmp_path: Path) -> None:
    shares, values, _ = two_levels(8, 8)
    (tmp_path / "runs.csv").write_text(
        "level,share/a,share/b,share/c,share/d,loss\n"
        + "".join(
            f"{level},{','.join(f'{share:.6f}' for share in row)},{-value if level == 'B' else ''}\n"
            for level, row, value in zip("AAABBBBBBBBBBCCC", shares, values[:, 0], strict=True)
        )
    )
    costs = {"A": 1.0, "B": 2.0, "C": 3.0}
    runs = read_runs(tmp_path / "runs.csv", ["share/*"], [ScoreColumns("loss", True)], "level", None, costs)
    found = analyse(runs, column_weights(runs, {}))
    assert found.seen == () and found.predicted and found.following
    assert found.level == "B"


def test_the_front_trades_one_score_for_the_other(analysis: Analysis) -> None:
    means = np.array([[found.value for found in rated.columns] for rated in analysis.front])
    assert len(means) > 2 and (np.diff(means[:, 0]) > 0).all() and (np.diff(means[:, 1]) < 0).all()


def test_no_two_mixtures_of_the_front_are_the_same_advice(tmp_path: Path) -> None:
    shares = np.random.default_rng(0).dirichlet(np.ones(len(SOURCES)), 40)
    near = np.stack(
        [(shares[:, 0] - best) ** 2 for best in (0.45, 0.55)], axis=1
    )  # a trade-off within a tenth of the data
    path = write(tmp_path / "runs.csv", shares, 10 * near, np.ones(40, np.int64))
    runs = read_runs(path, ["share/*"], [ScoreColumns("loss/*", True)], "model", None, {"large": 20})
    front = [found.shares for found in analyse(runs, column_weights(runs, {}), pareto=[0, 1], following=1).front]
    assert len(front) > 2
    assert min(distance(one, other) for place, one in enumerate(front) for other in front[:place]) >= APART


def test_other_weights_move_the_winner_to_their_source(analysis: Analysis) -> None:
    code = analysis.runs.sources.index("share/code")
    assert analysis.what_if[0].winner.shares[code] > analysis.predicted[0].shares[code] + 0.05
    assert analysis.what_if[0].changes > 0.8


def test_next_runs_differ_and_have_a_level_and_a_cost(analysis: Analysis) -> None:
    assert len(analysis.following) == 2
    assert {run.level for run in analysis.following} <= {"small", "large"}
    first, second = analysis.following
    assert first.level != second.level or not np.allclose(first.shares, second.shares)


def test_the_command_prints_tables_and_one_document(table: Path, tmp_path: Path) -> None:
    page = tmp_path / "mixture.html"
    shown = CliRunner().invoke(app, ["mixture", str(table), *OPTIONS, "--next", "1", "--html", str(page)])
    assert shown.exit_code == 0, shown.output
    assert "Doubling a source" in shown.output and page.read_text("utf-8").startswith("<!DOCTYPE html>")
    found = CliRunner().invoke(app, ["mixture", str(table), *OPTIONS, "--pareto", "web,code", "--json"])
    document = json.loads(found.stdout)
    assert document["target"] == "large" and document["levels"]["small"] == {"cost": 1.0, "runs": 30}
    assert set(document["effects"][0]["scores"]) == {"loss/web", "loss/code"}
    assert sum(document["best_predicted"][0]["shares"].values()) == pytest.approx(1.0, abs=1e-4)
    again = CliRunner().invoke(app, ["mixture", str(table), *OPTIONS, "--pareto", "web,code", "--json"])
    assert again.stdout == found.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--weights", "cod=2"], "no score column 'cod'; did you mean 'code'?"),
        (["--weights", "code"], "'code' is not COLUMN=WEIGHT"),
        (["--weights", "code=-1"], "with a number of 0 or more"),
        (["--weights", "code=2,code=0"], "--weights: 'code' stands there twice"),
        (["--what-if", "code=2,loss/code=0"], "--what-if: 'code' and 'loss/code' are one column"),
        (["--weights", "code=0,web=0"], "needs a weight above 0"),
        (["--pareto", "web"], "name two score columns or more"),
        (["--what-if", "x=1"], "--what-if: there is no score column 'x'"),
    ],
)
def test_wrong_options_are_one_sentence(table: Path, options: list[str], said: str) -> None:
    failed = CliRunner().invoke(app, ["mixture", str(table), *OPTIONS, *options])
    assert isinstance(failed.exception, ConfigError) and said in str(failed.exception)


def test_a_page_has_its_figures_and_no_markup_of_a_stranger(tmp_path: Path) -> None:
    shares, values, levels = two_levels(12, 6)
    path = write(tmp_path / "runs.csv", shares, -values, levels)
    evil = "share/<img src=x onerror=alert(1)>"
    path.write_text(path.read_text("utf-8").replace("share/web", evil), encoding="utf-8")
    runs = read_runs(path, ["share/*"], [ScoreColumns("loss/*", True)], "model", None, {"small": 1, "large": 20})
    found = analyse(runs, column_weights(runs, {}), pareto=[0, 1], following=1)
    page = mixture_page(found)
    assert next(figure.title for figure in figures_of(page)).startswith("Left-out runs at large")
    assert len(list(figures_of(page))) == 5
    assert not re.search(r"<img", page_html(page))


def test_sources_called_like_years_and_months_are_drawn_as_names(table: Path, tmp_path: Path) -> None:
    text = table.read_text()
    for name, year in zip(SOURCES, ("2019", "2020", "2021", "2023-06"), strict=True):
        text = text.replace(f"share/{name}", f"share/{year}")
    (tmp_path / "runs.csv").write_text(text)
    costs = {"small": 1, "large": 20}
    runs = read_runs(tmp_path / "runs.csv", ["share/*"], [ScoreColumns("loss/*", True)], "model", None, costs)
    page = mixture_page(analyse(runs, column_weights(runs, {}), following=1))
    drawn = {figure.title: figure for figure in figures_of(page)}
    assert "2023-06" in drawn["What doubling a source does to the objective"].traces[0]["y"]
    for figure in drawn.values():
        for axis in "xy":
            if any(isinstance(value, str) for trace in figure.traces for value in trace.get(axis, ())):
                assert figure.layout[f"{axis}axis"]["type"] == "category", (figure.title, axis)


def test_a_table_of_one_level_with_accuracies(tmp_path: Path) -> None:
    shares = mixtures(15)
    scores = 1.0 / (1.0 + np.exp(-np.log(shares[:, :2])))
    path = write(tmp_path / "runs.csv", shares, scores)
    runs = read_runs(path, ["share/*"], [ScoreColumns("loss/*", False)])
    found = analyse(runs, column_weights(runs, {}), following=2)
    assert found.seen[0].seen == pytest.approx(scores.mean(axis=1).max(), abs=0.05)
    assert [run.level for run in found.following] == ["all runs", "all runs"]
    assert len(sheets(found)) == 4
    shown = page_html(mixture_page(found)) + " ".join(sentences(found))  # a table without levels speaks of none
    assert "all runs" not in shown and "level" not in [heading for sheet in sheets(found) for heading in sheet.headings]


def test_a_share_that_is_about_right_is_neither_too_large_nor_too_small(tmp_path: Path) -> None:
    # The objective is best at web 25%, code 55%, maths 15%, books 5%; the average mixture has about 25% of each.
    shares = mixtures(40)
    best = np.array([0.25, 0.55, 0.15, 0.05])
    scores = np.log(shares) @ best + 0.01 * np.random.default_rng(5).standard_normal(len(shares))
    path = write(tmp_path / "runs.csv", shares, np.stack([scores, 2 * scores], axis=1))
    runs = read_runs(path, ["share/*"], [ScoreColumns("loss/web", False)])
    found = analyse(runs, column_weights(runs, {}), following=3)
    average = runs.shares.mean(axis=0)
    for effect, place in zip(found.effects, range(4), strict=True):
        truth = (np.log(halved(average, place)) - np.log(average)) @ best
        assert np.sign(effect.halved.value) == np.sign(truth) and effect.halved.value == pytest.approx(truth, abs=0.05)
    said = sentences(found)
    assert any(one.startswith("Twice as much as in") and "of code (" in one for one in said)
    assert any(one.startswith("Half as much as in") and "books (" in one and "web (" not in one for one in said)
    assert any(one.startswith("Twice as much and half as much both cost") and "web (" in one for one in said)
    assert any("None of the next runs is expected to improve the choice by much" in one for one in said)


def test_a_target_without_enough_runs_is_said(tmp_path: Path) -> None:
    shares, values, levels = two_levels(15, 2)
    path = write(tmp_path / "runs.csv", shares, -values, levels)
    runs = read_runs(path, ["share/*"], [ScoreColumns("loss/*", True)], "model", None, {"small": 1, "large": 20})
    found = analyse(runs, column_weights(runs, {}))
    assert found.level == "small"


def test_small_pieces() -> None:
    assert doubled(np.array([0.2, 0.3, 0.5]), 0) == pytest.approx([0.4, 0.225, 0.375])
    assert doubled(np.array([0.8, 0.2]), 0) == pytest.approx([0.9, 0.1])
    assert halved(np.array([0.2, 0.3, 0.5]), 0) == pytest.approx([0.1, 0.3375, 0.5625])
    assert halved(np.array([1.0, 0.0]), 0) == pytest.approx([1.0, 0.0])
    assert list(nondominated(np.array([[1, 3], [2, 2], [1, 2], [3, 1], [3, 1]]))) == [0, 1, 3, 4]
    assert short_names(["loss/a", "loss/b"]) == ("a", "b")
    assert short_names(["x/a", "y/a"]) == ("x/a", "y/a")


def test_weights_are_said_beside_what_most_have(analysis: Analysis) -> None:
    assert weights_said(analysis, np.array([9.0, 1.0]) / 10) == "web × 9"
    assert weights_said(analysis, np.array([0.0, 1.0])) == "web × 0"
    assert weights_said(analysis, np.array([0.5, 0.5])) == "all alike"


def test_places_of_columns_by_short_and_full_name(analysis: Analysis) -> None:
    assert column_place(analysis.runs, "code", "--pareto") == column_place(analysis.runs, "loss/code", "--pareto") == 1


def test_a_source_below_the_floor_has_no_effect(tmp_path: Path) -> None:
    shares, values, levels = two_levels(12, 8)
    shares[:, 3] = np.where(np.arange(20) == 2, 0.004, 0.0)
    shares /= shares.sum(axis=1, keepdims=True)
    path = write(tmp_path / "runs.csv", shares, -values, levels)
    runs = read_runs(path, ["share/*"], [ScoreColumns("loss/*", True)], "model", None, {"small": 1, "large": 20})
    effect = analyse(runs, column_weights(runs, {}), following=0).effects[3]
    assert effect.objective.to_dict() == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_table_that_is_not_there_is_wrong_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(app, ["mixture", str(tmp_path / "none.csv"), *OPTIONS]) == 2
    assert "none.csv: there is no such file" in capsys.readouterr().err


def _analysed(folder: Path, lines: list[str], level: str | None = None, **costs: float) -> Analysis:
    (folder / "runs.csv").write_text("\n".join(lines) + "\n")
    runs = read_runs(folder / "runs.csv", ["share/*"], [ScoreColumns("acc", False)], level, None, costs or None)
    return analyse(runs, column_weights(runs, {}), following=1)


def test_what_is_nearly_the_best_run_is_not_called_better(tmp_path: Path) -> None:
    # The best mixture was run three times, written with other roundings.
    lines = [f"{a / 10},{1 - a / 10},{-((a / 10 - 0.5) ** 2) + 1e-4 * a:.5f}" for a in range(11)]
    found = _analysed(tmp_path, ["share/a,share/b,acc", *lines, "50%,50%,0.0006", "0.5000001,0.4999999,0.0005"])
    assert np.abs(found.predicted[0].shares - found.seen[0].shares).max() > 0
    said = " ".join(sentences(found))
    assert f"No mixture is predicted to be better than the best one that was run (line {found.seen[0].line})" in said
    assert "differ from it in less than 5% of the data" in said and "never run" not in said


def test_a_mixture_that_was_run_at_the_target_is_no_prediction(tmp_path: Path) -> None:
    # Divided by their sum, shares of one mixture differ in the last digit.
    lines = ["share/a,share/b,share/c,acc"]
    lines += [f"{a / 9:.9f},{(9 - a) / 18:.9f},{(9 - a) / 18:.9f},{a + 0.01 * (a % 3):.4f}" for a in range(10)]
    found = _analysed(tmp_path, [*lines, "0.9999999999,0.0000000001,0,9.02"])
    assert found.predicted[0].line in {rated.line for rated in found.seen} and found.predicted[0].beats is None
    kinds = [row[0] for row in next(s for s in sheets(found) if "best mixtures" in s.title).rows]
    assert kinds == ["run"] * 5 + ["predicted"] * (len(kinds) - 5)
    shown = [row[-1] for row in next(s for s in sheets(found) if "best mixtures" in s.title).rows]
    assert not set(shown[:5]) & set(shown[5:]), shown
    drawn = next(f for f in figures_of(mixture_page(found)) if f.title.startswith("The best mixtures"))
    assert len(drawn.layout["yaxis"]["categoryarray"]) == len(set(drawn.layout["yaxis"]["categoryarray"])) == len(kinds)


def test_a_mixture_that_was_run_at_a_cheaper_level_is_told_to_be_run_at_the_target(tmp_path: Path) -> None:
    mixes = [(a / 10, 1 - a / 10) for a in range(11)]
    lines = [f"small,{a},{b:.1f},{a:.4f}" for a, b in mixes]
    lines += [f"large,{a},{b:.1f},{2 * a:.4f}" for a, b in mixes[:7]]
    found = _analysed(tmp_path, ["model,share/a,share/b,acc", *lines], "model", small=1, large=20)
    assert found.predicted[0].shares == pytest.approx([1.0, 0.0]) and found.predicted[0].line is None
    assert "it was never run at large: run it there before you rely on it" in " ".join(sentences(found))


def test_few_runs_at_each_level_are_said_to_be_too_few_once(tmp_path: Path) -> None:
    shares = mixtures(6)
    lines = [f"{level},{a},{b},{c + d},{a:.4f}" for level, (a, b, c, d) in zip("xxyyzz", shares, strict=True)]
    found = _analysed(tmp_path, ["m,share/a,share/b,share/c,acc", *lines], "m", x=1, y=2, z=3)
    said = " ".join(sentences(found))
    assert "cannot be said: too few runs" in said and "those above" not in said


def test_a_score_that_is_called_objective_is_told_apart_from_ours(tmp_path: Path) -> None:
    shares = mixtures(12)
    path = write(tmp_path / "runs.csv", shares, shares[:, :2])
    path.write_text(path.read_text().replace("loss/web", "objective").replace("loss/code", "loss"))
    runs = read_runs(path, ["share/*"], [ScoreColumns("objective", False), ScoreColumns("loss", True)])
    found = analyse(runs, column_weights(runs, {}), following=1)
    drawn = next(f for f in figures_of(mixture_page(found)) if f.title.startswith("Which source"))
    assert drawn.traces[0]["x"] == ["our objective", "objective", "loss"]
    assert [row[0] for row in sheets(found)[0].rows] == ["our objective", "objective", "loss"]
