"""Which recipe to evaluate next: starting points, probes, edits, new trajectories; with the reasons.

Each decision looks at the search's history alone and draws from its own generator, seeded by the search's seed, the trial
number and the purpose.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import StudyError
from autoselection.recipes import Materialization, Recipe, StateVector, state_vector
from autoselection.search import reseed, warmup
from autoselection.search.allocation import choose, probes_due, screening_pays
from autoselection.search.config import ZoneConfig
from autoselection.search.earlier import EarlierTrial
from autoselection.search.findings import summarise
from autoselection.search.history import SearchHistory
from autoselection.search.learnt_mixtures import learnt_mixtures
from autoselection.search.levels import FULL, Level
from autoselection.search.predictions import Predictions
from autoselection.search.proposals import BELOW_MIN_ROWS, KNOWN_SUBSET, Draft, Drafts, Proposals, shares
from autoselection.search.proposer import ProposalRequest, Proposer, StartingPoint
from autoselection.search.random_streams import EDIT, MIXTURES, RESEED, WARMUP, generator
from autoselection.search.records import RANKED_KEPT, Candidate, Decision, EvaluatedCandidate, Note, Origin, trial_id
from autoselection.search.repeats import again, promotion, record_of, repeat
from autoselection.search.roles import Advice, Briefing, Option, Roles
from autoselection.search.screening import screens
from autoselection.search.space import RecipeSpace
from autoselection.signals.table import SignalTable

Chosen = tuple[Candidate, Decision]

SUPPORT = 0.5
"""Least size of what a ranker with a prior chooses, as a share of the smallest subset asked for so far: its line reaches
beyond the sizes that were seen, where nothing has yet contradicted it."""


class Policy:
    """Chooses candidates for one search.

    Args:
        signals: the pool's signals.
        space: operators, and moves among their parameters.
        history: what was asked and told.
        drafts: materializes recipes.
        predictions: what the ranker expects of them.
        proposer: makes the recipes that are ranked.
        roles: who advises beside the rules.
        initial: recipes evaluated first; those that select the same subset as an earlier one are left out.
        earlier: what earlier studies of this pool found; recipes that one tried with another model are among the proposals.
    """

    def __init__(
        self,
        signals: SignalTable,
        space: RecipeSpace,
        history: SearchHistory,
        drafts: Drafts,
        predictions: Predictions,
        proposer: Proposer,
        roles: Roles | None,
        initial: Sequence[Recipe],
        earlier: Sequence[EarlierTrial] = (),
    ) -> None:
        self.signals = signals
        self.space = space
        self.history = history
        self.drafts = drafts
        self.predictions = predictions
        self.proposer = proposer
        self.roles = roles
        given: dict[str, Draft] = {}
        for recipe in initial:
            draft = drafts.make(recipe, recipe.name or "given at the start")
            given.setdefault(draft.outcome.subset_hash, draft)
        self._initial = list(given.values())
        self._below = [trial for trial in earlier if trial.model]
        self._repeated_initial = len(initial) - len(given)

    def next(self) -> Chosen | str:
        """The next candidate with its decision, or why there is none."""
        history, config = self.history, self.history.config
        number = len(history.candidates) + 1
        if (start := self._next_start()) is not None:
            return self._starting_point(number, start)
        probes, level = history.count("warmup"), config.fidelity.level
        if config.fidelity.by_value:
            return self._by_value(number, probes)
        if probes < (config.warmup if level is None else config.fidelity.warmup):
            screened = self._screened(number) if level is not None else None
            return screened or self._probe(number, probes) or "No new subset was found for a warmup probe."
        if history.next_level != FULL and (second := self._screened(number, begun=True)) is not None:
            return second
        if level is not None and not history.short_is_due:
            promoted = promotion(history, self.predictions, self.space.registry, number)
            if promoted is not None:
                return promoted
        return self._beyond_warmup(number, probes)

    def _by_value(self, number: int, probes: int) -> Chosen | str:
        """The same where several levels are chosen from by value per cost."""
        history = self.history
        if probes < probes_due(history):
            screened = self._screened(number) if screening_pays(history) else None
            return screened or self._probe(number, probes) or "No new subset was found for a warmup probe."
        if screening_pays(history) and (second := self._screened(number, begun=True)) is not None:
            return second
        return self._beyond_warmup(number, probes)

    def _beyond_warmup(self, number: int, probes: int) -> Chosen | str:
        """An edit or repeat of the leader, or a new trajectory; a probe where nothing leads yet."""
        history, config = self.history, self.history.config
        best = history.leader
        if best is None:
            return self._probe(number, probes) or "No new subset was found for a warmup probe."
        if config.reseed.enabled and history.stagnation >= config.reseed.patience:
            made = self._new_trajectory(number, {})
        else:
            made = self._edit(number, best)
            made = repeat(history, self.predictions, self.space.registry, number, made[0] if made else None) or made
        return made or "No new subset was found: edits, reseeds and random probes all gave known or too small ones."

    def given(self, recipe: Recipe, parent: EvaluatedCandidate | None, made: str, reason: str) -> Chosen:
        """A recipe that somebody else chose.

        Raises:
            StudyError: its subset is known, nearly known, or too small.
        """
        draft = self.drafts.make(recipe, made)
        if problem := self.drafts.problem(draft):
            raise StudyError(f"Not evaluated: {self._told_of(draft, problem)}.")
        number = len(self.history.candidates) + 1
        trajectory = 0 if parent is None else parent.candidate.trajectory
        candidate = self._candidate(number, draft, "agent", parent.id if parent else None, trajectory)
        return candidate, Decision.about(candidate, 1, {}, [draft.record], reason, {})

    def _told_of(self, draft: Draft, problem: str) -> str:
        """What is wrong with a draft, with the trial or the number that it is measured against."""
        rows, asked = draft.outcome, self.history.candidates
        if problem == BELOW_MIN_ROWS:
            least = self.history.config.least_rows(self.signals)
            return f"the recipe keeps {rows.distinct:,} different rows, and search.min_rows asks for {least:,} or more"
        if problem == KNOWN_SUBSET:
            same = next(trial for trial in asked if trial.subset_hash == rows.subset_hash)
            return f"the recipe selects the very rows of {same.id}"
        alike = draft.similarity[self.drafts.earlier :]
        nearest = asked[int(np.argmax(alike))]
        return (
            f"the recipe selects nearly the rows of {nearest.id} (weighted overlap {alike.max():.2f}; search.max_jaccard is "
            f"{self.history.config.max_jaccard:g})"
        )

    def _next_start(self) -> Draft | None:
        """The first starting point that nobody asked for yet; they come before all else that the search decides."""
        history = self.history
        if history.count("initial") >= len(self._initial):
            return None
        asked = {candidate.subset_hash for candidate in history.candidates}
        return next((draft for draft in self._initial if draft.outcome.subset_hash not in asked), None)

    def _starting_point(self, number: int, draft: Draft) -> Chosen:
        notes = {"initial recipes left out as repeats": self._repeated_initial} if self._repeated_initial else {}
        candidate = self._candidate(number, draft, "initial", None, 0)
        return candidate, Decision.about(candidate, 1, {}, [draft.record], "given as a starting point", notes)

    def _screened(self, number: int, *, begun: bool = False) -> Chosen | None:
        """The next half of a score that no candidate has; None when there is none left.

        Args:
            begun: only the other half of a score of which one was trained: alone it says nothing.
        """
        candidates = self.history.candidates
        asked = {candidate.subset_hash for candidate in candidates}
        probes = {candidate.subset_hash for candidate in candidates if candidate.origin == "warmup"}
        for ends in self._halves:
            if begun and probes.isdisjoint(subset for _, subset in ends):
                continue
            for recipe, subset in ends:
                if subset in asked:
                    continue
                draft = self.drafts.make(recipe, "half of a score, to see which end is better")
                if self.drafts.problem(draft) is None:
                    candidate = self._candidate(number, draft, "warmup", None, 0)
                    reason = "both halves of every score that filters cut by are trained shortly first"
                    return candidate, Decision.about(candidate, 1, {}, [draft.record], reason, {})
        return None

    @cached_property
    def _halves(self) -> list[list[tuple[Recipe, str]]]:
        """Both ends of every score, each with the hash of its rows."""

        def selected(recipe: Recipe) -> Materialization:
            return self.drafts.make(recipe, "").outcome

        rng, rows = self._rng(0, WARMUP), len(self.signals.selectable)
        found = screens(self.space, rng, lambda recipe: selected(recipe).distinct, rows)
        return [[(recipe, selected(recipe).subset_hash) for recipe in ends] for ends in found]

    def _probe(self, number: int, probe: int) -> Chosen | None:
        """A random recipe: the leader of many where the ranker can tell them apart before anything is known, else a drawn
        one. Earlier studies have no say: a search that looks only where they point never learns that they are wrong."""
        if not self.predictions.ranker.has_prior:
            return self._drawn_probe(number, probe)
        config, rng = self.history.config, self._rng(number, WARMUP)
        proposals = Proposals()
        for place in range(config.proposals):
            zone = warmup.zone_of(place, config.zones)
            recipe, target = warmup.draw_probe(self.space, zone, config.max_steps, rng)
            self._add(proposals, recipe, _probe_of(zone, target))
        return self._leading(number, proposals, "warmup") or self._drawn_probe(number, probe)

    def _drawn_probe(self, number: int, probe: int) -> Chosen | None:
        """A probe in its zone; if the zone has no new subset large enough, in one of the others. Zones are shares of the rows that
        may be selected: those are what steps cut."""
        zones = self.history.config.zones
        rng, selectable = self._rng(number, WARMUP), len(self.signals.selectable)
        dropped: Counter[str] = Counter()
        drawn = 0
        for turn in range(len(zones)):
            zone = warmup.zone_of(probe + turn, zones)
            nearest: tuple[float, Draft] | None = None
            for _ in range(warmup.TRIES):
                recipe, target = warmup.draw_probe(self.space, zone, self.history.config.max_steps, rng)
                drawn += 1
                draft = self.drafts.make(recipe, _probe_of(zone, target))
                problem = self.drafts.problem(draft)
                if problem:
                    dropped[problem] += 1
                    continue
                distance = warmup.distance_to_zone(len(draft.outcome.rows) / selectable, zone)
                if nearest is None or distance < nearest[0]:
                    nearest = (distance, draft)
                if distance <= math.log(warmup.TOLERANCE):
                    break
                dropped["far outside its zone"] += 1
            if nearest is None:
                continue
            distance, draft = nearest
            share = len(draft.outcome.rows) / selectable
            reason = f"keeps {share:.1%} of the rows, aimed at the {zone.name} zone ({zone.low:.0%} to {zone.high:.0%})"
            if distance > math.log(warmup.TOLERANCE):
                dropped["far outside its zone"] -= 1  # the nearest of them is used
                reason += "; the nearest of all draws, none came near"
            notes: Mapping[str, Note] = {"zone": zone.name, "redraws": drawn - 1}
            candidate = self._candidate(number, draft, "warmup", None, 0)
            return candidate, Decision.about(candidate, drawn, +dropped, [draft.record], reason, notes)
        return None

    def _new_trajectory(self, number: int, notes: Mapping[str, Note]) -> Chosen | None:
        """A recipe of credited operators: the leader of many where the ranker has a prior, else the first one that is a new subset."""
        history, config = self.history, self.history.config
        rng = self._rng(number, RESEED)
        earned, scored = history.credit, history.scored
        many = self.predictions.ranker.has_prior
        proposals = Proposals()
        for _ in range(config.proposals if many else reseed.TRIES):
            recipe, edit = reseed.draw_reseed(self.space, scored, earned, config.max_steps, rng)
            self._add(proposals, recipe, edit)
            if proposals.drafts and not many:
                break
        if not proposals.drafts:
            return self._probe(number, history.count("warmup"))
        drafts = list(proposals.drafts.values())
        ranked = self.predictions.ranked(drafts, number) if many else drafts
        reason = "; ".join(map(str, notes)) or f"no new best for {history.stagnation} evaluations"
        if many:
            reason += f"; {self._why(ranked[0], f'{len(ranked)} random recipes of credited operators')}"
        candidate = self._candidate(number, ranked[0], "reseed", None, 1 + history.count("reseed"))
        kept = [draft.record for draft in ranked[:RANKED_KEPT]]
        generated, dropped = proposals.generated, proposals.dropped
        return candidate, Decision.about(candidate, generated, dropped, kept, reason, notes, len(ranked))

    def _edit(self, number: int, best: EvaluatedCandidate) -> Chosen | None:
        """The leader of a ranking of what the proposer and the roles propose."""
        proposals, advice = Proposals(), Advice(self.roles, self.history.config, lambda: self._briefing(number, best))
        ranked = self._ranked(number, best, proposals, advice)
        if self.history.config.fidelity.by_value:
            made = self._valued(number, advice.order(ranked, self._option) if ranked else [], proposals, advice)
            if made is not None:
                return made
        if not ranked:
            made = self._new_trajectory(number, {"no edit of the best recipe gave a new subset": proposals.generated})
            return made and (made[0], advice.noted(made[1]))
        ranked = advice.order(ranked, self._option)
        chosen = ranked[0]
        parent = chosen.parent
        reason = self._why(chosen, f"{len(ranked)} proposals", f"; {best.id} scored {best.score:.4f}")
        trajectory = 0 if parent is None else parent.candidate.trajectory
        origin: Origin = "fresh" if parent is None else "edit"
        candidate = self._candidate(number, chosen, origin, parent.id if parent else None, trajectory)
        notes = {"draws that led nowhere": proposals.wasted}
        kept = [draft.record for draft in ranked[:RANKED_KEPT]]
        decision = Decision.about(
            candidate, proposals.generated, proposals.dropped, kept, advice.reason or reason, notes, len(ranked)
        )
        return candidate, advice.noted(decision)

    def _valued(self, number: int, ranked: list[Draft], proposals: Proposals, advice: Advice) -> Chosen | None:
        """What has the highest value per cost: a proposal at some level, or a recipe that waits to be promoted; of proposals the
        first alone, where a language model chose it."""
        found = choose(self.history, self.predictions, ranked[:1] if advice.reason else ranked, number)
        if found is None:
            return None
        kept = [draft.record for draft in ranked[:RANKED_KEPT]]
        advised = advice.reason is not None and found.draft is not None
        reason = f"{advice.reason}; {found.reason}" if advised else found.reason
        notes: Mapping[str, Note] = {"draws that led nowhere": proposals.wasted}
        if found.draft is None:
            assert found.first is not None
            candidate = again(found.first, number, "promotion", found.prediction, level=found.level)
            kept = [record_of(found.first, found.prediction, self.space.registry), *kept]
        else:
            parent = found.draft.parent
            origin: Origin = "fresh" if parent is None else "edit"
            trajectory = 0 if parent is None else parent.candidate.trajectory
            candidate = self._candidate(
                number, found.draft, origin, parent.id if parent else None, trajectory, found.level
            )
        decision = Decision.about(candidate, proposals.generated, proposals.dropped, kept, reason, notes, len(ranked))
        return candidate, advice.noted(decision)

    def _leading(self, number: int, proposals: Proposals, origin: Origin) -> Chosen | None:
        """The leader of a ranking of random recipes; None if none of them is a new subset."""
        if not proposals.drafts:
            return None
        ranked = self.predictions.ranked(list(proposals.drafts.values()), number, own=True)
        candidate = self._candidate(number, ranked[0], origin, None, 0)
        reason = self._why(ranked[0], f"{len(ranked)} random recipes")
        kept = [draft.record for draft in ranked[:RANKED_KEPT]]
        return candidate, Decision.about(
            candidate, proposals.generated, proposals.dropped, kept, reason, {}, len(ranked)
        )

    def _why(self, chosen: Draft, of: str, more: str = "") -> str:
        surrogate, expected = self.history.config.surrogate, chosen.prediction
        assert expected is not None
        floors = "" if expected.meets is None else " within the floors"
        found = (
            f"most expected to be added to the front{floors} of {of}"
            if self.history.config.pareto
            else f"highest expected improvement{floors} of {of}"
            if surrogate.acquisition == "log_ei"
            else f"highest mu + {surrogate.kappa:.2g} sigma of {of}: {expected.ucb:.4f}"
        )
        meets = "" if expected.meets is None else f", meets the floors with probability {expected.meets:.0%}"
        return f"{found} (mu {expected.mu:.4f}, sigma {expected.sigma:.4f}{meets}{more})"

    def _ranked(self, number: int, best: EvaluatedCandidate, proposals: Proposals, advice: Advice) -> list[Draft]:
        """What is proposed in all generations, the best of it first; empty if nothing of it is a new subset."""
        config = self.history.config
        rng = self._rng(number, EDIT)
        scored, earned = self.history.scored, self.history.credit
        fresh = round(config.fresh * config.proposals)
        first, *later = shares(np.ones(config.generations), config.proposals - fresh)
        starts = [StartingPoint(trial.candidate.recipe, trial) for trial in self.predictions.most_promising(best)]
        effects = self.predictions.effects(number) if self.space.blends else {}
        mixtures = learnt_mixtures(scored, self.signals, self._rng(number, MIXTURES)) if self.space.mixes else []
        ranked: list[Draft] = []
        for generation, count in enumerate((first + fresh, *later)):
            request = ProposalRequest(count, generation, starts, scored, earned, self.space, rng, effects, mixtures)
            answer = self.proposer.propose(request)
            proposals.wasted += answer.wasted
            for made in answer.recipes:
                self._add(proposals, made.recipe, made.made, made.key, made.parent)
            if generation == 0:
                for advised in advice.proposals():
                    self._add(proposals, advised.recipe, advised.edit, advised.key, best)
                for trial in self._below:
                    self._add(proposals, trial.recipe, f"recipe of an earlier study with {trial.model}")
            if not proposals.drafts:
                break
            ranked = self.predictions.ranked(list(proposals.drafts.values()), number)
            proposals.drafts.update((draft.outcome.subset_hash, draft) for draft in ranked)  # described once
            leaders = ranked[: config.parents]
            starts = [StartingPoint(draft.outcome.recipe, draft.parent, draft.edit) for draft in leaders]
        return ranked

    def _add(
        self,
        proposals: Proposals,
        recipe: Recipe,
        made: str,
        key: str | None = None,
        parent: EvaluatedCandidate | None = None,
    ) -> None:
        draft = replace(self.drafts.make(recipe, made, key), parent=parent)
        problem = self.drafts.problem(draft)
        if problem is None and len(draft.outcome.rows) < self._floor:
            problem = f"below {SUPPORT:.0%} of the smallest subset so far"
        proposals.add(draft, problem)

    @property
    def _floor(self) -> float:
        """Fewest rows of a proposal. The whole pool is no measure: it only says where to start from."""
        sizes = [len(candidate.rows) for candidate in self.history.candidates]
        below = [size for size in sizes if size < len(self.signals.selectable)]
        return SUPPORT * min(below) if below and self.predictions.ranker.has_prior else 0.0

    def _briefing(self, number: int, parent: EvaluatedCandidate) -> Briefing:
        history = self.history
        standing, earned = history.standing, history.credit
        findings = summarise(history, self.space.registry)
        return Briefing(number, self.space, history.config, standing, history.pending, parent, earned, findings)

    def _option(self, draft: Draft) -> Option:
        assert draft.prediction is not None
        rows = draft.outcome.rows
        return Option(draft.outcome.recipe, len(rows), self._state(rows), draft.prediction)

    def _candidate(
        self,
        number: int,
        draft: Draft,
        origin: Origin,
        parent: str | None,
        trajectory: int,
        level: Level | None = None,
    ) -> Candidate:
        outcome = draft.outcome
        level = level or (FULL if origin in ("initial", "agent") else self.history.next_level)
        return Candidate(
            id=trial_id(number),
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
            fidelity=level.cost,
            model=level.model,
        )

    def _state(self, rows: NDArray[np.int64]) -> StateVector:
        return state_vector(rows, self.signals, cost_ratio=self.history.spent_share)

    def _rng(self, number: int, purpose: int) -> np.random.Generator:
        return generator(self.history.config.seed, number, purpose)


def _probe_of(zone: ZoneConfig, target: float) -> str:
    return f"random probe, {zone.name} zone (target {target:.0%} of the pool)"
