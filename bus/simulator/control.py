"""The control endpoint: faults on demand, for tests and for rehearsing an operator's bad day.

Plain GET requests under ``/_sim/`` on each venue's own port, answered to loopback callers only:

==================  =======================================================================
``/_sim/state``     clients, counters, what is armed and what has happened
``/_sim/playback``  how far the recording has been sent to each client
``/_sim/clear``     disarm everything
``/_sim/fault``     ``kind=…`` and its parameters, below
==================  =======================================================================

=================  ============================================  ==============================
kind               parameters (default)                          what happens
=================  ============================================  ==============================
drop_diff          symbol, count (1)                             the next depth diffs are lost
repeat_diff        symbol, count (1)                             … are sent twice
swap_diff          symbol, count (1)                             … change places with the next
drop_trade         symbol, count (1)                             the next trades are lost
wrong_checksum     symbol, count (1)                             book updates have a wrong one
engine_status      system (online)                               the venue's engine changes state
garbage            client (all), count (1)                       a frame that is not JSON
unknown_event      client, count (1)                             a JSON event of no known type
big_frame          client, bytes (5000000)                       one valid frame of that size
silence            stream (all), seconds (30)                    nothing is sent, sockets stay
close              client, code (1001), reason                   a close frame
abort              client                                        TCP reset, no close frame
server_shutdown    client, close_after_s (never)                 the venue's notice, Binance only
rest_429           seconds (30)                                  REST refused, with Retry-After
rest_418           seconds (120)                                 REST refused as banned
depth_delay        seconds                                       depth replies come late, stale
clock_skew         ms                                            the venue's clock is off
=================  ============================================  ==============================

Every answer is JSON; a wrong parameter is 400 ``{"error": …}`` and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from ipaddress import ip_address
from typing import Any, Protocol

from bus.simulator.clients import Client, Traffic
from bus.simulator.faults import ALL_STREAMS, DIFF_FAULTS, NEXT_FAULTS, SYSTEMS, Faults
from bus.simulator.http_reply import HttpReply, Target, reply

MAX_COUNT = 10_000
MAX_SECONDS = 86_400.0
MAX_DEPTH_DELAY_S = 30.0
MAX_FRAME_BYTES = 64_000_000
MAX_SKEW_MS = 10 * 365 * 86_400_000


class Venue(Protocol):
    """What a simulated venue lends to its control endpoint."""

    faults: Faults
    traffic: Traffic

    @property
    def clients(self) -> Mapping[Client, Any]:
        """Connected clients."""

    @property
    def symbols(self) -> Iterable[str]:
        """Symbols whose diffs may be faulted; empty where there are none."""

    def odd_message(self, kind: str, client: Client, now_ns: int, size: int) -> bytes | None:
        """``garbage``, ``unknown_event``, ``big_frame`` or ``server_shutdown``; ``None``: unknown.

        ``size`` is the length in bytes of a ``big_frame``.
        """

    @property
    def own_faults(self) -> frozenset[str]:
        """Faults, of those that not every venue can have, that this one can."""

    def figures(self) -> dict[str, int]:
        """The venue's counters."""

    def playback_state(self) -> dict[str, object] | None:
        """Progress of the playback, if there is one."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine to its end."""


class _BadParameter(Exception):
    """A parameter of the control endpoint cannot be used."""


