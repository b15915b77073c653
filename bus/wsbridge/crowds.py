"""The clients that several channels have in common, and how to write to all of them at once.

A tick for a thousand clients is a thousand system calls, and whatever else is looked at for each of
them is looked at with a cold cache: a client is an object with a protocol, a transport and counters
behind it, a few hundred nanoseconds each. So a crowd knows, until something changes, which of its
clients can be written to past everything, and has nothing but their descriptors in one array.
*Something* is anybody's way to his socket: it is counted, and a crowd that was laid out under an
older count is laid out anew at its next message. That costs less than one write to everybody.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from bus.wsbridge.channels import Channel


class Routed(Protocol):
    """A client, as far as its way to the socket is concerned."""

    def route(self) -> int:
        """The descriptor to which whole frames may be written, until some route has changed; -1:
        only by its own ``write``."""

    direct_bytes: int
    """Bytes written there, as of the last :meth:`Crowd.count`."""


ClientT = TypeVar("ClientT", bound=Routed)


class Crowd(frozenset[ClientT]):
    """A set of clients. ``fds`` are those that may be written to, ``others`` are the rest."""

    __slots__ = ("_layout", "_uncounted_bytes", "direct", "fds", "others")

    _layout: int
    _uncounted_bytes: int
    direct: list[ClientT]
    """The clients behind ``fds``, in that order."""
    fds: array[int]
    others: list[ClientT]

    def __new__(cls, clients: Iterable[ClientT]) -> Crowd[ClientT]:
        crowd = super().__new__(cls, clients)
        crowd._layout = -1
        crowd._uncounted_bytes = 0
        crowd.direct, crowd.others = [], []
        crowd.fds = array("i")
        return crowd

    def lay_out(self, layout: int) -> None:
        """Bring ``fds`` and ``others`` up to date; ``layout`` counts the changes of all clients."""
        if self._layout == layout:
            return
        self.count()
        self._layout = layout
        self.others = []
        routes: dict[int, ClientT] = {}
        for client in self:
            fd = client.route()
            if fd < 0:
                self.others.append(client)
            else:
                routes[fd] = client
        self.fds = array("i", sorted(routes))  # neighbours by number are neighbours in memory
        self.direct = [routes[fd] for fd in self.fds]

    def written(self, size: int) -> None:
        """``size`` bytes went to each of ``fds``."""
        self._uncounted_bytes += size

    def count(self) -> None:
        """Add what was written to each client's own figure."""
        size, self._uncounted_bytes = self._uncounted_bytes, 0
        if size:
            for client in self.direct:
                client.direct_bytes += size


def by_crowd(channels: Iterable[Channel[ClientT]]) -> dict[Crowd[ClientT], list[Channel[ClientT]]]:
    """The channels by who their clients are, both in order of appearance.

    A channel remembers its crowd until somebody joins or leaves, and channels with equal crowds
    remember the same object, so that from then on they are told to be equal by one look.
    """
    found: dict[Crowd[ClientT], list[Channel[ClientT]]] = {}
    for channel in channels:
        crowd = channel.crowd
        if crowd is None:
            crowd = channel.crowd = Crowd(channel.clients)
        together = found.get(crowd)
        if together is None:
            found[crowd] = [channel]
        else:
            known = together[0].crowd
            if known is not crowd:
                crowd.count()
                channel.crowd = known
            together.append(channel)
    return found


def in_several(crowds: Collection[Crowd[ClientT]]) -> set[ClientT]:
    """The clients that belong to more than one of them."""
    found: set[ClientT] = set()
    if len(crowds) > 1:
        seen: set[ClientT] = set()
        for crowd in crowds:
            if not seen.isdisjoint(crowd):
                found |= seen & crowd
            seen |= crowd
    return found
