"""The methods that ``python -m benchmarks.search`` compares: those of ``autoselection.compare``, and what is only run here."""

from __future__ import annotations

from collections.abc import Sequence

from autoselection.compare import Method
from autoselection.compare.autocurate_search import AUTOCURATE
from autoselection.compare.mixing import MIXING
from autoselection.compare.multifidelity import MULTIFIDELITY
from autoselection.compare.simple import SIMPLE
from autoselection.compare.single_operators import SINGLE_OPERATORS
from benchmarks.methods.learnt import LEARNT
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


def method_of(name: str, learn_from: Sequence[str]) -> Method:
    """The method with this name; one that learns from pools learns from those with these names.

    Raises:
        KeyError: there is none.
    """
    return LEARNT[name](tuple(learn_from)) if name in LEARNT else METHODS[name]


__all__ = ["DEFAULT", "KNOWN", "METHODS", "Method", "method_of"]
