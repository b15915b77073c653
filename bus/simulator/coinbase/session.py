"""The subscriptions of one Coinbase connection: text in, replies and changes out. Pure.

Rules (docs.cdp.coinbase.com: Exchange, WebSocket overview, channels, rate limits): products at the
root stand for every channel, products of a channel for it alone; ``subscriptions`` tells the whole
state after every request; a request with anything wrong in it changes nothing and is answered with
an ``error``. The first request must come within five seconds (the server's business).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from bus.simulator.coinbase import messages

CHANNELS: Final = ("heartbeat", "ticker", "ticker_batch", "matches", "level2_batch", "status")
NEED_KEY: Final = ("full", "user", "level2", "level3", "rfq_matches")
MAX_MESSAGES_PER_S: Final = 100
_SECOND_NS: Final = 1_000_000_000

Subscription = tuple[str, str]
"""Channel and product."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What to send, then what changed, in order."""

    message: bytes
    added: tuple[Subscription, ...] = ()
    removed: tuple[Subscription, ...] = ()


class _Refused(Exception):
    """A request that changes nothing."""

    def __init__(self, message: str, reason: str = "") -> None:
        self.message = message
        self.reason = reason
        super().__init__(message)


class Session:
    """One connection. ``products`` are those the venue lists."""

    def __init__(self, products: Collection[str]) -> None:
        self._products = products
        self.channels: dict[str, dict[str, None]] = {}
        self._times_ns: deque[int] = deque(maxlen=MAX_MESSAGES_PER_S)

    def count_message(self, now_ns: int) -> bool:
        """Count a message of the client; ``False`` when it is one too many within a second."""
        times = self._times_ns
        if len(times) == MAX_MESSAGES_PER_S and now_ns - times[0] < _SECOND_NS:
            return False
        times.append(now_ns)
        return True

    def receive(self, text: str | bytes) -> Reply:
        """Handle one text message. Never raises on what a client sends."""
        try:
            return self._handle(_decode(text))
        except _Refused as refused:
            return Reply(messages.error(refused.message, refused.reason))

    def _handle(self, request: dict[str, Any]) -> Reply:
        kind = request.get("type")
        if kind not in ("subscribe", "unsubscribe"):
            raise _Refused("Type has to be either subscribe or unsubscribe")
        wanted = self._named(request, required=kind == "subscribe")
        if kind == "subscribe":
            added = tuple(
                dict.fromkeys(
                    (channel, product)
                    for channel, products in wanted
                    for product in products
                    if product not in self.channels.get(channel, {})
                )
            )
            for channel, product in added:
                self.channels.setdefault(channel, {})[product] = None
            return Reply(messages.subscriptions(self.channels), added=added)
        removed = tuple(
            dict.fromkeys(
                (channel, product)
                for channel, products in wanted
                for product in (products or self.channels.get(channel, {}))
                if product in self.channels.get(channel, {})
            )
        )
        for channel, product in removed:
            del self.channels[channel][product]
        return Reply(messages.subscriptions(self.channels), removed=removed)

    def _named(self, request: dict[str, Any], *, required: bool) -> list[tuple[str, list[str]]]:
        """Channels with their products; raises _Refused when any of it is wrong."""
        everywhere = self._checked(request.get("product_ids", []))
        channels = request.get("channels")
        if not isinstance(channels, list) or not channels:
            raise _Refused("Failed to subscribe", "channels must be a list")
        named: list[tuple[str, list[str]]] = []
        for channel in channels:
            own: list[str] = []
            if isinstance(channel, dict):
                own = self._checked(channel.get("product_ids", []))
                channel = channel.get("name")
            if not isinstance(channel, str):
                raise _Refused("Failed to subscribe", "a channel has no name")
            if channel in NEED_KEY:
                raise _Refused("Failed to subscribe", f"{channel} channel requires authentication")
            if channel not in CHANNELS:
                raise _Refused("Failed to subscribe", f"{channel[:64]} is not a valid channel")
            products = list(dict.fromkeys([*everywhere, *own]))
            if channel == "status":
                products = products or ["*"]
            elif required and not products:
                raise _Refused("Failed to subscribe", f"{channel} needs product_ids")
            named.append((channel, products))
        return named

    def _checked(self, products: object) -> list[str]:
        if not isinstance(products, list) or not all(isinstance(one, str) for one in products):
            raise _Refused("Failed to subscribe", "product_ids must be a list")
        for product in products:
            if product not in self._products:
                raise _Refused("Failed to subscribe", f"{product[:64]} is not a valid product")
        return products


def _decode(text: str | bytes) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _Refused("Malformed JSON") from None
    if not isinstance(request, dict):
        raise _Refused("Malformed JSON")
    return request
