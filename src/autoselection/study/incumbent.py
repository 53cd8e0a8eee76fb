"""What is used today against what the search found: the comparison on dev that decides what a study exports.

The winner was chosen by its dev scores, which flatter it. So winner and incumbent are trained again with seeds that the
search did not use, and what choosing is expected to have added is taken off before they are compared, item by item and
seed by seed. The plan is in the journal before the first of these trainings, the results as they come, then the verdict.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoselection.config import StudyConfig
from autoselection.errors import RecipeError, SignalError
from autoselection.evaluation import EvaluationResult
from autoselection.recipes import Materialization, Recipe, RecipeBook, load_recipe, materialize
from autoselection.signals import SignalTable
from autoselection.statistics import (
    BaselineComparison,
    Flattery,
    chance_correlation,
    compare_all,
    selection_flattery,
    table_score,
)
from autoselection.statistics.compare import p_text
from autoselection.statistics.family import consistent
from autoselection.study.chance import Chance, study_chance
from autoselection.study.dev_results import dev_results
from autoselection.study.evidence import LEVEL, Table, check_items, counted_tables, item_table
from autoselection.study.floors import FloorCheck, floor_checks
from autoselection.study.study import Study
from autoselection.tasks import factors, weighed


@dataclass(frozen=True)
class Incumbent:
    """What is used today, and what it selects from the study's pool."""

    name: str
    selected: Materialization


def incumbent_recipe(config: StudyConfig) -> tuple[str, Recipe] | None:
    """Name and recipe of ``incumbent.recipe``; None for ``none``.

    Raises:
        RecipeError: the file is missing or wrong, or no ready recipe has the name.
    """
    given = config.incumbent.recipe
    if given == "none":
        return None
    return ("full pool", Recipe(name="full")) if given == "full" else (Path(given).stem, load_recipe(given))


def open_incumbent(config: StudyConfig, table: SignalTable) -> Incumbent | None:
    """Run the incumbent on the study's pool; None if there is none.

    Raises:
        RecipeError: its recipe is not valid on this pool.
    """
    named = incumbent_recipe(config)
    if named is None:
        return None
    name, recipe = named
    try:
        return Incumbent(name, materialize(recipe, table, seed=config.search.seed, book=RecipeBook()))
    except (RecipeError, SignalError) as error:
        raise RecipeError(
            f"incumbent.recipe: {name} cannot be run on this pool: {error} Name another recipe, full or none."
        ) from error


def verdict_plan(study: Study, incumbent: Incumbent) -> dict[str, Any]:
    """Who is compared, on which trainings: decided before any of them is made, as plain data for the journal."""
    best = study.best()
    seeds = sorted(best.results) if best else list(study.config.evaluation.seeds)
    used = {*seeds, *(seed for trial in study.all_trials() for seed in trial.results)}
    fresh = islice((seed for seed in count() if seed not in used), study.config.incumbent.fresh_seeds)
    selected = incumbent.selected
    plan = {
        "winner": best.id if best else None,
        "winner_hash": best.record["subset_hash"] if best else None,
        "incumbent": incumbent.name,
        "incumbent_hash": selected.subset_hash,
        "rows": len(selected.rows),
        "recipe": selected.recipe.to_dict(),
        "seeds": seeds,
        "fresh_seeds": list(fresh),
    }
    return dict(json.loads(json.dumps(plan)))  # as it is read back


def is_planned(study: Study, plan: Mapping[str, Any]) -> bool:
    """Whether ``plan`` is the last one of the journal."""
    plans = study.journal.of("incumbent_plan")
    return bool(plans) and all(plans[-1].get(key) == value for key, value in plan.items())


def current_verdict(study: Study) -> dict[str, Any] | None:
    """What the last plan came to (see :func:`verdict`); None before, without an incumbent, or in an older study."""
    if study.config.incumbent.recipe == "none":
        return None
    number = len(study.journal.of("incumbent_plan"))
    found = [event for event in study.journal.of("verdict") if event["plan"] == number]
    return {key: value for key, value in found[-1].items() if key not in ("seq", "time", "event")} if found else None


