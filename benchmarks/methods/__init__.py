"""The methods that ``python -m benchmarks.search`` compares: those of ``autoselection.compare``, and what is only run here."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from autoselection.compare import Method
from autoselection.compare.autocurate_search import AUTOCURATE
from autoselection.compare.mixing import MIXING
from autoselection.compare.multifidelity import MULTIFIDELITY
from autoselection.compare.simple import SIMPLE
from autoselection.compare.single_operators import SINGLE_OPERATORS
from benchmarks.methods.learnt import LEARNT, learnt_from
from benchmarks.methods.optimisers import OPTIMISERS
from benchmarks.methods.ours import OURS

METHODS: dict[str, Method] = {
    method.name: method
    for method in (*SIMPLE, *SINGLE_OPERATORS, *OPTIMISERS, *MULTIFIDELITY, *MIXING, *AUTOCURATE, *OURS)
}
#: What is compared unless ``--methods`` says otherwise: everything but variants of ours and what only mixes sources.
DEFAULT = tuple(name for name in METHODS if not name.startswith(("ours:", "mix:")))
#: All names that ``--methods`` takes.
KNOWN = (*METHODS, *LEARNT)


def defaults(leave_one_out: bool) -> tuple[str, ...]:
    """:data:`DEFAULT`, with the search that learnt from other pools in place of the shipped one, which learnt from all."""
    return tuple("ours:learnt" if leave_one_out and name == "ours" else name for name in DEFAULT)


def own_search(names: Collection[str]) -> str | None:
    """The search of this package that others are compared with: one that was learnt from other pools before the shipped one."""
    return next((name for name in ("ours:learnt", "ours") if name in names), None)


def method_of(name: str, learn_from: Sequence[str]) -> Method:
    """The method with this name; one that learns from pools learns from those with these names.

    Raises:
        KeyError: there is none.
    """
    return LEARNT[name](tuple(learn_from)) if name in LEARNT else METHODS[name]


__all__ = ["DEFAULT", "KNOWN", "METHODS", "Method", "defaults", "learnt_from", "method_of", "own_search"]
