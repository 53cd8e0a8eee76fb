"""Errors a user can act on.

Every error names what is wrong, where (file, line, field) and how to fix it, in one sentence.
The command line prints the sentence and exits with the class's ``exit_code``; a traceback means a bug of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class AutoSelectionError(Exception):
    """Base of all errors caused by input, configuration or environment.

    Args:
        message: the sentence.
        hint: what to do, where the sentence does not say it: a command, or a setting.
    """

    exit_code = 1

    def __init__(self, message: str = "", *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConfigError(AutoSelectionError):
    """A configuration file or command-line value is wrong."""

    exit_code = 2


class PoolError(AutoSelectionError):
    """Pool files cannot be read, or a pool directory is missing or damaged."""

    exit_code = 3


class OtherPoolError(PoolError):
    """A place where a pool is to be made holds another one."""


class SignalError(AutoSelectionError):
    """A signal cannot be computed, or a step needs a signal that is not cached."""

    exit_code = 4


class RecipeError(AutoSelectionError):
    """A recipe names something unknown or holds a parameter out of range."""

    exit_code = 5


class EvaluationError(AutoSelectionError):
    """A model, a benchmark or a training run cannot be used as asked."""

    exit_code = 6


class StudyError(AutoSelectionError):
    """A study directory is in use, damaged or does not match its configuration."""

    exit_code = 7


class MissingExtraError(AutoSelectionError):
    """An optional dependency is needed and not installed."""

    exit_code = 8

    def __init__(self, package: str, extra: str | None, purpose: str) -> None:
        command = f"pip install {package}" if extra is None else f"pip install 'autoselection[{extra}]'"
        super().__init__(f"{purpose} needs the package '{package}': install it with {command}.", hint=command)
        self._given = (package, extra, purpose)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._given  # as an exception it would be built from its sentence alone


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Put the name of a recipe, as the user gave it, in front of what goes wrong when it meets a pool."""
    try:
        yield
    except (RecipeError, SignalError) as error:
        raise type(error)(f"{where}: {error}", hint=error.hint) from error
