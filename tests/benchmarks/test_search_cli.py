from __future__ import annotations

import json

import numpy as np
import pytest
from benchmarks import calibration, search
from benchmarks.methods import learnt_from

METHODS = "random,single-operators,random-rows,ours"
REQUIRED = {
    "method",
    "mean_regret",
    "ci95",
    "best_true",
    "evals_to_random15",
    "evals_to_published15",
    "seconds_per_round",
    "win_rate",
    "curve",
}


def call(capsys, folder, *more):
    search.main(["--family", "synthetic", "--json", "--folder", str(folder), *more])
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture(autouse=True)
def small_worlds(monkeypatch):
    made = {}

    def world(seed, noise):
        return made.setdefault(seed, search_world(seed, n=400, noise=noise))

    search_world = search.SyntheticWorld
    monkeypatch.setattr(search, "SyntheticWorld", world)
    monkeypatch.setattr(search, "REFERENCE_BUDGET", 4)


def test_a_method_with_a_budget_of_its_own_is_judged_after_all_of_it(tmp_path, capsys):
    arguments = ["--budget", "4", "--seeds", "2", "--methods", "single-operators,single-operators:all"]
    budgeted, everything = sorted(call(capsys, tmp_path / "runs", *arguments), key=lambda line: line["spent"])
    assert budgeted["spent"] == 4 and everything["spent"] > 40 and everything["refused"] == 0
    assert len(everything["curve"]) == 4 and everything["best_true"] > everything["curve"][-1]


def test_one_valid_line_a_method_and_the_same_again(tmp_path, capsys):
    arguments = ["--budget", "4", "--seeds", "3", "--methods", METHODS, "--out", str(tmp_path / "out.jsonl")]
    lines = call(capsys, tmp_path / "runs", *arguments)
    assert {line["method"] for line in lines} == set(METHODS.split(","))
    assert [line["mean_regret"] for line in lines] == sorted(line["mean_regret"] for line in lines)
    by_name = {line["method"]: line for line in lines}
    for line in lines:
        assert set(line) >= REQUIRED
        assert line["ci95"][0] <= line["mean_regret"] <= line["ci95"][1]
        assert line["best_true"] == pytest.approx(1.0 - line["mean_regret"], abs=1e-4)
        assert line["best_seen"] >= line["best_true"] - 1e-9
        assert len(line["curve"]) == 4
        for other, rate in line["win_rate"].items():
            assert rate + by_name[other]["win_rate"][line["method"]] == pytest.approx(1.0, abs=2e-5)
        if line["method"] != "ours":
            against = line["vs_ours"]
            expected = line["mean_regret"] - by_name["ours"]["mean_regret"]
            assert against["difference"] == pytest.approx(expected, abs=1e-4)
            assert against["ci95"][0] <= against["difference"] <= against["ci95"][1]
    assert by_name["random"]["evals_to_random15"] <= 4
    assert "vs_ours" not in by_name["ours"]
    written = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in written] == lines

    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.json")}
    assert call(capsys, tmp_path / "runs", *arguments) == lines
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.json")} == kept
    fresh = call(capsys, tmp_path / "elsewhere", *arguments)
    assert [dict(line, seconds_per_round=0) for line in fresh] == [dict(line, seconds_per_round=0) for line in lines]


def test_held_out_worlds_are_others(tmp_path, capsys):
    arguments = ["--budget", "2", "--seeds", "2", "--methods", "random-rows"]
    tune = call(capsys, tmp_path, *arguments)
    held = call(capsys, tmp_path, *arguments, "--split", "heldout")
    assert tune[0]["curve"] != held[0]["curve"] and held[0]["split"] == "heldout"
    assert tune[0]["left_out"] and held[0]["left_out"], "random rows know nothing"


def test_what_was_learnt_from_is_not_called_left_out_in_any_family(tmp_path):
    def left_out(family, split, name, leave_one_out=False, cell=None, seeds=2):
        replayed = cell[0] if cell else family
        learn_from = search.learn_from(replayed, leave_one_out)
        setting = search.Setting(family, split, tmp_path, cell=cell, learn_from=learn_from)
        return search.is_left_out(setting, learnt_from(setting.method(name)), seeds)

    for name in ("ours", "ours:learnt"):
        assert not left_out("synthetic", "tune", name) and left_out("synthetic", "heldout", name)
        assert not left_out("recipebench", "tune", name) and not left_out("recipebench", "heldout", name)
        assert not left_out("pools", "ash/wide", name, cell=("ash", "wide"))
    assert left_out("recipebench", "heldout", "ours:learnt", leave_one_out=True)
    assert not left_out("recipebench", "heldout", "ours", leave_one_out=True), "the shipped one learnt from all"
    assert left_out("pools", "ash/wide", "ours:learnt", leave_one_out=True, cell=("ash", "wide"))
    assert left_out("synthetic", "tune", "random")
    setting = search.Setting("synthetic", "tune", tmp_path)
    for known, expected in ((["synthetic:7"], True), (["synthetic:3"], False), (["synthetic:4-9", "pools:ash"], True)):
        assert search.is_left_out(setting, known, seeds=4) == expected


@pytest.mark.parametrize("program", [search, calibration])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("synthetic", "--leave-one-out"), "--leave-one-out leaves nothing out of synthetic"),
        (("pools", "--split", "heldout"), "pools have no held-out half. --leave-one-out learns"),
        (("recipebench", "--pools", "ash"), "choose cells of the family of pools, and recipebench has none"),
        (("synthetic", "--models", "wide"), "choose cells of the family of pools, and synthetic has none"),
    ],
)
def test_options_without_effect_on_a_family_are_refused(program, arguments, said, capsys):
    with pytest.raises(SystemExit):
        program.main(["--family", *arguments])
    assert said in capsys.readouterr().err


def test_a_table_of_trainings_for_synthetic_worlds_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        search.main(["--family", "synthetic", "--evaluations", str(tmp_path)])
    assert "synthetic worlds have none" in capsys.readouterr().err


def test_a_changed_setting_or_world_is_another_run(tmp_path):
    setting = search.Setting("synthetic", "tune", tmp_path)
    digests = {search.method_digest(setting.method(name)) for name in ("ours", "ours:state", "published", "random")}
    assert len(digests) == 4
    method = setting.method("ours")
    paths = {search.run_path(tmp_path, setting, world, method, b, s) for world in "xy" for b in (8, 15) for s in (0, 1)}
    assert len(paths) == 8


def test_unknown_methods_are_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        search.main(["--family", "synthetic", "--methods", "magic", "--folder", str(tmp_path)])
    assert "no method 'magic'" in capsys.readouterr().err


def test_intervals_cover_the_mean():
    rng = np.random.default_rng(3)
    for seeds in (3, 30):
        ends = np.array([search.around(rng.normal(1.0, 1.0, seeds)) for _ in range(400)])
        assert 0.92 <= np.mean((ends[:, 0] <= 1.0) & (ends[:, 1] >= 1.0)) <= 0.98
    assert search.around(np.array([0.5])) == [0.5, 0.5]
