"""How long a connection may stay: its token, its first token, its idleness, its age. Pure.

The shell tells what happens and asks :meth:`Tenure.due` when :attr:`Tenure.next_ns` comes. Times
are wall-clock nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bus.config.bridge import BridgeSettings

_NS = 1_000_000_000
NEVER_NS = 2**63 - 1


class Due(Enum):
    """What is to be done now. ``EXPIRING`` and ``AGEING`` are announcements, the rest the end."""

    AUTH_TIMEOUT = "auth_timeout"
    EXPIRING = "auth_expiring"
    EXPIRED = "token_expired"
    IDLE = "idle"
    AGEING = "ageing"
    MAX_AGE = "max_age"


@dataclass(frozen=True, slots=True)
class Terms:
    """The settings, in nanoseconds; 0 for ``idle_ns`` and ``max_age_ns`` means never."""

    auth_timeout_ns: int
    expiry_notice_ns: int
    leeway_ns: int
    idle_ns: int
    max_age_ns: int
    farewell_ns: int
    """Between the word that a connection has grown too old and its end."""

    @classmethod
    def of(cls, settings: BridgeSettings) -> Terms:
        """The terms of a bridge with these settings."""
        access, limits = settings.access, settings.limits
        return cls(
            auth_timeout_ns=int(access.auth_timeout_s * _NS),
            expiry_notice_ns=int(access.expiry_notice_s * _NS),
            leeway_ns=int(access.leeway_s * _NS),
            idle_ns=int(limits.idle_s * _NS),
            max_age_ns=int(limits.max_age_s * _NS),
            farewell_ns=int(settings.drain_s * _NS),
        )


class Tenure:
    """One connection's. ``is_multi``: it is on an endpoint where being idle counts."""

    __slots__ = (
        "_age_ns",
        "_auth_ns",
        "_expired_ns",
        "_idle_ns",
        "_is_ageing",
        "_is_multi",
        "_notice_ns",
        "_terms",
        "_was_holding",
        "next_ns",
    )

    def __init__(
        self,
        terms: Terms,
        *,
        is_multi: bool,
        is_locked: bool,
        now_ns: int,
        share: float = 1.0,
    ) -> None:
        """``share`` of the longest age is this one's: those that came together leave apart."""
        self._terms = terms
        self._is_multi = is_multi
        self._auth_ns = now_ns + terms.auth_timeout_ns if is_locked else NEVER_NS
        self._notice_ns = NEVER_NS
        self._expired_ns = NEVER_NS
        self._age_ns = now_ns + int(terms.max_age_ns * share) if terms.max_age_ns else NEVER_NS
        self._is_ageing = False
        self._idle_ns = NEVER_NS
        self._was_holding = True
        self.next_ns = NEVER_NS
        """When to ask :meth:`due`; every call below may change it."""
        if is_locked:
            self._plan()
        else:
            self.holding(False, now_ns)

    def _plan(self) -> None:
        self.next_ns = min(
            self._auth_ns, self._notice_ns, self._expired_ns, self._idle_ns, self._age_ns
        )

    def admitted(self, expires_ns: int | None, now_ns: int) -> None:
        """A token was shown, the first one or a newer one."""
        was_locked = self._auth_ns != NEVER_NS
        self._auth_ns = self._notice_ns = self._expired_ns = NEVER_NS
        if expires_ns is not None:
            self._notice_ns = expires_ns - self._terms.expiry_notice_ns
            self._expired_ns = expires_ns + self._terms.leeway_ns
        if was_locked:
            self.holding(False, now_ns)
        self._plan()

    def holding(self, is_holding: bool, now_ns: int) -> None:
        """Whether the client holds any topic now."""
        if is_holding is self._was_holding:
            return
        self._was_holding = is_holding
        counts = self._is_multi and self._terms.idle_ns > 0 and not is_holding
        self._idle_ns = now_ns + self._terms.idle_ns if counts else NEVER_NS
        self._plan()

    def due(self, now_ns: int) -> Due | None:
        """What is due, the worst first; the reminder comes once for each token."""
        if now_ns >= self._auth_ns:
            return Due.AUTH_TIMEOUT
        if now_ns >= self._expired_ns:
            return Due.EXPIRED
        if now_ns >= self._age_ns:
            if self._is_ageing:
                return Due.MAX_AGE
            self._is_ageing = True
            self._age_ns = now_ns + self._terms.farewell_ns
            self._plan()
            return Due.AGEING
        if now_ns >= self._idle_ns:
            return Due.IDLE
        if now_ns >= self._notice_ns:
            self._notice_ns = NEVER_NS
            self._plan()
            return Due.EXPIRING
        return None
