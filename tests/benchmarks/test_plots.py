"""Figures and tables of the search benchmark, from a few lines as it writes them."""

from __future__ import annotations

import json

import pytest
from benchmarks import plots


def line(method, family="synthetic", budget=4, regret=0.5, **more):
    curve = [None, *(1 - regret - 0.1 * (budget - at) for at in range(2, budget + 1))]
    found = {
        "method": method,
        "family": family,
        "split": "heldout",
        "budget": budget,
        "seeds": 50,
        "mean_regret": regret,
        "ci95": [regret - 0.05, regret + 0.04],
        "best_true": 1 - regret,
        "evals_to_random15": 3,
        "evals_to_published15": None,
        "seconds_per_round": 0.123,
        "curve": curve,
        "curve_ci95": [None if value is None else [value - 0.1, value + 0.1] for value in curve],
    }
    if method != "ours":
        found["vs_ours"] = {"difference": regret - 0.2, "ci95": [regret - 0.3, regret - 0.1]}
    return {**found, **more}


LINES = [
    line("random", regret=0.7),
    line("ours", regret=0.2),
    line("ours:no-gp", regret=0.4),
    line("published", "recipebench", regret=0.6),
    line("ours", "recipebench", regret=0.3),
    line("ours", budget=2, regret=0.6),
]


def test_lines_of_separate_calls_are_paired_by_seed(tmp_path):
    ours, other = line("ours", final=[0.9, 0.7, 0.8]), line("random", final=[0.4, 0.3])
    del other["vs_ours"]
    for name, entry in (("a", ours), ("b", other)):
        (tmp_path / name).write_text(json.dumps(entry) + "\n", "utf-8")
    found = {entry["method"]: entry for entry in plots.read_lines([tmp_path / "a", tmp_path / "b"])}
    assert found["random"]["vs_ours"]["difference"] == pytest.approx(0.45)
    assert "vs_ours" not in found["ours"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in LINES), "utf-8")
    return path


def test_curves_have_a_panel_a_family_and_a_band_a_method(file):
    families = plots.one_budget(plots.read_lines([file]), None)
    assert {name: lines[0]["budget"] for name, lines in families.items()} == {"recipebench": 4, "synthetic": 4}
    figure = plots.curves_figure(families, ["ours", "random", "published"])
    shown = [(trace.name, trace.xaxis) for trace in figure.data if trace.mode == "lines+markers"]
    assert sorted(shown) == [("ours", "x"), ("ours", "x2"), ("published", "x"), ("random", "x2")]
    assert sum(bool(trace.showlegend) for trace in figure.data) == 3
    ours = next(trace for trace in figure.data if trace.name == "ours" and trace.xaxis == "x2")
    assert list(ours.x) == [2, 3, 4] and list(ours.y) == pytest.approx([0.6, 0.7, 0.8])
    bands = [trace for trace in figure.data if trace.fill == "toself"]
    assert len(bands) == 4 and max(bands[-1].y) == pytest.approx(0.9)


def test_regret_shows_intervals_and_ablations_stand_apart(file):
    found = plots.figures(plots.one_budget(plots.read_lines([file]), 4), ["ours"])
    assert set(found) == {"curves", "regret", "ablations"}
    assert [trace.y[0] for trace in found["ablations"].data] == ["ours:no-gp", "ours"], "the best one on top"
    ours = found["ablations"].data[1]
    assert ours.error_x.array[0] == pytest.approx(0.04) and ours.error_x.arrayminus[0] == pytest.approx(0.05)
    assert "ours:no-gp" not in [trace.y[0] for trace in found["regret"].data]


def test_tables_hold_regret_intervals_and_the_paired_difference(file, tmp_path, capsys):
    plots.main([str(file), "--table", str(tmp_path / "t.md")])
    text = (tmp_path / "t.md").read_text("utf-8")
    assert "### synthetic, heldout, 4 evaluations, 50 seeds: ablations" in text
    assert "| **ours** | 0.200 | 0.150 to 0.240 | 0.800 | 3 | never |  |  | 0.12 |" in text
    assert "| random | 0.700 | 0.650 to 0.740 | 0.300 | 3 | never | +0.500 | +0.400 to +0.600 | 0.12 |" in text
    assert text.index("| **ours** | 0.200") < text.index("| random | 0.700")
    assert capsys.readouterr().out.strip() == str(tmp_path / "t.md")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([line("random", regret=0.71)], "random stands there twice, with other figures"),
        ([{"method": "random"}], "no line of benchmarks.search"),
        ([line("random", split="tune")], "lines of several splits"),
    ],
)
def test_lines_that_do_not_belong_together_are_refused(file, tmp_path, capsys, more, said):
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps(entry) + "\n" for entry in more), "utf-8")
    with pytest.raises(SystemExit):
        plots.main([str(file), str(other), "--out", str(tmp_path / "figure")])
    assert said in capsys.readouterr().err


def test_images_are_small_files(file, tmp_path):
    pytest.importorskip("kaleido")
    plots.main([str(file), "--out", str(tmp_path / "figure")])
    for name in ("curves", "regret", "ablations"):
        path = tmp_path / f"figure-{name}.svg"
        assert path.read_text("utf-8").startswith("<svg") and path.stat().st_size < 300_000
