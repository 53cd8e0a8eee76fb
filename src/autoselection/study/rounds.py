"""The search of a study, round by round: its controller where the journal stands, and what a round costs and gives.

Whoever goes on with a study goes through here: the run loop, which asks the search for every recipe, and an agent, which
brings recipes of its own (:meth:`StudySearch.propose`). Both spend the same budget and write the same lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoselection.activity import tell_stage
from autoselection.errors import StudyError
from autoselection.evaluation import EvaluationConfig
from autoselection.executors import Executor
from autoselection.language.models import model_parts
from autoselection.ledger import Account, Ledger
from autoselection.llm import build_roles
from autoselection.llm.exchanges import FILE as EXCHANGES
from autoselection.pool import Pool
from autoselection.progress import console
from autoselection.recipes import Materialization, Recipe, shortfalls
from autoselection.search import Candidate, Observation, SearchController
from autoselection.search.levels import level_of
from autoselection.search.roles import Roles
from autoselection.search.surrogate import GaussianProcess
from autoselection.signals import SignalTable
from autoselection.study.accounts import reference_account, trial_account
from autoselection.study.budget import budgets
from autoselection.study.checkpoints import prune_checkpoints
from autoselection.study.earlier_scores import warm_effects, warm_scores, warm_start_scores
from autoselection.study.levels import model_costs, settled_search, wanted_of
from autoselection.study.recorded import complete_rounds, recorded_rounds
from autoselection.study.references import check_measured_from, measured_floors, reference_trainings
from autoselection.study.reuse import NOTHING, warm_recipes, warm_start
from autoselection.study.study import FLOORS, LEVELS, Study
from autoselection.study.trials import Trial
from autoselection.terminal import Text, styled


class StudySearch:
    """The search of a study whose journal is held.

    Args:
        table: the signals that the study began with.
        roles: who advises beside the rules.

    Attributes:
        controller: with the rounds of the journal before it, to be asked again first.
    """

    def __init__(self, study: Study, table: SignalTable, roles: Roles | None = None) -> None:
        self.study = study
        settings = settled_search(study)
        begun = (study.journal.of("warm_start") or [NOTHING])[0]
        complete_rounds(study)
        first, *self._later = budgets(study)
        self.controller = SearchController(
            table,
            settings.model_copy(update={"evaluations": first.evaluations}),
            initial=warm_recipes(begun),
            earlier=warm_scores(begun, table),
            recorded=recorded_rounds(study, table),
            roles=roles,
            ranker=GaussianProcess(settings, warm_effects(begun)),
            floors=study.floors,
        )

    # The budget

    def spend_as_given(self) -> None:
        """Give the search the number of evaluations that it had at this point, if that was changed here."""
        while self._later and self._later[0].reached_by(self.controller):
            self.spend_more()

    def spend_more(self) -> bool:
        """Give the search the next number of evaluations; False if there is none."""
        if self._later:
            self.controller.set_budget(self._later.pop(0).evaluations)
            return True
        return False

    # What the journal holds

    def replay(self) -> None:
        """Tell the controller what is known, without an evaluation, as far as that goes: see :attr:`pending`."""
        known = self.study.all_trials()
        while self.controller.replaying:
            self.spend_as_given()
            self.controller.ask()
            for candidate in self.controller.pending:
                if self._has_result(known[candidate.id], candidate):
                    self._tell(known[candidate.id])
            if self.controller.pending:
                return
        while self.spend_more():
            pass

    @property
    def unfinished(self) -> bool:
        """Whether a trial of the journal may lack a result: rounds are left to be asked again, or one is pending."""
        return self.controller.replaying or bool(self.controller.pending)

    @property
    def pending(self) -> tuple[Candidate, ...]:
        """Asked for, and without the result of every seed."""
        return self.controller.pending

    def _has_result(self, trial: Trial, candidate: Candidate) -> bool:
        seeds = training_seeds(self.study.config.evaluation, candidate.replicate)
        return set(seeds) <= set(trial.results)

    def _tell(self, trial: Trial) -> None:
        self.controller.tell(Observation(trial.id, trial.score, trial.tasks, trial.failure))

    # New rounds

    def propose(self, recipe: Recipe, reason: str, parent: str | None = None) -> Candidate:
        """Journal a recipe that somebody brings as the next trial; errors as of :meth:`SearchController.propose`.

        Raises:
            StudyError: a trial has no result yet, or no round.
        """
        if self.pending:
            raise StudyError(f"{self.pending[0].id} has no result yet: that comes first.")
        asked = {candidate.id for candidate in self.controller.candidates}
        if halved := [trial.id for trial in self.study.all_trials() if trial.id not in asked]:
            raise StudyError(
                f"{self.study.path}: the search was interrupted while it decided {halved[0]}: 'autoselection search' goes on with it."
            )
        candidate = self.controller.propose(recipe, reason, parent=parent)
        self._record(candidate, {})
        self.journal_rounds()
        return candidate

    def evaluate(self, ledger: Ledger, candidates: Sequence[Candidate]) -> int:
        """Evaluate what the journal lacks of a round, tell the controller, and return how many trainings that took."""
        study = self.study
        known = {trial.id: trial for trial in study.all_trials()}
        _tell_of_missing(candidates, known)
        for candidate in candidates:
            self._record(candidate, known)
        self.journal_rounds()
        made = ledger.made
        wanted = [
            wanted_of(study.config, self.controller.config, candidate, seed)
            for candidate in candidates
            for seed in training_seeds(study.config.evaluation, candidate.replicate)
        ]
        ledger.evaluate(wanted, quiet=True)
        made = ledger.made - made
        told = study.all_trials()
        for candidate in candidates:
            self._tell(told[candidate.id])
            if made:
                _announce(told[candidate.id], study, self.controller)
        return made

    def journal_rounds(self) -> None:
        """Journal the rounds that were decided since."""
        journal, controller = self.study.journal, self.controller
        for record in controller.rounds[len(journal.of("round")) - controller.recorded_rounds :]:
            journal.append("round", round=record.to_dict())

    def _record(self, candidate: Candidate, known: dict[str, Trial]) -> None:
        """Journal a new trial; a known one must be the one the journal holds."""
        stored = known.get(candidate.id)
        if stored is None:
            self.study.save_rows(candidate.id, candidate.rows)
            self.study.journal.append("trial", trial=candidate.to_dict())
            known[candidate.id] = Trial(candidate.id, candidate.to_dict())
            return
        if stored.record["ordered_hash"] != candidate.ordered_hash:
            raise StudyError(
                f"{self.study.path}: replaying the journal gives another subset for {candidate.id} than the one evaluated; "
                "the study was run by another version of the package: go on with that version, or start a new study."
            )
        try:
            self.study.rows(candidate.id)
        except StudyError as error:
            console.say(f"{str(error).partition(': ')[0]}: it is written again.", style="yellow")
            self.study.save_rows(candidate.id, candidate.rows)


def open_search(study: Study, table: SignalTable) -> StudySearch:
    """The search of a study that has begun, with what earlier studies taught it and with its roles."""
    settings = study.config.search
    roles = build_roles(settings.llm, table, study.path / EXCHANGES)
    search = StudySearch(study, table, roles)
    if not study.journal.of("round"):
        begun = (study.journal.of("warm_start") or [NOTHING])[0]
        for study_path, why in begun.get("unused", {}).items():
            console.say(styled("Warm start", "yellow"), f": no score was learnt from {study_path}: {why}")
        for said in search.controller.predictions.inputs.unseen:
            console.say(styled("Surrogate", "yellow"), f": {said}")
    return search


def settle_levels(study: Study) -> None:
    """Journal, once, what evaluations with other models are counted as."""
    if not study.config.search.fidelity.models or study.journal.of(LEVELS):
        return
    costs = model_costs(study.config)
    study.journal.append(LEVELS, models=[cost.to_dict() for cost in costs])
    for cost in costs:
        console.say(f"An evaluation with {cost.model} is counted as {cost.cost:.2g} of a full one ({cost.told}).")


def learn_from_earlier(study: Study, table: SignalTable, pool: Pool) -> None:
    """Journal, once, what the studies of ``search.warm_start`` found."""
    settings = study.config.search
    if settings.warm_start and not study.journal.of("warm_start"):
        model = model_parts(study.config.model.path)["model"]
        learnt = warm_start_scores(table, settings, pool.fingerprint, model)
        study.journal.append("warm_start", **warm_start(table, settings), **learnt)


def study_ledger(study: Study, pool: Pool, executor: Executor, account: Account) -> Ledger:
    """Where a study's evaluations of one kind are made and noted."""
    return Ledger(study.config, pool.path, study.journal, executor, account, lambda: prune_checkpoints(study))


