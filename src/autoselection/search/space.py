"""The space of recipes that a search moves in: which operators, how steps are drawn, changed and encoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from autoselection.errors import ConfigError, RecipeError
from autoselection.operators import (
    Operator,
    OperatorRegistry,
    Param,
    Role,
    clamp_params,
    encode_params,
    encoding_names,
    in_role,
    perturb_params,
    sample_params,
)
from autoselection.operators.base import needs_in_words
from autoselection.operators.blends import flipped_blends, leading
from autoselection.operators.param import blend_of, mix_of
from autoselection.recipes import Recipe, Step
from autoselection.search.config import DrawConfig, SearchConfig
from autoselection.search.prior import read_prior
from autoselection.signals.families.mona import MONA_PREFIX
from autoselection.signals.table import SignalTable

NARROW_SCOPES = ("task", "cluster")
"""Scopes that are part of the space only if they have a chance to be drawn."""
USUAL = "usual effects"
"""Name of the blend of the signals whose ends usually matter."""


class _OnPool:
    """An operator whose search space on one pool is worked out once, as a search sees it; all else is the operator's own."""

    def __init__(self, operator: Operator, params: Iterable[Param]) -> None:
        self._operator = operator
        self._space = tuple(params)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._operator, name)

    def __call__(self, *given: Any) -> Any:
        return self._operator(*given)

    def space(self, signals: SignalTable) -> tuple[Param, ...]:
        return self._space


def _lacks(operator: Operator) -> str:
    """Why an operator cannot be used on the pool, and what helps."""
    if needed := ", ".join(needs_in_words(operator)):
        return f"needs {needed}, which this pool does not have: compute it with 'autoselection score', or remove the operator."
    if any(param.kind in ("sources", "weights") for param in operator.params):
        return "needs a pool of at least two sources: remove the operator."
    if blend_of(operator.params):
        return "needs two signals at least that do not order the pool alike: score the pool with more, or remove the operator."
    return "needs a signal whose values differ, which this pool does not have: score the pool, or remove the operator."


def _drawn(odds: Mapping[str, float], at: float) -> str:
    """The name whose interval holds ``at`` in [0, 1): ``whole`` last, the others in their order before it."""
    for name, chance in odds.items():
        if name != "whole":
            if at < chance:
                return name
            at -= chance
    return "whole"


def operator_problems(config: SearchConfig, registry: OperatorRegistry) -> list[tuple[tuple[str, ...], str]]:
    """What is wrong with the operators that the settings name, whatever the pool: the key inside ``search``, and why.

    A name that no operator has, and settings that leave no operator.
    """
    named: list[tuple[tuple[str, ...], str]] = [
        *((("operators",), name) for name in config.operators or ()),
        *((("also",), name) for name in config.also),
        *((("without",), name) for name in config.without),
        *((("draws", "low_direction_of"), name) for name in config.draws.low_direction_of),
    ]
    problems = []
    for key, name in named:
        try:
            registry.get(name)
        except RecipeError as error:
            problems.append((key, str(error)))
    if problems:
        return problems
    left = named_operators(config, registry, [operator for operator in registry.operators() if operator.searched])
    if all(any(param.kind == "recipe" for param in operator.params) for operator in left):
        blamed = "operators" if config.operators is not None else "without" if config.without else "published_operators"
        problems.append(
            (
                (blamed,),
                "no operator is left that can begin a recipe: name at least one that cuts rows, such as ifd_filter.",
            )
        )
    return problems


def named_operators(
    config: SearchConfig, registry: OperatorRegistry, default: Iterable[Operator]
) -> tuple[Operator, ...]:
    """The operators that the settings name, in catalog order of ``default``, whether or not a pool has their signals.

    Args:
        default: those taken where ``operators`` is null.

    Raises:
        RecipeError: a named operator does not exist.
    """
    chosen: Iterable[Operator] = default
    if config.operators is not None:
        chosen = [registry.get(name) for name in config.operators]
    known = {operator.name: operator for operator in chosen}
    chosen = {**known, **{name: registry.get(name) for name in config.also}}.values()
    left_out = {registry.get(name).name for name in config.without}
    chosen = [operator for operator in chosen if operator.name not in left_out]
    if config.published_operators:
        chosen = [operator for operator in chosen if operator.published]
    return tuple(chosen)


