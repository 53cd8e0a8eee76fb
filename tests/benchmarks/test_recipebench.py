from __future__ import annotations

import base64
import json

import numpy as np
import pytest
from benchmarks.recipebench.fidelity import Short
from benchmarks.recipebench.interpolate import (
    Evaluations,
    Interpolator,
    Noise,
    cross_validate,
    is_held_out,
    read_evaluations,
)
from benchmarks.recipebench.pack import pack, unpack
from benchmarks.worlds.recipebench import RecipeBench
from benchmarks.worlds.synthetic import SyntheticWorld

from autoselection.recipes import materialize, subset_hash
from autoselection.search import random_recipes

N = 400
TASKS = ("amber", "basalt")
SPREAD = 0.02


@pytest.fixture(scope="module")
def world():
    return SyntheticWorld(5, n=N)


@pytest.fixture(scope="module")
def lines(world):
    """A table as a build writes it, of the synthetic truth turned into losses."""
    rng = np.random.default_rng(0)
    made = []
    for number, recipe in enumerate(random_recipes(world.table, 90)):
        rows = materialize(recipe, world.table).rows
        mask = np.zeros(N, bool)
        mask[rows] = True
        truth = {task: score for task, score in world.truth_of_tasks(rows).items() if task in TASKS}
        for seed in range(3 if number % 3 == 0 else 1):
            luck = rng.normal(0, SPREAD)
            losses = {
                split: {task: float(np.exp(-score + offset + luck)) for task, score in truth.items()}
                for split, offset in (("dev", 0.0), ("test", 0.1))
            }
            made.append(
                {
                    "key": f"{subset_hash(rows)}/{seed}",
                    "kind": "zones",
                    "recipe": recipe.to_dict(),
                    "rows": len(rows),
                    "mask": base64.b64encode(np.packbits(mask).tobytes()).decode(),
                    "seed": seed,
                    **losses,
                    "seconds": 1.0,
                }
            )
    return made


@pytest.fixture(scope="module")
def source(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("table") / "evaluations.jsonl"
    failed = {"key": "ffff/0", "kind": "zones", "recipe": None, "rows": 1, "mask": "", "failure": "diverged"}
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, failed]) + '{"key": "torn')
    return path


@pytest.fixture(scope="module")
def interpolator(world, source):
    return Interpolator(world.table, read_evaluations(source, N))


def test_reading_and_packing_keep_every_run(source, lines, tmp_path):
    whole = source.with_name("whole.jsonl")
    whole.write_bytes(source.read_bytes().rpartition(b"\n")[0] + b"\n")
    counts = pack(whole, tmp_path / "one.jsonl.gz")
    assert (counts["runs"], counts["failed"]) == (len(lines), 1)
    pack(whole, tmp_path / "two.jsonl.gz")
    assert (tmp_path / "one.jsonl.gz").read_bytes() == (tmp_path / "two.jsonl.gz").read_bytes()
    built, packed = read_evaluations(source, N), read_evaluations(tmp_path / "one.jsonl.gz", N)
    assert built.digest == packed.digest
    assert len(built) == len(lines)
    assert built.outputs == tuple(f"{split}/{task}" for split in ("dev", "test") for task in TASKS)
    assert unpack(tmp_path / "one.jsonl.gz", tmp_path / "again.jsonl") == len(lines)
    assert read_evaluations(tmp_path / "again.jsonl", N).digest == built.digest
    pack(tmp_path / "again.jsonl", tmp_path / "three.jsonl.gz")
    assert (tmp_path / "three.jsonl.gz").read_bytes() == (tmp_path / "one.jsonl.gz").read_bytes()
    first = lines[0]
    place = built.keys.index(first["key"].split("/")[0])
    assert built.losses[place][0] == pytest.approx(first["dev"]["amber"])
    with pytest.raises(ValueError, match="another pool"):
        read_evaluations(source, 2 * N)


def test_the_parts_share_no_subset(source):
    whole = read_evaluations(source, N)
    tune, held = whole.split("tune"), whole.split("heldout")
    assert len(tune) + len(held) == len(whole) and len(held) > 0
    assert not set(tune.keys) & set(held.keys)
    assert all(is_held_out(key) for key in held.keys)
    keys = [f"{number:016x}" for number in range(4000)]
    assert np.mean([is_held_out(key) for key in keys]) == pytest.approx(0.3, abs=0.03)


def test_unseen_subsets_are_ranked(world, source, interpolator):
    quality = cross_validate(world.table, read_evaluations(source, N), folds=3)
    assert quality.spearman > 0.7
    assert quality.noise_log == pytest.approx(SPREAD, rel=0.5)
    subsets = [materialize(recipe, world.table).rows for recipe in random_recipes(world.table, 60, seed=9)]
    truth = np.array([np.mean([world.truth_of_tasks(rows)[task] for task in TASKS]) for rows in subsets])
    guessed = interpolator.mean_scores(subsets, "dev")
    assert np.corrcoef(truth, guessed)[0, 1] > 0.7
    assert (interpolator.mean_scores(subsets, "test") < guessed).all()  # test losses are higher by a tenth
    assert interpolator.scores(subsets[0], "dev").keys() == set(TASKS)


