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
Each random decision draws from its own generator, seeded by the search's seed, the trial number and the purpose.

**Short trainings.** With ``fidelity.level`` every recipe is first trained shortly, at that share of an evaluation's cost, and
the one with the highest upper bound on its full score is promoted to a full training. The budget counts costs; a search
ends when no full evaluation can be paid. Only full evaluations count for the best and for stagnation.

**Failures.** A failed evaluation (score None) counts against the budget and as an evaluation without improvement, is
never a parent or a union's source, and its subset is not tried again. The surrogate takes it for the worst score seen,
so that it keeps away from its neighbourhood.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import StudyError
from autoselection.operators import OperatorRegistry, default_registry
from autoselection.recipes import Recipe, StateVector, load_recipe, state_vector
from autoselection.recipes.recipe import digest_steps
from autoselection.search import reseed, warmup
from autoselection.search.config import SearchConfig
from autoselection.search.credit import Credit, credit
from autoselection.search.edits import Editor, Source
from autoselection.search.fidelity import on_full_scale
from autoselection.search.findings import summarise
from autoselection.search.proposals import Draft, Drafts, Proposals, by_rank, shares
from autoselection.search.random_streams import EDIT, RESEED, SURROGATE, WARMUP, generator
from autoselection.search.records import Candidate, Decision, Finding, Observation, Origin, Ranked, Round, Trial
from autoselection.search.repeats import leader_to_repeat
from autoselection.search.reseed import draw_reseed
from autoselection.search.roles import Advice, Briefing, Option, Roles
from autoselection.search.space import RecipeSpace
from autoselection.search.surrogate import (
    KernelParts,
    LeaveOneOut,
    Point,
    Prediction,
    leave_one_out,
    noise_deviation,
    predict,
)
from autoselection.search.surrogate_inputs import Beliefs
from autoselection.search.warmup import distance_to_zone, draw_any, draw_probe, zone_of
from autoselection.signals.table import SignalTable

RANKED_KEPT = 10
"""Leading proposals kept in a decision's record."""

Notes: TypeAlias = Mapping[str, int | float | str]


