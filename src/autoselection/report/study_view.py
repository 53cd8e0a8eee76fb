"""A study as data: everything that its page, its Markdown and its JSON tell, gathered once."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from autoselection._version import __version__
from autoselection.config import to_yaml
from autoselection.diagnose import Diagnosis, diagnose_study, study_pairs
from autoselection.errors import ConfigError, PoolError, RecipeError, SignalError, StudyError
from autoselection.evaluation.job import mean_score, mean_scores
from autoselection.recipes import PrefixCache, RecipeBook, materialize, rows_by_step
from autoselection.recipes.state import shown_numbers
from autoselection.report.answer import Answer, study_answer
from autoselection.report.selection_view import SelectionView, view_selection
from autoselection.report.sheet import Sheet
from autoselection.report.tables import study_notes, study_sheets
from autoselection.study import Study
from autoselection.study.dev_results import dev_results
from autoselection.study.incumbent import current_verdict
from autoselection.study.named_pools import open_scored_pool
from autoselection.study.trade_offs import TradeOff, trade_offs
from autoselection.study.trained import trained_results
from autoselection.study.trials import Trial
from autoselection.wording import command_line

#: How a trial came about, as plots name it.
KINDS = {
    "initial": "starting point",
    "baseline": "starting point",
    "warmup": "warmup",
    "fresh": "fresh",
    "edit": "edit",
    "reseed": "reseed",
    "repeat": "repeat",
    "promotion": "promotion",
    "agent": "agent",
}
SHORT = "short training"
_PACKAGES = ("numpy", "polars", "torch", "transformers", "trl", "plotly")


def trial_kind(trial: Trial) -> str:
    """How a trial came about, and of one below a full evaluation what it was instead."""
    if trial.fidelity < 1.0:
        return f"model {trial.model}" if trial.model else SHORT
    origin = str(trial.record["origin"])
    return KINDS.get(origin, origin)


@dataclass(frozen=True)
class TrialView:
    """One trial.

    Attributes:
        spent: evaluations spent with it, in full ones.
        best: score of the best subset so far, the mean of its repeats until then; None before there is one.
        expected: mean and standard deviation that the surrogate expected; None without a prediction.
        state: numbers of the state vector by name.
    """

    id: str
    kind: str
    parent: str | None
    edit: str
    fidelity: float
    spent: float
    rows: int
    score: float | None
    best: float | None
    tasks: Mapping[str, float]
    seconds: float
    failure: str | None
    recipe: str
    expected: tuple[float, float] | None
    state: Mapping[str, float | None]


@dataclass(frozen=True)
class Stage:
    """What one part of a study cost.

    Attributes:
        trainings: count.
        tokens: trained on (count).
        train, score, other: seconds.
        money: at the price of an hour, if one was given.
    """

    name: str
    trainings: int
    tokens: int
    train: float
    score: float
    other: float
    money: float | None

    @property
    def seconds(self) -> float:
        """All of them."""
        return self.train + self.score + self.other


@dataclass(frozen=True)
class DevTest:
    """Mean dev and test score of one row of the final table."""

    name: str
    kind: str
    dev: float
    test: float


@dataclass(frozen=True)
class Credit:
    """What the edits say of an operator, or of two together."""

    name: str
    total: float
    changes: int


@dataclass(frozen=True)
class Round:
    """How well the surrogate predicted each trial from the others, at one round; see ``study_sheets``."""

    number: int
    trials: int
    correlation: float
    within_80: float
    rms_error: float


@dataclass(frozen=True, eq=False)
class StudyView:
    """Everything that is told of a study.

    Attributes:
        today: dev score of each task with what is used today; empty if unknown.
        best_rule: what the best trial is, in words: see ``Study.best_rule``.
        selection: the best recipe on the study's pool; None where it cannot be run, see ``missing``.
        missing: what is not shown and why, a sentence each.
        objectives, trade_offs: what is traded off, and every subset beside it; empty without ``search.pareto``.
        sheets, notes: as of ``study_sheets`` and ``study_notes``.
        seeds: what each seed is for.
        commands: that repeat the study and go on from it.
    """

    name: str
    path: str
    finished: bool
    answer: Answer
    trials: tuple[TrialView, ...]
    today: Mapping[str, float]
    best_rule: str
    credit: tuple[Credit, ...]
    pairs: tuple[Credit, ...]
    rounds: tuple[Round, ...]
    diagnosis: Diagnosis
    dev_test: tuple[DevTest, ...]
    objectives: tuple[str, ...]
    trade_offs: tuple[TradeOff, ...]
    stages: tuple[Stage, ...]
    sheets: Mapping[str, Sheet]
    notes: tuple[str, ...]
    selection: SelectionView | None
    missing: tuple[str, ...]
    config: str
    versions: tuple[tuple[str, str], ...]
    seeds: tuple[tuple[str, str], ...]
    commands: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The part that ``report --json`` prints besides the summary."""
        return {
            "answer": self.answer.to_dict(),
            "costs": [{**asdict(stage), "seconds": stage.seconds} for stage in self.stages],
            "credit": {entry.name: {"total": entry.total, "changes": entry.changes} for entry in self.credit},
            "dev_against_test": [asdict(entry) for entry in self.dev_test],
            "notes": list(self.notes),
            "not_shown": list(self.missing),
        }