def trial_ledger(study: Study, pool: Pool, executor: Executor) -> Ledger:
    """That of trials."""
    return study_ledger(study, pool, executor, trial_account(study))


def floors_are_measured(study: Study, incumbent: Materialization | None) -> bool:
    """Whether nothing has to be scored before the search."""
    return bool(study.journal.of(FLOORS)) or not reference_trainings(study, incumbent)


def measure_floors(study: Study, pool: Pool, executor: Executor, incumbent: Materialization | None) -> None:
    """Score what floors and guards are measured from, and journal what the floors come to.

    Raises:
        StudyError: what a floor is measured from could not be scored, or is another one than when that was done.
    """
    if study.journal.of(FLOORS):
        check_measured_from(study, incumbent)
    if floors_are_measured(study, incumbent):
        return
    tell_stage("scoring what guards and floors are measured from")
    wanted = reference_trainings(study, incumbent)
    study_ledger(study, pool, executor, reference_account(study)).evaluate(wanted, title="References", quiet=True)
    found = study.journal.append(FLOORS, **measured_floors(study, incumbent))
    if found["values"]:
        told_floors = ", ".join(f"{task} {value:.4f}" for task, value in found["values"].items())
        console.say(f"Floors of this search, on dev: {told_floors}.")


def training_seeds(evaluation: EvaluationConfig, replicate: int) -> tuple[int, ...]:
    """Seeds of the ``replicate``-th repeat of a subset: none is used twice."""
    return tuple(seed + replicate * (max(evaluation.seeds) + 1) for seed in evaluation.seeds)


