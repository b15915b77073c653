"""The supervisor's end of the link: one ROUTER socket, read on the supervisor's loop.

Most of what comes is heartbeats, which may wait for a second; waking up for each is most of what
an idle supervisor would do. So it is read at once while something is expected, and in rounds else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import zmq

from bus.errors import WireError
from bus.runtime import get_logger
from bus.transport.link import make_link_router
from bus.transport.sockets import ZmqContext
from bus.wire.link import LinkMessage, Sender, decode_link, encode_link

_log = get_logger("supervision.link")
_BURST = 500


class LinkServer:
    """Hands each well-formed message to ``heard(sender, message)``: as it comes after `attend`,
    which is how it begins, and when `read` is called after `rest`.

    ``heard`` returns False for a message of a spawn it does not know. Those and malformed ones
    are counted in ``refused`` and otherwise ignored.
    """

    def __init__(
        self,
        context: ZmqContext,
        endpoint: str,
        heard: Callable[[Sender, LinkMessage], bool],
    ) -> None:
        self._socket = make_link_router(context, endpoint)
        self._heard = heard
        self._addresses: dict[Sender, bytes] = {}  # of those that run: see `forget`
        self._loop = asyncio.get_running_loop()
        self.refused = 0
        self._attends = False
        self.attend()

    def attend(self) -> None:
        """Read what comes as it comes, from now on."""
        if not self._attends:
            self._attends = True
            self._loop.add_reader(self._socket.FD, self.read)
            self._loop.call_soon(self.read)  # what came before the reader was there has no edge

    def rest(self) -> None:
        """Let what comes wait until somebody calls `read`, which must be every second or so."""
        if self._attends:
            self._attends = False
            self._loop.remove_reader(self._socket.FD)

    def read(self) -> None:
        """Read to the end, which re-arms the edge-triggered descriptor; yield after a burst."""
        if self._socket.closed:
            return  # it was yet to be called when the end came
        for _ in range(_BURST):
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                sender, message = decode_link(frames[-1])
            except WireError as error:
                self.refused += 1
                _log.warning("bad link message", error=error)
                continue
            if self._heard(sender, message):
                self._addresses[sender] = frames[0]
            else:
                self.refused += 1
        self._loop.call_soon(self.read)

    def send(self, sender: Sender, message: LinkMessage) -> bool:
        """Send to that spawn of that process; False when it was not heard of yet, is gone, or
        does not read. Raises `LinkError` for a message that does not fit the wire.
        """
        frame = encode_link(sender, message)
        address = self._addresses.get(sender)
        if address is None:
            return False
        try:
            self._socket.send_multipart([address, frame], zmq.NOBLOCK)
        except zmq.ZMQError:  # EAGAIN: its queue is full; EHOSTUNREACH: it has gone
            return False
        return True

    def forget(self, sender: Sender) -> None:
        """That spawn has ended."""
        self._addresses.pop(sender, None)

    def close(self) -> None:
        """Stop reading and free the socket."""
        self.rest()
        self._socket.close()
