"""What a capture says of itself, and the settings to play it with."""

from __future__ import annotations

import pytest

from bus.capture import CaptureError, Frame, Head
from bus.capture.heads import head_of, replay_overrides
from bus.config import load
from tests.capture.makers import write

HEAD = Head(
    1,
    0,
    "desk",
    "binance",
    1,
    1,
    False,
    ("BTC-USDT", "ETH-USDT"),
    {"orderbook_levels": 7, "news_categories": ["a"], "news_stream": False, "of_a_later_one": 1},
)


def test_no_more_is_read_than_the_head_needs() -> None:
    data, ends = write([[HEAD], [Frame(1, 1, b"x")]])
    portions = iter([data[: ends[0]], data[ends[0] :]])
    assert head_of(portions) == HEAD
    assert next(portions) == data[ends[0] :]


def test_a_head_that_is_not_all_there_may_still_be_read() -> None:
    data, ends = write([[HEAD]])
    assert head_of([data[: ends[0] - 1]]) == HEAD


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"other", "no capture file"),
        (b"mdcap\x001\n", "nothing that can be played"),
        (write([[Frame(1, 1, b"x")]])[0], "does not say what it is of"),
    ],
)
def test_what_has_no_head_is_no_capture(data: bytes, why: str) -> None:
    with pytest.raises(CaptureError, match=why):
        head_of([data])


def test_the_overrides_are_settings_that_load() -> None:
    settings = load(None, replay_overrides([HEAD]))
    desk = settings.feeds["desk"]
    assert (desk.venue, desk.enabled, desk.symbols) == (
        "binance",
        True,
        ("BTC-USDT", "ETH-USDT"),
    )
    assert (desk.orderbook_levels, desk.news_categories, desk.news_stream) == (7, ("a",), False)
    others = [name for name, feed in settings.feeds.items() if feed.enabled]
    assert others == ["desk"]


def test_a_feed_of_the_default_profile_is_played_under_its_own_name() -> None:
    head = Head(1, 0, "finnhub", "finnhub", 1, 1, False, ("AAPL",), {})
    settings = load(None, replay_overrides([head]))
    assert settings.feeds["finnhub"].symbols == ("AAPL",)
    assert [name for name, feed in settings.feeds.items() if feed.enabled] == ["finnhub"]
