"""The requests of one Kraken connection: text in, replies and subscription changes out. Pure.

Rules (docs.kraken.com, websocket-v2): every symbol of a request is answered by itself, granted or
refused; ``req_id`` is echoed; ``unsubscribe`` of a book names its depth; numbers that are not
offered are refused. Texts of refusals are not documented: these are plausible ones.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from bus.simulator.kraken import messages

DEPTHS: Final = (10, 25, 100, 500, 1000)
DEFAULT_DEPTH: Final = 10
TRIGGERS: Final = ("trades", "bbo")
CHANNELS: Final = ("ticker", "trade", "book", "instrument")


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a client takes: ``option`` is a book's depth or a ticker's trigger, else empty."""

    channel: str
    symbol: str
    option: str = ""

    @property
    def stream(self) -> str:
        """The stream's name: ``BTC/USD@book-100``."""
        name = f"{self.channel}-{self.option}" if self.option else self.channel
        return f"{self.symbol}@{name}"


@dataclass(slots=True)
class Reply:
    """What to send, then what changed; ``first`` are the subscriptions that want a snapshot."""

    messages: list[bytes] = field(default_factory=list)
    added: list[Subscription] = field(default_factory=list)
    removed: list[Subscription] = field(default_factory=list)
    first: list[Subscription] = field(default_factory=list)


class _Refused(Exception):
    """A request, or one symbol of it, is refused."""


class Session:
    """One connection. ``pairs`` are those the venue lists."""

    def __init__(self, pairs: Collection[str]) -> None:
        self._pairs = pairs
        self.subscriptions: dict[Subscription, None] = {}

    def receive(self, text: str | bytes, now_ns: int) -> Reply:
        """Handle one text message. Never raises on what a client sends."""
        answer = Reply()
        method, req_id = "", None
        try:
            request = _decode(text)
            method = str(request.get("method", ""))[:32]
            req_id = _req_id(request)
            if method == "ping":
                answer.messages.append(messages.pong(req_id, now_ns, now_ns))
            elif method in ("subscribe", "unsubscribe"):
                self._change(method, request.get("params"), req_id, now_ns, answer)
            else:
                raise _Refused("Method not found")
        except _Refused as refused:
            answer.messages.append(
                messages.refusal(method, str(refused), None, req_id, now_ns, now_ns)
            )
        return answer

    def _change(
        self, method: str, params: object, req_id: int | None, now_ns: int, answer: Reply
    ) -> None:
        if not isinstance(params, dict):
            raise _Refused("Field 'params' is required")
        channel = params.get("channel")
        if channel not in CHANNELS:
            raise _Refused(f"Channel {str(channel)[:32]!r} not found")
        option = _option(channel, params)
        snapshot = params.get("snapshot", True)
        if not isinstance(snapshot, bool):
            raise _Refused("Field 'snapshot' must be a boolean")
        for symbol in _symbols(channel, params):
            wanted = Subscription(channel, symbol, option)
            try:
                self._change_one(method, wanted, answer)
            except _Refused as refused:
                answer.messages.append(
                    messages.refusal(method, str(refused), symbol, req_id, now_ns, now_ns)
                )
                continue
            result: dict[str, object] = {"channel": channel}
            if channel == "book":
                result["depth"] = int(option)
            if channel == "ticker":
                result["event_trigger"] = option
            if method == "subscribe":
                result["snapshot"] = snapshot
                if snapshot:
                    answer.first.append(wanted)
            if channel != "instrument":
                result["symbol"] = symbol
            answer.messages.append(messages.reply(method, result, req_id, now_ns, now_ns))

    def _change_one(self, method: str, wanted: Subscription, answer: Reply) -> None:
        if wanted.channel != "instrument" and wanted.symbol not in self._pairs:
            raise _Refused(f"Currency pair not supported {wanted.symbol[:32]}")
        if method == "unsubscribe":
            if wanted not in self.subscriptions:
                raise _Refused("Subscription Not Found")
            del self.subscriptions[wanted]
            answer.removed.append(wanted)
            return
        if any(
            (one.channel, one.symbol) == (wanted.channel, wanted.symbol)
            for one in self.subscriptions
        ):
            raise _Refused("Already subscribed")
        self.subscriptions[wanted] = None
        answer.added.append(wanted)


def _decode(text: str | bytes) -> dict[str, Any]:
    try:
        request = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _Refused("Malformed request") from None
    if not isinstance(request, dict):
        raise _Refused("Malformed request")
    return request


def _req_id(request: dict[str, Any]) -> int | None:
    found = request.get("req_id")
    if found is None or (isinstance(found, int) and not isinstance(found, bool)):
        return found
    raise _Refused("Field 'req_id' must be an integer")


def _symbols(channel: str, params: dict[str, Any]) -> list[str]:
    if channel == "instrument":
        return ["*"]
    symbols = params.get("symbol")
    if (
        not isinstance(symbols, list)
        or not symbols
        or not all(isinstance(one, str) for one in symbols)
    ):
        raise _Refused("Field 'symbol' must be a list of pairs")
    return list(dict.fromkeys(symbols))


def _option(channel: str, params: dict[str, Any]) -> str:
    if channel == "book":
        depth = params.get("depth", DEFAULT_DEPTH)
        if isinstance(depth, bool) or depth not in DEPTHS:
            raise _Refused(f"Field 'depth' must be one of {', '.join(map(str, DEPTHS))}")
        return str(depth)
    if channel == "ticker":
        trigger = params.get("event_trigger", TRIGGERS[0])
        if trigger not in TRIGGERS:
            raise _Refused("Field 'event_trigger' must be trades or bbo")
        return str(trigger)
    return ""
