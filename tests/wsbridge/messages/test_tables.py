"""Times, epochs, and the rules the tables of codes obey."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from bus.wsbridge.messages import CLOSE_REASONS, ERRORS, CloseCode, epoch_text, rfc3339


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_times_are_utc_with_six_decimals(ts_ns: int) -> None:
    text = rfc3339(ts_ns)
    assert len(text) == 27
    assert text.endswith("Z")
    read = datetime.fromisoformat(text)
    assert read.tzinfo is UTC or read.utcoffset() == UTC.utcoffset(None)
    assert int(text[20:26]) == ts_ns // 1000 % 1_000_000
    assert int(read.replace(microsecond=0).timestamp()) == ts_ns // 1_000_000_000


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_epochs_are_short_and_differ_when_they_differ(one: int, other: int) -> None:
    assert 1 <= len(epoch_text(one)) <= 13
    assert (epoch_text(one) == epoch_text(other)) is (one == other)
    assert int(epoch_text(one), 36) == one


def test_every_close_code_has_a_short_reason() -> None:
    assert set(CLOSE_REASONS) == set(CloseCode)
    assert all(0 < len(reason.encode()) <= 123 for reason in CLOSE_REASONS.values())


def test_only_what_time_can_cure_is_retryable() -> None:
    assert {kind.code for kind in ERRORS.values() if kind.retryable} == {
        "rate_limited", "slow_consumer", "feed_down", "internal",
    }  # fmt: skip