def drawn_options(draws: DrawConfig, name: str, param: Param) -> tuple[str, ...]:
    """Choices of an operator's parameter that can be drawn: ends and scopes without a chance are no part of the space."""
    if not param.searched or param.role not in ("end", "scope"):
        return param.choices
    if param.role == "end":
        low = draws.low_direction_of.get(name, draws.low_direction)
        odds = {"low": low, "high": 1.0 - low}
    else:
        odds = _scope_odds(draws, param.choices)
    return tuple(choice for choice in param.choices if odds.get(choice, 0.0) > 0)


def _scope_odds(draws: DrawConfig, scopes: Iterable[str]) -> dict[str, float]:
    chances = {"source": draws.source_scope, "task": draws.task_scope, "cluster": draws.cluster_scope}
    odds = {name: chances[name] for name in scopes if name in chances}
    return {"whole": max(0.0, 1.0 - sum(odds.values())), **odds}


class RecipeSpace:
    """Operators a search may use on a pool, and moves among their parameters.

    Args:
        signals: the pool's signals; operators whose signals are missing are left out.
        registry: where operators come from.
        config: settings of the search.

    Raises:
        ConfigError: no operator is left, or a named one cannot be used on this pool.
        RecipeError: a named operator does not exist.
    """

    def __init__(self, signals: SignalTable, registry: OperatorRegistry, config: SearchConfig) -> None:
        self.signals = signals
        self.registry = registry
        self.draws: DrawConfig = config.draws
        self._surrogate = config.surrogate
        self._known: dict[str, Operator] = {}
        self._searched: dict[str, Operator] = {}
        self.operators = named_operators(config, registry, registry.default_space(signals))
        for operator in self.operators:
            if not operator.available(signals):
                raise ConfigError(f"search.operators: '{operator.name}' {_lacks(operator)}")
        if not any(operator.name not in self.unions for operator in self.operators):
            raise ConfigError(
                "The search has no operator to use: score the pool first, or name some that need no signals."
            )
        self._spaces = {operator.name: self._moving(operator.name).space(signals) for operator in self.operators}
        self._widths = {name: len(encoding_names(self._moving(name), signals)) for name in self._spaces}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(operator.name for operator in self.operators)

    @property
    def unions(self) -> tuple[str, ...]:
        """Operators that name another recipe."""
        return tuple(op.name for op in self.operators if any(param.kind == "recipe" for param in op.params))

    @property
    def plain(self) -> tuple[str, ...]:
        """Operators that can be drawn before anything is evaluated."""
        unions = self.unions
        return tuple(name for name in self.names if name not in unions)

    @property
    def caps(self) -> tuple[str, ...]:
        """Operators that cap the size at random."""
        return tuple(op.name for op in self.operators if op.family == "size" and self._searched_in(op, "strength"))

    @property
    def filters(self) -> tuple[str, ...]:
        """Score filters: operators that keep a share at one end of a score, or the best of a blend of scores."""
        return tuple(
            op.name
            for op in self.operators
            if self._searched_in(op, "strength") and (self._searched_in(op, "end") or blend_of(op.params))
        )

    @property
    def blends(self) -> tuple[str, ...]:
        """Operators that cut by a blend of scores."""
        return tuple(op.name for op in self.operators if blend_of(op.params))

    @property
    def mixes(self) -> tuple[str, ...]:
        """Operators that mix sources in shares."""
        return tuple(name for name in self.plain if mix_of(self.params(name)))

    def operator(self, name: str) -> Operator:
        return self.registry.get(name)

    def family(self, name: str) -> str:
        return self.registry.get(name).family

    def in_role(self, name: str, role: Role) -> Param | None:
        """The operator's parameter of a role, searched or not."""
        return in_role(self.registry.get(name).params, role)

    def naming(self, name: str) -> Param:
        """The parameter of a union that names another recipe."""
        return next(param for param in self.registry.get(name).params if param.kind == "recipe")

    def params(self, name: str) -> tuple[Param, ...]:
        """Declared parameters with the ranges searched on this pool."""
        return self._spaces.get(name) or self._moving(name).space(self.signals)

    def options(self, name: str, param: Param) -> tuple[str, ...]:
        """Choices of one of :meth:`params` that this search can draw, see :func:`drawn_options`."""
        return drawn_options(self.draws, name, param)

    def _moving(self, name: str) -> Operator:
        """The operator as it is drawn, moved and encoded: without the scopes that are never drawn."""
        if name not in self._searched:
            odds = self.scope_odds(self._whole(name))
            hidden = frozenset(scope for scope, chance in odds.items() if scope in NARROW_SCOPES and chance <= 0)
            self._searched[name] = cast(Operator, _OnPool(self.registry.get(name), self._seen(name, hidden)))
        return self._searched[name]

    def _whole(self, name: str) -> Operator:
        """The operator with all its scopes."""
        if name not in self._known:
            self._known[name] = cast(Operator, _OnPool(self.registry.get(name), self._seen(name, frozenset())))
        return self._known[name]

    def _seen(self, name: str, hidden: frozenset[str]) -> Iterator[Param]:
        """An operator's parameters on this pool, without hidden scopes, and with what this search knows of signals."""
        for param in self.registry.get(name).space(self.signals):
            if param.role == "scope":
                yield replace(param, choices=tuple(choice for choice in param.choices if choice not in hidden))
            elif param.kind == "blend" and param.searched:
                lows = [self._low_of(choice) for choice in param.choices]
                terms = tuple(replace(term, low=low) for term, low in zip(param.terms, lows, strict=True))
                aware = replace(param, terms=terms)
                usual = leading(aware, {choice: self._usual.get(choice, 0.0) for choice in param.choices})
                yield replace(aware, blends={**param.blends, **({USUAL: usual} if usual else {})})
            else:
                yield param

    def _low_of(self, column: str) -> float:
        """Probability that a draw prefers the low end of a column: that of the filter that is made for it, if one is."""
        for operator in self.registry.operators():
            if in_role(operator.params, "end") is not None:
                needs = operator.needs({})
                if column in needs or ("mona" in needs and column.startswith(MONA_PREFIX)):
                    return self.low_probability(operator.name)
        return self.draws.low_direction

    @cached_property
    def _usual(self) -> Mapping[str, float]:
        """Usual effect of the mean of each score, where one is known."""
        prior = None if self._surrogate.features == "encoding" else read_prior(self._surrogate.prior)
        return (
            {}
            if prior is None
            else {name: effect for name in self.signals.columns if (effect := prior.effect(f"mean/{name}").mean)}
        )

    def scope_odds(self, operator: Operator) -> dict[str, float]:
        """Probability of each scope that the operator has on this pool; ``whole`` gets what the others leave."""
        scope = in_role(operator.space(self.signals), "scope")
        if scope is None or not scope.searched:
            return {}
        return _scope_odds(self.draws, scope.choices)

    def draw(
        self, name: str, rng: np.random.Generator, *, ratio: float | None = None, recipes: Sequence[str] = ()
    ) -> Step:
        """A random step; end and scope follow the configured probabilities.

        Args:
            ratio: share of its rows that the step is to keep, for an operator with a strength.
            recipes: recipes that a union may name.
        """
        operator = self._moving(name)
        params = sample_params(operator, self.signals, rng, recipes=recipes)
        if end := self._searched_in(operator, "end"):
            params[end.name] = "low" if rng.random() < self.low_probability(name) else "high"
        if odds := self.scope_odds(operator):
            params[self._scope(operator)] = _drawn(odds, float(rng.random()))
        strength = self._searched_in(operator, "strength")
        if ratio is not None and strength is not None:
            params = {**params, **{p.name: None for p in operator.params if p.group and p.group == strength.group}}
            params[strength.name] = ratio
        return self.clamp(Step(name, params))

    def low_probability(self, name: str) -> float:
        """Probability that a drawn filter keeps the low end."""
        return self.draws.low_direction_of.get(name, self.draws.low_direction)

    def perturb(self, step: Step, rng: np.random.Generator, scale: float, *, recipes: Sequence[str] = ()) -> Step:
        """A step with one or two parameters moved; end and scope stay (they have their own edit)."""
        operator = self._moving(step.operator)
        kept = [param.name for param in operator.params if param.role in ("end", "scope")]
        fixed = {name: step.params[name] for name in kept if step.params.get(name) is not None}
        params = step.params
        for _ in range(8):
            params = {**perturb_params(operator, step.params, self.signals, rng, scale, recipes=recipes), **fixed}
            if params != dict(step.params):
                break
        return self.clamp(Step(step.operator, params))

    def flips(self, step: Step) -> tuple[dict[str, Any], ...]:
        """Changes of end and scope that the configured probabilities allow."""
        operator = self._whole(step.operator)
        turned: list[dict[str, Any]] = []
        if end := self._searched_in(operator, "end"):
            flipped = "low" if step.params.get(end.name) == "high" else "high"
            low = self.low_probability(step.operator)
            if (low if flipped == "low" else 1.0 - low) > 0:
                turned.append({end.name: flipped})
        if blend := blend_of(self.params(step.operator)):
            turned += [{blend.name: weights} for weights in flipped_blends(blend, step.params[blend.name])]
        odds = self.scope_odds(operator)
        scope = self._scope(operator) if odds else ""
        current = step.params.get(scope)
        scopes = [{scope: name} for name, chance in odds.items() if name != current and chance > 0]
        return (*turned, *scopes, *({**turn, **scope} for turn in turned for scope in scopes))

    def clamp(self, step: Step) -> Step:
        """The step with complete parameters within this pool's ranges."""
        return Step(step.operator, clamp_params(self._whole(step.operator), step.params, self.signals))

    def fraction(self, step: Step) -> float | None:
        """The share of its rows that a step is set to keep, if it is set that way."""
        strength = self.in_role(step.operator, "strength")
        value = None if strength is None else step.params.get(strength.name)
        return None if value is None else float(value)

    def encode(self, recipe: Recipe) -> NDArray[np.float64]:
        """The recipe as numbers in [0, 1].

        For every operator of the space but unions, in catalog order: 1 if the recipe uses it, then its parameters
        (those of its first step). Then three blocks of the same width — the encoding of the union's source recipe, the
        absolute difference to it, the maximum — and a bit for the union; all 0 without a union.
        """
        own = self._encode_plain(recipe)
        for step in recipe.steps:
            if step.operator in self.unions:
                other = self._encode_plain(recipe.library[step.params[self.naming(step.operator).name]])
                return np.concatenate([own, other, np.abs(own - other), np.maximum(own, other), [1.0]])
        return np.concatenate([own, np.zeros(3 * len(own) + 1)])

    def _encode_plain(self, recipe: Recipe) -> NDArray[np.float64]:
        first: dict[str, Step] = {}
        for step in recipe.steps:
            first.setdefault(step.operator, step)
        blocks: list[NDArray[np.float64]] = []
        for name in self.plain:
            used = first.get(name)
            if used is None:
                blocks.append(np.zeros(1 + self._widths[name]))
            else:
                encoded = encode_params(self._moving(name), used.params, self.signals)
                blocks.append(np.concatenate([[1.0], encoded]))
        return np.concatenate(blocks)

    @staticmethod
    def _searched_in(operator: Operator, role: Role) -> Param | None:
        param = in_role(operator.params, role)
        return param if param is not None and param.searched else None

    @staticmethod
    def _scope(operator: Operator) -> str:
        """Name of the scope of an operator that has one."""
        scope = in_role(operator.params, "scope")
        assert scope is not None
        return scope.name
