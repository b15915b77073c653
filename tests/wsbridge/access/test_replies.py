"""What clients hear about their rights."""

from __future__ import annotations

from msgspec import UNSET

from bus.tokens import TokenRefused
from bus.wsbridge.access.grant import Access
from bus.wsbridge.access.replies import (
    ageing,
    auth_expiring,
    auth_required,
    identified,
    not_yet,
    rate_limited,
    refused,
)
from bus.wsbridge.access.warden import Overspent
from bus.wsbridge.messages import CloseCode, Connection, Error
from bus.wsbridge.steps import Close, Send
from tests.wsbridge.access.test_grant import base

T0_NS = 1_800_000_000_000_000_000


def said(step: object) -> Error:
    assert isinstance(step, Send)
    assert isinstance(step.message, Error)
    return step.message


def test_a_token_that_does_not_hold_ends_the_connection() -> None:
    first, last = refused(TokenRefused("expired", "the token has expired"), "i", T0_NS)
    assert (said(first).code, said(first).id, said(first).status) == ("token_expired", "i", 401)
    assert last == Close(CloseCode.UNAUTHORIZED)


def test_what_cannot_be_checked_is_no_fault_of_the_client() -> None:
    first, last = refused(TokenRefused("unavailable", "later"), UNSET, T0_NS)
    assert (said(first).code, said(first).retryable) == ("internal", True)
    assert last == Close(CloseCode.INTERNAL)


def test_a_request_too_many_says_when_to_come_again() -> None:
    (only,) = rate_limited(3, Overspent(250, closes=False), T0_NS)
    assert (said(only).code, said(only).retry_after_ms) == ("rate_limited", 250)
    assert rate_limited(3, Overspent(250, closes=True), T0_NS)[-1] == Close(CloseCode.RATE_LIMITED)
    assert said(not_yet(4, T0_NS)[0]).code == "unauthorized"


def test_a_greeting_says_who_one_is() -> None:
    hello = Connection(status="connected", timestamp="t")
    assert identified(hello, Access(base()), UNSET, T0_NS) == hello
    known = Access(base(), user="u", tier="pro", expires_ns=T0_NS + 5_000_000_000)
    message = identified(hello, known, 9, T0_NS)
    assert (message.user, message.tier, message.id) == ("u", "pro", 9)
    assert message.token_expires_in_ms == 5_000
    assert auth_expiring(T0_NS + 1_500_000_000, T0_NS).expires_in_ms == 1_500
    assert auth_expiring(T0_NS - 1, T0_NS).expires_in_ms == 0
    assert ageing(3_000, T0_NS).reconnect_within_ms == 3_000
    assert auth_required("b1-1", "mdbus", base(), T0_NS).auth_timeout_ms == 10_000
