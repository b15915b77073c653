"""Step by step: stale, asked for again, a new connection, given up. Time is moved by hand."""

from __future__ import annotations

from bus.feeds import skew
from bus.feeds.ladder import (
    ASK_AGAIN_NS,
    ASK_TOGETHER_NS,
    REPLACE_EVERY_NS,
    Ladder,
    Steps,
    StreamLimit,
)
from bus.feeds.skew import Lateness, SkewEstimate
from bus.feeds.watchdog import LEARN_NS, LEARN_SAMPLES

S = 1_000_000_000
LIMITS = {
    "trade": StreamLimit(10.0, 2.0),
    "book": StreamLimit(10.0, 2.0),
    "beat": StreamLimit(5.0, regular=True),
    "news": StreamLimit(0.0),
}


def ladder(*streams: str, silent_s: float = 1e9) -> Ladder:
    made = Ladder(LIMITS, silent_s, Lateness(SkewEstimate(), 5.0))
    for stream in streams:
        made.watch(stream, stream.partition("@")[2], 0)
    made.opened(0)
    return made


def look(one: Ladder, now_ns: int, excused: tuple[str, ...] = ()) -> Steps:
    return one.check(now_ns, now_ns, now_ns, excused)


def look_twice(one: Ladder, now_ns: int) -> Steps:
    """What is asked for once it has been waited for others that fall silent, too."""
    assert look(one, now_ns).ask_again == ()
    return look(one, now_ns + ASK_TOGETHER_NS)


def test_a_silent_stream_is_stale_at_once_and_asked_for_once_a_minute() -> None:
    one = ladder("A@trade", "A@news")
    assert look(one, 9 * S) == Steps()
    steps = look(one, 10 * S)
    assert (steps.went_stale, steps.changed, steps.ask_again) == (1, True, ())
    assert one.is_stale("A@trade")
    assert look(one, 10 * S + ASK_TOGETHER_NS).ask_again == ("A@trade",)
    assert look(one, 20 * S) == Steps()
    assert look_twice(one, 10 * S + ASK_TOGETHER_NS + ASK_AGAIN_NS).ask_again == ("A@trade",)


def test_each_stream_is_asked_for_in_its_own_time() -> None:
    one = ladder("A@trade", "B@trade", "A@news")
    one.seen["B@trade"] = 5 * S
    assert look_twice(one, 10 * S).ask_again == ("A@trade",)
    assert look_twice(one, 15 * S).ask_again == ("B@trade",)


