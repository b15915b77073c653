"""Armed faults: what becomes of each message."""

from __future__ import annotations

import pytest

from bus.simulator.faults import ALL_STREAMS, MAX_ARMED, Faults

STREAM = "btcusdt@depth@100ms"


def passed(faults: Faults, *items: int, stream: str = STREAM) -> list[int]:
    return [out for item in items for out in faults.pass_diff(stream, item)]


def test_unarmed_everything_passes() -> None:
    assert passed(Faults(), 1, 2, 3) == [1, 2, 3]


@pytest.mark.parametrize(
    ("kind", "count", "expected"),
    [
        ("drop_diff", 1, [2, 3, 4]),
        ("drop_diff", 2, [3, 4]),
        ("repeat_diff", 1, [1, 1, 2, 3, 4]),
        ("swap_diff", 1, [2, 1, 3, 4]),
        ("swap_diff", 2, [2, 1, 4, 3]),
    ],
)
def test_diff_faults(kind: str, count: int, expected: list[int]) -> None:
    faults = Faults()
    faults.arm_diff(kind, "BTCUSDT", count)
    assert passed(faults, 1, 2, 3, 4) == expected
    assert faults.happened[kind] == count


def test_other_symbols_are_left_alone() -> None:
    faults = Faults()
    faults.arm_diff("drop_diff", "ETHUSDT", 1)
    assert passed(faults, 1) == [1]


def test_faults_of_a_symbol_happen_in_the_order_armed() -> None:
    faults = Faults()
    faults.arm_diff("drop_diff", "BTCUSDT", 1)
    faults.arm_diff("repeat_diff", "BTCUSDT", 1)
    assert passed(faults, 1, 2, 3) == [2, 2, 3]


@pytest.mark.parametrize("count", [0, -1, MAX_ARMED + 1])
def test_a_senseless_count_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="count"):
        Faults().arm_diff("drop_diff", "BTCUSDT", count)


def test_what_a_swap_held_is_lost_on_clear() -> None:
    faults = Faults()
    faults.arm_diff("swap_diff", "BTCUSDT", 1)
    assert passed(faults, 1) == []
    faults.clear()
    assert passed(faults, 2) == [2]
    assert faults.happened["drop_diff"] == 1


def test_silence_of_one_stream_ends_at_its_time() -> None:
    faults = Faults()
    faults.silence(STREAM, 100)
    assert faults.is_silent(STREAM, 99)
    assert not faults.is_silent("btcusdt@trade", 99)
    assert not faults.is_silent(STREAM, 100)


def test_silence_of_all_streams() -> None:
    faults = Faults()
    faults.silence(ALL_STREAMS, 100)
    assert faults.is_silent("anything", 0)
    assert not faults.is_silent("anything", 100)


def test_rest_is_refused_with_the_seconds_left_rounded_up() -> None:
    faults = Faults()
    faults.refuse_rest(418, 2_500_000_000)
    assert faults.rest_refusal(0) == (418, 3)
    assert faults.rest_refusal(2_500_000_000) is None


def test_clear_disarms_everything() -> None:
    faults = Faults()
    faults.arm_diff("drop_diff", "BTCUSDT", 3)
    faults.silence(ALL_STREAMS, 100)
    faults.refuse_rest(429, 100)
    faults.skew_ns, faults.depth_delay_s = 5, 1.0
    faults.clear()
    armed = faults.armed(0)
    assert [armed[name] for name in ("diffs", "held", "silent", "refuse")] == [{}, [], {}, None]
    assert (armed["skew_ms"], armed["depth_delay_s"]) == (0, 0.0)


def test_faults_of_the_next_events_are_used_up() -> None:
    faults = Faults()
    faults.arm_next("drop_trade", "BTC-USD", 2)
    assert faults.armed(0)["next"] == {"drop_trade BTC-USD": 2}
    taken = [faults.takes("drop_trade", "BTC-USD") for _ in range(3)]
    assert taken == [True, True, False]
    assert not faults.takes("wrong_checksum", "BTC-USD")
    assert faults.happened["drop_trade"] == 2


@pytest.mark.parametrize(("kind", "count"), [("drop_diff", 1), ("drop_trade", 0)])
def test_only_faults_of_events_can_be_armed_so(kind: str, count: int) -> None:
    with pytest.raises(ValueError, match="count must be"):
        Faults().arm_next(kind, "BTC-USD", count)


def test_clearing_brings_the_engine_back() -> None:
    faults = Faults()
    faults.system = "maintenance"
    faults.arm_next("wrong_checksum", "BTC/USD", 1)
    faults.clear()
    assert faults.system == "online"
    assert not faults.takes("wrong_checksum", "BTC/USD")
