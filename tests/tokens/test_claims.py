"""Why a token is refused, as clients and counters see it."""

from __future__ import annotations

from bus.tokens import TokenRefused


def test_only_an_expired_token_is_told_apart() -> None:
    assert TokenRefused("expired", "x").code == "token_expired"
    assert TokenRefused("signature", "x").code == "unauthorized"
