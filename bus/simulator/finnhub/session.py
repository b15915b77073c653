"""The control protocol of one Finnhub connection: text in, replies and subscriptions out.

Pure. One symbol a message; nothing is acknowledged. Beyond the plan's symbols a subscription is
answered with the venue's error and changes nothing. A symbol nobody lists is accepted and stays
silent. The venue documents no answer to a malformed message: here it is an ``error`` message.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

MAX_SYMBOL_LENGTH = 64
TOO_MANY = b'{"msg":"Subscribing to too many symbols","type":"error"}'
PING = b'{"type":"ping"}'


class _Request(msgspec.Struct):
    type: str
    symbol: str = ""


_decode = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Session:
    """What one connection is subscribed to; ``max_symbols`` counts each of the three alone."""

    max_symbols: int
    trades: set[str] = field(default_factory=set)
    news: set[str] = field(default_factory=set)
    releases: set[str] = field(default_factory=set)

    def receive(self, text: str | bytes) -> bytes | None:
        """Handle one message; an error message to send, or ``None``. Never raises."""
        try:
            request = _decode(text)
        except msgspec.MsgspecError:
            return _error("Invalid message")
        verb, _, suffix = request.type.partition("-")
        kept = {"": self.trades, "news": self.news, "pr": self.releases}.get(suffix)
        if kept is None or verb not in ("subscribe", "unsubscribe"):
            return _error("Unknown message type")
        if not 0 < len(request.symbol) <= MAX_SYMBOL_LENGTH:
            return _error("Invalid symbol")
        if verb == "unsubscribe":
            kept.discard(request.symbol)
        elif request.symbol not in kept and len(kept) >= self.max_symbols:
            return TOO_MANY
        else:
            kept.add(request.symbol)
        return None


def _error(message: str) -> bytes:
    return _encode({"msg": message, "type": "error"})
