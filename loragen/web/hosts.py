"""The hosts that a service answers for, and the pages that may use it: rules without I/O.

A page of another site can let its own name point at 127.0.0.1. Then a browser sends the page's requests here, and lets
the page read the answers. But it also says the page's name, in `Host` and in `Origin`, so a service that answers for
its own names only is safe from it.

Any page can send a request to an address, without reading the answer. A browser says in `Origin` where the page is
from. That it is from an address or from this machine proves nothing: so are the pages of a neighbour's computer, and of
every other program here. So a page must be from the very host that it asks, or from one that the operator names.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9_.-]{1,253})(?::\d{0,5})?", re.ASCII)
_PORTS = {"http": ":80", "https": ":443"}
"""Which browsers leave out."""

_PATTERN = re.compile(r"\*|(?:\*\.)?[a-z0-9_.-]{1,253}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AllowedHosts:
    """Loopback, the address that the service listens on, and what the operator names.

    Example:
        AllowedHosts.of("0.0.0.0", ["*.example.com"]).includes("loragen.example.com:8080")

    Attributes:
        named: Names and addresses in lower case; `*.name` for every name below one, `*` for all.
        bound: The address listened on, in lower case; empty for loopback alone.
        every_address: Whether the service listens on all addresses of its machine; then each is its own.
    """

    named: tuple[str, ...] = ()
    bound: str = ""
    every_address: bool = False

    @classmethod
    def of(cls, bound: str, more: Iterable[str] = ()) -> Self:
        """The hosts of a service that listens on `bound`; `more` was checked by `verify_pattern`."""
        address = _address(bound)
        if address is not None and address.is_unspecified:
            return cls(tuple(more), every_address=True)
        return cls(tuple(more), bound.lower())

    def includes(self, authority: str) -> bool:
        """Whether a `Host` header, with or without a port, names one of them."""
        host = _host_of(authority)
        if host is None:
            return False
        address = _address(host)
        if address is not None and (address.is_loopback or self.every_address):
            return True
        if host == "localhost" or host.endswith(".localhost"):
            return True
        return _fits(host, self.bound) or any(_fits(host, pattern) for pattern in self.named)

    def admits(self, origin: str, asked: str | None, is_tls: bool) -> bool:
        """Whether a page may use the service.

        Args:
            origin: The page's `Origin`.
            asked: The `Host` that it asks; None when the request has none.
            is_tls: Whether the request came over TLS to this service itself; a proxy in front of it may end TLS.
        """
        scheme, _, authority = origin.lower().partition("://")
        host = _host_of(authority)
        if host is None:
            return False
        if any(_fits(host, pattern) for pattern in self.named):
            return True
        port = _PORTS.get(scheme)
        if asked is None or port is None or (is_tls and scheme != "https"):
            return False
        return authority.removesuffix(port) == asked.lower().removesuffix(port)

    def __str__(self) -> str:
        addresses = "every address of this machine" if self.every_address else "loopback"
        return ", ".join((addresses, *filter(None, [self.bound]), *self.named))


LOOPBACK = AllowedHosts()


def is_loopback(bound: str) -> bool:
    """Whether only programs on the same machine reach a service that listens on this address."""
    address = _address(bound)
    return bound.lower() == "localhost" if address is None else address.is_loopback


def verify_pattern(pattern: str) -> str:
    """The pattern in lower case.

    Raises:
        ValueError: It is neither a name or an address without a port, nor `*.name`, nor `*`.
    """
    pattern = pattern.lower()
    if not _PATTERN.fullmatch(pattern) and _address(pattern) is None:
        raise ValueError(f"expected a host without scheme and port, *.name, or *, found {pattern!r}")
    return pattern


def _host_of(authority: str) -> str | None:
    """The host of `host:port`, without brackets and without a dot at its end; None when it is malformed."""
    match = _AUTHORITY.fullmatch(authority.lower())
    return None if match is None else match[1].strip("[]").rstrip(".")


def _fits(host: str, pattern: str) -> bool:
    if pattern.startswith("*"):
        return host.endswith(pattern[1:])  # of "*" nothing is left, and every host ends with that
    return host == pattern.strip("[]").rstrip(".")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