class SearchController:
    """Decides which recipes to evaluate.

    Args:
        signals: the pool's signals.
        config: settings; ``config.seed`` also seeds the random steps of recipes.
        registry: operators (default: built-in ones and entry points).
        initial: recipes evaluated first, before those of ``config.initial``.
        roles: who advises beside the rules (see :mod:`autoselection.search.roles`).

    Attributes:
        beliefs: what the surrogate sees of this search's recipes.

    Raises:
        ConfigError: the pool is too small for a search, or no operator can be used on it.
        RecipeError: an initial recipe is not valid.
    """

    def __init__(
        self,
        signals: SignalTable,
        config: SearchConfig | None = None,
        registry: OperatorRegistry | None = None,
        *,
        initial: Sequence[Recipe] = (),
        roles: Roles | None = None,
    ) -> None:
        self.signals = signals
        self.roles = roles
        self.config = config or SearchConfig()
        selectable = len(signals.selectable)
        self.config.check_pool_size(selectable, signals.n - selectable)
        self.registry = registry or default_registry()
        self.space = RecipeSpace(signals, self.registry, self.config)
        self.rounds: list[Round] = []
        self._candidates: dict[str, Candidate] = {}
        self._observations: dict[str, Observation] = {}
        self._drafts = Drafts(signals, self.config, self.registry)
        self.beliefs = Beliefs(signals, self.config, self.space, self._drafts)
        self._initial, self._repeated_initial = self._start(initial)

    # What is known

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Everything asked so far, in order."""
        return tuple(self._candidates.values())

    @property
    def pending(self) -> tuple[Candidate, ...]:
        """Asked and not told."""
        return tuple(c for c in self._candidates.values() if c.id not in self._observations)

    @property
    def history(self) -> tuple[Trial, ...]:
        """Everything told so far, in the order of trial numbers."""
        return tuple(
            Trial(candidate, self._observations[candidate.id])
            for candidate in self._candidates.values()
            if candidate.id in self._observations
        )

    @property
    def spent(self) -> float:
        """Cost of everything asked so far, in full evaluations."""
        return sum(candidate.fidelity for candidate in self._candidates.values())

    @property
    def best(self) -> Trial | None:
        """The fully evaluated subset with the best score, the mean of its repeats (ties: the later one); None before
        such a score is told. It is the subset's first trial that did not fail, with that mean."""
        scored = [trial for trial in self.standing if trial.full and trial.score is not None]
        return max(scored, key=lambda trial: (trial.score, trial.candidate.number)) if scored else None

    @property
    def standing(self) -> tuple[Trial, ...]:
        """Told trials, one a subset: its first full evaluation where there is one, with the mean score of its repeats,
        else its short one, with the score moved to the scale of full ones."""
        groups: dict[str, list[tuple[Trial, float]]] = {}
        for trial, score in zip(self.history, self._full_scale(), strict=True):
            groups.setdefault(trial.candidate.subset_hash, []).append((trial, float(score)))
        found = []
        for group in groups.values():
            told = [item for item in group if item[0].full] or group
            told = [item for item in told if item[0].score is not None] or told[:1]
            first, score = told[0]
            mean = float(np.mean([score for _, score in told])) if len(told) > 1 else score
            if first.score is not None and mean != first.score:
                first = replace(first, observation=replace(first.observation, score=mean))
            found.append(first)
        return tuple(sorted(found, key=lambda trial: trial.candidate.number))

    @property
    def credit(self) -> Credit:
        """Operator credit of all edits with two scores of the same fidelity."""
        scores = {
            (trial.candidate.subset_hash, trial.full): trial.score for trial in self.history if trial.score is not None
        }
        changes = []
        for trial in self.history:
            parent = self._candidates.get(trial.candidate.parent) if trial.candidate.parent else None
            before = scores.get((parent.subset_hash, trial.full)) if parent is not None else None
            if parent is not None and before is not None and trial.score is not None:
                changes.append((parent.recipe, trial.candidate.recipe, trial.score - before))
        return credit(changes)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the trials say, in sentences."""
        return summarise(self.standing, self.credit, self.registry)

    @property
    def stagnation(self) -> int:
        """Full evaluations of edits since there was a new best or a reseed was asked for.

        Initial recipes and warmup probes raise the best but do not count as evaluations without improvement.
        """
        best, count = -math.inf, 0
        for candidate in self._candidates.values():
            observation = self._observations.get(candidate.id)
            full = candidate.fidelity == 1.0
            score = observation.score if observation and full else None
            improved = score is not None and score > best
            best = max(best, -math.inf if score is None else score)
            if improved or candidate.origin == "reseed":
                count = 0
            elif candidate.origin in ("edit", "fresh", "promotion", "repeat") and full and observation is not None:
                count += 1
        return count

    # Ask, tell, run

    def set_budget(self, evaluations: int) -> None:
        """Go on with another number of evaluations, or end if as many are spent; what was asked stays as it was decided."""
        # Nothing else that was made from the configuration depends on the budget.
        self.config = self.config.model_copy(update={"evaluations": evaluations})

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
        if not self._can_pay():
            return []
        decisions: list[Decision] = []
        stopped = None
        while len(decisions) < q and self._can_pay():
            made = self._next()
            if isinstance(made, str):
                stopped = made
                break
            candidate, decision = made
            self._add(candidate)
            decisions.append(decision)
        if decisions or not self.rounds or self.rounds[-1].stopped is None:
            self.rounds.append(self._round(decisions, stopped))
        return list(self.pending)

    def tell(self, observation: Observation) -> None:
        """Take the outcome of an evaluation.

        Raises:
            StudyError: the candidate was not asked for, was told already with another outcome, has another subset than
                the one evaluated, or the score is not a finite number.
        """
        key = observation.candidate_id
        candidate = self._candidates.get(key)
        if candidate is None:
            raise StudyError(f"Trial '{key}' was never asked for: tell only what ask() gave.")
        if observation.score is not None and not math.isfinite(observation.score):
            raise StudyError(f"Trial {key}: the score is {observation.score}; tell None for a failed evaluation.")
        if observation.subset_hash is not None and observation.subset_hash != candidate.subset_hash:
            raise StudyError(
                f"Trial {key} was evaluated on another subset ({observation.subset_hash}) than this search gives "
                f"({candidate.subset_hash}): the pool, its signals, the configuration or the package's version changed."
            )
        known = self._observations.get(key)
        if known is not None and known != observation:
            raise StudyError(f"Trial {key} was already told with another outcome (score {known.score}).")
        self._observations[key] = observation

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

    def run(self, evaluate: Callable[[Candidate], Observation | float | None]) -> Trial | None:
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

    # Making candidates

    def _can_pay(self, fidelity: float = 1.0) -> bool:
        """Whether the budget has room for a full evaluation behind one of ``fidelity`` (itself, if it is full)."""
        cost = 1.0 if fidelity == 1.0 else 1.0 + fidelity
        return self.config.evaluations - self.spent > cost - 1e-9

    @property
    def _fidelity(self) -> float:
        """Fidelity of the next recipe that was not evaluated yet."""
        level = self.config.fidelity.level
        return level if level is not None and self._can_pay(level) else 1.0

    def _next(self) -> tuple[Candidate, Decision] | str:
        """The next candidate with its decision, or why there is none."""
        number = len(self._candidates) + 1
        if number <= len(self._initial):
            return self._make_initial(number)
        probes = sum(candidate.origin == "warmup" for candidate in self._candidates.values())
        short = self.config.fidelity
        if probes < (self.config.warmup if short.level is None else short.warmup):
            return self._make_probe(number, probes) or "No new subset was found for a warmup probe."
        if short.level is not None and not self._short_is_due():
            promoted = self._make_promotion(number)
            if promoted is not None:
                return promoted
        best = self.best or max(
            (trial for trial in self.standing if trial.score is not None),
            key=lambda trial: (trial.score, trial.candidate.number),
            default=None,
        )
        if best is None:
            return self._make_probe(number, probes) or "No new subset was found for a warmup probe."
        if self.config.reseed.enabled and self.stagnation >= self.config.reseed.patience:
            made = self._make_reseed(number, {})
        else:
            made = self._make_edit(number, best)
            made = self._make_repeat(number, made[0] if made else None) or made
        return made or "No new subset was found: edits, reseeds and random probes all gave known or too small ones."

    def _short_is_due(self) -> bool:
        """Whether short trainings have had less than their share of the budget, and another one can be paid."""
        level, share = self._fidelity, self.config.fidelity.share
        short = sum(candidate.fidelity for candidate in self._candidates.values() if candidate.fidelity < 1.0)
        return level < 1.0 and short + level <= share * (self.spent + level) + 1e-9

    def _make_repeat(self, number: int, new: Candidate | None) -> tuple[Candidate, Decision] | None:
        """Another evaluation of a leader, if that is worth more than the evaluation of ``new``."""
        config = self.config.repeats
        asked = Counter(item.subset_hash for item in self._candidates.values() if item.fidelity == 1.0)
        leaders = [trial for trial in self.standing if trial.full and trial.score is not None]
        if not config.enabled or len(leaders) < config.after or (new is not None and new.fidelity < 1.0):
            return None
        believed = self._believed([self.beliefs.known(trial.candidate) for trial in leaders], number)
        noise = noise_deviation(*self._fitted(self._scored))
        chosen = leader_to_repeat(believed, new.prediction if new else None, noise)
        if chosen is None or asked[leaders[chosen[0]].candidate.subset_hash] >= config.most:
            return None
        place, gain, instead = chosen
        first, expected = leaders[place].candidate, believed[place]
        candidate = _again(first, number, "repeat", expected, asked[first.subset_hash])
        ranked = [self._record(first, expected)]
        reason = (
            f"another training of {first.id} (mu {expected.mu:.4f}, sigma {expected.sigma:.4f}) is expected to improve the "
            f"choice by {gain:.2g}, the best new recipe by {instead:.2g} (noise of one training: {noise:.2g})"
        )
        return candidate, self._decision(candidate, 1, Counter(), ranked, reason, {})

    def _make_promotion(self, number: int) -> tuple[Candidate, Decision] | None:
        """A full training of the shortly trained recipe with the highest value; None if none waits for one."""
        full = {candidate.subset_hash for candidate in self._candidates.values() if candidate.fidelity == 1.0}
        waiting = [
            trial.candidate
            for trial in self.history
            if not trial.full and trial.score is not None and trial.candidate.subset_hash not in full
        ]
        if not waiting:
            return None
        believed = self._believed([replace(self.beliefs.known(item), fidelity=1.0) for item in waiting], number)
        value = attrgetter(self.config.surrogate.acquisition)
        order = sorted(range(len(waiting)), key=lambda place: (-value(believed[place]), place))
        first, expected = waiting[order[0]], believed[order[0]]
        candidate = _again(first, number, "promotion", expected)
        ranked = [self._record(waiting[place], believed[place]) for place in order]
        reason = (
            f"{first.id} is the most promising of {len(waiting)} shortly trained recipes "
            f"(mu {expected.mu:.4f}, sigma {expected.sigma:.4f})"
        )
        return candidate, self._decision(candidate, len(waiting), Counter(), ranked, reason, {})

    def _start(self, initial: Sequence[Recipe]) -> tuple[list[Draft], int]:
        """Materialize the initial recipes; the repeats of a subset are left out and counted."""
        recipes = [*([Recipe(name="full")] if self.config.include_full else []), *initial]
        recipes += [load_recipe(path, registry=self.registry) for path in self.config.initial]
        drafts: dict[str, Draft] = {}
        for recipe in recipes:
            draft = self._drafts.make(recipe, recipe.name or "given at the start")
            drafts.setdefault(draft.outcome.subset_hash, draft)
        return list(drafts.values()), len(recipes) - len(drafts)

    def _make_initial(self, number: int) -> tuple[Candidate, Decision]:
        draft = self._initial[number - 1]
        notes = {"initial recipes left out as repeats": self._repeated_initial} if self._repeated_initial else {}
        candidate = self._candidate(number, draft, "initial", None, 0)
        return candidate, self._decision(candidate, 1, Counter(), [draft.record], "given as a starting point", notes)

    def _make_probe(self, number: int, probe: int) -> tuple[Candidate, Decision] | None:
        """A probe in its zone; if the zone has no new subset large enough, in one of the others."""
        zones = self.config.zones
        rng = self._rng(number, WARMUP)
        dropped: Counter[str] = Counter()
        drawn = 0
        for turn in range(len(zones)):
            zone = zone_of(probe + turn, zones)
            nearest: tuple[float, Draft] | None = None
            for _ in range(warmup.TRIES):
                recipe, target = draw_probe(self.space, zone, self.config.max_steps, rng)
                drawn += 1
                draft = self._drafts.make(recipe, f"random probe, {zone.name} zone (target {target:.0%} of the pool)")
                problem = self._drafts.problem(draft)
                if problem:
                    dropped[problem] += 1
                    continue
                distance = distance_to_zone(len(draft.outcome.rows) / self.signals.n, zone)
                if nearest is None or distance < nearest[0]:
                    nearest = (distance, draft)
                if distance <= math.log(warmup.TOLERANCE):
                    break
                dropped["far outside its zone"] += 1
            if nearest is None:
                continue
            distance, draft = nearest
            share = len(draft.outcome.rows) / self.signals.n
            reason = f"keeps {share:.1%} of the rows, aimed at the {zone.name} zone ({zone.low:.0%} to {zone.high:.0%})"
            if distance > math.log(warmup.TOLERANCE):
                dropped["far outside its zone"] -= 1  # the nearest of them is used
                reason += "; the nearest of all draws, none came near"
            notes: Notes = {"zone": zone.name, "redraws": drawn - 1}
            candidate = self._candidate(number, draft, "warmup", None, 0)
            return candidate, self._decision(candidate, drawn, +dropped, [draft.record], reason, notes)
        return None

    def _make_reseed(self, number: int, notes: Notes) -> tuple[Candidate, Decision] | None:
        rng = self._rng(number, RESEED)
        dropped: Counter[str] = Counter()
        config = self.config
        earned = self.credit
        scored = [trial for trial in self.standing if trial.score is not None]
        trajectory = 1 + sum(candidate.origin == "reseed" for candidate in self._candidates.values())
        for drawn in range(1, reseed.TRIES + 1):
            recipe, edit = draw_reseed(self.space, scored, earned, config.max_steps, rng)
            draft = self._drafts.make(recipe, edit)
            problem = self._drafts.problem(draft)
            if problem:
                dropped[problem] += 1
                continue
            reason = f"no new best for {self.stagnation} evaluations"
            if notes:
                reason = "; ".join(map(str, notes))
            candidate = self._candidate(number, draft, "reseed", None, trajectory)
            return candidate, self._decision(candidate, drawn, dropped, [draft.record], reason, notes)
        probes = sum(candidate.origin == "warmup" for candidate in self._candidates.values())
        return self._make_probe(number, probes)

    def _make_edit(self, number: int, best: Trial) -> tuple[Candidate, Decision] | None:
        """The leader of a ranking of edits of good recipes and of fresh ones."""
        config = self.config
        rng = self._rng(number, EDIT)
        parents = self._parents(best)
        proposals = Proposals()
        fresh = round(config.fresh * config.proposals)
        first, *later = shares(np.ones(config.generations), config.proposals - fresh)
        for trial, count in zip(parents, shares(by_rank(len(parents)), first), strict=True):
            self._edits(proposals, trial.candidate.recipe, trial, count, rng)
        self._fresh(proposals, fresh, rng)
        advice = Advice(self.roles, config, lambda: self._briefing(number, best))
        for made in advice.proposals():
            self._propose(proposals, made.recipe, made.edit, made.key, best)
        if not proposals.drafts:
            reseed = self._make_reseed(number, {"no edit of the best recipe gave a new subset": proposals.generated})
            return reseed and (reseed[0], advice.noted(reseed[1]))
        ranked = self._rank(list(proposals.drafts.values()), number)
        for size in later:
            proposals.drafts.update((draft.outcome.subset_hash, draft) for draft in ranked)  # described once
            leaders = ranked[: config.parents]
            for leader, count in zip(leaders, shares(by_rank(len(leaders)), size), strict=True):
                self._edits(proposals, leader.outcome.recipe, leader.parent, count, rng, leader.edit)
            ranked = self._rank(list(proposals.drafts.values()), number)
        ranked = advice.order(ranked, self._option)
        chosen = ranked[0]
        expected = chosen.prediction
        assert expected is not None
        parent = chosen.parent
        found = (
            f"highest expected improvement of {len(ranked)} proposals"
            if config.surrogate.acquisition == "log_ei"
            else f"highest mu + {config.surrogate.kappa:.2g} sigma of {len(ranked)} proposals: {expected.ucb:.4f}"
        )
        reason = f"{found} (mu {expected.mu:.4f}, sigma {expected.sigma:.4f}; {best.id} scored {best.score:.4f})"
        trajectory = 0 if parent is None else parent.candidate.trajectory
        origin: Origin = "fresh" if parent is None else "edit"
        candidate = self._candidate(number, chosen, origin, parent.id if parent else None, trajectory)
        notes = {"draws that led nowhere": proposals.wasted}
        reason = advice.reason or reason
        kept = [draft.record for draft in ranked[:RANKED_KEPT]]
        decision = self._decision(candidate, proposals.generated, proposals.dropped, kept, reason, notes, len(ranked))
        return candidate, advice.noted(decision)

    def _briefing(self, number: int, parent: Trial) -> Briefing:
        return Briefing(
            number, self.space, self.config, self.standing, self.pending, parent, self.credit, self.findings
        )

    def _option(self, draft: Draft) -> Option:
        assert draft.prediction is not None
        rows = draft.outcome.rows
        return Option(draft.outcome.recipe, len(rows), self._state(rows), draft.prediction)

    def _parents(self, best: Trial) -> list[Trial]:
        """Trials whose recipes are edited, the most promising first: the best one, or the highest by the surrogate."""
        scored = [trial for trial in self.standing if trial.score is not None]
        if self.config.parents == 1 or len(scored) < 2:
            return [best]
        candidates = [trial.candidate for trial in scored]
        points = [self.beliefs.known(candidate) for candidate in candidates]
        in_full = [replace(point, fidelity=1.0) for point in points if point.fidelity < 1.0]
        parts = self.beliefs.parts(candidates, in_full)
        predicted = predict(parts, np.array([trial.score for trial in scored], np.float64), 0.0, self.config.seed)
        moved = iter(predicted[len(points) :])
        believed = [
            next(moved) if point.fidelity < 1.0 else known for point, known in zip(points, predicted, strict=False)
        ]
        order = sorted(range(len(scored)), key=lambda place: (-believed[place].mu, -place))
        return [scored[place] for place in order[: self.config.parents]]

    def _edits(
        self,
        proposals: Proposals,
        recipe: Recipe,
        parent: Trial | None,
        count: int,
        rng: np.random.Generator,
        said: str = "",
    ) -> None:
        """Add edits of ``recipe`` to the proposals; ``said`` is how that recipe was made from ``parent``."""
        sources = self._sources(parent)
        editor = Editor(self.space, self.config.edits, self.config.max_steps, sources, self.credit)
        found, wasted = editor.propose(recipe, count, rng)
        proposals.wasted += wasted
        for made in found:
            self._propose(proposals, made.recipe, f"{said}; then {made.edit}" if said else made.edit, made.key, parent)

    def _fresh(self, proposals: Proposals, count: int, rng: np.random.Generator) -> None:
        """Add random recipes to the proposals, aimed at the warmup zones in turn."""
        for place in range(count):
            if place % 2:
                recipe = draw_any(self.space, self.config.max_steps, rng)
            else:
                zone = zone_of(place // 2, self.config.zones)
                recipe, _ = draw_probe(self.space, zone, self.config.max_steps, rng)
            self._propose(proposals, recipe, "fresh random recipe")

    def _propose(
        self, proposals: Proposals, recipe: Recipe, edit: str, key: str | None = None, parent: Trial | None = None
    ) -> None:
        draft = replace(self._drafts.make(recipe, edit, key), parent=parent)
        proposals.add(draft, self._drafts.problem(draft))

    def _sources(self, parent: Trial | None) -> list[Source]:
        """Scored trials that a union with the parent may name, weighted by one over their rank."""
        own = parent.id if parent else None
        scored = sorted(
            (trial for trial in self.standing if trial.score is not None and trial.id != own),
            key=lambda trial: (-(trial.score or 0.0), -trial.candidate.number),
        )
        return [
            Source(trial.candidate.recipe, digest_steps(trial.candidate.recipe.steps), trial.id, 1.0 / (1.0 + rank))
            for rank, trial in enumerate(scored)
        ]

    # Materializing and checking

    def _add(self, candidate: Candidate) -> None:
        self._drafts.asked(candidate)
        self._candidates[candidate.id] = candidate

    def _candidate(self, number: int, draft: Draft, origin: Origin, parent: str | None, trajectory: int) -> Candidate:
        outcome = draft.outcome
        return Candidate(
            id=_trial_id(number),
            number=number,
            recipe=outcome.recipe,
            rows=outcome.rows,
            subset_hash=outcome.subset_hash,
            ordered_hash=outcome.ordered_hash,
            lineage=outcome.lineage,
            state=self._state(outcome.rows),
            origin=origin,
            parent=parent,
            edit=draft.edit,
            trajectory=trajectory,
            prediction=draft.prediction,
            fidelity=1.0 if origin == "initial" else self._fidelity,
        )

    def _state(self, rows: NDArray[np.int64]) -> StateVector:
        told = sum(self._candidates[key].fidelity for key in self._observations)
        return state_vector(rows, self.signals, cost_ratio=told / self.config.evaluations)

    # Ranking

    def _full_scale(self) -> NDArray[np.float64]:
        """Scores of the told trials on the scale of full evaluations; NaN for failed ones."""
        trials = self.history
        scores = np.array([np.nan if trial.score is None else trial.score for trial in trials], np.float64)
        known = np.flatnonzero(np.isfinite(scores))
        scores[known] = on_full_scale(
            scores[known],
            [trials[place].candidate.fidelity for place in known],
            [trials[place].candidate.subset_hash for place in known],
        )
        return scores

    def _training(self) -> tuple[list[Candidate], NDArray[np.float64], int]:
        """Told candidates, their scores (the worst one for a failure), and how many are such failures."""
        trials = self.history
        scores = self._full_scale()
        failed = np.isnan(scores)
        scores[failed] = np.nanmin(scores) if not failed.all() else 0.0
        return [trial.candidate for trial in trials], scores, int(failed.sum())

    def _rank(self, drafts: Sequence[Draft], number: int) -> list[Draft]:
        """Drafts with predictions, highest acquisition value first (ties: the earlier proposal)."""
        new = [draft for draft in drafts if draft.point is None]
        made = iter(self.beliefs.points([draft.outcome.recipe for draft in new], [draft.outcome.rows for draft in new]))
        points = [draft.point or replace(next(made), similarity=draft.similarity) for draft in drafts]
        predictions = self._believed(points, number)
        value = attrgetter(self.config.surrogate.acquisition)
        order = sorted(range(len(drafts)), key=lambda place: (-value(predictions[place]), place))
        return [replace(drafts[place], point=points[place], prediction=predictions[place]) for place in order]

    def _believed(self, points: Sequence[Point], number: int) -> list[Prediction]:
        """Predictions for ``points``, when trial ``number`` is decided.

        Pending candidates of the round count as told with the score the surrogate expects of them.
        """
        told, scores, _ = self._training()
        pending = list(self.pending)
        kappa = self.config.surrogate.kappa
        seed = int(self._rng(number, SURROGATE).integers(2**31))
        if pending:
            parts = self.beliefs.parts(told, [self.beliefs.known(candidate) for candidate in pending])
            believed = predict(parts, scores, kappa, seed)[len(told) :]
            scores = np.concatenate([scores, [prediction.mu for prediction in believed]])
            told += pending
        return predict(self.beliefs.parts(told, points), scores, kappa, seed)[len(told) :]

    def _leave_one_out(self) -> LeaveOneOut | None:
        scored = [trial for trial in self.standing if trial.score is not None]
        if len(scored) < 2:
            return None
        return leave_one_out(*self._fitted(scored), self.config.seed)

    @property
    def _scored(self) -> list[Trial]:
        """Full evaluations that did not fail, repeats by themselves."""
        return [trial for trial in self.history if trial.full and trial.score is not None]

    def _fitted(self, scored: Sequence[Trial]) -> tuple[KernelParts, NDArray[np.float64]]:
        """Kernels and scores of these trials alone."""
        parts = self.beliefs.parts([trial.candidate for trial in scored], [])
        return parts, np.array([trial.score for trial in scored], np.float64)

    # Records

    def _record(self, candidate: Candidate, expected: Prediction) -> Ranked:
        """What a decision remembers of a candidate that might be trained again."""
        recipe = candidate.recipe
        return Ranked(recipe.describe(), recipe.digest(self.registry), candidate.edit, len(candidate.rows), expected)

    def _decision(
        self,
        candidate: Candidate,
        generated: int,
        dropped: Counter[str],
        ranked: Sequence[Ranked],
        reason: str,
        notes: Notes,
        valid: int | None = None,
    ) -> Decision:
        return Decision(
            candidate=candidate.id,
            origin=candidate.origin,
            parent=candidate.parent,
            generated=generated,
            dropped=dict(sorted(dropped.items())),
            valid=len(ranked) if valid is None else valid,
            ranked=tuple(ranked[:RANKED_KEPT]),
            reason=reason,
            notes=dict(notes),
        )

    def _round(self, decisions: Sequence[Decision], stopped: str | None) -> Round:
        best = self.best
        earned = self.credit
        foretold = self._leave_one_out()
        return Round(
            number=len(self.rounds) + 1,
            told=len(self._observations),
            best=best.id if best else None,
            stagnation=self.stagnation,
            leave_one_out=foretold.correlation if foretold else None,
            calibration=foretold,
            imputed=self._training()[2],
            credit=earned,
            findings=summarise(self.standing, earned, self.registry),
            decisions=tuple(decisions),
            stopped=stopped,
        )

    def _rng(self, number: int, purpose: int) -> np.random.Generator:
        return generator(self.config.seed, number, purpose)


def _trial_id(number: int) -> str:
    return f"t{number:03d}"


def _again(first: Candidate, number: int, origin: Origin, expected: Prediction, replicate: int = 0) -> Candidate:
    """A full evaluation of the subset that ``first`` evaluated before."""
    return replace(
        first,
        id=_trial_id(number),
        number=number,
        origin=origin,
        prediction=expected,
        fidelity=1.0,
        of=first.id,
        replicate=replicate,
    )
