"""Learning the prior from worlds, and the coverage of the surrogate's intervals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks import calibration, prior, search
from benchmarks.methods import learnt
from benchmarks.worlds.synthetic import SyntheticWorld

from autoselection.search import SearchConfig
from autoselection.search.prior import read_prior
from autoselection.search.prior_learning import Scored, learn

FEATURES = ("log_kept", "log_kept/task/a", "log_kept/task/b", "mean/ifd", "log_kept squared")


def world(family: str, line: list[float], seed: int) -> Scored:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(60, 5))
    return Scored(family, FEATURES, inputs, 3.0 + inputs @ np.array(line) + rng.normal(0, 0.1, 60))


def test_signs_that_worlds_share_are_learnt_and_those_that_differ_become_variance():
    worlds = [world("one", [0.0, 0.5, 0.5, 0.8 * (-1) ** seed, -0.2], seed) for seed in range(20)]
    learnt = learn(worlds)
    mean, variance = learnt["log_kept/task/*"]
    assert mean == pytest.approx(0.5, abs=0.06) and variance < 0.01
    mean, variance = learnt["mean/ifd"]
    assert mean == pytest.approx(0.0, abs=0.1) and variance == pytest.approx(0.64, abs=0.1)
    assert learnt["log_kept squared"][0] == pytest.approx(-0.2, abs=0.04)


def test_families_count_alike_whatever_their_number_of_worlds():
    many = [world("many", [0.0, 0.0, 0.0, 0.5, 0.0], seed) for seed in range(20)]
    few = [world("few", [0.0, 0.0, 0.0, -0.5, 0.0], seed) for seed in range(20, 24)]
    mean, variance = learn([*many, *few])["mean/ifd"]
    assert mean == pytest.approx(0.0, abs=0.06) and variance == pytest.approx(0.25, abs=0.08)


def test_the_file_that_is_written_is_read_and_scores_nobody_had_have_no_sign(tmp_path: Path, capsys):
    path = tmp_path / "effects.yaml"
    prior.main(["--worlds", "synthetic:0-1", "--out", str(path)])
    assert json.loads(capsys.readouterr().out)["worlds"] == 2
    read = read_prior(path)
    assert read.learnt_from == ("synthetic:0-1",) and "benchmarks.prior --worlds synthetic:0-1" in path.read_text()
    for feature in ("mean/reward", "spread/reward/within source"):
        assert read.effect(feature).mean == 0.0 and read.effect(feature).deviation > 0.0
    assert read.effect("mean/mona/x").feature == "mean/mona/*"
    assert read.effect("mean/mona/x/within source").feature == "mean/mona/*/within source"
    for entry in read.effects:
        assert read.effect(entry.feature.replace("*", "name")) == entry, entry.feature


def test_coverage_is_of_scores_that_the_search_did_not_know(monkeypatch):
    monkeypatch.setattr(calibration, "KNOWN", (4, 5))
    monkeypatch.setattr(calibration, "RANDOM", 12)
    found = calibration.Coverage()
    calibration.replay(SyntheticWorld(3), 3, SearchConfig(proposals=12, generations=1), found)
    lines = {(line["recipes"], line["known"]): line for line in calibration.lines(found)}
    assert set(lines) == {("random", 4), ("random", 5), ("picks", 4), ("picks", 5)}
    assert lines["random", 4]["count"] >= 8 and lines["picks", 4]["count"] == 1
    assert 0.0 <= lines["random", 5]["within_80"] <= lines["random", 5]["within_95"] <= 1.0


def test_calibration_on_recipebench_takes_the_usual_effects_of_the_pools(monkeypatch, capsys, tmp_path: Path):
    monkeypatch.setattr(calibration, "KNOWN", (4, 5))
    monkeypatch.setattr(calibration, "RANDOM", 12)
    monkeypatch.setattr(search.RecipeBench, "load", lambda *given: SyntheticWorld(3, n=400))
    search._interpolated.cache_clear()
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(calibration, "stored", lambda names: asked.append(names) or learnt.stored(names))
    arguments = ["--family", "recipebench", "--seeds", "1", "--json", "--work", str(tmp_path)]
    calibration.main([*arguments, "--leave-one-out"])
    assert asked == [tuple(name for name in learnt.SOURCES if name != "recipebench")]
    assert all(json.loads(line)["leave_one_out"] for line in capsys.readouterr().out.splitlines())
    search._interpolated.cache_clear()


def test_a_feature_that_some_families_lack_is_learnt_from_the_others():
    rng = np.random.default_rng(0)

    def world(family, features):
        inputs = rng.normal(size=(200, len(features)))
        return Scored(family, features, inputs, inputs[:, 0] + 0.1 * rng.normal(size=200))

    worlds = [world("one", ("mean/a", "mean/b")) for _ in range(6)]
    worlds += [world(family, ("mean/b", "mean/c")) for family in ("two", "three") for _ in range(6)]
    mean, variance = learn(worlds)["mean/a"]
    assert mean == pytest.approx(1.0, abs=0.12) and variance < 0.1
