"""What one generation says of itself, and whom it is heard as."""

from __future__ import annotations

from bus.supervision.generation import Generation, LastExit, Sender, Vitals


def test_rates_are_the_growth_of_counters_between_heartbeats() -> None:
    vitals = Vitals()
    vitals.take_beat(1, 0.0, {"messages_in": 100, "messages_out": 7, "state": "live"}, 10.0)
    assert vitals.rates == {}, "one heartbeat makes no rate"
    vitals.take_beat(2, 1.5, {"messages_in": 400, "messages_out": 7, "state": "live"}, 12.0)
    assert vitals.rates == {"messages_in": 150.0, "messages_out": 0.0}
    assert (vitals.beats, vitals.loop_lag_ms, vitals.beat_at) == (2, 1.5, 12.0)


def test_a_counter_that_went_back_is_no_negative_rate() -> None:
    vitals = Vitals()
    vitals.take_beat(1, 0.0, {"messages_in": 100}, 10.0)
    vitals.take_beat(2, 0.0, {"messages_in": 3}, 11.0)
    assert vitals.rates == {"messages_in": 0.0}


def test_a_rate_beyond_all_numbers_is_none() -> None:
    vitals = Vitals()
    vitals.take_beat(1, 0.0, {"messages_in": -1e308}, 10.0)
    vitals.take_beat(2, 0.0, {"messages_in": 1e308}, 11.0)
    assert vitals.rates == {}, "infinity is not JSON"


def test_only_a_running_spawn_is_the_sender() -> None:
    run = Generation("a", 3, 0.0)
    assert not run.is_sender(Sender("a", 3)), "it does not run"
    assert run.sender == Sender("a", 3)


def test_an_end_without_a_word_is_told_by_the_end_of_the_log() -> None:
    tail = ("Traceback (most recent call last):", "MemoryError")

    def ended(code: int | None, number: str | None, line: str, cause: str) -> str:
        return LastExit(code, number, line, cause, 0, tail).in_words()

    assert ended(1, None, "", "exited") == "code 1 (its log ends: MemoryError)"
    assert ended(1, None, "no venue", "exited") == "code 1 (no venue)", "it said why itself"
    assert ended(None, "SIGKILL", "", "exited") == "signal SIGKILL", "it had no time to"
    assert ended(None, "SIGKILL", "", "hung") == "signal SIGKILL (hung)"
    assert ended(0, None, "", "exited") == "code 0"
