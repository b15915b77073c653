"""A name, a certificate, a refusal: each is told as what it is, however it is wrapped."""

from __future__ import annotations

import socket
import ssl

import httpx
import pytest
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus, InvalidURI
from websockets.http11 import Response

from bus.feeds.connect_errors import why_not_open, why_unreachable


def refused(status: int) -> InvalidStatus:
    return InvalidStatus(Response(status, "No", Headers(), b""))


@pytest.mark.parametrize(
    ("status", "reason", "detail"),
    [
        (401, "unauthorized", "the handshake was answered with HTTP 401"),
        (418, "limited", "the handshake was answered with HTTP 418"),
        (429, "limited", "the handshake was answered with HTTP 429"),
        (451, "restricted", "the venue refuses this location: HTTP 451"),
        (503, "refused", "the handshake was answered with HTTP 503"),
    ],
)
def test_a_refused_handshake(status: int, reason: str, detail: str) -> None:
    assert why_not_open(refused(status)) == (reason, detail)


def test_a_url_that_may_hold_a_key_is_not_shown() -> None:
    reason, detail = why_not_open(InvalidURI("wss://x?token=c0ffee", "no"))
    assert reason == "url"
    assert "c0ffee" not in detail


def test_a_name_that_does_not_resolve() -> None:
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert why_unreachable(error) == (
        "dns_failure",
        "the host's name cannot be resolved: Name or service not known",
    )


def test_a_certificate_of_another_name_is_told_with_what_is_wrong() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "Hostname mismatch"
    reason, detail = why_unreachable(error)
    assert (reason, detail) == ("tls_failure", "the certificate is not trusted: Hostname mismatch")


def test_another_failure_of_tls() -> None:
    error = ssl.SSLError(1, "wrong version number")
    error.reason = "WRONG_VERSION_NUMBER"
    assert why_unreachable(error) == (
        "tls_failure",
        "the TLS handshake failed: WRONG_VERSION_NUMBER",
    )


def test_what_a_library_wrapped_is_found() -> None:
    error = httpx.ConnectError("all went wrong")
    error.__cause__ = OSError("connecting")
    error.__cause__.__context__ = socket.gaierror(socket.EAI_AGAIN, "Temporary failure")
    assert why_unreachable(error)[0] == "dns_failure"


def test_a_cause_that_goes_round_in_circles_is_survived() -> None:
    first, second = OSError("a"), OSError("b")
    first.__cause__, second.__cause__ = second, first
    assert why_unreachable(first)[0] == "unreachable"


def test_a_port_that_nobody_serves() -> None:
    assert why_unreachable(ConnectionRefusedError(111, "Connect call failed"))[0] == "unreachable"
    assert why_unreachable(TimeoutError()) == ("timeout", "no answer in time")
