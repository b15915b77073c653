"""Which client a connection counts for: its address, through the proxies that are believed. Pure.

An IPv6 client has a whole /64, so it counts by that. From a proxy in ``trusted_proxies`` the client
is the last address in ``X-Forwarded-For`` that is not a trusted proxy itself: each proxy appends
the address it was connected from, so what stands before that entry is the client's own word. An
entry that is no address ends the search at the last address that was known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

MAX_HOPS = 32
"""Entries of X-Forwarded-For that are looked at."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection comes from: ``address`` for people, ``group`` for limits."""

    address: str
    group: str
    is_local: bool


class Addresses:
    """Knows the trusted proxies."""

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        self._trusted = tuple(ip_network(text) for text in trusted_proxies)

    def origin(self, peer: str, forwarded: Sequence[str]) -> Origin:
        """``peer`` is the socket's address, ``forwarded`` the X-Forwarded-For header lines."""
        current = _address(peer)
        if current is None:
            return Origin(peer, peer, False)
        if self._trusted and self._is_trusted(current):
            entries = ",".join(forwarded).rsplit(",", MAX_HOPS)[-MAX_HOPS:]
            for entry in reversed(entries):
                found = _address(entry.strip())
                if found is None:
                    break
                current = found
                if not self._is_trusted(current):
                    break
            return _origin(current, is_local=False)
        return _origin(current, is_local=current.is_loopback)

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


@lru_cache(maxsize=4_096)
def _origin(address: IPv4Address | IPv6Address, *, is_local: bool) -> Origin:
    if isinstance(address, IPv6Address):
        return Origin(str(address), str(IPv6Network((address, 64), strict=False)), is_local)
    return Origin(str(address), str(address), is_local)


@lru_cache(maxsize=4_096)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, with a port or brackets around it or not; IPv4 in IPv6 is IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found
