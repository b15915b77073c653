"""Which protocol a connection speaks: agreed in the handshake, refined by the URL.

Pure. A client that offers no subprotocol of ours gets the *compat* profile: the legacy messages
and nothing it did not ask for. One that offers ``mdbus.v1.json`` or ``mdbus.v1.msgpack`` gets the
*full* one. What was not offered is never echoed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bus.wsbridge.routes import BadOption, Options
from bus.wsbridge.style import Codec, Wire

SUBPROTOCOLS: Final[dict[str, Codec]] = {"mdbus.v1.json": "json", "mdbus.v1.msgpack": "msgpack"}
FULL_HEARTBEAT_MS: Final = 15_000


def chosen_subprotocol(offered: Sequence[str]) -> str | None:
    """The first offered one that is known; ``None`` for none, which is no reason to refuse."""
    return next((one for one in offered if one in SUBPROTOCOLS), None)


@dataclass(slots=True)
class Profile:
    """What is in force on a connection; ``set`` changes the last three."""

    is_full: bool = False
    codec: Codec = "json"
    deflate: bool = False
    batch_ms: int = 0
    heartbeat_ms: int = 0
    events: bool = False
    problems: list[BadOption] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As ``connection`` tells it."""
        return "full" if self.is_full else "compat"

    @property
    def wire(self) -> Wire:
        """How messages look on their way."""
        return Wire(self.codec, self.deflate, self.batch_ms > 0, self.is_full, self.events)


def agreed(subprotocol: str | None, options: Options, *, deflate: bool = False) -> Profile:
    """The profile of a connection for the subprotocol in force and the URL's options."""
    codec: Codec = SUBPROTOCOLS[subprotocol] if subprotocol else options.codec or "json"
    profile = Profile(
        is_full=subprotocol is not None,
        codec=codec,
        deflate=deflate,
        batch_ms=options.batch_ms,
        heartbeat_ms=options.heartbeat_ms or 0,
        events=subprotocol is not None if options.events is None else options.events,
    )
    if profile.is_full and options.heartbeat_ms is None:
        profile.heartbeat_ms = FULL_HEARTBEAT_MS
    if options.codec is not None and options.codec != codec:
        sentence = f"{subprotocol} was agreed, which is {codec}"
        profile.problems.append(BadOption("bad_request", "codec", sentence, close=True))
    return profile