def view_study(study: Study, *, price: float | None = None) -> StudyView:
    """Gather what there is to tell of a study, finished or not, with its pool or without.

    Args:
        price: of an hour of the machine, in any currency.
    """
    selection, missing = _selection(study)
    rounds = study.journal.of("round")
    last = rounds[-1]["round"].get("credit") or {} if rounds else {}
    return StudyView(
        name=study.config.name,
        path=str(study.path),
        finished=study.finished,
        answer=study_answer(study),
        trials=trial_views(study),
        today=today_scores(study),
        best_rule=study.best_rule,
        credit=_credit(last.get("operators")),
        pairs=_credit(last.get("pairs")),
        rounds=tuple(_round(event["round"]) for event in rounds if event["round"].get("calibration")),
        diagnosis=diagnose_study(study),
        dev_test=_dev_test(study),
        objectives=study.config.search.pareto,
        trade_offs=tuple(trade_offs(study)),
        stages=_stages(study, price),
        sheets=study_sheets(study),
        notes=(*study_notes(study), *_pairs(study)),
        selection=selection,
        missing=(*_unfinished(study), *missing),
        config=to_yaml(study.config),
        versions=_versions(study),
        seeds=_seeds(study),
        commands=_commands(study),
    )


def _pairs(study: Study) -> tuple[str, ...]:
    """How well pairs of recipes could be told apart, where that can be tested."""
    try:
        found = study_pairs(study)
    except ConfigError:
        return ()
    return () if found is None else (found.sentence(),)


def _unfinished(study: Study) -> tuple[str, ...]:
    if study.finished:
        return ()
    made = f"{study.spent:g} of {study.config.search.evaluations}"
    return (f"The study is not finished: {made} evaluations are made. The same search command goes on.",)


def _selection(study: Study) -> tuple[SelectionView | None, tuple[str, ...]]:
    """The best recipe on the study's pool, as it was; or why it cannot be shown."""
    best = study.best()
    if best is None:
        return None, ("No recipe has a score yet: what a recipe keeps and drops is shown once one has.",)
    try:
        place = open_scored_pool(study.path)
        cache = PrefixCache()
        seed = study.config.search.seed
        result = materialize(best.recipe, place.table, seed=seed, book=RecipeBook(), cache=cache)
        if result.subset_hash != best.record["subset_hash"]:
            return None, (
                f"With this version of the package {best.id} selects other rows than when it was evaluated: what its steps keep and "
                "drop is not shown.",
            )
        steps = rows_by_step(best.recipe, place.table, seed=seed, book=RecipeBook(), cache=cache)
        return view_selection(result, steps, place.table, place.pool, seed=seed, cache=cache), ()
    except (PoolError, RecipeError, SignalError, StudyError) as error:
        return None, (f"Rows, sources and signals cannot be shown without the study's pool: {error}",)


def trial_views(study: Study) -> tuple[TrialView, ...]:
    """Every trial, in order."""
    found = []
    spent, trials = 0.0, study.all_trials()
    states = shown_numbers([trial.record["state"] for trial in trials])
    for trial, state, leader in zip(trials, states, study.leaders(trials), strict=True):
        spent += trial.fidelity
        record = trial.record
        expected = record.get("prediction")
        found.append(
            TrialView(
                id=trial.id,
                kind=trial_kind(trial),
                parent=record.get("parent"),
                edit=str(record.get("edit") or ""),
                fidelity=trial.fidelity,
                spent=spent,
                rows=trial.size,
                score=trial.score,
                best=None if leader is None else leader.score,
                tasks=trial.tasks,
                seconds=trial.seconds,
                failure=trial.failure,
                recipe=trial.recipe.describe(),
                expected=None if expected is None else (expected["mu"], expected["sigma"]),
                state=state,
            )
        )
    return tuple(found)


