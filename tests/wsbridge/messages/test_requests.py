"""What a request shows of itself."""

from __future__ import annotations

from bus.wsbridge.messages import AuthRequest


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(AuthRequest(token="secret"))
