"""Tokens for tests: a key in the environment, and makers of good and bad tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from bus.clock import now_ns

SECRET = "0123456789abcdef0123456789abcdef"
JWT = (
    "bridge.auth=jwt",
    "bridge.access.keys.main=env:MDBUS_TEST_KEY",
    "bridge.limits.quota_policy=newest",
)
"""Overrides of a bridge that asks for tokens; the fixture ``key`` sets the variable."""


def now_s() -> int:
    return now_ns() // 1_000_000_000


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def jwt_of(
    claims: dict[str, Any], *, secret: str = SECRET, header: dict[str, Any] | None = None
) -> str:
    """A token made by hand (RFC 7519, RFC 7515), independently of the library under test."""
    head = encoded(json.dumps(header or {"alg": "HS256", "typ": "JWT"}).encode())
    body = f"{head}.{encoded(json.dumps(claims).encode())}"
    digest = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(
        str((header or {}).get("alg")), hashlib.sha256
    )
    return f"{body}.{encoded(hmac.new(secret.encode(), body.encode(), digest).digest())}"


def token(user: str = "u-1", **claims: Any) -> str:
    """A good token of ``user`` for an hour; claims are added, or with None left out."""
    made = {"sub": user, "exp": now_s() + 3600, "iat": now_s(), "tier": "pro"} | claims
    return jwt_of({name: value for name, value in made.items() if value is not None})


def ticket(user: str = "u-1", **claims: Any) -> str:
    """A good ticket."""
    at = now_s()
    made = {"use": "ticket", "jti": f"t-{now_ns()}", "iat": at, "exp": at + 60}
    return token(user, **(made | claims))
