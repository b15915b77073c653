"""Venues that cannot be reached, cannot be trusted or do not want us: said at once, with why."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from bus.testing import eventually
from tests.matrix.relay import relay_to
from tests.matrix.stage import Stage, feed
from tests.matrix.watch import Said, Watch

# Stopping a feed cancels a REST call in the middle of its TLS handshake; the HTTP library then
# leaves the socket to the garbage collector, about which uvloop complains.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. 'uvloop.loop.UVHandle:pytest.PytestUnraisableExceptionWarning"
)

BTC = "BTC-USDT"
QUICK = (
    "feeds.binance.symbols=['BTC-USDT']",
    "feeds.binance.retry_floor_s=0.05",
    "feeds.binance.retry_cap_s=0.2",
    "feeds.binance.connect_timeout_s=0.8",
)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of this machine would answer in the venue's place."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "ws_proxy", "wss_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def live_mode(ws_url: str, rest_url: str) -> tuple[str, ...]:
    """Settings of a live feed at other addresses. No data ever comes from them."""
    return (
        "mode=live",
        f'feeds.binance.ws_url="{ws_url}"',
        f'feeds.binance.rest_url="{rest_url}"',
        *QUICK,
    )


async def test_a_name_that_does_not_resolve(stage: Stage, watch: Watch) -> None:
    settings = live_mode("wss://stream.venue.invalid", "https://api.venue.invalid")
    async with feed(stage, *settings) as life:
        said = await says_why(watch, "dns_failure")
        assert said.detail.startswith("the host's name cannot be resolved: ")
        await gives_up_hope(watch, "dns_failure")
        assert life["connections"] == 0


async def test_tls_to_a_plain_port(stage: Stage, watch: Watch) -> None:
    settings = live_mode(f"wss://127.0.0.1:{stage.port}", f"https://127.0.0.1:{stage.port}")
    async with feed(stage, *settings):
        said = await says_why(watch, "tls_failure|unreachable")  # some just cut the connection
        assert said.detail.startswith(("the TLS handshake failed: ", "ConnectionResetError"))
        await gives_up_hope(watch, "tls_failure|unreachable")


async def test_a_certificate_nobody_vouches_for(stage: Stage, watch: Watch, tmp_path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*self_signed(tmp_path))
    talked: list[ServerConnection] = []

    async def talk(connection: ServerConnection) -> None:
        talked.append(connection)

    async with serve(talk, "127.0.0.1", 0, ssl=tls) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        settings = live_mode(f"wss://127.0.0.1:{port}", f"https://127.0.0.1:{port}")
        async with feed(stage, *settings, "feeds.binance.connect_timeout_s=5"):
            said = await says_why(watch, "tls_failure")
            assert said.detail.startswith("the certificate is not trusted: self-signed certificate")
            await gives_up_hope(watch, "tls_failure")
        assert talked == []


async def test_http_451_on_the_handshake_then_admitted(stage: Stage, watch: Watch) -> None:
    async with relay_to(stage.port) as relay:
        relay.refusal = b"HTTP/1.1 451 Unavailable For Legal Reasons\r\nContent-Length: 0\r\n\r\n"
        slow = "feeds.binance.unauthorized_retry_s=3"
        async with feed(stage, f"simulator.ports.binance={relay.port}", slow, *QUICK) as life:
            await eventually(lambda: watch.said, 10)
            first_s = watch.said[0].at_s
            for name in (BTC, ""):  # at once: trying again soon would change nothing
                said = await watch.hears("down", symbol=name, since_s=first_s, reason="restricted")
                assert said.detail.startswith("the venue refuses this location: HTTP 451")
            assert relay.handshakes <= 2, "a refused location is not tried in quick succession"
            relay.refusal = b""
            await watch.live([BTC])
            await watch.right(BTC)
            await eventually(lambda: life["state"] == "live")


async def says_why(watch: Watch, reason: str) -> Said:
    """Within a second of its first words the feed tells, for itself and the symbol, what it is."""
    await eventually(lambda: watch.said, 10)
    first_s = watch.said[0].at_s
    for name in (BTC, ""):
        said = await watch.hears("connecting|down", symbol=name, since_s=first_s, reason=reason)
    return said


async def gives_up_hope(watch: Watch, reason: str) -> None:
    """After a few attempts the state is `down`; the attempts go on."""
    first_s = watch.said[0].at_s
    for name in (BTC, ""):
        await watch.hears("down", symbol=name, since_s=first_s, within_s=5.0, reason=reason)


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate and its key, made here and now; skipped where there is no openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subject = ["-days", "1", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    out = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        [openssl, "req", "-x509", *curve, *subject, *out],
        check=True,
        capture_output=True,
        timeout=20,
    )
    return certificate, key
