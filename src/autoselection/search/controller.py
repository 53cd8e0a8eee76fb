"""The search: which recipe to evaluate next.

    controller = SearchController(signals, SearchConfig(evaluations=15, seed=0))
    while candidates := controller.ask():
        for candidate in candidates:
            controller.tell(Observation(candidate.id, score=train_and_score(candidate.rows)))
    print(controller.best.candidate.recipe.describe())

Initial recipes come first, then warmup probes; after them every candidate is the leader of a ranking of edits of the most
promising recipes and of fresh random ones, or, after ``patience`` of them without a new best, the start of a new
trajectory.

**Rounds.** ``ask`` gives the candidates of the current round that were not told yet; the next round begins when all
were. So what is asked depends only on the configuration, the signals and the scores told, not on the order in which a
round's scores come in, and a controller that is told the same again (:meth:`SearchController.replay`) decides the same.
What is decided, and why, is in :mod:`autoselection.search.policy`; what is remembered in
:mod:`autoselection.search.history`; what makes and what ranks proposals can be replaced
(:mod:`autoselection.search.proposer`, :mod:`autoselection.search.ranker`).

**Short trainings.** With ``fidelity.level`` every recipe but starting points and those of :meth:`SearchController.propose` is
first trained shortly, at that share of an evaluation's cost, and the one with the highest expected improvement of its full score is promoted to a full training. The budget counts costs; a search
ends when no full evaluation can be paid. Only full evaluations count for the best and for stagnation.

**Floors.** A task may have a lowest score. Of what was evaluated the best is then the highest score among what meets every
floor (what misses them least, while nothing meets them all), and proposals are ranked by expected improvement on that, times
the probability that they meet the floors (:mod:`autoselection.search.predictions`).

**Failures.** A failed evaluation (score None) counts against the budget and as an evaluation without improvement, is
never a parent or a union's source, and its subset is not tried again. The surrogate takes it for the worst score seen,
so that it keeps away from its neighbourhood.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from autoselection import notebook
from autoselection.errors import SignalError, StudyError
from autoselection.operators import OperatorRegistry, default_registry
from autoselection.recipes import Recipe, load_recipe
from autoselection.search.config import SearchConfig
from autoselection.search.credit import Credit
from autoselection.search.earlier import EarlierTrial
from autoselection.search.findings import summarise
from autoselection.search.history import SearchHistory
from autoselection.search.pareto import ROWS, TOKENS
from autoselection.search.policy import Policy
from autoselection.search.predictions import Predictions
from autoselection.search.proposals import Drafts
from autoselection.search.proposer import Proposer
from autoselection.search.ranker import Ranker
from autoselection.search.records import (
    Candidate,
    Decision,
    EvaluatedCandidate,
    Finding,
    Observation,
    RecordedRound,
    Round,
)
from autoselection.search.registry import proposer_of, ranker_of
from autoselection.search.roles import Roles
from autoselection.search.space import RecipeSpace
from autoselection.search.surrogate_inputs import SurrogateInputs
from autoselection.signals.table import SignalTable
from autoselection.wording import clipped, suggestion


class SearchController:
    """Decides which recipes to evaluate.

    Args:
        signals: the pool's signals.
        config: settings; ``config.seed`` also seeds the random steps of recipes.
        registry: operators (default: built-in ones and entry points).
        initial: recipes evaluated first, before those of ``config.initial``.
        earlier: what earlier studies of this pool found; the ranker learns from it.
        recorded: the first rounds of the search, decided before: they are asked again as they are.
        roles: who advises beside the rules (see :mod:`autoselection.search.roles`).
        ranker: what predicts scores: an object, or the name of a class, ours or one that a package registers as an entry
            point of group ``autoselection.rankers``.
        proposer: what makes the recipes that are ranked: an object, or a name of the group ``autoselection.proposers``.
        floors: lowest score of each task that has one; every scored observation must then tell that task's score.

    Attributes:
        predictions: what the ranker expects of this search's recipes.
        rounds: what was decided here, and why.
        recorded_rounds: how many ``recorded`` rounds were asked again before these.

    Raises:
        ConfigError: the pool is too small for a search, no operator can be used on it, or no ranker or proposer has the
            name given.
        RecipeError: an initial recipe is not valid.
        SignalError: ``search.pareto`` names tokens, and their numbers are not known.

    >>> import autoselection as au
    >>> import numpy as np
    >>> table = au.SignalTable.from_arrays({"ngram_entropy": np.linspace(0, 1, 200)})
    >>> controller = SearchController(table, au.SearchConfig(evaluations=3, warmup=2))
    >>> best = controller.run(lambda candidate: float(table["ngram_entropy"][candidate.rows].mean()))
    >>> len(controller.history), best is controller.best or best.score == controller.best.score
    (3, True)
    """

    def __init__(
        self,
        signals: SignalTable,
        config: SearchConfig | None = None,
        registry: OperatorRegistry | None = None,
        *,
        initial: Sequence[Recipe] = (),
        earlier: Sequence[EarlierTrial] = (),
        recorded: Iterable[RecordedRound] = (),
        roles: Roles | None = None,
        ranker: Ranker | str = "gaussian_process",
        proposer: Proposer | str = "edits",
        floors: Mapping[str, float] | None = None,
    ) -> None:
        if not isinstance(signals, SignalTable):
            raise SignalError(
                f"A search takes signals, not {type(signals).__name__}: load_table(pool) gives those of a pool."
            )
        self.signals = signals
        config = config or SearchConfig()
        selectable = len(signals.selectable)
        config.check_pool_size(selectable, signals.n - selectable)
        if TOKENS in config.pareto and "n_tokens" not in signals.columns:
            raise SignalError(
                f"search.pareto names '{TOKENS}', and the signals have no column 'n_tokens': give it, or name '{ROWS}' instead."
            )
        self.registry = registry or default_registry()
        self.space = RecipeSpace(signals, self.registry, config)
        self.rounds: list[Round] = []
        self.recorded_rounds = 0
        self._recorded = deque(recorded)
        self._stopped: str | None = None
        self._history = SearchHistory(config, floors)
        self._drafts = Drafts(signals, config, self.registry, [trial.rows for trial in earlier])
        inputs = SurrogateInputs(signals, config, self.space, self._drafts, earlier)
        self.predictions = Predictions(ranker_of(ranker, config), inputs, self._history)
        recipes = [*([Recipe(name="full")] if config.include_full else []), *initial]
        recipes += [load_recipe(path, registry=self.registry) for path in config.initial]
        self._policy = Policy(
            signals,
            self.space,
            self._history,
            self._drafts,
            self.predictions,
            proposer_of(proposer, config),
            roles,
            recipes,
            earlier,
        )

    def __repr__(self) -> str:
        found = "" if self.best is None else f", the best {self.best.score:.4f} ({self.best.id})"
        of = notebook.counted(self.config.evaluations, "evaluation")
        return notebook.line("SearchController", f"{len(self.history)} of {of} told{found}")

    # What is known

    @property
    def config(self) -> SearchConfig:
        """Settings of the search."""
        return self._history.config

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Everything asked so far, in order."""
        return self._history.candidates

    @property
    def pending(self) -> tuple[Candidate, ...]:
        """Asked and not told."""
        return self._history.pending

    @property
    def replaying(self) -> bool:
        """Whether recorded rounds are left to be asked again."""
        return bool(self._recorded)

    @property
    def history(self) -> tuple[EvaluatedCandidate, ...]:
        """Everything told so far, in the order of trial numbers."""
        return self._history.told

    @property
    def spent(self) -> float:
        """Cost of everything asked so far, in full evaluations."""
        return self._history.spent

    @property
    def best(self) -> EvaluatedCandidate | None:
        """The fully evaluated subset with the best score, the mean of its repeats, of those that keep the floors; see
        :attr:`SearchHistory.best`."""
        return self._history.best

    @property
    def standing(self) -> tuple[EvaluatedCandidate, ...]:
        """What was told, one a subset; see :attr:`SearchHistory.standing`."""
        return self._history.standing

    @property
    def credit(self) -> Credit:
        """Operator credit of all edits with two scores of the same fidelity."""
        return self._history.credit

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the trials say, in sentences."""
        return summarise(self._history, self.registry)

    @property
    def stagnation(self) -> int:
        """Full evaluations without a new best; see :attr:`SearchHistory.stagnation`."""
        return self._history.stagnation

    # Ask, tell, run

    def set_budget(self, evaluations: int) -> None:
        """Go on with another number of evaluations, or end if as many are spent; what was asked stays as it was decided."""
        # Nothing else that was made from the configuration depends on the budget.
        self._history.config = self.config.model_copy(update={"evaluations": evaluations})

    def ask(self, q: int | None = None) -> list[Candidate]:
        """Candidates to evaluate now; empty when the budget is spent or nothing new can be found.

        Args:
            q: size of a new round (default ``config.batch``), or most pending candidates to give.
        """
        q = self.config.batch if q is None else q
        if q < 1:
            raise ValueError(f"ask needs q >= 1, not {q}.")
        pending = list(self.pending)
        if pending:
            return pending[:q]
        if self._recorded:
            return self._again(self._recorded.popleft())
        if not self._history.can_pay():
            return []
        decisions: list[Decision] = []
        stopped = None
        while len(decisions) < q and self._history.can_pay():
            made = self._policy.next()
            if isinstance(made, str):
                stopped = made
                break
            candidate, decision = made
            self._take(candidate)
            decisions.append(decision)
        first = not self.rounds and not self.recorded_rounds
        if decisions or first or self._stopped is None:
            self.rounds.append(self._round(decisions, stopped))
            self._stopped = stopped
        return list(self.pending)

    def propose(self, recipe: Recipe, reason: str, *, parent: str | None = None) -> Candidate:
        """Take a recipe of one's own as the next candidate: a round of its own, paid from the same budget.

        It is pending then, as what :meth:`ask` gives, and is told as that is. The search learns from it, and goes on
        with its own decisions.

        Args:
            reason: why it is worth an evaluation, in a sentence; the decision's record has it.
            parent: id of the trial that it was made from, whose scores then tell the credit of what was changed.

        Raises:
            RecipeError, SignalError: it cannot be run on this pool.
            StudyError: the budget is spent, its subset is known, nearly known or too small, the parent was not told, or
                recorded rounds have not been asked again.

        >>> import autoselection as au
        >>> import numpy as np
        >>> table = au.SignalTable.from_arrays({"ngram_entropy": np.linspace(0, 1, 200)})
        >>> controller = au.SearchController(table, au.SearchConfig(evaluations=3))
        >>> recipe = au.Recipe((au.Step("ngram_entropy", {"fraction": 0.5}),))
        >>> candidate = controller.propose(recipe, "the upper half is denser")
        >>> candidate.id, len(candidate.rows), [pending.id for pending in controller.pending]
        ('t001', 100, ['t001'])
        """
        if self._recorded:
            raise StudyError("The rounds of before have to be asked again before a recipe is proposed: replay them.")
        if not self._history.can_pay():
            raise StudyError(
                f"The budget of {notebook.counted(self.config.evaluations, 'evaluation')} is spent "
                f"({self.spent:g} asked for): nothing more can be evaluated."
            )
        known = {trial.id: trial for trial in self.history}
        if parent is not None and parent not in known:
            others = suggestion(parent, known) if known else ": there is none yet."
            raise StudyError(f"The parent '{clipped(parent)}' is no trial with an outcome{others}")
        above = None if parent is None else known[parent]
        candidate, decision = self._policy.given(recipe, above, f"proposed: {reason}", reason)
        self._take(candidate)
        self.rounds.append(self._round([decision], None))
        self._stopped = None
        return candidate

    def _again(self, recorded: RecordedRound) -> list[Candidate]:
        self.recorded_rounds += 1
        self._stopped = recorded.stopped
        for candidate in recorded.candidates:
            self._take(candidate)
        return list(self.pending)

    def _take(self, candidate: Candidate) -> None:
        self._drafts.asked(candidate)
        self._history.ask(candidate)

    def tell(self, observation: Observation) -> None:
        """Take the outcome of an evaluation.

        Raises:
            StudyError: the candidate was not asked for, has another outcome already, has another subset than
                the one evaluated, or the score is not a finite number.
        """
        self._history.tell(observation)

    def replay(self, observations: Iterable[Observation]) -> None:
        """Ask and tell until all ``observations`` are told, in any order within a round.

        Rounds have ``config.batch`` candidates; a search asked with other sizes has to be replayed by its caller.

        Raises:
            StudyError: this search never asks for one of them.
        """
        waiting = {observation.candidate_id: observation for observation in observations}
        while waiting:
            asked = self.ask()
            told = [waiting.pop(candidate.id) for candidate in asked if candidate.id in waiting]
            for observation in told:
                self.tell(observation)
            if waiting and (not asked or len(told) < len(asked)):
                raise StudyError(
                    f"Replaying the search does not lead to trial {min(waiting)}: observations are missing, or the "
                    "configuration changed."
                )

    def run(self, evaluate: Callable[[Candidate], Observation | float | None]) -> EvaluatedCandidate | None:
        """Ask, evaluate and tell until the budget is spent; gives the best trial.

        Args:
            evaluate: gives an observation, a plain score, or None for a failed evaluation.
        """
        while candidates := self.ask():
            for candidate in candidates:
                outcome = evaluate(candidate)
                if not isinstance(outcome, Observation):
                    outcome = Observation(candidate.id, outcome)
                self.tell(outcome)
        return self.best

    def _round(self, decisions: Sequence[Decision], stopped: str | None) -> Round:
        best, earned = self.best, self.credit
        foretold = self.predictions.leave_one_out()
        _, _, imputed = self._history.training()
        return Round(
            number=self.recorded_rounds + len(self.rounds) + 1,
            told=len(self.history),
            best=best.id if best else None,
            stagnation=self.stagnation,
            leave_one_out=foretold.correlation if foretold else None,
            calibration=foretold,
            imputed=imputed,
            credit=earned,
            findings=summarise(self._history, self.registry),
            decisions=tuple(decisions),
            stopped=stopped,
            unseen=() if self.rounds or self.recorded_rounds else self.predictions.inputs.unseen,
        )
