"""Replacing connections on command."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bus.feeds.errors import CommandRefused
from bus.feeds.feed import Counters
from bus.feeds.link import Link
from bus.feeds.rotation import rotate_all
from bus.feeds.session import Lost, Session, SessionSettings
from bus.testing import eventually
from tests.feeds.fake_venue import fake_venue
from tests.feeds.simulated import simulated


class Idle:
    """A handler that is never asked for anything."""

    def opening(self, session: Session) -> None:
        raise AssertionError

    async def opened(self, session: Session, link: Link, successor: bool) -> None:
        raise AssertionError

    def frames(self, link: Link, batch: Sequence[bytes], recv_ns: int) -> int:
        raise AssertionError

    def lost(self, session: Session, lost: Lost) -> None:
        raise AssertionError


@pytest.mark.parametrize("venue", ["coinbase", "kraken"])
async def test_the_command_replaces_every_connection(venue: str) -> None:
    async with simulated(venue, streams_per_connection=4) as run:
        await eventually(lambda: run.statuses.state("BTC-USD") == "live")
        await eventually(lambda: run.statuses.state("ETH-USD") == "live")
        answer = await run.feed.commands["rotate"]({})
        assert answer["connections"] == 2
        listed = await run.feed.commands["list_symbols"]({})
        assert listed == {
            "symbols": ["BTC-USD", "ETH-USD"],
            "states": {"BTC-USD": "live", "ETH-USD": "live"},
            "refused": {},
        }
        assert run.statuses.states("BTC-USD") == ["connecting", "live"]


async def test_without_a_connection_the_command_is_refused() -> None:
    async with fake_venue() as venue:
        url = venue.ws_base
        session = Session(lambda: url, url, Idle(), SessionSettings("one"))
        with pytest.raises(CommandRefused, match="no connection was replaced"):
            await rotate_all([session], Counters())


async def test_nothing_to_replace_is_no_mistake() -> None:
    assert (await rotate_all([], Counters()))["connections"] == 0
