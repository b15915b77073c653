"""What a checked token says, and why one is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from bus.errors import MdbusError

MAX_TOKEN_BYTES: Final = 4_096

Why = Literal[
    "malformed",
    "too_long",
    "algorithm",
    "key_id",
    "signature",
    "expired",
    "not_yet",
    "audience",
    "issuer",
    "claims",
    "use",
    "denied",
    "ticket_used",
    "unavailable",
]
"""The rule that a token breaks; a label of a counter, so there are few."""


@dataclass(frozen=True, slots=True)
class Claims:
    """A token that holds. Times are seconds since 1970.

    ``topics`` is None when the token leaves them to its tier; ``limits`` may only lower those of
    the tier. ``token_id`` is the ``jti``.
    """

    subject: str
    expires_s: float
    tier: str | None = None
    topics: tuple[str, ...] | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    token_id: str | None = None
    is_ticket: bool = False


class TokenRefused(MdbusError):
    """A token breaks a rule. ``why`` names it for counters, the message for people.

    Neither holds anything of the token.
    """

    def __init__(self, why: Why, sentence: str) -> None:
        self.why: Why = why
        super().__init__(sentence)

    @property
    def code(self) -> str:
        """The error code for the client."""
        return "token_expired" if self.why == "expired" else "unauthorized"