def today_scores(study: Study) -> dict[str, float]:
    """Dev score of each task with what is used today; empty if unknown."""
    plans = study.journal.of("incumbent_plan")
    results = (
        [] if not plans else [r for r in dev_results(study, plans[-1]["incumbent_hash"]).values() if not r.failure]
    )
    if not results:
        return {}
    return mean_scores(results)


def _credit(found: Mapping[str, Any] | None) -> tuple[Credit, ...]:
    return tuple(
        Credit(name.replace("+", " + "), entry["total"], entry["count"]) for name, entry in (found or {}).items()
    )


def _round(entry: Mapping[str, Any]) -> Round:
    found = entry["calibration"]
    return Round(entry["number"], found["points"], found["correlation"], found["within_80"], found["rms_error"])


def _dev_test(study: Study) -> tuple[DevTest, ...]:
    """Rows of the final table that were scored on dev as well."""
    plans = study.journal.of("final_plan")
    found = []
    for entry in plans[-1]["entries"] if plans else ():
        test = list(study.final_results().get(entry["name"], {}).values())
        if entry["subset_hash"] is None or not test or any(result.failure for result in test):
            continue
        dev = list(dev_results(study, entry["subset_hash"]).values())
        if dev and not any(result.failure for result in dev):
            kind = "winner" if entry["kind"] == "winner" else "baseline"
            found.append(DevTest(entry["name"], kind, mean_score(dev), mean_score(test)))
    return tuple(found)


def _stages(study: Study, price: float | None) -> tuple[Stage, ...]:
    opening = study.journal.of("study")
    stages = []
    if opening:
        ingest = float((opening[0].get("ingest_report") or {}).get("seconds") or 0.0)
        if ingest:
            stages.append(Stage("reading the pool", 0, 0, 0.0, 0.0, ingest, _money(ingest, price)))
        signals = float(opening[0]["signal_report"].get("seconds") or 0.0)
        stages.append(Stage("signals", 0, 0, 0.0, 0.0, signals, _money(signals, price)))
    for name, results in trained_results(study).items():
        if not results:
            continue
        train, score, total = (
            sum(result.seconds.get(part, 0.0) for result in results) for part in ("train", "eval", "total")
        )
        tokens = sum(result.train_tokens for result in results)
        count = sum(1 for result in results if result.steps)
        stages.append(Stage(name, count, tokens, train, score, max(0.0, total - train - score), _money(total, price)))
    return tuple(stages)


def _money(seconds: float, price: float | None) -> float | None:
    return None if price is None else seconds / 3600.0 * price


def _versions(study: Study) -> tuple[tuple[str, str], ...]:
    found = [("autoselection (this report)", __version__), ("Python", platform.python_version())]
    for name in _PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    made = {
        f"{result.settings.get('device', '')} {result.settings.get('dtype', '')}".strip()
        for trial in study.all_trials()
        for result in trial.results.values()
    }
    opening = study.journal.of("study")
    known = [("fingerprint of the pool", opening[0]["pool"]), ("signals", opening[0]["signals"])] if opening else []
    return (*found, *known, ("trained on", ", ".join(sorted(filter(None, made))) or "nothing yet"))


def _seeds(study: Study) -> tuple[tuple[str, str], ...]:
    config = study.config
    judged = current_verdict(study)
    plans = study.journal.of("final_plan")
    found = [
        ("search and random steps (search.seed)", str(config.search.seed)),
        ("trainings of the search (evaluation.seeds)", _listed(config.evaluation.seeds)),
    ]
    if judged is not None and judged.get("seeds"):
        found.append(("comparison with today's data", _listed(judged["seeds"])))
    found.append(("final table (final.seeds)", _listed(plans[-1]["seeds"] if plans else config.final.seeds)))
    return tuple(found)


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))


def _commands(study: Study) -> tuple[str, ...]:
    path = command_line(study.path)
    config = command_line(study.path / "config.yaml")
    found = [f"autoselection search {config} --out again", f"autoselection report {path}"]
    if (best := study.path / "best" / "recipe.yaml").exists():
        recipe = f"{command_line(best)} --pool {path}"
        found += [
            f"autoselection materialize {recipe} --html selection.html",
            f"autoselection apply {recipe} --out subset.jsonl",
            f"autoselection compute {path} --budgets 0.25,0.5,1,2",
        ]
    return tuple(found)
