"""The entrance of the bridge: from a handshake to a :class:`Visit`, or to the answer that it fails.

Shell, of the ledger. The order: limits of the address (HTTP 429), the token (HTTP 401 for a
program; a browser, which cannot read an HTTP status, is upgraded, told and closed), what the token
allows, the user's connections. A forbidden Origin and a full or leaving server were refused before.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING

from msgspec import UNSET
from websockets.datastructures import Headers
from websockets.http11 import Response

from bus.clock import monotonic_ns
from bus.config import Settings
from bus.errors import ConfigError
from bus.runtime import get_logger
from bus.tokens import TokenRefused
from bus.wsbridge.access.credentials import Credential, credential_of
from bus.wsbridge.access.grant import Access, anonymous
from bus.wsbridge.access.replies import NOT_ALLOWED, ageing, auth_expiring, refused
from bus.wsbridge.access.tenure import Due, Tenure, Terms
from bus.wsbridge.access.warden import Warden
from bus.wsbridge.http import plain
from bus.wsbridge.limits.addresses import Addresses, Origin
from bus.wsbridge.limits.bucket import Rate
from bus.wsbridge.limits.ledger import KICKED, Ledger, LedgerError, Refusal
from bus.wsbridge.messages import CloseCode, Limits, error
from bus.wsbridge.session import Session
from bus.wsbridge.steps import Authenticate, Close, Send, Step
from bus.wsbridge.topics import MarketTopic

RETRY_AFTER_S = 5
if TYPE_CHECKING:
    from bus.wsbridge.access.gate import Gate

_NS = 1_000_000_000
_QUIET_NS = 10 * _NS
_AGE_SHARE = (0.9, 1.0)

_log = get_logger("wsbridge.entrance")


class Visit:
    """One connection's stay: who it is, how long it may stay, its place in the ledger."""

    def __init__(self, entrance: Entrance, origin: Origin, warden: Warden, tenure: Tenure) -> None:
        self._entrance = entrance
        self.origin = origin
        self.warden = warden
        self.tenure = tenure
        self.number: int | None = None
        self.refusal: list[Step] | None = None
        """What a browser is told after the upgrade, instead of a greeting."""

    @property
    def user(self) -> str | None:
        """Who it is, once that is known."""
        return None if self.warden.access is None else self.warden.access.user

    def authenticate(self, step: Authenticate, session: Session, now_ns: int) -> list[Step]:
        """Check the token of an ``auth``; the steps that follow."""
        if self._entrance.gate is None:
            sentence = "this server asks for no token"
            return [Send(error("unsupported", sentence, now_ns=now_ns, id=step.id))]
        try:
            access = self._entrance.check_token(step.token, "message", now_ns, user=self.user)
            limit = self._entrance.seat(self, access)
        except TokenRefused as found:
            return refused(found, step.id, now_ns)
        if limit is not None:
            return [Close(CloseCode.CONNECTION_LIMIT)]
        self.tenure.admitted(access.expires_ns, now_ns)
        return session.admitted(access, step.id, now_ns)

    def due(self, now_ns: int) -> list[Step]:
        """What the passing of time asks for now."""
        access = self.warden.access
        found = self.tenure.due(now_ns)
        if found is None:
            return []
        self._entrance.timeouts[found.value] += 1
        match found:
            case Due.EXPIRING:
                assert access is not None, "what expires was granted"
                assert access.expires_ns is not None, "and has an end"
                return [Send(auth_expiring(access.expires_ns, now_ns))]
            case Due.EXPIRED:
                return [Close(CloseCode.TOKEN_EXPIRED)]
            case Due.AGEING:
                return [Send(ageing(self._entrance.farewell_ms, now_ns))]
            case Due.MAX_AGE:
                return [Close(CloseCode.MAX_AGE)]
            case Due.AUTH_TIMEOUT | Due.IDLE:
                return [Close(CloseCode.TIMED_OUT, found.value)]

    def leave(self) -> None:
        """The connection is over. Idempotent."""
        if self.number is not None:
            self._entrance.ledger.leave(self.number)
            self.number = None


