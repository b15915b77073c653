"""One message for many clients: encoded once for each codec, framed once for each wire. Pure."""

from __future__ import annotations

from typing import NamedTuple

from bus.wsbridge.messages import Control, encode
from bus.wsbridge.style import Codec, Wire


class Told(NamedTuple):
    """A message as one wire has it: encoded, and as a whole frame."""

    payload: bytes
    frame: bytes


class Notice:
    """See the module. What it keeps is bounded by the number of different wires."""

    __slots__ = ("_message", "_payloads", "_told")

    def __init__(self, message: Control) -> None:
        self._message = message
        self._payloads: dict[Codec, bytes] = {}
        self._told: dict[Wire, Told] = {}

    def on(self, wire: Wire) -> Told:
        """The message on ``wire``."""
        told = self._told.get(wire)
        if told is None:
            payload = self._payloads.get(wire.codec)
            if payload is None:
                payload = self._payloads[wire.codec] = encode(self._message, wire.codec)
            told = self._told[wire] = Told(payload, wire.frame(payload))
        return told