def test_streams_that_fall_silent_one_shortly_after_the_other_are_asked_for_together() -> None:
    one = ladder("A@trade", "B@trade", "C@trade", "D@trade", "A@news")
    for number, stream in enumerate(("A@trade", "B@trade", "C@trade")):
        one.seen[stream] = number * S // 4
    one.seen["D@trade"] = 30 * S
    asked = [look(one, tick * S // 4).ask_again for tick in range(100)]
    assert list(filter(None, asked)) == [("A@trade", "B@trade", "C@trade")]


def test_one_that_speaks_again_meanwhile_is_not_asked_for() -> None:
    one = ladder("A@trade", "A@news")
    look(one, 10 * S)
    one.seen["A@trade"] = 11 * S
    assert look(one, 10 * S + ASK_TOGETHER_NS).ask_again == ()
    assert look_twice(one, 21 * S).ask_again == ("A@trade",), "and it waits anew"


def test_data_makes_it_well_again() -> None:
    one = ladder("A@trade", "A@news")
    look(one, 10 * S)
    one.seen["A@trade"] = 11 * S
    steps = look(one, 12 * S)
    assert (steps.changed, steps.went_stale, one.is_stale("A@trade")) == (True, 0, False)


def test_a_stream_without_a_rhythm_is_never_worth_a_new_connection() -> None:
    one = ladder("A@trade", "A@news")
    for minute in range(30):
        steps = look(one, 10 * S + minute * ASK_AGAIN_NS)
        assert (steps.rotate, steps.hopeless) == (False, ())


def test_a_stream_that_speaks_regularly_and_was_asked_in_vain_is() -> None:
    one = ladder("A@beat", "B@beat")
    one.seen["B@beat"] = 10 * ASK_AGAIN_NS
    step_ns = ASK_AGAIN_NS + ASK_TOGETHER_NS
    assert look_twice(one, 5 * S).ask_again == ("A@beat",)
    steps = look_twice(one, 5 * S + step_ns)
    assert (steps.rotate, steps.hopeless) == (True, ("A@beat",))
    again = look_twice(one, 5 * S + 2 * step_ns)
    assert again.hopeless
    assert not again.rotate, "not sooner than every ten minutes"
    one.seen["B@beat"] = REPLACE_EVERY_NS * 2
    assert look_twice(one, 5 * S + step_ns + REPLACE_EVERY_NS).rotate


def test_a_learned_rhythm_counts_as_regular_and_shortens_the_limit() -> None:
    one = ladder("A@trade", "B@trade")
    step_ns = LEARN_NS // LEARN_SAMPLES
    for number in range(1, LEARN_SAMPLES + 5):
        one.seen["A@trade"] = one.seen["B@trade"] = number * step_ns
        look(one, number * step_ns)
    assert one.limit_s("A@trade") == 8 * step_ns / S
    last_ns = one.seen["A@trade"]
    one.seen["B@trade"] = last_ns + 3600 * S
    first = look_twice(one, last_ns + 17 * S)
    assert first.ask_again == ("A@trade",)
    assert look_twice(one, last_ns + 17 * S + ASK_TOGETHER_NS + ASK_AGAIN_NS).rotate


def test_when_everything_is_silent_the_connection_is_given_up() -> None:
    one = ladder("A@trade", "A@book")
    assert look(one, 10 * S).abort == ""  # it has hardly begun
    assert look(one, 11 * S + ASK_AGAIN_NS).abort == "silent_streams"


def test_a_connection_without_a_byte_is_given_up_whatever_its_streams() -> None:
    one = ladder("A@news", silent_s=60.0)
    assert one.check(59 * S, 59 * S, 0).abort == ""
    assert one.check(60 * S, 60 * S, 0).abort == "silent"


def test_closed_markets_are_neither_asked_for_nor_counted_on() -> None:
    one = ladder("A@trade", "B@trade")
    one.seen["B@trade"] = 10 * ASK_AGAIN_NS
    for minute in range(5):
        steps = look(one, 11 * S + minute * ASK_AGAIN_NS, ("A@trade",))
        assert (steps.ask_again, steps.abort) == ((), "")
    assert one.is_stale("A@trade"), "it is shown all the same"
    one.seen["B@trade"] = 0
    assert look(one, 20 * ASK_AGAIN_NS, ("A@trade",)).abort == "silent_streams"


def test_a_new_connection_gives_every_stream_its_time_again() -> None:
    one = ladder("A@trade", "A@news")
    look(one, 10 * S)
    one.opened(100 * S)
    assert not one.has_spoken("A@trade"), "a connection is no data"
    assert look(one, 109 * S).ask_again == ()
    assert look_twice(one, 110 * S).ask_again == ("A@trade",)
    one.seen["A@trade"] = 113 * S
    assert one.has_spoken("A@trade")


def test_a_stream_that_is_not_watched_any_more_is_forgotten() -> None:
    one = ladder("A@trade", "A@news")
    one.unwatch("A@trade")
    assert look(one, 100 * S) == Steps()
    assert "A@trade" not in one.seen


def test_late_events_bring_one_new_connection() -> None:
    one = ladder("A@news")
    one.lateness.delays.note(0)
    look(one, 1)
    rotations = late = 0
    for second in range(60):
        one.lateness.delays.note(6 * S)
        steps = look(one, second * S)
        rotations += steps.rotate
        late += steps.late_now
    assert (rotations, late, one.lateness.is_late) == (1, 1, True)
    assert skew.LATE_FOR_NS < 60 * S