class Entrance:
    """See the module. One for each bridge process; :meth:`close` gives its places back."""

    def __init__(
        self,
        settings: Settings,
        base: Limits,
        name: str,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """Raises ConfigError when keys or deny list cannot be used, and LedgerError when the ledger
        cannot: a full disk is no mistake in the settings, and is worth another try.
        """
        self._settings = settings.bridge
        self._base = base
        self._terms = Terms.of(settings.bridge)
        limits = settings.bridge.limits
        self._addresses = Addresses(limits.trusted_proxies)
        self._arrivals = Rate(
            limits.new_connections_per_ip, int(limits.new_connections_period_s * _NS)
        )
        self.farewell_ms = int(settings.bridge.drain_s * 1000)
        self.limits_hit: Counter[str] = Counter()
        self.timeouts: Counter[str] = Counter()
        self._quiet_until_ns = 0
        self.ledger = Ledger(settings.run_path / "shared" / "bridge", name)
        try:
            self.gate: Gate | None = None
            if settings.bridge.auth == "jwt":
                from bus.wsbridge.access.gate import Gate  # cryptography, which nobody else needs

                self.gate = Gate(settings.bridge, base, self.ledger, environ)
        except ConfigError:
            self.ledger.close()
            raise

    # ------------------------------------------------------------------ handshakes

    def receive(
        self, headers: Headers, query: str, peer: str, now_ns: int, *, is_multi: bool
    ) -> Visit | Response:
        """A handshake: the visit that it begins, or the HTTP answer that refuses it.

        ``peer`` is the address of the socket. The caller ends the visit with :meth:`Visit.leave`.
        """
        origin = self._addresses.origin(peer, headers.get_all("X-Forwarded-For"))
        number = self._arrive(origin, now_ns)
        if isinstance(number, Response):
            return number
        visit = self._visit(origin, is_multi, now_ns)
        visit.number = number
        if self.gate is None:
            access = anonymous(self._settings, self._base, is_local=origin.is_local)
            visit.warden.access = access
            return visit
        found = self._authenticate(visit, headers, query, now_ns)
        if isinstance(found, Response):
            visit.leave()
            return found
        return visit

    def forbids(self, visit: Visit, topic: MarketTopic, headers: Headers) -> Response | None:
        """The answer to a program whose token does not allow the topic of its URL."""
        if visit.warden.is_locked or visit.refusal or "Origin" in headers:
            return None  # a browser is told by the session, in words that it can read
        return None if visit.warden.allows(topic) else plain(HTTPStatus.FORBIDDEN, NOT_ALLOWED)

    def _visit(self, origin: Origin, is_multi: bool, now_ns: int) -> Visit:
        is_locked = self.gate is not None
        tenure = Tenure(
            self._terms,
            is_multi=is_multi,
            is_locked=is_locked,
            now_ns=now_ns,
            share=random.uniform(*_AGE_SHARE),
        )
        return Visit(self, origin, Warden(self._base, None, self._quota), tenure)

    def _arrive(self, origin: Origin, now_ns: int) -> int | Response | None:
        limits = self._settings.limits
        if origin.is_local and not limits.loopback_per_ip:
            return None
        try:
            found = self.ledger.arrive(
                origin.group,
                most=limits.connections_per_ip,
                rate=self._arrivals,
                now_ns=now_ns,
            )
        except LedgerError as broken:
            return self._unavailable(broken)
        if isinstance(found, Refusal):
            self.limits_hit[found.limit] += 1
            why = "too many connections from this address"
            return plain(HTTPStatus.TOO_MANY_REQUESTS, why, retry_after_s=found.retry_after_s)
        return found

    def _authenticate(
        self, visit: Visit, headers: Headers, query: str, now_ns: int
    ) -> Response | None:
        is_browser = "Origin" in headers
        access_settings = self._settings.access
        try:
            allow_query = access_settings.allow_query_token
            shown = self._credential(headers, query, allow_query)
            if shown is None:
                if is_browser or access_settings.message_auth == "everyone":
                    return None
                raise self._count(TokenRefused("malformed", "a token is needed"), "missing")
            access = self.check_token(shown.token, shown.way, now_ns, ticket=shown.is_ticket)
            limit = self.seat(visit, access)
        except TokenRefused as found:
            if is_browser:
                visit.refusal = refused(found, UNSET, now_ns)
                return None
            return _refusal(found)
        if limit is not None:
            visit.refusal = [Close(CloseCode.CONNECTION_LIMIT)]
            return None
        visit.warden.access = access
        visit.tenure.admitted(access.expires_ns, now_ns)
        return None

    def _credential(self, headers: Headers, query: str, allow_query: bool) -> Credential | None:
        try:
            return credential_of(headers, query, allow_query_token=allow_query)
        except TokenRefused as found:
            raise self._count(found, found.why) from None

    def _count(self, found: TokenRefused, why: str) -> TokenRefused:
        assert self.gate is not None, "there is a gate where tokens are looked for"
        self.gate.refusals[why] += 1
        return found

    def group_of(self, address: str) -> str:
        """What connections of an address are counted by."""
        return self._addresses.origin(address, ()).group

    # ------------------------------------------------------------------ tokens and places

    def check_token(
        self, token: str, way: str, now_ns: int, *, ticket: bool = False, user: str | None = None
    ) -> Access:
        """The rights of a token. Raises TokenRefused."""
        if self.gate is None:
            raise TokenRefused("use", "this server asks for no token")
        return self.gate.admit(token, way, now_ns, ticket=ticket, user=user)

    def seat(self, visit: Visit, access: Access) -> Refusal | None:
        """Give the visit a place among its user's connections, or refuse it.

        Raises TokenRefused when the ledger cannot be asked.
        """
        if access.user is None or access.max_connections is None or visit.user == access.user:
            return None
        try:
            if visit.number is None:
                visit.number = self.ledger.enter()
            found = self.ledger.identify(
                visit.number,
                access.user,
                most=access.max_connections,
                newest_wins=self._settings.limits.quota_policy == "newest",
            )
        except LedgerError as broken:
            self._complain(broken)
            raise TokenRefused(
                "unavailable", "connections cannot be counted at the moment"
            ) from None
        if found is not None:
            self.limits_hit[found.limit] += 1
        return found

    def _quota(self, user: str, per_minute: int, now_ns: int) -> int:
        try:
            wait_ns = self.ledger.act(user, per_minute, now_ns)
        except LedgerError as broken:
            self._complain(broken)
            return _NS
        if wait_ns:
            self.limits_hit["actions_per_minute"] += 1
        return wait_ns

    # ------------------------------------------------------------------ time

    def tend(self, now_ns: int) -> bool:
        """Once a second: the ledger's upkeep, and the deny list. Whether the list has changed."""
        try:
            self.ledger.tend(now_ns)
        except LedgerError as broken:
            self._complain(broken)
        if self.gate is None:
            return False
        before = self.gate.deny_list.version
        self.gate.deny_list.look()
        return self.gate.deny_list.version != before

    def is_denied(self, visit: Visit) -> bool:
        """Whether the visitor's token or name is on the deny list now."""
        access = visit.warden.access
        if self.gate is None or access is None:
            return False
        return self.gate.deny_list.denies(access.user, access.token_id)

    def ending(self) -> list[tuple[int, CloseCode]]:
        """Visits that have to end, by number: replaced by newer ones, or kicked."""
        try:
            found = self.ledger.ending()
        except LedgerError as broken:
            self._complain(broken)
            return []
        codes = {KICKED: CloseCode.KICKED}
        return [(number, codes.get(why, CloseCode.REPLACED)) for number, why in found]

    def close(self) -> None:
        """Give every place back."""
        self.ledger.close()

    def _unavailable(self, broken: LedgerError) -> Response:
        self._complain(broken)
        why = "connections cannot be counted at the moment"
        return plain(HTTPStatus.SERVICE_UNAVAILABLE, why, retry_after_s=RETRY_AFTER_S)

    def _complain(self, broken: LedgerError) -> None:
        self.limits_hit["ledger_unavailable"] += 1
        now = monotonic_ns()
        if now >= self._quiet_until_ns:
            self._quiet_until_ns = now + _QUIET_NS
            _log.error("the ledger cannot be used: what it counts is refused", why=str(broken))


def _refusal(found: TokenRefused) -> Response:
    if found.why == "unavailable":
        return plain(HTTPStatus.SERVICE_UNAVAILABLE, str(found), retry_after_s=RETRY_AFTER_S)
    response = plain(HTTPStatus.UNAUTHORIZED, str(found))
    response.headers["WWW-Authenticate"] = 'Bearer realm="mdbus"'
    return response
