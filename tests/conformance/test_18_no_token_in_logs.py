"""Point 18: a token is in no log, no error, no file, no view; not a whole one and not a part."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from tests.conformance.workers import key_file, workers
from tests.wsbridge.access.tokens import SECRET, encoded, jwt_of, now_s, ticket, token

PAGE = Origin("https://desk.example")
ADMIN_TOKEN = "an-admin-token-of-enough-bytes"


def shown_tokens() -> list[str]:
    """Good ones, and bad ones of each kind."""
    claims = {"sub": "u", "exp": now_s() + 600}
    return [
        token("good"),
        ticket("good"),
        jwt_of(claims | {"exp": 1}),
        jwt_of(claims, secret="x" * 40),
        jwt_of(claims, header={"alg": "none"}),
        "no-jwt-at-all-" + "z" * 40,
        "q" * 5_000,
    ]


async def show(url: str, text: str, heard: list[str]) -> None:
    """Show a token in every way there is, and keep every word of the answers."""
    ways: list[tuple[str, dict[str, str], list[Subprotocol] | None, Origin | None]] = []
    for origin in (None, PAGE):
        ways += [
            (url, {"Authorization": f"Bearer {text}"}, None, origin),
            (url, {"Authorization": f"Basic {text}"}, None, origin),
            (f"{url}?token={text}&depth={text}", {}, None, origin),
            (f"{url}?ticket={text}", {}, None, origin),
            (url, {}, [Subprotocol(f"mdbus.bearer.{encoded(text.encode())}")], origin),
        ]
    for where, headers, offered, origin in ways:
        with contextlib.suppress(ConnectionClosed):
            try:
                async with connect(
                    where, additional_headers=headers, subprotocols=offered, origin=origin
                ) as client:
                    heard.append(str(client.response))
                    heard.append(str(await asyncio.wait_for(client.recv(), 10)))
            except InvalidStatus as refused:
                body = refused.response.body
                heard.append(f"{refused.response.headers} {bytes(body).decode()}")
    async with connect(url, origin=PAGE) as client:
        heard.append(str(await client.recv()))
        with contextlib.suppress(ConnectionClosed):
            await client.send(json.dumps({"action": text, "token": text}))
            heard.append(str(await asyncio.wait_for(client.recv(), 10)))
            await client.send(json.dumps({"action": "auth", "token": text, "id": "x"}))
            while True:
                heard.append(str(await asyncio.wait_for(client.recv(), 3)))


def files_below(folder: Path) -> dict[str, str]:
    """What every file holds, by its name."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name: path.read_bytes().decode("latin-1") for path in found}


async def test_a_token_is_nowhere_to_be_found(run_dir: Path, tmp_path: Path) -> None:
    admin_key = tmp_path / "admin"
    admin_key.write_text(ADMIN_TOKEN)
    admin_key.chmod(0o600)
    settings = (
        '[bridge]\nport = 0\ndrain_s = 0.1\nclose_timeout_s = 0.1\nauth = "jwt"\norigins = ["https://desk.example"]\n'
        f'[bridge.admin]\ntoken = "{admin_key}"\n[bridge.limits]\nidle_s = 1.0\n'
        "[bridge.access]\nallow_query_token = true\n"
        f'[bridge.access.keys]\nmain = "{key_file(tmp_path, SECRET)}"\n'
    )
    texts, heard = shown_tokens(), list[str]()
    with workers(run_dir, settings) as (worker,):
        for text in texts:
            await show(f"{worker.ws_url}/ws/v1/", text, heard)
        bearer = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        for path in ("/metrics", "/admin/connz", "/admin/topicz"):
            answer = await asyncio.to_thread(httpx.get, worker.admin_url + path, headers=bearer)
            assert answer.status_code == 200
            heard.append(answer.text)
        files = files_below(run_dir)
    log = "".join(worker.log)
    assert "ready" in log, "the log was read"
    assert "ledger.db" in files, "the ledger was read"
    kept = "".join(files.values())
    assert any('"connected"' in text for text in heard), "some were let in"
    pieces = {SECRET, ADMIN_TOKEN}
    for text in texts:
        pieces |= {text, encoded(text.encode())}
        pieces |= {part for part in text.split(".")[1:] if len(part) > 16}
    for piece in pieces:
        assert piece not in log
        assert piece not in kept
        assert not [text for text in heard if piece in text]
