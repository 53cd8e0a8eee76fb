"""Who may look: whoever is on this machine, and beyond it whoever has the token.

A page on localhost can be asked by every other page that the browser shows, and DNS rebinding lets a stranger's name point
here. So requests must name an address, or a name of this machine's, as their host, whatever else they bring.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote

from autoselection.errors import ConfigError

#: Shortest token (characters).
SHORTEST = 16


@dataclass(frozen=True)
class Access:
    """What a request needs.

    Attributes:
        token: that a request has to bring; None lets everyone in who reaches the page.
        names: names that requests may call this machine by, besides localhost and addresses.
    """

    token: str | None = None
    names: frozenset[str] = field(default_factory=frozenset)

    def host_allowed(self, host: str | None) -> bool:
        """Whether the ``Host`` of a request is one of ours: a name that a stranger may have made point here is not."""
        if host is None:
            return False
        name = _without_port(host).rstrip(".").lower()
        return is_address(name) or name == "localhost" or name.endswith(".localhost") or name in self.names

    def token_allowed(self, brought: Iterable[str | None]) -> bool:
        """Whether one of the tokens that a request brings is right, in a time that tells nothing of it."""
        if self.token is None:
            return True
        right = self.token.encode()
        return any(hmac.compare_digest(right, given.encode()) for given in brought if given is not None)


def check_token(token: str | None, address: str, host: str) -> None:
    """Refuse to show a study to others without a token.

    Args:
        address: that is listened on.
        host: as it was asked for.

    Raises:
        ConfigError: it can be reached from other machines and there is no token, or the token can be guessed, or is no
            printable ASCII.
    """
    if token is not None and len(token) < SHORTEST:
        raise ConfigError(
            f"The token is too short: give {SHORTEST} characters or more, or --token new to have one made."
        )
    if token is not None and not (token.isascii() and token.isprintable()):
        raise ConfigError(
            "The token holds what a browser cannot bring back: give letters, digits and signs of ASCII alone, or --token new to "
            "have one made."
        )
    if token is None and not ipaddress.ip_address(address).is_loopback:
        raise ConfigError(
            f"--host {host} shows the study to other machines: add --token new, which makes a token and prints the address "
            "with it, or set AUTOSELECTION_WATCH_TOKEN."
        )


def shown_address(address: str, port: int, token: str | None) -> str:
    """What to open: of a socket that listens everywhere, by this machine's name."""
    place = ipaddress.ip_address(address)
    name = socket.gethostname() if place.is_unspecified else f"[{address}]" if place.version == 6 else address
    return f"http://{name}:{port}/" + ("" if token is None else f"?token={quote(token)}")


def own_names(address: str, host: str) -> frozenset[str]:
    """Names that requests may use: the one that was asked for, and this machine's where others reach it.

    Args:
        address: that is listened on.
    """
    names = (host,) if ipaddress.ip_address(address).is_loopback else (host, socket.gethostname(), socket.getfqdn())
    return frozenset(name.rstrip(".").lower() for name in names if name)


def is_address(name: str) -> bool:
    """Whether a name is an IP address, which no DNS answer can turn into another one."""
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host
