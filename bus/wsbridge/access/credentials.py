"""Where a client may have put its token, in the order in which the places are looked at. Pure.

1. ``Authorization: Bearer TOKEN``; 2. ``Sec-WebSocket-Protocol: mdbus.bearer.BASE64URL``; 3. (the
first message, later); 4. ``?ticket=``; 5. ``?token=``. The first place that holds one decides, even
if what it holds is no good. A request never passes on what was found: its token is in no log.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from websockets.datastructures import Headers

from bus.tokens import TokenRefused
from bus.tokens.claims import MAX_TOKEN_BYTES

BEARER_PROTOCOL = "mdbus.bearer."
MAX_QUERY_FIELDS = 64


@dataclass(frozen=True, slots=True)
class Credential:
    """A token as it came. ``way`` is a label of a counter."""

    way: str
    token: str = field(repr=False)
    is_ticket: bool = False


def credential_of(headers: Headers, query: str, *, allow_query_token: bool) -> Credential | None:
    """The credential of a handshake, None for none. Raises TokenRefused for a malformed one."""
    authorizations = headers.get_all("Authorization")
    if authorizations:
        scheme, _, token = authorizations[0].strip().partition(" ")
        if len(authorizations) > 1 or scheme.lower() != "bearer" or not token.strip():
            raise TokenRefused("malformed", "Authorization is not of the form Bearer TOKEN")
        return Credential("header", token.strip())
    offered = ",".join(headers.get_all("Sec-WebSocket-Protocol")).split(",")
    bearers = [one.strip() for one in offered if one.strip().startswith(BEARER_PROTOCOL)]
    if bearers:
        return Credential("subprotocol", _decoded(bearers[0].removeprefix(BEARER_PROTOCOL)))
    try:
        fields = parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        return None
    values = dict(reversed(fields))
    if "ticket" in values:
        return Credential("ticket", values["ticket"], is_ticket=True)
    if "token" in values and allow_query_token:
        return Credential("query", values["token"])
    return None


def _decoded(text: str) -> str:
    if len(text) > MAX_TOKEN_BYTES * 4 // 3 + 4:
        raise TokenRefused("too_long", f"a token has at most {MAX_TOKEN_BYTES} bytes")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return raw.decode("ascii")
    except (binascii.Error, ValueError):
        raise TokenRefused("malformed", "the subprotocol holds no base64url of a token") from None
