"""The WebSocket protocol of one connection: the library's, without its sockets, as we want it.

No I/O: bytes in, events and bytes out. It closes with our reason words instead of the library's
sentences, offers compression only in the one form in which frames can be shared
(:mod:`bus.wsbridge.frames`), and is freed when its connection is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from websockets.extensions.permessage_deflate import (
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from bus.wsbridge.frames import WINDOW_BITS
from bus.wsbridge.profile import chosen_subprotocol

_REASONS = {1002: "protocol_error", 1007: "bad_utf8", 1009: "message_too_big"}
_DEFLATE = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True,
    client_no_context_takeover=True,
    server_max_window_bits=WINDOW_BITS,
)


class Protocol(ServerProtocol):
    """See the module. ``max_bytes`` of one message, ``compresses``: if the client wants it."""

    def __init__(self, *, max_bytes: int, compresses: bool, logger: logging.Logger) -> None:
        extensions = [_DEFLATE] if compresses else []
        super().__init__(extensions=extensions, max_size=max_bytes, logger=logger)

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        """The first known one; none is no reason to refuse."""
        chosen = chosen_subprotocol(subprotocols)
        return None if chosen is None else Subprotocol(chosen)

    @property
    def deflates(self) -> bool:
        """Whether compressed frames made by hand are right for this client."""
        return any(
            isinstance(one, PerMessageDeflate) and one.local_max_window_bits == WINDOW_BITS
            for one in self.extensions
        )

    def fail(self, code: int, reason: str = "") -> None:
        """Close with ``code`` and our word for it."""
        super().fail(code, _REASONS.get(int(code), reason))

    def let_go(self) -> None:
        """The connection is over: leave nothing to the garbage collector, which stops everybody.

        The parser is a generator that knows its protocol, and so does the traceback it ended with.
        """
        self.parser.close()
        self.parser_exc = self.handshake_exc = None
