"""Silence is noticed on time, per connection and per stream, also where nothing ever came."""

from __future__ import annotations

from bus.feeds.watchdog import NS_PER_S, Watchdog


def s(seconds: float) -> int:
    return int(seconds * NS_PER_S)


def test_a_connection_that_never_spoke_is_silent() -> None:
    watchdog = Watchdog(60.0)
    assert not watchdog.check(s(59.9), last_frame_ns=0).silent
    assert watchdog.check(s(60), last_frame_ns=0).silent


def test_any_frame_keeps_a_connection_alive() -> None:
    assert not Watchdog(60.0).check(s(100), last_frame_ns=s(41)).silent


def test_a_stream_that_never_spoke_goes_stale_once() -> None:
    watchdog = Watchdog(60.0)
    watchdog.watch("a", 5.0, s(0))
    assert watchdog.check(s(4.9), 0).went_stale == ()
    assert watchdog.check(s(5), 0).went_stale == ("a",)
    assert watchdog.check(s(6), 0).went_stale == ()
    assert watchdog.is_stale("a")


def test_one_silent_stream_among_lively_ones_is_found() -> None:
    watchdog = Watchdog(60.0)
    watchdog.watch("a", 5.0, s(0))
    watchdog.watch("b", 5.0, s(0))
    watchdog.seen["a"] = s(9)
    found = watchdog.check(s(10), s(10))
    assert found.went_stale == ("b",)
    assert not found.silent


def test_data_makes_a_stream_recover() -> None:
    watchdog = Watchdog(60.0)
    watchdog.watch("a", 5.0, s(0))
    watchdog.check(s(5), 0)
    watchdog.seen["a"] = s(6)
    assert watchdog.check(s(6.2), 0).recovered == ("a",)
    assert not watchdog.is_stale("a")
    assert watchdog.check(s(11), 0).went_stale == ("a",)


def test_a_new_connection_starts_the_clocks_afresh() -> None:
    watchdog = Watchdog(60.0)
    watchdog.watch("a", 5.0, s(0))
    watchdog.restart(s(100))
    assert watchdog.check(s(104), s(100)).went_stale == ()
    assert watchdog.check(s(105), s(100)).went_stale == ("a",)


def test_a_limit_of_zero_never_goes_stale() -> None:
    watchdog = Watchdog(60.0)
    watchdog.watch("a", 0.0, s(0))
    assert watchdog.check(s(10**6), s(10**6)).went_stale == ()


def test_a_stream_no_longer_watched_is_forgotten() -> None:
    watchdog = Watchdog(60.0)
    watchdog.watch("a", 5.0, s(0))
    watchdog.check(s(9), 0)
    watchdog.unwatch("a")
    assert not watchdog.is_stale("a")
    assert watchdog.check(s(20), 0).went_stale == ()
    assert watchdog.silence_s("a", s(20)) == 0.0


def test_silence_is_told_in_seconds() -> None:
    watchdog = Watchdog(60.0)
    watchdog.watch("a", 5.0, s(1))
    assert watchdog.silence_s("a", s(3.5)) == 2.5
