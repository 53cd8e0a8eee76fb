"""The methods that ``autoselection compare`` knows by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from autoselection.compare.autocurate_search import AUTOCURATE
from autoselection.compare.controller import OURS
from autoselection.compare.method import Method
from autoselection.compare.mixing import MIXING
from autoselection.compare.multifidelity import MULTIFIDELITY
from autoselection.compare.optuna_search import OPTUNA
from autoselection.compare.simple import SIMPLE
from autoselection.compare.single_operators import SINGLE_OPERATORS
from autoselection.errors import ConfigError, MissingExtraError
from autoselection.wording import suggestion

METHODS: dict[str, Method] = {
    method.name: method for method in (*SIMPLE, *SINGLE_OPERATORS, *OPTUNA, *MULTIFIDELITY, *MIXING, *AUTOCURATE, *OURS)
}
#: What is compared unless methods are named: those that need no further package and no budget of their own, and search more
#: than mixtures of sources.
DEFAULT = tuple(
    name
    for name, method in METHODS.items()
    if method.requires is None and method.evaluations is None and method not in MIXING
)


def choose_methods(names: Sequence[str]) -> list[Method]:
    """The methods with these names.

    Raises:
        ConfigError: no such method, or one is named twice.
        MissingExtraError: a method's package is not installed.
    """
    if not names:
        raise ConfigError(f"Name at least one method to compare; known: {', '.join(METHODS)}.")
    for name in names:
        if name not in METHODS:
            raise ConfigError(f"There is no method '{name}'{suggestion(name, METHODS)}")
        if names.count(name) > 1:
            raise ConfigError(f"The method '{name}' is named twice; name every method once.")
    chosen = [METHODS[name] for name in names]
    for method in chosen:
        if method.requires and importlib.util.find_spec(method.requires) is None:
            raise MissingExtraError(method.requires, "compare", f"The method {method.name}")
    return chosen