def went_on(study: Study) -> str:
    """What to know where the search was given more trials since the current verdict, which counts on how many there were
    to choose from; else empty."""
    judged = current_verdict(study)
    if judged is None or "flattery" not in judged:
        return ""
    then, now = _trials_of(study, study.journal.of("verdict")[-1]), len(study.contenders())
    if then == now:
        return ""
    return (
        f"The search went on after this verdict, from {then} trials to {now}: running 'autoselection search' to its end "
        "renews it."
    )


def _trials_of(study: Study, event: Mapping[str, Any]) -> int:
    """Trials that a verdict's winner was the best of."""
    return len(study.contenders(event["seq"]))


def verdict_trainings(study: Study) -> list[tuple[str, int]]:
    """Subset hashes and seeds that the last plan compares; nothing where the verdict is known without."""
    plan = study.journal.of("incumbent_plan")[-1]
    winner, incumbent = plan["winner_hash"], plan["incumbent_hash"]
    if winner in (None, incumbent) or any(found.failure for found in dev_results(study, incumbent).values()):
        return []
    return [(subset, seed) for seed in (*plan["seeds"], *plan["fresh_seeds"]) for subset in (incumbent, winner)]


def verdict(study: Study, rows: NDArray[np.int64]) -> dict[str, Any]:
    """What the last plan's trainings say, as plain data for the journal.

    Args:
        rows: of the incumbent.

    Keys: ``plan`` (its number), ``winner`` (trial), ``incumbent`` (name), ``outcome`` (``better``, ``worse``,
    ``no difference``, ``same rows``, ``incumbent failed``, ``winner failed``, ``nothing found``, ``not comparable``, and with floors ``below a
    floor`` (the winner is, so that it is refused) and ``above the floors`` (where it is not, and the incumbent is)),
    ``exported`` (``found`` or ``incumbent``), ``sentences`` and, where they were compared, ``seeds``, ``measured``
    (difference of the scores as they are), ``flattery`` (taken off: ``items`` from every training, ``training`` from
    those of the search; ``training_known``), ``noise`` (chance in training: ``variance`` and ``freedom``), ``overlap`` (of the
    two: ``rows``, their Jaccard similarity, and ``chance``, the correlation of chance in trainings with the same seed), ``floors`` (if there are any: ``winner`` and ``incumbent``
    beside each, see :class:`~autoselection.study.floors.FloorCheck`; ``on_score``, the outcome without them) and ``comparison`` (what is left, see :class:`~autoselection.statistics.BaselineComparison`).

    Raises:
        StudyError: they were scored on other dev items.
    """
    plans = study.journal.of("incumbent_plan")
    plan = plans[-1]
    winner, name = plan["winner"], plan["incumbent"]
    head = {"plan": len(plans), "winner": winner, "incumbent": name}
    again = [f"It is verdict number {len(plans)} of this study, by another plan than before."] if len(plans) > 1 else []
    same = [event for event in study.journal.of("verdict") if event["plan"] == len(plans)]
    if same:
        again.append(
            f"It is renewed: the winner was the best of {_trials_of(study, same[-1])} trials before, and of more now."
        )

    def found(outcome: str, said: str, **more: Any) -> dict[str, Any]:
        stays = outcome not in ("better", "incumbent failed", "above the floors")
        if stays and winner is not None and outcome != "same rows":
            said += f" So {name} stays: best/ holds its rows, found/ those of {winner}."
        exported = "incumbent" if stays else "found"
        return {**head, "outcome": outcome, "exported": exported, **more, "sentences": [said, *again]}

    if winner is None:
        return found("nothing found", f"Every trial failed, so {name} stays, without a training: best/ holds its rows.")
    if plan["winner_hash"] == plan["incumbent_hash"]:
        return found("same rows", f"The best trial, {winner}, has the rows of the incumbent, {name}: best/ holds them.")
    seeds = [*plan["seeds"], *plan["fresh_seeds"]]
    ours, theirs = (
        {seed: result for seed, result in dev_results(study, plan[key]).items() if seed in seeds}
        for key in ("winner_hash", "incumbent_hash")
    )
    if why := _failure(theirs):
        return found("incumbent failed", f"The incumbent, {name}, {why}: {winner} is exported without a comparison.")
    if why := _failure(ours):
        return found("winner failed", f"{winner} {why}.")
    check_items(study, {winner: list(ours.items()), name: list(theirs.items())}, "dev")
    tasks = study.config.tasks
    counted = factors(tasks)
    mine, other = (item_table([results[seed] for seed in seeds], tasks) for results in (ours, theirs))
    if mine is None or other is None:
        return found("not comparable", f"{winner} and {name} are not compared: no item scores were kept.")
    chance = study_chance(study, {plan["incumbent_hash"]: rows})
    noise = chance.noise
    overlap = chance.correlation(plan["winner_hash"], plan["incumbent_hash"])
    flattery = _flattery(study, chance, plan)
    search = np.isin(seeds, plan["seeds"])
    taken = flattery.items + np.where(search, flattery.training, 0.0)

    def compare(off: NDArray[np.float64]) -> BaselineComparison:
        pairs = {name: (_less(mine, off, counted), other)}
        alike, seed = {name: overlap}, study.config.search.seed
        return compare_all(winner, pairs, level=LEVEL, seed=seed, noise=noise, overlap=alike, factors=counted)[0]

    shown = compare(taken)
    measured = _score(mine, counted) - _score(other, counted)
    outcome = "better" if shown.significant and shown.difference.estimate > 0 else "no difference"
    if measured < 0 and (flattered := compare(np.zeros(len(seeds)))).significant:
        outcome, shown = "worse", flattered  # flattered, and worse all the same
    said = _said(outcome, winner, name, shown, measured, float(taken.mean()), len(study.contenders()), chance, plan)
    on_score = outcome
    floors = _beside_floors(study, plan, {"winner": mine, "incumbent": other}, rows)
    if below := [check.sentence(winner) for check in floors.get("winner", ()) if check.below]:
        outcome, said = "below a floor", f"{' '.join(below)} {said}"
    elif outcome != "better" and (lower := [c.sentence(name) for c in floors.get("incumbent", ()) if c.below]):
        outcome = "above the floors"
        said = f"{winner} is not below a floor beyond noise, and the incumbent is: {' '.join(lower)} {said}"
        said += f" So {winner} is exported: best/ holds its rows."
    checked = {key: [check.to_dict() for check in checks] for key, checks in floors.items()}
    return found(
        outcome,
        said,
        **({"floors": checked, "on_score": on_score} if checked else {}),
        seeds=seeds,
        measured=measured,
        flattery={**vars(flattery), "mean": float(taken.mean()), "training_known": noise.known},
        noise=vars(noise),
        overlap={"rows": chance.alike(plan["winner_hash"], plan["incumbent_hash"]), "chance": overlap},
        comparison=shown.to_dict(),
    )


