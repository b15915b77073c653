"""Venue times as text: every digit counts."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.feeds.venue_time import rfc3339_ns


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2022-08-04T15:25:05.010758Z", 1659626705_010758000),
        ("2014-11-07T08:19:28.464459Z", 1415348368_464459000),
        ("2023-06-23T20:31:26.122969572Z", 1687552286_122969572),
        ("2023-09-25T07:49:37.7Z", 1695628177_700000000),
        ("2023-09-25T09:49:37.7+02:00", 1695628177_700000000),
        ("2023-06-23T20:31:26.1229695729Z", 1687552286_122969572),
    ],
)
def test_known_times(text: str, ns: int) -> None:
    assert rfc3339_ns(text) == ns


@pytest.mark.parametrize(
    "text", ["", "now", "2022-08-04", "2022-08-04T15:25:05", "2022-13-04T15:25:05Z",
             "1969-12-31T23:59:59Z", "2022-08-04T25:25:05Z", "2022-08-04T15:25:05,1Z"]
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        rfc3339_ns(text)


@given(
    st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1)),
    st.integers(-12 * 60, 14 * 60),
)
def test_it_agrees_with_the_standard_library(moment: datetime, offset_min: int) -> None:
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=offset_min)))
    expected = (zoned - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert rfc3339_ns(zoned.isoformat()) == expected * 1_000


@given(st.text(max_size=40))
def test_no_text_raises_anything_but_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        rfc3339_ns(text)
