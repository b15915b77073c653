"""A link yields to the loop when its handler works long; its other behaviour: test_session."""

from __future__ import annotations

import pytest

from bus.feeds import link as link_module
from bus.testing import eventually
from tests.feeds.fake_venue import fake_venue
from tests.feeds.test_session import Handler, running


async def test_a_handler_that_works_long_pauses_reading_and_goes_on(
    loop_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "YIELD_AFTER_NS", 0)
    async with fake_venue() as venue:
        handler = Handler()
        async with running(venue, handler):
            await eventually(lambda: venue.open)
            for number in range(50):
                venue.say(f"data {number}")
                await eventually(lambda seen=number: len(handler.frames_seen) == seen + 1)  # type: ignore[misc]
            assert handler.links[0].frames_in == 50
            assert handler.links[0].bytes_in > 50 * len("data 1")


async def test_a_ping_is_no_frame_but_counts_as_life(loop_kind: str) -> None:
    async with fake_venue() as venue:
        handler = Handler()
        async with running(venue, handler):
            await eventually(lambda: handler.links)
            before_ns = handler.links[0].last_frame_mono_ns
            await (await venue.open[0].ping())
            assert handler.links[0].last_frame_mono_ns > before_ns
            assert handler.batches == []
