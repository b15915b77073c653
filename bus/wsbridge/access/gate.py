"""The gate of the bridge: a token in, an :class:`~.grant.Access` or a refusal out.

Brings together what the rules need: keys, deny list, the ledger of used tickets. Whatever cannot
be read or asked refuses, and says so in the log; nobody is let in by a failure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from bus.config.bridge import BridgeSettings
from bus.errors import ConfigError
from bus.runtime import get_logger
from bus.tokens import Claims, TokenRefused, Verifier, load_keyring
from bus.wsbridge.access.deny_list import DenyList
from bus.wsbridge.access.grant import Access, granted
from bus.wsbridge.limits.ledger import LedgerError
from bus.wsbridge.messages import Limits

_NS_PER_S = 1_000_000_000

_log = get_logger("wsbridge.gate")


class Tickets(Protocol):
    """Where used tickets are remembered, for all workers of the host."""

    def use_ticket(self, ticket: str, until_s: float, now_ns: int) -> bool:
        """Whether this is the first use. Raises LedgerError."""


class Gate:
    """Made when ``bridge.auth`` is ``jwt``. ``refusals`` counts by rule, ``admitted`` by way."""

    def __init__(
        self,
        settings: BridgeSettings,
        base: Limits,
        tickets: Tickets,
        environ: Mapping[str, str],
    ) -> None:
        """Raises ConfigError when keys or deny list cannot be used."""
        self._settings = settings
        self._base = base
        self._tickets = tickets
        self._environ = environ
        self._verifier = Verifier(settings.access, load_keyring(settings.access, environ))
        self.deny_list = DenyList(settings.access.deny_list)
        if self.deny_list.problem:
            path = settings.access.deny_list
            why = f"cannot read {path}: {self.deny_list.problem}"
            raise ConfigError.of("bridge.access.deny_list", why, hint="an empty file denies nobody")
        self.refusals: Counter[str] = Counter()
        self.admitted: Counter[str] = Counter()

    def admit(
        self, token: str, way: str, now_ns: int, *, ticket: bool = False, user: str | None = None
    ) -> Access:
        """The rights the token gives. Raises TokenRefused.

        ``way`` is how it came, for the counters; ``user`` who the connection belongs to already.
        """
        try:
            claims = self._verifier.check(token, now_ns, ticket=ticket)
            self.deny_list.check(claims)
            if user is not None and claims.subject != user:
                raise TokenRefused("claims", "the token is another user's")
            access = granted(claims, self._settings, self._base)
            if ticket:
                self._use(claims, now_ns)
        except TokenRefused as refused:
            self.refusals[refused.why] += 1
            raise
        self.admitted[way] += 1
        return access

    def reload(self) -> None:
        """Read keys and deny list again. Keys that cannot be used leave the old ones in force."""
        self.deny_list.look(force=True)
        try:
            keyring = load_keyring(self._settings.access, self._environ)
        except ConfigError as error:
            for problem in error.problems:
                _log.error("keys not taken, the old ones stay in force", problem=str(problem))
            return
        self._verifier = Verifier(self._settings.access, keyring)
        _log.info("keys read", keys=len(keyring.keys))

    def _use(self, claims: Claims, now_ns: int) -> None:
        assert claims.token_id is not None, "a ticket without a jti was refused"
        until_s = claims.expires_s + self._settings.access.leeway_s
        try:
            is_first = self._tickets.use_ticket(claims.token_id, until_s, now_ns)
        except LedgerError as error:
            _log.error("tickets cannot be checked", why=str(error))
            raise TokenRefused("unavailable", "tickets cannot be checked at the moment") from None
        if not is_first:
            raise TokenRefused("ticket_used", "the ticket was used before")