def _failure(results: Mapping[int, EvaluationResult]) -> str | None:
    return next(
        (
            f"could not be trained with seed {seed} ({result.failure.rstrip('.')})"
            for seed, result in results.items()
            if result.failure
        ),
        None,
    )


def _score(table: Table, counted: Mapping[str, float]) -> float:
    return table_score(list(weighed(table, counted).values()))


def _less(table: Table, taken: NDArray[np.float64], tasks: Collection[str]) -> Table:
    """The table with ``taken``, float64[seeds], off every item of a seed, in the tasks that choosing looked at."""
    return {task: values - taken[:, None] if task in tasks else values for task, values in table.items()}


def _score_of(task: str, result: EvaluationResult) -> float:
    return result.scores[task]


def _beside_floors(
    study: Study,
    plan: Mapping[str, Any],
    tables: Mapping[str, Table],
    rows: NDArray[np.int64],
) -> dict[str, list[FloorCheck]]:
    """Winner and incumbent beside every floor; empty if there is none."""
    if not study.floors:
        return {}
    one, other = plan["winner_hash"], plan["incumbent_hash"]
    alike, same = {}, {}
    for task in study.floors:
        chance = study_chance(study, {other: rows}, partial(_score_of, task))
        alike[task], same[task] = (chance.noise, chance.correlation(one, other)), (chance.noise, 1.0)
    return {
        "winner": floor_checks(study, tables["winner"], tables["incumbent"], alike),
        "incumbent": floor_checks(study, tables["incumbent"], tables["incumbent"], same),
    }


