"""The supervisor's ends of the links, one for each process.

What a process says is read as it comes, so much of it in a second: one that never stops talking, or
talks nonsense, costs the others nothing and fills no log. Its heartbeats are looked at by whoever
wants to know: they are in memory, and wake nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Any, Final

from bus.errors import WireError
from bus.runtime.log import get_logger
from bus.supervision.generation import Sender
from bus.transport.link import LinkClosedError, LinkEnd, link_pair
from bus.transport.pulse import Pulse
from bus.wire.link import LinkMessage, decode_link, encode_link

_log = get_logger("supervision.link")
MOST_A_SECOND: Final = 500
"""How many messages of one process are read in a second; further ones wait, or do not fit into the
link. A process says some dozen in all its life, and answers 16 commands at a time.
"""
_WINDOW_S: Final = 1.0
_BURST: Final = 50
"""How many are read in one turn of the loop."""


@dataclass(slots=True)
class _Link:
    """``count`` messages were read since ``since`` (monotonic s); ``pause`` ends the wait of one
    that has said too much. Faults are logged the first time only.
    """

    end: LinkEnd
    pulse: Pulse
    since: float = 0.0
    count: int = 0
    pause: asyncio.TimerHandle | None = None
    was_loud: bool = False
    was_wrong: bool = False


class LinkServer:
    """Hands each well-formed message to ``heard(sender, message)``: what comes as it comes,
    heartbeats by `read_beats`. ``felt(sender, at_ns)`` is told only when a heartbeat was, by
    `feel`, which costs little.

    ``heard`` returns False for a message that it does not expect. Those and malformed ones are
    counted in ``refused`` and otherwise ignored. At most `MOST_A_SECOND` of one process are read.
    """

    def __init__(
        self,
        heard: Callable[[Sender, LinkMessage], bool],
        felt: Callable[[Sender, int], None],
    ) -> None:
        self._heard = heard
        self._felt = felt
        self._links: dict[Sender, _Link] = {}  # of those that run: see `forget`
        self._loop = asyncio.get_running_loop()
        self.refused = 0

    def open(self, sender: Sender) -> tuple[LinkEnd, Pulse]:
        """A link for a process that is about to start: its end, which the caller is to close once
        it was given, and where its heartbeats go. Raises `OSError` when there is no descriptor
        left.
        """
        ours, theirs = link_pair()
        try:
            pulse = Pulse.make()
        except OSError:
            ours.close()
            theirs.close()
            raise
        self._add(sender, _Link(ours, pulse))
        return theirs, pulse

    def read(self, sender: Sender) -> None:
        """Hand on everything that has come from a process: it has ended, or is about to."""
        self._read_beat(sender)
        for _ in range(MOST_A_SECOND):  # what a link holds is less
            if not self._read_one(sender):
                return

    def feel(self) -> None:
        """Tell of each process that has had a heartbeat since this was called last."""
        for sender, link in list(self._links.items()):
            at_ns = link.pulse.feel()
            if at_ns is not None:
                self._felt(sender, at_ns)

    def read_beats(self) -> None:
        """Hand on the last heartbeat of each process that has had one since it was handed on."""
        for sender in list(self._links):
            self._read_beat(sender)

    def send(self, sender: Sender, message: LinkMessage) -> bool:
        """Send to that spawn of that process; False when it is gone or does not read. Raises
        `LinkError` for a message that does not fit the wire.
        """
        frame = encode_link(message)
        link = self._links.get(sender)
        return link is not None and link.end.send(frame)

    def forget(self, sender: Sender) -> None:
        """That spawn has ended, or was never started."""
        link = self._links.pop(sender, None)
        if link is not None:
            self._stop_reading(link)
            link.end.close()
            link.pulse.close()

    def close(self) -> None:
        """Close every link."""
        for sender in list(self._links):
            self.forget(sender)

    def leave(self, watched: Container[Sender]) -> list[list[Any]]:
        """Name, generation and both descriptors of the link to each of ``watched``, for `resume` in
        a program that takes this one's place. They stay open and are used no more here.
        """
        left = []
        for sender in [sender for sender in self._links if sender not in watched]:
            self.forget(sender)  # which nobody would ever do there
        for sender, link in self._links.items():
            self._stop_reading(link)
            left.append([sender.name, sender.generation, link.end.leave(), link.pulse.leave()])
        self._links.clear()
        return left

    def resume(self, left: Iterable[Iterable[Any]]) -> None:
        """Go on with the links of which `leave` told."""
        for name, generation, end_fd, pulse_fd in left:
            link = _Link(LinkEnd.of_descriptor(end_fd), Pulse(pulse_fd))
            self._add(Sender(name, generation), link)

    def _add(self, sender: Sender, link: _Link) -> None:
        self._links[sender] = link
        self._loop.add_reader(link.end.fileno(), self._read, sender)

    def _read(self, sender: Sender) -> None:
        """Read some of what there is; the loop comes back for the rest."""
        link = self._links[sender]
        now = self._loop.time()
        if now - link.since >= _WINDOW_S:
            link.since, link.count = now, 0
        for _ in range(min(_BURST, MOST_A_SECOND - link.count)):
            if not self._read_one(sender):
                return
            link.count += 1
        if link.count >= MOST_A_SECOND and sender in self._links:
            self._loop.remove_reader(link.end.fileno())
            link.pause = self._loop.call_at(link.since + _WINDOW_S, self._go_on, sender, link)
            if not link.was_loud:
                link.was_loud = True
                most = MOST_A_SECOND
                _log.warning("too many link messages", process=sender.name, most_a_second=most)

    def _go_on(self, sender: Sender, link: _Link) -> None:
        link.pause = None
        self._loop.add_reader(link.end.fileno(), self._read, sender)

    def _stop_reading(self, link: _Link) -> None:
        self._loop.remove_reader(link.end.fileno())
        if link.pause is not None:
            link.pause.cancel()

    def _read_one(self, sender: Sender) -> bool:
        """Hand on one message; False when there is none, or there will be none."""
        link = self._links.get(sender)  # what was heard before may have ended it
        if link is None:
            return False
        try:
            frame = link.end.receive()
        except LinkClosedError:  # its heartbeats are still looked at: it may not have ended
            self._loop.remove_reader(link.end.fileno())
            return False
        if frame is not None:
            self._hand_on(sender, link, frame)
        return frame is not None

    def _read_beat(self, sender: Sender) -> None:
        link = self._links.get(sender)
        frame = None if link is None else link.pulse.read()
        if link is not None and frame is not None:
            self._hand_on(sender, link, frame)

    def _hand_on(self, sender: Sender, link: _Link, frame: bytes) -> None:
        try:
            message = decode_link(frame)
        except WireError as error:
            self.refused += 1
            if not link.was_wrong:
                link.was_wrong = True
                _log.warning("bad link message", process=sender.name, error=error)
            return
        if not self._heard(sender, message):
            self.refused += 1
