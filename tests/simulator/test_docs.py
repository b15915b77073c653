"""The operator's page names every fault, page and counter there is."""

from __future__ import annotations

import pytest

from bus.simulator.binance.playback import Playback
from bus.simulator.binance.server import BinanceServer
from bus.simulator.clients import Traffic
from bus.simulator.control import FAULT_KINDS, PAGES
from tests.conftest import ROOT
from tests.simulator.conftest import Serve

PAGE = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_every_fault_has_its_row(kind: str) -> None:
    assert f"| `{kind}` |" in PAGE


@pytest.mark.parametrize("page", PAGES)
def test_every_control_page_is_named(page: str) -> None:
    assert f"/_sim/{page}" in PAGE


@pytest.mark.parametrize("name", Traffic.__slots__)
def test_every_counter_of_the_traffic_is_named(name: str) -> None:
    assert f"`{name}`" in PAGE


async def test_every_other_counter_is_named(binance: Serve) -> None:
    async with binance() as venue:
        assert isinstance(venue.server, BinanceServer)
        figures = venue.server.figures()
    own = [name.removeprefix("binance_") for name in figures]
    assert all(f"`{name}`" in PAGE or f"`binance_{name}`" in PAGE for name in own)


def test_every_playback_counter_is_named() -> None:
    assert Playback.figures.__doc__ is not None
    for name in ("total_lines", "players", "sent", "complete"):
        assert f"`playback_{name}`" in PAGE