def test_noise_is_that_of_the_table(interpolator, lines):
    assert interpolator.noise.repeated == len({line["key"].split("/")[0] for line in lines if line["seed"] > 0})
    rng = np.random.default_rng(0)
    rows = np.arange(0, N, 2)
    expected = interpolator.scores(rows, "dev")
    drawn = [interpolator.draw(rows, rng) for _ in range(500)]
    logs = np.log([[-score for score in run.values()] for run in drawn])
    assert logs.mean(axis=0) == pytest.approx(np.log([-score for score in expected.values()]), abs=0.01)
    assert logs.std(axis=0).mean() == pytest.approx(SPREAD, rel=0.3)
    assert np.corrcoef(logs[:, 0], logs[:, 1])[0, 1] > 0.9  # a run's luck is common to the tasks in this table


def test_spread_that_grows_with_the_loss_is_found():
    rng = np.random.default_rng(1)
    subsets, seeds, losses = [], [], []
    for number in range(150):
        level = rng.normal()
        for seed in range(3):
            subsets.append(np.arange(number, number + 5))
            seeds.append(seed)
            losses.append(np.exp(level + rng.normal(0, 0.02 * np.exp(0.7 * level), 1)))
    table = Evaluations(tuple(subsets), np.array(seeds), np.array(losses), ("dev/a",))
    assert Noise.of(table).slope == pytest.approx(0.7, abs=0.15)
    flat = Evaluations(table.subsets, table.seeds, np.exp(rng.normal(0, 0.02, (450, 1))), ("dev/a",))
    assert abs(Noise.of(flat).slope) < 50  # levels hardly differ: whatever it is, it is kept within bounds
    assert 1 / 3 <= Noise.of(flat).spread(2.0) <= 3
    with pytest.raises(ValueError, match="two seeds"):
        Noise.of(Evaluations(table.subsets[:1], table.seeds[:1], table.losses[:1], table.outputs))


def test_strange_subsets_are_flagged_and_held_back(world, interpolator):
    usual = materialize(random_recipes(world.table, 1, seed=4)[0], world.table).rows
    one_source = np.flatnonzero(world.table.source == np.bincount(world.table.source).argmin())
    strange = one_source[np.argsort(world.table.column("ifd")[one_source])][:5]
    assert interpolator.strangeness([usual])[0] == 0
    assert interpolator.strangeness([strange])[0] > 0
    unpenalised = Interpolator(world.table, interpolator.evaluations, penalty=0.0)
    assert interpolator.mean_scores([strange], "dev")[0] < unpenalised.mean_scores([strange], "dev")[0]
    assert interpolator.mean_scores([usual], "dev")[0] == unpenalised.mean_scores([usual], "dev")[0]


def test_it_is_a_world(interpolator, tmp_path):
    world = RecipeBench(interpolator, min_rows=20, work=tmp_path)
    rows = np.arange(0, N, 2)
    assert world.judged_by == "test"
    assert world.observe(rows, 1) == world.observe(rows, 1) != world.observe(rows, 2)
    assert np.mean(list(world.truth_of_tasks(rows).values())) == pytest.approx(world.truth(rows))
    tasks = len(interpolator.tasks)
    short = Short(np.full(tasks, 0.5), np.zeros(tasks), np.full(tasks, 0.3), np.full(tasks, 0.05))
    world.__dict__["_short"] = {1 / 9: short}  # of another pool than the measured one
    cheap = np.log([[-score for score in world.observe(rows, seed, 1 / 9).values()] for seed in range(200)])
    expected = 0.5 * np.log([-score for score in interpolator.scores(rows, "dev").values()])
    assert np.allclose(cheap.std(axis=0), 0.05, rtol=0.3), "noise changes with the seed"
    assert (np.abs(cheap.mean(axis=0) - expected) > 0.02).any(), "the lasting deviation does not"
    again = Interpolator(interpolator.table, interpolator.evaluations)
    assert RecipeBench(again, 20, tmp_path).truth(rows) == world.truth(rows)


def test_the_optimum_is_stored_and_above_random_recipes(interpolator, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.worlds.interpolated.STARTS", 60)
    monkeypatch.setattr("benchmarks.worlds.interpolated.GENERATIONS", 2)
    monkeypatch.setattr("benchmarks.worlds.interpolated.CLIMBS", 1)
    world = RecipeBench(interpolator, min_rows=20, work=tmp_path)
    subsets = [materialize(recipe, world.table).rows for recipe in random_recipes(world.table, 30)]
    assert world.optimum >= max(world.truth(rows) for rows in subsets) - 1e-6
    stored = json.loads((tmp_path / "optimum.json").read_text())
    assert [entry["truth"] for entry in stored.values()] == [world.optimum]
    monkeypatch.setattr(RecipeBench, "_search", lambda self: pytest.fail("searched twice"))
    assert RecipeBench(interpolator, 20, tmp_path).optimum == world.optimum
