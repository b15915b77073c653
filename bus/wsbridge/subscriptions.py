"""Who wants what: clients on channels, and the demand on bus topics that follows.

Pure; the shell executes the commands this returns. A bus topic is in *demand* while a channel has
clients or a request waits for its first value (a *hold*); after the last one leaves it lingers, so
that a client that reconnects, or a page that switches to and fro, finds it warm.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from bus.wsbridge.channels import Channel
from bus.wsbridge.crowds import Routed
from bus.wsbridge.style import Style, Wire
from bus.wsbridge.topics import MarketTopic

ClientT = TypeVar("ClientT", bound=Routed)

_PLAIN = Wire()


class Subscriptions(Generic[ClientT]):
    """All channels of one bridge. ``linger_ns`` is how long unwanted bus topics stay."""

    def __init__(self, *, linger_ns: int) -> None:
        self._linger_ns = linger_ns
        self._channels: dict[tuple[str, Style, Wire], Channel[ClientT]] = {}
        self.by_bus_key: dict[bytes, list[Channel[ClientT]]] = {}
        self._demand: dict[bytes, int] = {}
        self._unwanted_since_ns: dict[bytes, int] = {}
        self._of_client: dict[ClientT, dict[str, Channel[ClientT]]] = {}

    def hold(self, key: bytes) -> bool:
        """Count one more reason to have a bus topic; ``True``: it must be subscribed now."""
        count = self._demand.get(key, 0)
        self._demand[key] = count + 1
        if count:
            return False
        return self._unwanted_since_ns.pop(key, None) is None

    def release(self, key: bytes, now_ns: int) -> None:
        """Count one reason less; the last one starts the linger time."""
        count = self._demand[key] - 1
        if count:
            self._demand[key] = count
        else:
            del self._demand[key]
            self._unwanted_since_ns[key] = now_ns

    def expired(self, now_ns: int) -> list[bytes]:
        """Bus topics whose linger time is over: the shell must unsubscribe them. Clears them."""
        due = [
            key
            for key, since_ns in self._unwanted_since_ns.items()
            if now_ns - since_ns >= self._linger_ns
        ]
        for key in due:
            del self._unwanted_since_ns[key]
        return due

    def channel_of(self, client: ClientT, name: str) -> Channel[ClientT] | None:
        """The channel that brings ``client`` the topic, if it is on one."""
        return self._of_client.get(client, {}).get(name)

    def of_client(self, client: ClientT) -> list[Channel[ClientT]]:
        """All channels of a client."""
        return list(self._of_client.get(client, {}).values())

    def join(
        self,
        client: ClientT,
        topic: MarketTopic,
        style: Style,
        now_ns: int,
        wire: Wire = _PLAIN,
        epoch: int = 0,
    ) -> Channel[ClientT]:
        """Put a client on the channel of ``topic``, taking it off any other channel of it.

        The bus topic must be held by the caller until after this; ``epoch`` is its present one.
        """
        mine = self._of_client.setdefault(client, {})
        before = mine.get(topic.name)
        if before is not None:
            if before.style == style and before.wire == wire:
                return before
            self.leave(client, topic.name, now_ns)
            mine = self._of_client.setdefault(client, {})
        where = (topic.name, style, wire)
        channel = self._channels.get(where)
        if channel is None:
            channel = self._channels[where] = Channel(topic, style, wire, epoch=epoch)
            self.by_bus_key.setdefault(topic.bus_key, []).append(channel)
        channel.add(client)
        mine[topic.name] = channel
        self.hold(topic.bus_key)
        return channel

    def leave(self, client: ClientT, name: str, now_ns: int) -> Channel[ClientT] | None:
        """Take a client off a topic; the channel it was on, or ``None``."""
        mine = self._of_client.get(client)
        channel = mine.pop(name, None) if mine is not None else None
        if mine is None or channel is None:
            return None
        if not mine:
            del self._of_client[client]
        channel.remove(client)
        key = channel.topic.bus_key
        if not channel.clients:
            del self._channels[name, channel.style, channel.wire]
            siblings = self.by_bus_key[key]
            siblings.remove(channel)
            if not siblings:
                del self.by_bus_key[key]
        self.release(key, now_ns)
        return channel

    def leave_all(self, client: ClientT, now_ns: int) -> None:
        """Take a client off everything (it is gone)."""
        for name in list(self._of_client.get(client, ())):
            self.leave(client, name, now_ns)

    @property
    def channel_count(self) -> int:
        """Channels with at least one client."""
        return len(self._channels)

    @property
    def bus_topic_count(self) -> int:
        """Bus topics subscribed: wanted and lingering ones."""
        return len(self._demand) + len(self._unwanted_since_ns)
