"""Which of two recipes of a study is better, or that it is not known; and how often that was right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from autoselection.diagnose.study import study_table
from autoselection.diagnose.whatif import reweighed_tasks
from autoselection.errors import ConfigError, StudyError
from autoselection.recipes import PrefixCache, load_recipe, materialize, ready_recipes
from autoselection.search import SearchController
from autoselection.search.levels import level_of
from autoselection.search.preference import FEWEST, SURE, Evidence, Preference, Tested
from autoselection.search.ranker import Point
from autoselection.signals import SignalTable
from autoselection.statistics import Share, share_interval
from autoselection.study import Study
from autoselection.study.earlier_scores import warm_scores
from autoselection.study.levels import settled_search
from autoselection.tasks import overall
from autoselection.wording import suggestion


@dataclass(frozen=True)
class PairTest:
    """Pairs of a study's full evaluations, each predicted without their own full scores.

    Attributes:
        recipes: with full scores.
        pairs: of them that were predicted.
        answered: share of these that were answered, with its interval.
        right: of the answered, the share whose full scores are in that order; None where none was answered. The scores are
            those of single trainings: by their noise alone some right answers look wrong.
    """

    recipes: int
    pairs: int
    answered: Share
    right: Share | None

    def sentence(self) -> str:
        """For people."""
        said = (
            f"Of {self.pairs} pairs of the {self.recipes} recipes with full scores, each predicted without these two scores, "
            f"{_share(self.answered)} were answered"
        )
        return (
            f"{said}."
            if self.right is None
            else f"{said}, {_share(self.right)} of them in the order of the full scores."
        )


@dataclass(frozen=True)
class PairAnswer:
    """What is known of two recipes.

    Attributes:
        one, other: as they were named.
        probability: that ``one`` deserves the higher full dev score.
        better: the better one; None: not sure enough to say.
        sure: probability from which an answer is given.
        test: how such answers did on the study's own recipes; None with too few of them.
        sentences: the same for people.
    """

    one: str
    other: str
    probability: float
    better: str | None
    sure: float
    test: PairTest | None
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def which_is_better(
    study: Study, one: str, other: str, *, weights: Mapping[str, float] | None = None, sure: float = SURE
) -> PairAnswer:
    """Which of two recipes deserves the higher dev score of a full evaluation, from everything that the study knows.

    Args:
        one, other: ids of trials, recipe files, or names of ready recipes.
        weights: of tasks, as for :func:`~autoselection.diagnose.what_if`.
        sure: probability from which an answer is given, above one half.

    Raises:
        ConfigError: the search's surrogate has no joint beliefs (``search.surrogate.features: encoding``), ``sure`` is no
            probability above one half, or both recipes select the same rows.
        RecipeError: a recipe cannot be read or run.
        StudyError: there is no such trial, no full score yet, or the pool is gone.
    """
    if not 0.5 < sure < 1.0:
        raise ConfigError(
            f"--sure must be between 0.5 and 1, not {sure:g}: it is the probability from which an answer is given."
        )
    judge, points = _judge(study, (one, other), weights or {})
    if np.array_equal(np.sort(points[0].rows), np.sort(points[1].rows)):
        raise ConfigError(f"{one} and {other} select the same rows: neither is better.")
    probability = float(judge.better(points[:1], points[1:])[0])
    better = one if probability >= sure else other if probability <= 1.0 - sure else None
    test = pair_test(judge.tested(), len(judge.evidence.full), sure)
    said = _sentences(one, other, probability, better, sure, test)
    return PairAnswer(
        one, other, probability, better, sure, test, (*said, *_scored(study, (one, other), weights or {}))
    )


def _scored(study: Study, named: Sequence[str], weights: Mapping[str, float]) -> list[str]:
    """What two trials scored: a gap of scores is often larger than what the trials are believed to differ by."""
    tasks = reweighed_tasks(study, weights)
    known = {trial.id: trial for trial in study.subsets() if trial.score is not None}
    if any(name not in known or Path(name).is_file() for name in named):
        return []
    first, second = (overall(known[name].tasks, tasks) for name in named)
    return [
        f"On dev they scored {first:.4f} and {second:.4f}; the probability is of what both deserve, from all that the study knows."
    ]


def study_pairs(study: Study, *, sure: float = SURE) -> PairTest | None:
    """How pairs of the study's full evaluations are predicted; None with fewer than four, or without the pool.

    Raises:
        ConfigError: see :func:`which_is_better`.
    """
    try:
        judge, _ = _judge(study, (), {})
    except StudyError:
        return None
    return pair_test(judge.tested(), len(judge.evidence.full), sure)


def pair_test(tested: Tested | None, recipes: int, sure: float) -> PairTest | None:
    """The shares of a test. Pairs that share a recipe are not independent: intervals count as many as have none in common."""
    if tested is None:
        return None
    pairs, answered = len(tested.left), int(tested.answered(sure).sum())
    right = None
    if answered:
        share = float(tested.right_answers(sure).mean())
        right = share_interval(share, max(1.0, answered / pairs * recipes / 2))
    return PairTest(recipes, pairs, share_interval(answered / pairs, max(1.0, recipes / 2)), right)


def _judge(study: Study, named: Sequence[str], weights: Mapping[str, float]) -> tuple[Preference, list[Point]]:
    """The surrogate with everything that the study knows, and the named recipes as it sees them."""
    search = settled_search(study)
    if search.surrogate.features == "encoding":
        raise ConfigError(
            "search.surrogate.features is 'encoding', which has no joint beliefs of two recipes: nothing can be said of pairs."
        )
    tasks = reweighed_tasks(study, weights)
    trials = [trial for trial in study.subsets() if trial.score is not None]
    if not trials:
        raise StudyError(f"{study.path}: no trial has a full score yet; run the study first.")
    notes: list[str] = []
    table = study_table(study, notes)
    if table is None:
        raise StudyError(f"{study.path}: pairs cannot be judged without the study's pool. {' '.join(notes)}".strip())
    trials += [trial for trial in study.all_trials() if trial.fidelity < 1.0 and trial.score is not None]
    earlier = [] if weights else warm_scores((study.journal.of("warm_start") or [{}])[0], table)
    controller = SearchController(
        table, search.model_copy(update={"initial": (), "include_full": False, "min_rows": 1})
    )
    inputs = controller.predictions.inputs
    points = inputs.points([trial.recipe for trial in trials], [study.rows(trial.id) for trial in trials])
    points = [
        replace(point, fidelity=trial.fidelity, model=trial.model) for point, trial in zip(points, trials, strict=True)
    ]
    found = inputs.points([trial.recipe for trial in earlier], [trial.rows for trial in earlier])
    points += [
        replace(point, study=trial.study, model=trial.model) for point, trial in zip(found, earlier, strict=True)
    ]
    scores = [overall(trial.tasks, tasks) for trial in trials] + [trial.score for trial in earlier]
    subsets = [str(trial.record["subset_hash"]) for trial in trials] + [trial.subset_hash for trial in earlier]
    known = inputs.elsewhere(points, np.array(scores, np.float64))
    levels = [level_of(search.fidelity, trial.model, trial.fidelity) for trial in trials]
    averaged = [level.averaged for level in levels] + [1.0] * len(earlier)
    judge = Preference(search, Evidence(points, known.scores, subsets, known.weights, known.features, averaged))
    return judge, [_named_point(study, name, table, controller) for name in named]


def _named_point(study: Study, name: str, table: SignalTable, controller: SearchController) -> Point:
    """A trial or a recipe, as the surrogate sees it."""
    trials = {trial.id: trial for trial in study.all_trials()}
    if not Path(name).is_file() and name in trials:
        recipe, rows = trials[name].recipe, study.rows(name)
    else:
        if not (Path(name).exists() or Path(name).suffix or name in ready_recipes()):
            raise StudyError(
                f"{study.path}: there is no trial '{name}' and no recipe of this name{suggestion(name, trials)}"
            )
        recipe = load_recipe(Path(name), registry=controller.registry)
        rows = materialize(
            recipe, table, seed=study.config.search.seed, registry=controller.registry, cache=PrefixCache()
        ).rows
        if len(rows) == 0:
            raise ConfigError(f"{name} selects no row of the study's pool: there is nothing to train on.")
    return controller.predictions.inputs.points([recipe], [rows])[0]


def _sentences(
    one: str, other: str, probability: float, better: str | None, sure: float, test: PairTest | None
) -> tuple[str, ...]:
    if better is None:
        lead, chance = (one, probability) if probability >= 0.5 else (other, 1.0 - probability)
        said = f"Which is better is not known: {lead} with probability {chance:.0%}, and an answer takes {sure:.0%}."
    else:
        chance = probability if better == one else 1.0 - probability
        said = f"{better} is better than {other if better == one else one} with probability {chance:.0%} (dev; no training)."
    untested = f"How often such answers are right is not known: it takes {FEWEST} recipes with full scores."
    return said, untested if test is None else test.sentence()


def _share(share: Share) -> str:
    return f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})"
