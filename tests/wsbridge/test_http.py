"""Plain HTTP beside the WebSocket endpoints, and who may connect to those."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from bus.wsbridge.http import is_allowed_origin
from tests.wsbridge.clients import said
from tests.wsbridge.conftest import StartServer


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://127.0.0.1:{port}", True),
        ("https://desk.example", True),
        ("http://127.0.0.1:1", False),
        ("https://desk.example.evil.test", False),
        ("https://evil.test", False),
        ("http://127.0.0.1:{port}.evil.test", False),
        ("null", False),
        ("", False),
        ("file://", False),
    ],
)
async def test_only_our_own_pages_and_allowed_origins_may_connect(
    start_server: StartServer, origin: str | None, allowed: bool
) -> None:
    running = await start_server('bridge.origins=["https://desk.example"]')
    sent = None if origin is None else Origin(origin.format(port=running.port))
    if allowed:
        async with connect(f"{running.ws_url}/ws/v1/", origin=sent) as client:
            assert (await said(client))["type"] == "connection"
        return
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{running.ws_url}/ws/v1/", origin=sent)
    assert refused.value.response.status_code == 403


async def test_http_beside_the_websocket(start_server: StartServer) -> None:
    running = await start_server()
    async with httpx.AsyncClient(base_url=running.http_url) as http:
        page = await http.get("/")
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        for name in ("app.js", "style.css", "icon.svg"):
            found = await http.get(f"/page/{name}")
            assert found.status_code == 200
            again = await http.get(
                f"/page/{name}", headers={"If-None-Match": found.headers["ETag"]}
            )
            assert again.status_code == 304
        assert (await http.get("/healthz")).text == "ok\n"
        assert (await http.get("/readyz")).json()["ready"] is True
        head = await http.head("/")
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["Content-Length"]) == len(page.content)
        for path in ("/nope", "/ws/", "/ws/nope/", "/page/", "/page/../server.py", "/etc/passwd",
                     "/page/%2e%2e/server.py"):  # fmt: skip
            assert (await http.get(path)).status_code == 404
        assert (await http.get("/ws/v1/")).status_code == 426
        assert (await http.request("DELETE", "/")).status_code == 405


VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)


@given(VALUES | VALUES.map("http://{}".format), VALUES)
def test_any_origin_and_host_give_an_answer(origin: str, host: str) -> None:
    headers = Headers()
    headers["Origin"] = origin
    headers["Host"] = host
    allowed = is_allowed_origin(headers, ())
    assert not allowed or origin.lower().startswith(("http://", "https://"))


@pytest.mark.parametrize(
    ("origin", "host", "listed", "allowed"),
    [
        ("http://localhost:8000", "localhost:8000", (), True),
        ("http://LOCALHOST:8000", "localhost:8000", (), True),
        ("http://127.0.0.1", "127.0.0.1:80", (), True),
        ("https://10.1.2.3", "10.1.2.3", (), True),
        ("http://[::1]:8000", "[::1]:8000", (), True),
        ("http://localhost:8000", "localhost:8001", (), False),
        ("http://localhost:8000/path", "localhost:8000", (), False),
        ("http://user@localhost:8000", "localhost:8000", (), False),
        ("http://localhost:99999", "localhost:99999", (), False),
        ("http://desk:8000", "desk:8000", (), False),  # DNS rebinding
        ("http://desk:8000", "desk:8000", ("http://desk:8000",), True),
        ("http://localhost.evil.test", "localhost.evil.test", (), False),
        ("null", "null", (), False),
        ("https://a.test", "b.test", ("https://a.test/",), True),
        ("https://A.test", "b.test", ("https://a.test",), True),
        ("http://a.test", "b.test", ("https://a.test",), False),
        ("https://x.test", "b.test", ("*",), True),
    ],
)
def test_the_origin_is_compared_whole(
    origin: str, host: str, listed: tuple[str, ...], allowed: bool
) -> None:
    headers = Headers()
    headers["Origin"] = origin
    headers["Host"] = host
    assert is_allowed_origin(headers, listed) is allowed


def test_two_origins_are_none() -> None:
    headers = Headers()
    headers["Origin"] = "http://desk"
    headers["Origin"] = "http://desk"
    headers["Host"] = "desk"
    assert not is_allowed_origin(headers, ("*",))
