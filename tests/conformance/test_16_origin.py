"""Point 16: whose page may connect. The decision comes before anything else, as HTTP 403."""

from __future__ import annotations

from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from tests.conformance.workers import key_file, workers
from tests.wsbridge.access.tokens import SECRET, token
from tests.wsbridge.clients import said

ALLOWED = [None, "https://desk.example", "HTTPS://DESK.example", "http://127.0.0.1:{port}"]
REFUSED = [
    "https://evil.test",
    "null",
    "",
    "file://",
    "https://desk.example.evil.test",
    "https://evil-desk.example",
    "https://desk.example:8443",
    "http://desk.example",
    "https://desk.example/",
    "https://user@desk.example",
    "http://127.0.0.1:1",
    "http://127.0.0.1:{port}.evil.test",
    "http://localhost:{port}",
]
REBOUND = ["rebound.test", "rebound.test:{port}"]


async def status(url: str, origin: str | None, **headers: str) -> int:
    """101, or the HTTP status of the refusal."""
    sent = None if origin is None else Origin(origin)
    try:
        async with connect(url, origin=sent, additional_headers=headers) as client:
            await said(client)
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@pytest.mark.parametrize("auth", ["", "jwt"])
async def test_only_pages_that_are_named_or_our_own_may_connect(run_dir: Path, auth: str) -> None:
    settings = (
        f'[bridge]\nport = 0\ndrain_s = 0.1\nclose_timeout_s = 0.1\nauth = "{auth}"\norigins = ["https://desk.example"]\n'
        f'[bridge.access.keys]\nmain = "{key_file(run_dir, SECRET)}"\n'
    )
    shown = {"Authorization": f"Bearer {token('u', tier='enterprise')}"}
    with workers(run_dir, settings) as (worker,):
        url = f"{worker.ws_url}/ws/v1/"
        for allowed in ALLOWED:
            origin = None if allowed is None else allowed.format(port=worker.port)
            assert await status(url, origin, **shown) == 101, origin
        for refused in REFUSED:
            origin = refused.format(port=worker.port)
            assert await status(url, origin, **shown) == 403, origin
            if auth:  # the Origin is looked at before the token
                assert await status(url, origin, Authorization="Bearer bad") == 403, origin
        for host in REBOUND:  # DNS rebinding: the page's own name, pointed at this machine
            host = host.format(port=worker.port)
            assert await status(url, f"http://{host}", Host=host, **shown) in (400, 403), host
