"""Why a peer could not be reached: one word and a sentence for an exception. Pure.

A name that does not resolve, a certificate that cannot be trusted and a refused connection are
three different people's work to mend, so they are told apart, through whatever a library has
wrapped them in.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from typing import Final

from websockets.exceptions import InvalidStatus, InvalidURI

RESTRICTED: Final = 451
"""HTTP: unavailable for legal reasons (RFC 7725); venues say it of a whole country."""
MAX_WRAPPED: Final = 10


def why_unreachable(error: BaseException) -> tuple[str, str]:
    """Reason and detail: ``dns_failure``, ``tls_failure``, ``timeout`` or ``unreachable``."""
    for inner in _wrapped(error):
        if isinstance(inner, socket.gaierror):
            return "dns_failure", f"the host's name cannot be resolved: {inner.strerror or inner}"
        if isinstance(inner, ssl.SSLCertVerificationError):
            why = inner.verify_message or inner.reason or str(inner)
            return "tls_failure", f"the certificate is not trusted: {why}"
        if isinstance(inner, ssl.SSLError):
            return "tls_failure", f"the TLS handshake failed: {inner.reason or inner}"
    for inner in _wrapped(error):
        if isinstance(inner, TimeoutError):
            return "timeout", "no answer in time"
    return "unreachable", f"{type(error).__name__}: {error}"


def why_not_open(error: BaseException) -> tuple[str, str]:
    """Reason and detail for a WebSocket that did not open.

    Beside those of :func:`why_unreachable`: ``unauthorized`` (401), ``restricted`` (451),
    ``limited`` (418, 429), ``refused`` (any other status), ``url``.
    """
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        if status == RESTRICTED:
            return "restricted", refuses_location(status)
        reason = {401: "unauthorized", 418: "limited", 429: "limited"}.get(status, "refused")
        return reason, f"the handshake was answered with HTTP {status}"
    if isinstance(error, InvalidURI):  # its text holds the URL, and that may hold a key
        return "url", "the WebSocket URL is not valid"
    if isinstance(error, TimeoutError):
        return "timeout", "no answer to the handshake"
    return why_unreachable(error)


def refuses_location(status: int) -> str:
    """The detail for a refusal of this location."""
    return f"the venue refuses this location: HTTP {status}"


def _wrapped(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised from or while handling."""
    inner: BaseException | None = error
    for _ in range(MAX_WRAPPED):
        if inner is None:
            return
        yield inner
        if isinstance(inner, BaseExceptionGroup):
            yield from inner.exceptions
        inner = inner.__cause__ or inner.__context__
