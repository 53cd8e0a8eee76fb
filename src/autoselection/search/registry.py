"""Which rankers and proposers exist: ours, and those that other packages register."""

from __future__ import annotations

from typing import Any, cast

from autoselection.errors import ConfigError
from autoselection.plugins import Registry, has_members
from autoselection.search.config import SearchConfig
from autoselection.search.proposer import Proposer
from autoselection.search.ranker import Ranker

RANKERS = Registry(
    "autoselection.rankers",
    what="ranker",
    contract="autoselection.search.ranker:Ranker",
    builtin={"gaussian_process": "autoselection.search.surrogate:GaussianProcess"},
)
PROPOSERS = Registry(
    "autoselection.proposers",
    what="proposer",
    contract="autoselection.search.proposer:Proposer",
    builtin={"edits": "autoselection.search.proposer:EditProposer"},
)


def ranker_of(given: Ranker | str, config: SearchConfig) -> Ranker:
    """The ranker of a search: the object given, or the class of that name, called with the settings of the search.

    Raises:
        ConfigError: no ranker has that name, it cannot be imported, or it lacks a member of the contract.
    """
    return cast(Ranker, _made(given, RANKERS, Ranker, config))


def proposer_of(given: Proposer | str, config: SearchConfig) -> Proposer:
    """The proposer of a search; arguments and errors as of :func:`ranker_of`."""
    return cast(Proposer, _made(given, PROPOSERS, Proposer, config))


def _made(given: Any, registry: Registry, contract: type, config: SearchConfig) -> Any:
    if isinstance(given, str):
        return registry.get(given)(config)
    if not has_members(given, contract):
        members = f"{contract.__module__}.{contract.__name__}"
        raise ConfigError(f"{given!r} is no {registry.what}: it must have the members of {members}.")
    return given
