"""Another ranker and another proposer than ours: given as objects, or by the names under which packages register them."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from autoselection.errors import ConfigError
from autoselection.search import Known, Observation, Point, SearchConfig, SearchController
from autoselection.search.proposer import EditProposer
from autoselection.search.ranker import BaseRanker, normal_predictions
from autoselection.search.registry import PROPOSERS, RANKERS
from autoselection.search.surrogate import GaussianProcess
from autoselection.testing import check_proposer, check_ranker

FAST = {"proposals": 16, "min_rows": 10, "warmup": 4}
PLUGIN = Path(__file__).parents[2] / "examples" / "plugin" / "src"
POINTS = {
    "autoselection.rankers": [
        EntryPoint("linear", "autoselection_plugin_example.ranker:LinearRanker", "autoselection.rankers"),
        EntryPoint("dict", "builtins:dict", "autoselection.rankers"),
    ],
    "autoselection.proposers": [
        EntryPoint("last_step", "autoselection_plugin_example.proposer:LastStep", "autoselection.proposers")
    ],
}


@pytest.fixture
def installed(monkeypatch):
    """The example's package, as if it were installed."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.setattr("autoselection.plugins.entry_points", lambda group: POINTS.get(group, []))


def searched(small, config, **parts):
    controller = SearchController(small.signals, config, **parts)
    controller.run(lambda candidate: small.score(candidate.rows))
    return controller


def hashes(controller):
    return [candidate.subset_hash for candidate in controller.candidates]


def test_what_comes_with_the_package_can_be_given_too(small):
    config = SearchConfig(evaluations=7, **FAST)
    given = {"ranker": GaussianProcess(config), "proposer": EditProposer(config)}
    named = {"ranker": "gaussian_process", "proposer": "edits"}
    expected = hashes(searched(small, config))
    assert hashes(searched(small, config, **given)) == hashes(searched(small, config, **named)) == expected


@pytest.mark.parametrize(("registry", "check"), [(RANKERS, check_ranker), (PROPOSERS, check_proposer)])
def test_ours_and_the_example_keep_the_contract(installed, registry, check):
    for name in registry.names():
        if name != "dict":
            check(registry.get(name))


def test_what_breaks_the_contract_is_said():
    class Forgetful(Constant):
        def predict(self, known, points, kappa, seed):
            return super().predict(known, points, kappa, seed)[len(known.points) :]

    class Changing(Constant):
        asked = 0

        def predict(self, known, points, kappa, seed):
            self.asked += 1
            return [replace(found, mu=found.mu + self.asked) for found in super().predict(known, points, kappa, seed)]

    class Unseeded(EditProposer):
        def propose(self, request):
            return super().propose(replace(request, rng=np.random.default_rng()))

    class Speechless(EditProposer):
        def propose(self, request):
            found = super().propose(request)
            return replace(found, recipes=[replace(made, made="") for made in found.recipes])

    for check, broken, said in (
        (check_ranker, Forgetful, r"Forgetful: one prediction a point \(six points\)"),
        (check_ranker, Changing, "the same question has the same answer"),
        (check_proposer, Unseeded, "random draws are the request's alone"),
        (check_proposer, Speechless, "a recipe says how it was made: "),
    ):
        with pytest.raises(AssertionError, match=said):
            check(broken)


@pytest.mark.parametrize(
    ("parts", "settings"),
    [
        ({"ranker": "linear"}, {}),
        ({"ranker": "linear"}, {"fidelity": {"level": 0.25, "warmup": 3}}),
        ({"ranker": "linear"}, {"repeats": {"enabled": True, "after": 3}}),
        ({"proposer": "last_step"}, {}),
    ],
)
def test_a_registered_one_decides_and_is_replayed(small, installed, parts, settings):
    config = SearchConfig(evaluations=9, **settings, **FAST)
    found = searched(small, config, **parts)
    assert hashes(found) != hashes(searched(small, config))
    if "proposer" in parts:
        made = [candidate.edit for candidate in found.candidates if candidate.origin == "edit"]
        assert made and all(edit.startswith("ended with ") for edit in made)
    again = SearchController(small.signals, config, **parts)
    again.replay(trial.observation for trial in found.history)
    assert [entry.to_dict() for entry in again.rounds] == [
        entry.to_dict() for entry in found.rounds[: len(again.rounds)]
    ]
    assert found.rounds[-1].calibration is not None, "every round says how well the ranker predicts what is known"


def test_a_proposer_that_proposes_nothing_starts_new_trajectories(small):
    class Silent:
        def propose(self, request):
            return type("Answer", (), {"recipes": (), "wasted": request.count})()

    found = searched(small, SearchConfig(evaluations=6, **FAST), proposer=Silent())
    assert [candidate.origin for candidate in found.candidates] == ["warmup"] * 4 + ["reseed"] * 2


def test_names_that_nobody_registered_and_what_is_no_ranker_are_refused(small, installed):
    for parts, said in (
        ({"ranker": "linaer"}, r"there is no ranker 'linaer'; did you mean 'linear'\?"),
        ({"proposer": "mutations"}, r"there is no proposer 'mutations'; known: edits, last_step\."),
        (
            {"ranker": "dict"},
            r"builtins:dict is no ranker: it must have the members of autoselection\.search\.ranker\.Ranker",
        ),
        ({"proposer": object()}, "is no proposer"),
    ):
        with pytest.raises(ConfigError, match=said):
            SearchController(small.signals, **parts)


class Constant(BaseRanker):
    """Expects the mean of the known scores everywhere."""

    def __init__(self, config=None) -> None:
        self.config = config

    def predict(self, known, points, kappa, seed):
        count = len(known.points) + len(points)
        return normal_predictions(np.full(count, known.scores.mean()), np.ones(count), len(known.points), kappa)


def test_defaults_of_a_ranker_follow_from_its_predictions():
    scores = np.array([1.0, 2.0, 3.0, 4.0, 10.0])
    known = Known([Point(np.array([place]), np.zeros(1), np.zeros(0)) for place in range(5)], scores, np.ones(5))
    ranker = Constant()
    assert ranker.noise(known) == pytest.approx(scores.std())
    found = ranker.leave_one_out(known, 0)
    left = np.array([np.delete(scores, place).mean() for place in range(5)])
    spread = np.hypot(1.0, scores.std())
    assert found is not None and found.correlation == pytest.approx(-1.0) and found.points == 5
    assert found.rms_error == pytest.approx(np.sqrt(np.mean(((scores - left) / spread) ** 2)))
    assert ranker.leave_one_out(known.without(0), 0) is None, "four points say nothing"
    upper = ranker.predict(known, known.points[:1], 2.0, 0)[-1]
    assert (upper.mu, upper.ucb) == (4.0, 6.0)


def test_an_observation_is_told_whatever_the_ranker(small, installed):
    controller = SearchController(small.signals, SearchConfig(evaluations=5, batch=2, **FAST), ranker="linear")
    while asked := controller.ask():
        for candidate in asked:
            controller.tell(Observation(candidate.id, None if candidate.number == 2 else small.score(candidate.rows)))
    *probes, last = [candidate.origin for candidate in controller.candidates]
    assert probes == ["warmup"] * 4 and last in ("edit", "fresh")
