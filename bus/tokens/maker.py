"""Making tokens: for operators, for tests, and as the example of what an issuer has to write."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import jwt

from bus.tokens.keys import Key


def make_token(
    key: Key,
    *,
    subject: str,
    now_s: int,
    ttl_s: int,
    tier: str | None = None,
    topics: Sequence[str] | None = None,
    audience: str | None = None,
    issuer: str | None = None,
    ticket: bool = False,
) -> str:
    """A signed token of ``subject``, valid for ``ttl_s`` seconds from ``now_s`` (wall clock).

    Every token has a ``jti``, so that it can be revoked. The key must be a secret one; its first
    algorithm signs. Raises ValueError for a public key.
    """
    if not key.is_secret:
        raise ValueError(f"the key {key.id!r} is a public one: it cannot sign")
    claims: dict[str, Any] = {
        "sub": subject,
        "iat": now_s,
        "exp": now_s + ttl_s,
        "jti": secrets.token_urlsafe(12),
    }
    optional = {"tier": tier, "aud": audience, "iss": issuer}
    claims |= {name: value for name, value in optional.items() if value is not None}
    if topics is not None:
        claims["topics"] = list(topics)
    if ticket:
        claims["use"] = "ticket"
    headers = {"kid": key.id} if key.id else None
    return jwt.encode(claims, key.material, algorithm=key.algorithms[0], headers=headers)
