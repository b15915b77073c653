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


S = 1_000_000_000


def spoken(dog: Watchdog, every_ns: int, times: int, start_ns: int = 0) -> int:
    """Data every so often, looked at each time; the time of the last."""
    now_ns = start_ns
    for _ in range(times):
        now_ns += every_ns
        dog.seen["trade"] = now_ns
        assert dog.check(now_ns, now_ns).went_stale == ()
    return now_ns


def test_a_busy_stream_is_silent_long_before_the_limit_set() -> None:
    dog = Watchdog(1_000)
    dog.watch("trade", 300, 0, floor_s=5)
    last_ns = spoken(dog, 2 * S, 40)
    assert dog.is_learned("trade")
    assert dog.limit_s("trade") == 16.0  # eight times its longest pause
    assert dog.check(last_ns + 16 * S - 1, last_ns).went_stale == ()
    assert dog.check(last_ns + 16 * S, last_ns).went_stale == ("trade",)


def test_a_learned_limit_is_never_below_its_floor() -> None:
    dog = Watchdog(1_000)
    dog.watch("trade", 300, 0, floor_s=20)
    spoken(dog, S // 4, 400)
    assert dog.limit_s("trade") == 20.0


def test_a_quiet_stream_learns_to_be_left_alone_but_not_for_ever() -> None:
    dog = Watchdog(10_000)
    dog.watch("trade", 300, 0, floor_s=20)
    spoken(dog, 200 * S, 40)
    assert dog.limit_s("trade") == 1_600.0
    dog.watch("trade", 5_000, 0, floor_s=20)
    spoken(dog, 2_000 * S, 40)
    assert dog.limit_s("trade") == 3_600.0


def test_too_few_data_or_too_short_a_time_teach_nothing() -> None:
    dog = Watchdog(1_000)
    dog.watch("trade", 300, 0, floor_s=5)
    last_ns = spoken(dog, S, 29)
    assert not dog.is_learned("trade")
    spoken(dog, S // 10, 100, last_ns)
    assert (dog.is_learned("trade"), dog.limit_s("trade")) == (False, 300.0)


def test_a_silence_is_not_learned_from() -> None:
    dog = Watchdog(1_000)
    dog.watch("trade", 300, 0, floor_s=5)
    last_ns = spoken(dog, S, 70)
    dog.check(last_ns + 50 * S, last_ns)
    assert dog.is_stale("trade")
    dog.seen["trade"] = last_ns + 100 * S
    assert dog.check(last_ns + 100 * S, last_ns + 100 * S).recovered == ("trade",)
    spoken(dog, S, 5, last_ns + 100 * S)
    assert dog.limit_s("trade") == 8.0
    dog.restart(last_ns + 500 * S)  # nor from a reconnection
    spoken(dog, S, 5, last_ns + 500 * S)
    assert dog.limit_s("trade") == 8.0


def test_a_pause_is_forgotten_by_and_by() -> None:
    dog = Watchdog(10_000)
    dog.watch("trade", 300, 0, floor_s=5)
    last_ns = spoken(dog, 20 * S, 40)
    assert dog.limit_s("trade") == 160.0
    spoken(dog, S, 1_200, last_ns)  # two half-lives
    assert 38 <= dog.limit_s("trade") <= 42


def test_without_a_floor_the_limit_set_stays() -> None:
    dog = Watchdog(1_000)
    dog.watch("trade", 300, 0)
    spoken(dog, S, 100)
    assert (dog.is_learned("trade"), dog.limit_s("trade")) == (False, 300.0)
