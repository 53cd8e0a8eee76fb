"""Which operators exist: the built-in ones and those that other packages register as entry points."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from autoselection.errors import RecipeError
from autoselection.operators.base import Operator, declaration_problem
from autoselection.operators.blend import BlendFilter
from autoselection.operators.decontaminate import Decontaminate
from autoselection.operators.dedup import SemanticDedup, SemDeDup
from autoselection.operators.diversity import ClusterBalance, Diversity
from autoselection.operators.filters import BUILTIN_FILTERS, ColumnFilter, LengthFilter, MonaFilter
from autoselection.operators.param import shown
from autoselection.operators.sampling import SourceFilter, SourceMix, TruncateSamples, VarentropyMix
from autoselection.operators.score_sampling import Sample
from autoselection.operators.sets import Intersect, Subtract, Union
from autoselection.plugins import has_members, load_entry_points
from autoselection.signals.table import SignalTable
from autoselection.wording import clipped, suggestion

ENTRY_POINT_GROUP = "autoselection.operators"


def builtin_operators() -> tuple[Operator, ...]:
    """The operators of this package, in catalog order."""
    return (
        TruncateSamples(),
        MonaFilter(),
        *BUILTIN_FILTERS,
        SemanticDedup(),
        SemDeDup(),
        Union(),
        SourceFilter(),
        SourceMix(),
        VarentropyMix(),
        ColumnFilter(),
        BlendFilter(),
        LengthFilter(),
        Sample(),
        Diversity(),
        ClusterBalance(),
        Intersect(),
        Subtract(),
        Decontaminate(),
    )


#: Names of the operators of every registry of this process, in the order in which they were registered.
_registered: dict[str, None] = {}


class OperatorRegistry:
    """Operators by name, in catalog order."""

    def __init__(self, operators: Iterable[Operator] | None = None) -> None:
        self._operators: dict[str, Operator] = {}
        for operator in builtin_operators() if operators is None else operators:
            self.register(operator)

    def register(self, operator: Operator) -> None:
        """Add an operator; RecipeError if the name is taken, or the object is not an operator or declared wrongly."""
        if not has_members(operator, Operator):
            raise RecipeError(
                f"{operator!r} is not an operator: it must have the members of autoselection.operators.Operator "
                "(BaseOperator has defaults)."
            )
        if problem := declaration_problem(operator):
            raise RecipeError(f"Operator {shown(operator.name)}: {problem}.")
        if operator.name in self._operators:
            raise RecipeError(f"Two operators are called '{operator.name}': rename the one that was added.")
        self._operators[operator.name] = operator
        _registered[operator.name] = None

    def get(self, name: str) -> Operator:
        """The operator called ``name``; RecipeError with the closest known name otherwise."""
        if name not in self._operators:
            raise RecipeError(f"unknown operator '{name}'{suggestion(str(name), self._operators)}")
        return self._operators[name]

    def names(self) -> tuple[str, ...]:
        return tuple(self._operators)

    def operators(self) -> tuple[Operator, ...]:
        return tuple(self._operators.values())

    def default_space(self, signals: SignalTable) -> tuple[Operator, ...]:
        """The operators a search uses on this pool: those in the default space whose signals exist."""
        return tuple(op for op in self._operators.values() if op.searched and op.available(signals))


def check_name(name: str) -> None:
    """See that some registry of this process has an operator called ``name``.

    A step does not know the registry that its recipe will be run with, so one made for a single search counts too.

    Raises:
        RecipeError: none has; gives the closest known name.
    """
    default_registry()
    if not isinstance(name, str) or name not in _registered:
        raise RecipeError(f"unknown operator '{clipped(str(name))}'{suggestion(str(name), _registered)}")


@lru_cache(maxsize=1)
def default_registry() -> OperatorRegistry:
    """The built-in operators and the entry points of group ``autoselection.operators``.

    An entry point names an operator object or a class without arguments.

    Raises:
        RecipeError: an entry point cannot be imported or is not an operator.
    """
    registry = OperatorRegistry()
    for _, loaded in load_entry_points(ENTRY_POINT_GROUP, "operator", RecipeError):
        registry.register(loaded() if isinstance(loaded, type) else loaded)
    return registry