def _flattery(study: Study, chance: Chance, plan: Mapping[str, Any]) -> Flattery:
    """What choosing the winner is expected to have added to its scores, beside the incumbent's in the same trainings."""
    trials = study.contenders()
    found = list(zip(counted_tables(trials, study.config.tasks), trials, strict=True))
    tables = [table for table, _ in found if table is not None]
    subsets = [trial.record["subset_hash"] for table, trial in found if table is not None]
    seeds = [list(trial.results) for table, trial in found if table is not None]
    incumbent = plan["incumbent_hash"]
    if incumbent not in subsets:
        subsets, seeds = [*subsets, incumbent], [*seeds, plan["seeds"]]
    return selection_flattery(
        tables,
        [float(np.sqrt(chance.noise.variance / len(own))) for own in seeds],
        correlation=chance_correlation(seeds, chance.among(subsets), chance.shared),
        rival=subsets.index(incumbent),
        seed=study.config.search.seed,
    )


def _said(
    outcome: str,
    winner: str,
    name: str,
    shown: BaselineComparison,
    measured: float,
    taken: float,
    trials: int,
    chance: Chance,
    plan: Mapping[str, Any],
) -> str:
    interval = shown.difference
    # Better with what is taken off, worse without: where one of the two fails, 0 is not ruled out.
    low, high = consistent(shown.interval, interval.estimate, significant=outcome != "no difference")
    over = "items" if shown.interval_seeds is None else "seeds and items"
    fresh = len(plan["fresh_seeds"])
    figures = f"{interval.estimate:+.4f}, {interval.level:.0%} interval {low:+.4f} to {high:+.4f} over {over}, {p_text(shown.p)}"
    verb = {
        "better": f"{winner} beats the incumbent, {name}, on dev beyond noise ({figures})",
        "worse": f"{winner} is worse on dev than the incumbent, {name} ({figures})",
        "no difference": f"No significant difference on dev between {winner} and the incumbent, {name} ({figures})",
    }[outcome]
    how = f"{shown.seeds} training{'s' * (shown.seeds > 1)} each, {fresh} with seeds that the search did not use"
    if outcome != "worse":
        how += f"; measured {measured:+.4f}, less {taken:.4f} that being the best of {trials} trials is expected to add"
    if outcome == "no difference" and shown.detectable is not None:
        how += f"; a true gap of {shown.detectable:.4f} would be found with 80% power"
    if (common := chance.correlation(plan["winner_hash"], plan["incumbent_hash"])) >= 0.005 and chance.noise.known:
        alike = chance.alike(plan["winner_hash"], plan["incumbent_hash"])
        how += f"; as {alike:.0%} of their rows are the same, {common:.0%} of chance in training is taken for common to both"
    if not chance.noise.known:
        how += "; chance in training is not counted: one seed everywhere, see incumbent.fresh_seeds"
    elif outcome == "no difference" and shown.p_items <= 1 - LEVEL and interval.estimate > 0:
        how += "; by the items alone it would be significant, but other trainings may not show it: raise incumbent.fresh_seeds"
    return f"{verb}; {how}."