def _tell_of_missing(candidates: Sequence[Candidate], known: Mapping[str, Trial]) -> None:
    """Say once an operator that it was given many rows without the score it cuts by; the report has all of them."""
    told = {found.operator for trial in known.values() for found in shortfalls(trial.record["lineage"])}
    for candidate in candidates:
        for found in shortfalls(candidate.lineage):
            if candidate.id not in known and found.operator not in told:
                told.add(found.operator)
                console.say(styled(candidate.id, "yellow"), f"  {found.sentence()}")


def _announce(trial: Trial, study: Study, controller: SearchController) -> None:
    best = study.best()
    if trial.failure:
        console.say(f"{trial.id}  ", styled("failed", "red"), f": {trial.failure}")
        return
    mark: str | Text = f"best {best.score:.4f}" if best else ""
    if best and best.id == trial.id:
        mark = styled("best", "green")
    fidelity = controller.config.fidelity
    if trial.fidelity < 1.0:
        mark = level_of(fidelity, trial.model, trial.fidelity).describe()
    budget = study.config.search.evaluations
    of = f" of {budget}"
    if fidelity.level is not None or fidelity.by_value:
        of = f" ({controller.spent:.1f} of {budget} paid)"
    console.say(
        f"{trial.id}{of}  score {trial.score:.4f}  (",
        mark,
        f")  {trial.record['rows']:,} rows  {trial.record['origin']}: {trial.record['edit']}  {trial.seconds:.1f} s",
    )
