"""The methods that ``python -m benchmarks.search`` compares."""

from __future__ import annotations

from benchmarks.methods.autocurate_search import AUTOCURATE
from benchmarks.methods.base import Method
from benchmarks.methods.multifidelity import MULTIFIDELITY
from benchmarks.methods.optimisers import OPTIMISERS
from benchmarks.methods.ours import OURS
from benchmarks.methods.simple import SIMPLE

METHODS: dict[str, Method] = {
    method.name: method for method in (*SIMPLE, *OPTIMISERS, *MULTIFIDELITY, *AUTOCURATE, *OURS)
}
#: What is compared unless ``--methods`` says otherwise: everything but variants of ours.
DEFAULT = tuple(name for name in METHODS if not name.startswith("ours:"))

__all__ = ["DEFAULT", "METHODS", "Method"]
