"""Roles that may advise the search beside its rules: one that proposes recipes, one that sums up, one that ranks.

The search knows only these protocols; ``autoselection.llm`` fills them with a language model. Each role is optional. A
role that has nothing usable to say answers with ``value=None`` and says why in its notes; the rules then decide alone.
Replaying a search asks the roles again: they must give the answers they gave before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeAlias, TypeVar

from autoselection.recipes import Recipe, StateVector
from autoselection.search.config import SearchConfig
from autoselection.search.credit import Credit
from autoselection.search.edits import Edit
from autoselection.search.ranker import Prediction
from autoselection.search.records import Candidate, Decision, EvaluatedCandidate, Finding
from autoselection.search.space import RecipeSpace

T = TypeVar("T")
Notes: TypeAlias = Mapping[str, int | float | str]


@dataclass(frozen=True, eq=False)
class Briefing:
    """What a role gets to know of the search when a trial is decided.

    Attributes:
        number: the trial that is being decided.
        space: operators and the ranges of their parameters on this pool.
        config: settings of the search.
        history: everything told.
        pending: asked and not told yet.
        parent: the trial that local edits start from.
        credit: operator credit.
        findings: the rule-based summary.
        summary: the summariser's text, once it has spoken.
    """

    number: int
    space: RecipeSpace
    config: SearchConfig
    history: tuple[EvaluatedCandidate, ...]
    pending: tuple[Candidate, ...]
    parent: EvaluatedCandidate
    credit: Credit
    findings: tuple[Finding, ...]
    summary: str | None = None


@dataclass(frozen=True, eq=False)
class Option:
    """A materialized, ranked proposal."""

    recipe: Recipe
    rows: int
    state: StateVector
    prediction: Prediction


@dataclass(frozen=True)
class Suggestion:
    """A recipe that a role proposes (canonical, inside the space) and its reason, one printable line."""

    recipe: Recipe
    reason: str


@dataclass(frozen=True)
class Choice:
    """One place of a ranking: which option (from 0), and why."""

    option: int
    reason: str


@dataclass(frozen=True)
class RoleReply(Generic[T]):
    """A role's answer: ``None`` if the rules have to do without, and what the decision's record says about it."""

    value: T | None
    notes: Notes = field(default_factory=dict)


@dataclass(frozen=True)
class Roles:
    """The roles that are taken; None leaves a role to the rules.

    Attributes:
        top: how many leading proposals ``rank`` is shown.
    """

    propose: Callable[[Briefing], RoleReply[tuple[Suggestion, ...]]] | None = None
    summarise: Callable[[Briefing], RoleReply[str]] | None = None
    rank: Callable[[Briefing, Sequence[Option]], RoleReply[tuple[Choice, ...]]] | None = None
    top: int = 10


class _Draft(Protocol):
    @property
    def prediction(self) -> Prediction | None: ...


D = TypeVar("D", bound=_Draft)


class Advice:
    """What the roles say to one decision.

    Args:
        roles: the roles taken, if any.
        config: settings of the search; roles configured but not given are noted.
        briefing: gives the briefing; called only if there are roles.
    """

    def __init__(self, roles: Roles | None, config: SearchConfig, briefing: Callable[[], Briefing]) -> None:
        self.roles = roles or Roles()
        self.notes: dict[str, int | float | str] = {}
        self.reason: str | None = None
        self._make = briefing
        self._known: Briefing | None = None
        if roles is None and config.llm is not None:
            self.notes["llm"] = "search.llm is set but this search was given no roles: the rules decide alone"

    @property
    def _briefing(self) -> Briefing:
        if self._known is None:
            self._known = self._make()
        return self._known

    def proposals(self) -> list[Edit]:
        """Recipes to rank beside the rule-based ones; the summariser speaks first."""
        if self.roles.summarise is not None:
            said = self.roles.summarise(self._briefing)
            self.notes.update(said.notes)
            self._known = replace(self._briefing, summary=said.value)
        if self.roles.propose is None:
            return []
        reply = self.roles.propose(self._briefing)
        self.notes.update(reply.notes)
        registry = self._briefing.space.registry
        return [
            Edit(item.recipe, item.recipe.digest(registry), f"proposed by the language model: {item.reason}")
            for item in reply.value or ()
        ]

    def order(self, ranked: Sequence[D], option: Callable[[D], Option]) -> list[D]:
        """The ranker's order of the first ``top`` drafts, then what it left out and the others in the rules' order."""
        shown = list(ranked[: self.roles.top])
        if self.roles.rank is None or len(shown) < 2:
            return list(ranked)
        reply = self.roles.rank(self._briefing, [option(draft) for draft in shown])
        self.notes.update(reply.notes)
        chosen = list(
            {choice.option: choice for choice in reply.value or () if 0 <= choice.option < len(shown)}.values()
        )
        if not chosen:
            return list(ranked)
        first = chosen[0]
        self.reason = f"the language model's choice (number {first.option + 1} of the rules): {first.reason}"
        places = [choice.option for choice in chosen]
        places += [place for place in range(len(ranked)) if place not in set(places)]
        return [ranked[place] for place in places]

    def noted(self, decision: Decision) -> Decision:
        """The decision with the roles' notes."""
        return replace(decision, notes={**decision.notes, **self.notes})