class Control:
    """Answers ``/_sim/`` requests for one venue."""

    def __init__(self, venue: Venue, clock: Callable[[], int]) -> None:
        self._venue = venue
        self._clock = clock

    def answer(self, target: Target, peer: str, headers: Mapping[str, str]) -> HttpReply:
        """The reply to one request from address ``peer``."""
        if not ip_address(peer).is_loopback:
            return reply({"error": "the control endpoint answers this machine only"}, 403)
        # A page somewhere on the web may make a browser on this machine ask; not with our help.
        if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return reply({"error": "the control endpoint answers no foreign page"}, 403)
        page = target.path.removeprefix("/_sim/")
        if page == "state":
            return reply(self._state())
        if page == "playback":
            state = self._venue.playback_state()
            return (
                reply({"error": "no recording is played"}, 404) if state is None else reply(state)
            )
        if page == "clear":
            self._venue.faults.clear()
            return reply({"ok": True})
        if page != "fault":
            return reply({"error": "no such page", "pages": list(PAGES)}, 404)
        kind = target.query.get("kind", "")
        do = _KINDS.get(kind)
        try:
            if do is None:
                raise _BadParameter(f"kind must be one of {', '.join(sorted(_KINDS))}")
            if kind in _OWN_KINDS and kind not in self._venue.own_faults:
                raise _BadParameter(f"this venue has no {kind}")
            return reply({"ok": True, "kind": kind, "detail": do(self, target.query)})
        except _BadParameter as error:
            return reply({"error": str(error)}, 400)

    def _state(self) -> dict[str, object]:
        return {
            "clients": [client.number for client in self._venue.clients],
            "figures": self._venue.figures(),
            "armed": self._venue.faults.armed(self._clock()),
        }

    def _clients(self, query: Mapping[str, str]) -> list[Client]:
        clients = list(self._venue.clients)
        if "client" not in query:
            return clients
        number = _integer(query, "client", 0, 1, 2**62)
        chosen = [client for client in clients if client.number == number]
        if not chosen:
            raise _BadParameter(f"no client {number}")
        return chosen

    def _next(self, query: Mapping[str, str]) -> object:
        symbol = self._symbol(query)
        count = _integer(query, "count", 1, 1, MAX_COUNT)
        try:
            self._venue.faults.arm_next(query["kind"], symbol, count)
        except ValueError as error:
            raise _BadParameter(str(error)) from None
        return {"symbol": symbol, "count": count}

    def _engine_status(self, query: Mapping[str, str]) -> object:
        system = query.get("system", SYSTEMS[0])
        if system not in SYSTEMS:
            raise _BadParameter(f"system must be one of {', '.join(SYSTEMS)}")
        self._venue.faults.system = system
        self._venue.faults.happened["engine_status"] += 1
        return {"system": system}

    def _symbol(self, query: Mapping[str, str]) -> str:
        symbol = query.get("symbol", "").upper()
        if symbol not in self._venue.symbols:
            known = ", ".join(self._venue.symbols) or "none on this venue"
            raise _BadParameter(f"symbol must be one of: {known}")
        return symbol

    def _diff(self, query: Mapping[str, str]) -> object:
        symbol = self._symbol(query)
        count = _integer(query, "count", 1, 1, MAX_COUNT)
        try:
            self._venue.faults.arm_diff(query["kind"], symbol, count)
        except ValueError as error:
            raise _BadParameter(str(error)) from None
        return {"symbol": symbol, "count": count}

    def _message(self, query: Mapping[str, str]) -> object:
        kind = query["kind"]
        count = _integer(query, "count", 1, 1, 100)
        size = _integer(query, "bytes", 5_000_000, 100, MAX_FRAME_BYTES)
        after_s = _number(query, "close_after_s", -1.0, 0.0, MAX_SECONDS)
        clients = self._clients(query)
        for client in clients:
            message = self._venue.odd_message(kind, client, self._clock(), size)
            if message is None:
                raise _BadParameter(f"this venue has no {kind}")
            for _ in range(count):
                client.push(message)
                self._venue.faults.happened[kind] += 1
            if kind == "server_shutdown" and after_s >= 0:
                self._venue.spawn(_close_later(client, after_s))
        return {"clients": len(clients)}

    def _silence(self, query: Mapping[str, str]) -> object:
        stream = query.get("stream", ALL_STREAMS)
        seconds = _number(query, "seconds", 30.0, 0.0, MAX_SECONDS)
        self._venue.faults.silence(stream, self._clock() + int(seconds * 1e9))
        return {"stream": stream, "seconds": seconds}

    def _close(self, query: Mapping[str, str]) -> object:
        code = _integer(query, "code", 1001, 1000, 4999)
        if code in (1004, 1005, 1006, 1015) or 1016 <= code < 3000:
            raise _BadParameter(f"{code} is no code that can be sent; use abort for 1006")
        reason = query.get("reason", "")
        if len(reason.encode()) > 123:
            raise _BadParameter("reason must be at most 123 bytes")
        clients = self._clients(query)
        for client in clients:
            self._venue.faults.happened["close"] += 1
            self._venue.spawn(client.close(code, reason))
        return {"clients": len(clients), "code": code}

    def _abort(self, query: Mapping[str, str]) -> object:
        clients = self._clients(query)
        for client in clients:
            self._venue.faults.happened["abort"] += 1
            client.abort()
        return {"clients": len(clients)}

    def _refuse_rest(self, query: Mapping[str, str]) -> object:
        status = int(query["kind"].removeprefix("rest_"))
        seconds = _number(query, "seconds", 120.0 if status == 418 else 30.0, 0.0, MAX_SECONDS)
        self._venue.faults.refuse_rest(status, self._clock() + int(seconds * 1e9))
        return {"status": status, "seconds": seconds}

    def _depth_delay(self, query: Mapping[str, str]) -> object:
        seconds = _number(query, "seconds", 0.0, 0.0, MAX_DEPTH_DELAY_S)
        self._venue.faults.depth_delay_s = seconds
        return {"seconds": seconds}

    def _clock_skew(self, query: Mapping[str, str]) -> object:
        skew_ms = _integer(query, "ms", 0, -MAX_SKEW_MS, MAX_SKEW_MS)
        self._venue.faults.skew_ns = skew_ms * 1_000_000
        return {"ms": skew_ms}


PAGES = ("state", "playback", "clear", "fault")

_KINDS: dict[str, Callable[[Control, Mapping[str, str]], object]] = {
    **dict.fromkeys(DIFF_FAULTS, Control._diff),
    **dict.fromkeys(NEXT_FAULTS, Control._next),
    "engine_status": Control._engine_status,
    "garbage": Control._message,
    "unknown_event": Control._message,
    "big_frame": Control._message,
    "server_shutdown": Control._message,
    "silence": Control._silence,
    "close": Control._close,
    "abort": Control._abort,
    "rest_429": Control._refuse_rest,
    "rest_418": Control._refuse_rest,
    "depth_delay": Control._depth_delay,
    "clock_skew": Control._clock_skew,
}
FAULT_KINDS = tuple(_KINDS)
_OWN_KINDS = (*NEXT_FAULTS, "engine_status")


async def _close_later(client: Client, after_s: float) -> None:
    await asyncio.sleep(after_s)
    await client.close(1001, "server shutdown")


def _integer(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    value = _number(query, name, default, low, high)
    if value != int(value):
        raise _BadParameter(f"{name} must be a whole number")
    return int(value)


def _number(query: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    text = query.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise _BadParameter(f"{name} must be a number from {low:g} to {high:g}")
    return value
