"""Where a token may be, and which place decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers

from bus.tokens import TokenRefused
from bus.wsbridge.access.credentials import Credential, credential_of
from tests.wsbridge.access.tokens import encoded


def found(
    query: str = "", allow_query_token: bool = True, /, **headers: str | list[str]
) -> Credential | None:
    made = Headers()
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            made[name.replace("_", "-")] = value
    return credential_of(made, query, allow_query_token=allow_query_token)


def test_the_places_in_their_order() -> None:
    everywhere = {
        "Authorization": "Bearer a",
        "Sec_WebSocket_Protocol": f"mdbus.v1.json, mdbus.bearer.{encoded(b'b')}",
    }
    query = "ticket=c&token=d"
    assert found(query, **everywhere) == Credential("header", "a")
    del everywhere["Authorization"]
    assert found(query, **everywhere) == Credential("subprotocol", "b")
    assert found(query) == Credential("ticket", "c", is_ticket=True)
    assert found("token=d") == Credential("query", "d")
    assert found("token=d", False) is None
    assert found() is None
    assert found("ticket=") == Credential("ticket", "", is_ticket=True), "it decides, and fails"
    assert found("ticket=c&ticket=e") == Credential("ticket", "c", is_ticket=True)


@pytest.mark.parametrize("text", ["Bearer", "Bearer ", "Basic YTpi", "", "Token a"])
def test_another_authorization_is_refused(text: str) -> None:
    with pytest.raises(TokenRefused):
        found("ticket=c", Authorization=text)


def test_two_authorizations_are_refused() -> None:
    with pytest.raises(TokenRefused):
        found(Authorization=["Bearer a", "Bearer b"])


@pytest.mark.parametrize("text", ["!", "a", "w6k", "x" * 6000, "a b"])
def test_a_subprotocol_that_holds_no_token(text: str) -> None:
    with pytest.raises(TokenRefused) as refused:
        found(Sec_WebSocket_Protocol=f"mdbus.bearer.{text}")
    assert refused.value.why == ("too_long" if len(text) > 100 else "malformed")


def test_a_credential_does_not_show_its_token() -> None:
    assert "secret" not in repr(Credential("header", "secret"))


HEADER = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=80)


@given(st.text(max_size=80), HEADER, HEADER)
def test_any_text_is_an_answer_or_a_refusal(query: str, header: str, protocol: str) -> None:
    for headers in ({"Authorization": header}, {"Sec_WebSocket_Protocol": protocol}):
        try:
            shown = found(query, **headers)
        except TokenRefused:
            continue
        assert shown is None or shown.way in ("header", "subprotocol", "ticket", "query")
