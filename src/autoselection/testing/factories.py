"""What is checked is made from settings alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

Settings = TypeVar("Settings")
Made = TypeVar("Made")


def made_by(make: Callable[[Settings], Made], settings: Settings) -> Made:
    """What ``make`` gives for settings.

    Raises:
        AssertionError: it takes other arguments, such as a class whose options are not filled in.
    """
    try:
        inspect.signature(make).bind(settings)
    except TypeError as error:
        name = getattr(make, "__name__", repr(make))
        raise AssertionError(
            f"{name} cannot be called with the settings alone ({error}): fill in the options, as in "
            f"'lambda config: {name}(config, Options())'."
        ) from error
    return make(settings)
