"""How a client wants its messages: per connection (:class:`Wire`), per topic (:class:`Style`).

Pure values. Clients with the same wire and the same style of a topic share its frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from bus.wsbridge.frames import MIN_DEFLATE_BYTES, data_frame, deflated_frame

Codec = Literal["json", "msgpack"]
Numbers = Literal["float", "string"]
OnSlow = Literal["close", "gap"]

CONFLATE_CLASSES_MS: Final = (0, 50, 100, 250, 500, 1_000, 2_000, 5_000)
"""What ``conflate_ms`` is granted as: the next class up, so that many clients share one."""


def granted_class_ms(asked_ms: float, minimum_ms: int = 0) -> int:
    """The class for what was asked for; the slowest one where more was asked."""
    wanted_ms = max(asked_ms, minimum_ms)
    return next((one for one in CONFLATE_CLASSES_MS if one >= wanted_ms), CONFLATE_CLASSES_MS[-1])


class Wire(NamedTuple):
    """What the messages of one connection look like on their way.

    ``deflate``: long ones are compressed; ``batched``: the client is written to at the pace of its
    ``batch_ms``; ``arrays``: messages sent together are one array; ``events``: ``reset``, ``gap``
    and ``status`` are wanted.
    """

    codec: Codec = "json"
    deflate: bool = False
    batched: bool = False
    arrays: bool = False
    events: bool = False

    @property
    def is_binary(self) -> bool:
        """Whether frames are binary ones."""
        return self.codec == "msgpack"

    def frame(self, payload: bytes, *, always_deflate: bool = False) -> bytes:
        """The frame of an encoded message; ``always_deflate``: however short it is."""
        if self.deflate and (always_deflate or len(payload) >= MIN_DEFLATE_BYTES):
            return deflated_frame(payload, binary=self.codec == "msgpack")
        return data_frame(payload, binary=self.codec == "msgpack")


class Style(NamedTuple):
    """How one topic was granted: order-book ``depth`` (else 0), number form, conflation class."""

    depth: int = 0
    numbers: Numbers = "float"
    conflate_ms: int = 0


@dataclass(frozen=True, slots=True)
class Terms:
    """A topic's style and what happens when its client is too slow for it."""

    style: Style
    on_slow: OnSlow = "close"
