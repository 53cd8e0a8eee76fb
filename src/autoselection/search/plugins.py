"""Rankers and proposers by name: the ones that come with the package, and those that other packages register."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from autoselection.errors import ConfigError
from autoselection.plugins import has_members, load_entry_points
from autoselection.search.config import SearchConfig
from autoselection.search.proposer import EditProposer, Proposer
from autoselection.search.ranker import Ranker
from autoselection.search.surrogate import GaussianProcess
from autoselection.wording import suggestion

RANKERS = "autoselection.rankers"
PROPOSERS = "autoselection.proposers"

T = TypeVar("T")


def ranker_of(given: Ranker | str | None, config: SearchConfig) -> Ranker:
    """The ranker of a search: the object given, the class of that name, or the built-in one.

    Raises:
        ConfigError: no ranker has that name, it cannot be imported, or it lacks a member of the contract.
    """
    return _chosen(given, config, "ranker", RANKERS, Ranker, GaussianProcess)


def proposer_of(given: Proposer | str | None, config: SearchConfig) -> Proposer:
    """The proposer of a search; arguments and errors as of :func:`ranker_of`."""
    return _chosen(given, config, "proposer", PROPOSERS, Proposer, EditProposer)


def _chosen(
    given: T | str | None,
    config: SearchConfig,
    what: str,
    group: str,
    contract: type[Any],
    builtin: Callable[[SearchConfig], T],
) -> T:
    if given is None:
        return builtin(config)
    made: Any = given
    if isinstance(given, str):
        registered = {point.name: loaded for point, loaded in load_entry_points(group, what, ConfigError)}
        if given not in registered:
            known = suggestion(given, registered) if registered else f": no package registers one ({group})."
            raise ConfigError(f"unknown {what} '{given}'{known}")
        made = registered[given](config)
    if not has_members(made, contract):
        raise ConfigError(
            f"{made!r} is no {what}: it must have the members of {contract.__module__}.{contract.__name__}."
        )
    return made  # type: ignore[no-any-return]
