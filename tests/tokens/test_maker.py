"""Tokens made here are plain JSON Web Tokens that name their key."""

from __future__ import annotations

import jwt
import pytest

from bus.tokens import Key, make_token
from tests.wsbridge.access.tokens import SECRET


def test_another_implementation_reads_it() -> None:
    key = Key("main", ("HS256",), SECRET.encode())
    token = make_token(
        key, subject="u", now_s=1_800_000_000, ttl_s=60, tier="pro", topics=["price.*"],
        audience="a", issuer="i", ticket=True,
    )  # fmt: skip
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT", "kid": "main"}
    claims = jwt.decode(token, SECRET, ["HS256"], options={"verify_exp": False, "verify_iat": False,
                                                           "verify_aud": False})  # fmt: skip
    assert len(claims.pop("jti")) >= 12
    assert claims == {
        "sub": "u", "iat": 1_800_000_000, "exp": 1_800_000_060, "tier": "pro", "aud": "a",
        "iss": "i", "topics": ["price.*"], "use": "ticket",
    }  # fmt: skip


def test_a_public_key_cannot_sign() -> None:
    with pytest.raises(ValueError, match="cannot sign"):
        make_token(Key("p", ("RS256",), object()), subject="u", now_s=0, ttl_s=1)
