"""What one connection may do: made of a token and its tier, or of the settings alone."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from bus.config.access import TierSettings
from bus.config.bridge import BridgeSettings
from bus.tokens import Claims, TokenRefused
from bus.wsbridge.access.entitlement import EVERYTHING, Entitlement
from bus.wsbridge.messages import Limits

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Access:
    """The rights of a connection. ``user`` is None where nobody has to say who he is.

    ``limits`` are those in force, as the client is told them; ``expires_ns`` (wall clock) is the
    end of the token.
    """

    limits: Limits
    topics: Entitlement = EVERYTHING
    user: str | None = None
    tier: str | None = None
    expires_ns: int | None = None
    token_id: str | None = None

    @property
    def max_connections(self) -> int | None:
        """Connections of this user on this host; None for no limit."""
        found = self.limits.connections
        return found if isinstance(found, int) else None

    @property
    def actions_per_minute(self) -> int | None:
        """Requests of this user on this host; None for no limit."""
        found = self.limits.actions_per_minute
        return found if isinstance(found, int) else None


def base_limits(settings: BridgeSettings) -> Limits:
    """The limits of requests, connections and times that hold for everybody."""
    own, access = settings.limits, settings.access
    needs_token = settings.auth == "jwt"
    return Limits(
        subscriptions=settings.max_subscriptions,
        message_bytes=settings.max_message_bytes,
        buffered_bytes=settings.max_buffered_bytes,
        min_conflate_ms=settings.min_conflate_ms,
        max_depth=settings.max_depth,
        max_history=settings.history,
        wildcard_cost=settings.wildcard_cost,
        actions_per_s=own.actions_per_s,
        burst=own.actions_burst,
        connections_per_ip=own.connections_per_ip,
        new_connections_per_ip=own.new_connections_per_ip,
        new_connections_period_ms=int(own.new_connections_period_s * 1000),
        server_connections=settings.max_connections,
        handshakes=own.max_handshakes,
        handshake_timeout_ms=int(settings.handshake_timeout_s * 1000),
        auth_timeout_ms=int(access.auth_timeout_s * 1000) if needs_token else msgspec.UNSET,
        idle_ms=int(own.idle_s * 1000) or msgspec.UNSET,
        max_age_ms=int(own.max_age_s * 1000) or msgspec.UNSET,
    )


def anonymous(settings: BridgeSettings, base: Limits, *, is_local: bool) -> Access:
    """The rights of a client where no token is asked for; ``is_local``: it is on this machine."""
    if is_local:
        return Access(base)
    count = min(base.subscriptions, settings.limits.anonymous_subscriptions)
    return Access(msgspec.structs.replace(base, subscriptions=count))


def granted(claims: Claims, settings: BridgeSettings, base: Limits) -> Access:
    """The rights that a checked token gives. Raises TokenRefused for a tier that is not there."""
    name = settings.access.default_tier if claims.tier is None else claims.tier
    tier = settings.tiers.get(name)
    if tier is None:
        raise TokenRefused("claims", "the token names a tier that is not there")
    texts = tier.topics if claims.topics is None else claims.topics
    return Access(
        limits=_limits(claims, tier, base),
        topics=Entitlement(texts),
        user=claims.subject,
        tier=name,
        expires_ns=int(claims.expires_s * _NS),
        token_id=claims.token_id,
    )


def _limits(claims: Claims, tier: TierSettings, base: Limits) -> Limits:
    """The lower of the general limit and the tier's, lowered again by what the token says."""
    limits = msgspec.structs.replace(
        base,
        subscriptions=min(base.subscriptions, tier.subscriptions),
        actions_per_minute=tier.actions_per_minute,
        connections=tier.connections,
    )
    lowered: dict[str, int] = {}
    for name in ("subscriptions", "actions_per_minute", "connections", "max_depth", "max_history"):
        if name in claims.limits:
            lowered[name] = max(0, min(claims.limits[name], getattr(limits, name)))
    return msgspec.structs.replace(limits, **lowered)
