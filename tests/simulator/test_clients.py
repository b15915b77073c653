"""One client's sending side."""

from __future__ import annotations

from bus.simulator.binance.server import BinanceServer
from bus.simulator.clients import Traffic
from bus.testing import eventually
from tests.simulator.conftest import Serve


def test_figures_are_led_by_the_venue() -> None:
    figures = Traffic(messages_out=3).figures("binance")
    assert figures["binance_messages_out"] == 3
    assert all(name.startswith("binance_") for name in figures)


async def test_messages_leave_in_the_order_of_the_calls(binance: Serve, loop_kind: str) -> None:
    async with binance() as venue, venue.connect("/ws") as socket:
        assert isinstance(venue.server, BinanceServer)
        server = venue.server
        await eventually(lambda: server.clients)
        (client,) = server.clients
        assert client.push(b"1")
        await client.send(b"2")
        assert client.push("€".encode())
        assert [await socket.recv() for _ in range(3)] == ["1", "2", "€"]
        assert (server.traffic.messages_out, server.traffic.bytes_out) == (3, 5)


async def test_reading_is_told_from_sending(binance: Serve) -> None:
    async with binance() as venue, venue.connect("/ws") as socket:
        assert isinstance(venue.server, BinanceServer)
        server = venue.server
        await eventually(lambda: server.clients)
        (client,) = server.clients
        client.push(b"x" * 1_000_000)
        await client.wait_until_read()
        assert client.queued_bytes == 0
        assert len(await socket.recv()) == 1_000_000


async def test_nothing_is_sent_to_a_client_that_has_gone(binance: Serve) -> None:
    async with binance() as venue:
        assert isinstance(venue.server, BinanceServer)
        server = venue.server
        async with venue.connect("/ws"):
            await eventually(lambda: server.clients)
            (client,) = server.clients
        await eventually(lambda: not server.clients)
        assert not client.push(b"late")
        assert server.traffic.messages_out == 0


async def test_a_client_that_was_dropped_counts_as_gone_at_once(binance: Serve) -> None:
    async with binance() as venue, venue.connect("/ws"):
        assert isinstance(venue.server, BinanceServer)
        server = venue.server
        await eventually(lambda: server.clients)
        (client,) = server.clients
        client.abort()
        assert not client.is_open
        assert not client.push(b"late")
