"""The process's end of the link to its supervisor: says ready, beats, hears stop.

It owns one end of the link and the memory for its heartbeats, and does nothing on its own: the loop
of the process calls `service`, so that a beat proves that this loop turns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

from bus.clock import NS_PER_MS
from bus.errors import WireError
from bus.runtime.environment import Spawned
from bus.runtime.log import get_logger, reopen
from bus.transport.link import LinkClosedError, LinkEnd
from bus.transport.pulse import Pulse
from bus.wire.link import (
    Beat,
    Bye,
    Command,
    Draining,
    Hello,
    LinkMessage,
    Ready,
    Reopen,
    Reply,
    Stop,
    decode_link,
    encode_link,
)

BEAT_INTERVAL_NS: Final = 1_000 * NS_PER_MS
"""How often a process says that its loop turns."""

SERVICE_INTERVAL_NS: Final = 250 * NS_PER_MS
"""How often the loop should call `ChildLink.service`; what it is late by is its lag."""

SUPERVISOR_GONE: Final = "supervisor is gone"
"""Why a process stops whose supervisor has ended."""

Report = Callable[[], Mapping[str, int | float | str]]

_log = get_logger("runtime.link")


def _deaf(_: Command) -> None:
    return


def _nothing() -> dict[str, int | float | str]:
    return {}


class ChildLink:
    """One spawn's link. Not thread-safe: everything is called from the process's own loop.

    Messages are sent without blocking; one that does not fit is counted in ``dropped``. Raises
    `OSError` when what ``spawned`` names is no link.
    """

    def __init__(self, spawned: Spawned) -> None:
        self._end = LinkEnd.of_descriptor(spawned.link_fd)
        self._pulse = Pulse(spawned.pulse_fd)
        self.report: Report = _nothing
        self.on_command: Callable[[Command], None] = _deaf
        self.dropped = 0
        self._number = 0
        self._next_beat_ns = 0
        self._expected_ns: int | None = None
        self._worst_lag_ns = 0
        self._send(Hello(os.getpid()))

    @property
    def fd(self) -> int:
        """A descriptor that is readable when `receive` should be called."""
        return self._end.fileno()

    def ready(self, endpoints: Mapping[str, str], verbs: tuple[str, ...] = ()) -> None:
        """Tell the supervisor that the process serves, and which commands it takes."""
        self._send(Ready(dict(endpoints), verbs))

    def reply(self, reply: Reply) -> None:
        """Answer a command; not at all once the link is closed."""
        if not self._end.closed:
            self._send(reply)

    def draining(self, reason: str) -> None:
        """Tell the supervisor that the process has begun to stop."""
        self._send(Draining(reason))

    def service(self, now_ns: int) -> str | None:
        """One turn of the loop at monotonic ``now_ns``: beat when due, read what came.

        Returns the reason when the supervisor asked for a stop, or has ended, else None.
        """
        if self._expected_ns is not None:
            self._worst_lag_ns = max(self._worst_lag_ns, now_ns - self._expected_ns)
        self._expected_ns = now_ns + SERVICE_INTERVAL_NS
        if now_ns >= self._next_beat_ns:
            self._next_beat_ns = now_ns + BEAT_INTERVAL_NS
            self._beat(now_ns)
        return self.receive()

    def receive(self) -> str | None:
        """Read every waiting message; the reason of a stop among them, or None."""
        reason: str | None = None
        while True:
            try:
                frame = self._end.receive()
            except LinkClosedError:
                return reason or SUPERVISOR_GONE
            if frame is None:
                return reason
            try:
                message = decode_link(frame)
            except WireError as error:
                _log.warning("bad message from the supervisor", error=error)
                continue
            match message:
                case Stop(asked):
                    reason = asked
                case Reopen(path):
                    reopen(path)
                case Command():
                    self.on_command(message)

    def close(self, exit_code: int, line: str) -> None:
        """Say the last word and close the socket."""
        self._send(Bye(exit_code, line))
        self._end.close()
        self._pulse.close()

    def _beat(self, now_ns: int) -> None:
        try:
            counters = self.report()
        except Exception as error:  # noqa: BLE001 - a wrong counter must not look like a hang
            _log.exception("report failed", error)
            counters = {}
        self._number += 1
        lag_ms = max(0, self._worst_lag_ns) / NS_PER_MS
        self._worst_lag_ns = 0
        if not self._pulse.write(now_ns, encode_link(Beat(self._number, now_ns, lag_ms, counters))):
            self.dropped += 1

    def _send(self, message: LinkMessage) -> None:
        if not self._end.send(encode_link(message)):
            self.dropped += 1
