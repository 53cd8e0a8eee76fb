"""A recipe's steps in words for people; the words are the operators' own (:meth:`autoselection.operators.Operator.phrases`)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from autoselection.errors import RecipeError
from autoselection.operators import default_registry, validate_params
from autoselection.operators.phrases import in_words


def describe_step(name: str, given: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """One step, such as ``ifd_filter(lowest 50%, within source)``.

    Args:
        name: its operator; of one that is not registered, and of a step that could not run, the parameters are shown as
            they are.
        given: its parameters.
        names: what recipes are called, by the id that a step names.
    """
    registry = default_registry()
    phrases = [f"{key}={in_words(value, names)}" for key, value in given.items() if value is not None]
    if name in registry.names():
        operator = registry.get(name)
        with suppress(RecipeError):
            phrases = operator.phrases(validate_params(operator, given), names)
    return f"{name}({', '.join(phrases)})" if phrases else name
