"""What the scores of earlier studies are good for: a new search learns from them before it has any of its own.

Scores of a study of **this pool** are points of the surrogate, a series of their own (:mod:`autoselection.search.series`). Those
of a study of **another pool** change the usual effects of features that the search begins with. Both are written to the
journal before anything is evaluated, so that a study goes on without the earlier ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoselection.errors import AutoSelectionError, RecipeError, SignalError, StudyError
from autoselection.notebook import counted
from autoselection.recipes import PrefixCache, Recipe, materialize
from autoselection.search import SearchConfig
from autoselection.search.earlier import EarlierTrial
from autoselection.search.prior import LinearPrior, read_prior
from autoselection.search.transfer import LEAST, effects_after
from autoselection.signals import SignalTable
from autoselection.study.named_pools import open_scored_pool
from autoselection.study.reuse import ranked_trials
from autoselection.study.study import Study

MOST_SCORES = 60
"""Scores of earlier studies of this pool that a search learns from; of more, those spread evenly over each study's ranking."""
_WITHOUT_EFFECTS = ("encoding", "subset")
"""What the surrogate may see without any features to have effects (``search.surrogate.features``)."""


def warm_start_scores(table: SignalTable, config: SearchConfig, pool: str, model: str | None = None) -> dict[str, Any]:
    """What a search begins with of the scores of the studies in ``search.warm_start``.

    Args:
        table: signals of this pool.
        pool: its fingerprint.
        model: fingerprint of the model that is trained here; None: of no matter.

    Returns:
        Plain data for the journal: ``scores`` (of studies of this pool: ``study``, ``trial``, ``score``, ``recipe``, ``seed``
        of its random steps, ``subset_hash``, and ``model`` where that study trained another model than this one), ``effects`` (usual effects after the studies of other pools; None: as they
        come), ``effects_from`` (these studies) and ``unused`` (why no score of a study is of use, by study).

    Raises:
        StudyError: a folder holds no study, or one without a scored trial.
    """
    scores: list[dict[str, Any]] = []
    unused: dict[str, str] = {}
    learnt: list[str] = []
    most = MOST_SCORES // max(1, len(config.warm_start))
    effects = None if config.surrogate.features in _WITHOUT_EFFECTS else read_prior(config.surrogate.prior)
    for path in config.warm_start:
        trials, study = ranked_trials(path), Study(path)
        seed = study.config.search.seed
        if study.journal.of("study")[0]["pool"] == pool:
            cache = PrefixCache()  # trials of one study share their first steps
            other = {} if model is None or _trains(study, model) else {"model": Path(study.config.model.path).name}
            own = [{**trial, "seed": seed, **other} for trial in trials if _selects(trial, seed, table, cache)]
            scores += [
                own[place] for place in np.unique(np.linspace(0, len(own) - 1, min(most, len(own))).round().astype(int))
            ]
            if not own:
                unused[str(path)] = (
                    "none of its recipes selects the rows that it did, as the pool has other signals now"
                )
        elif effects is not None and len(trials) < LEAST:
            unused[str(path)] = f"{counted(len(trials), 'score')} of another pool are too few"
        elif effects is not None:
            try:
                effects = _effects_after(effects, study, trials, config)
                learnt.append(str(path))
            except AutoSelectionError as error:
                unused[str(path)] = str(error)
    found = effects.model_dump(mode="json") if effects is not None and learnt else None
    return {"scores": scores, "effects": found, "effects_from": learnt, "unused": unused}


def _trains(study: Study, model: str) -> bool:
    """Whether a study trains the model of this fingerprint; one that began before these were noted is taken to."""
    return str(study.journal.of("study")[0].get("identity", {}).get("model", model)) == model


def _effects_after(
    effects: LinearPrior, study: Study, trials: Sequence[dict[str, Any]], config: SearchConfig
) -> LinearPrior:
    """Usual effects after a study of another pool."""
    known = [
        EarlierTrial(
            1,
            Recipe.from_dict(trial["recipe"]),
            np.sort(study.rows(trial["trial"])),
            trial["subset_hash"],
            trial["score"],
        )
        for trial in trials
    ]
    own = study.config.search.model_copy(update={"surrogate": config.surrogate})
    return effects_after(effects, open_scored_pool(study.path).table, own, known, str(study.path))


def _selects(trial: dict[str, Any], seed: int, table: SignalTable, cache: PrefixCache) -> bool:
    """Whether an earlier trial's recipe selects here the very rows that were scored."""
    try:
        found = materialize(Recipe.from_dict(trial["recipe"]), table, seed=seed, cache=cache)
    except (RecipeError, SignalError):
        return False
    return bool(found.subset_hash == trial["subset_hash"])


def warm_scores(chosen: dict[str, Any], table: SignalTable) -> list[EarlierTrial]:
    """Subsets of this pool with the scores of earlier studies, of :func:`warm_start_scores`.

    Raises:
        StudyError: a recipe selects other rows than when the study began.
    """
    entries = chosen.get("scores", ())  # a study that began when scores did not carry over goes on without
    studies = list(dict.fromkeys(entry["study"] for entry in entries))
    found, cache = [], PrefixCache()
    for entry in entries:
        recipe = Recipe.from_dict(entry["recipe"])
        outcome = materialize(recipe, table, seed=entry["seed"], cache=cache)
        if outcome.subset_hash != entry["subset_hash"]:
            raise StudyError(
                f"{entry['trial']} of {entry['study']}, which this study began with, selects other rows now: go on with the "
                "version of the package that it was started with, or start a new study."
            )
        number = 1 + studies.index(entry["study"])
        found.append(
            EarlierTrial(
                number,
                outcome.recipe,
                np.sort(outcome.rows),
                outcome.subset_hash,
                entry["score"],
                entry.get("model", ""),
            )
        )
    return found


def warm_effects(chosen: dict[str, Any]) -> LinearPrior | None:
    """Usual effects after studies of other pools, of :func:`warm_start_scores`; None if they taught nothing."""
    effects = chosen.get("effects")
    return None if effects is None else LinearPrior.model_validate(effects)


def warm_sentences(chosen: dict[str, Any]) -> list[str]:
    """What a search began with, recipes and scores, for the report."""
    recipes = ", ".join(f"{entry['trial']} of {entry['study']}" for entry in chosen["recipes"]) or "none was valid here"
    passed = "".join(f"; {count} passed over: {why}" for why, count in chosen["passed_over"].items())
    said = [f"The search began with recipes of earlier studies: {recipes}{passed}."]
    scores = Counter((entry["study"], entry.get("model", "")) for entry in chosen.get("scores", ()))
    said += [
        f"It also learnt from {counted(count, 'score')} of {study}, a study of this pool, as far as its own agree with them."
        if not model
        else f"It took {study}, a study of this pool with the model {model}, for a lower level: {counted(count, 'recipe')} of it "
        "could be promoted, and its scores counted as far as those of this model agree with them."
        for (study, model), count in scores.items()
    ]
    if sources := chosen.get("effects_from"):
        said.append(f"It began with usual effects as the scores of other pools changed them: {', '.join(sources)}.")
    return said + [f"No score was learnt from {study}: {why}" for study, why in chosen.get("unused", {}).items()]
