"""How long a connection may stay: moved by hand through time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.config import load
from bus.wsbridge.access.tenure import NEVER_NS, Due, Tenure, Terms

S = 1_000_000_000
T0_NS = 1_800_000_000 * S
TERMS = Terms.of(load(None, ["bridge.limits.max_age_s=86400"]).bridge)


def tenure(*, is_multi: bool = True, is_locked: bool = False) -> Tenure:
    return Tenure(TERMS, is_multi=is_multi, is_locked=is_locked, now_ns=T0_NS)


def due_at(one: Tenure, second: float) -> Due | None:
    return one.due(T0_NS + int(second * S))


def test_who_shows_no_token_is_out_after_ten_seconds() -> None:
    one = tenure(is_locked=True)
    assert one.next_ns == T0_NS + 10 * S
    assert due_at(one, 9.9) is None
    assert due_at(one, 10) is Due.AUTH_TIMEOUT


def test_a_token_is_reminded_of_and_ended_and_a_newer_one_puts_it_off() -> None:
    one = tenure(is_locked=True, is_multi=False)
    one.admitted(T0_NS + 3600 * S, T0_NS + S)
    assert due_at(one, 3539) is None
    assert due_at(one, 3540) is Due.EXPIRING
    assert due_at(one, 3541) is None, "told once"
    one.admitted(T0_NS + 7200 * S, T0_NS + 3550 * S)
    assert due_at(one, 3640) is None
    assert due_at(one, 7140) is Due.EXPIRING
    assert due_at(one, 7229) is None
    assert due_at(one, 7230) is Due.EXPIRED


def test_idleness_begins_when_nothing_is_held() -> None:
    one = tenure()
    one.holding(True, T0_NS + 59 * S)
    assert due_at(one, 3000) is None
    one.holding(False, T0_NS + 3000 * S)
    one.holding(False, T0_NS + 3050 * S)
    assert due_at(one, 3059) is None
    assert due_at(one, 3060) is Due.IDLE
    fixed = tenure(is_multi=False)
    assert due_at(fixed, 3000) is None


def test_idleness_counts_from_the_token_on() -> None:
    one = tenure(is_locked=True)
    one.admitted(None, T0_NS + 9 * S)
    assert due_at(one, 68) is None
    assert due_at(one, 69) is Due.IDLE


def test_age_ends_whoever_is_left() -> None:
    one = tenure(is_multi=False)
    assert one.next_ns == T0_NS + 86_400 * S
    assert due_at(one, 86_400) is Due.AGEING
    assert due_at(one, 86_414) is None
    assert due_at(one, 86_415) is Due.MAX_AGE, "drain_s later"
    early = Tenure(TERMS, is_multi=False, is_locked=False, now_ns=T0_NS, share=0.9)
    assert early.next_ns == T0_NS + 77_760 * S
    terms = Terms.of(load(None, ["bridge.limits.idle_s=0"]).bridge)
    assert Tenure(terms, is_multi=True, is_locked=False, now_ns=T0_NS).next_ns == NEVER_NS


STEPS = st.lists(
    st.tuples(st.sampled_from(["hold", "drop", "admit", "look"]), st.integers(0, 4000 * S)),
    max_size=40,
)


@given(st.booleans(), st.booleans(), STEPS)
def test_nothing_is_due_before_the_time_that_was_named(
    is_multi: bool, is_locked: bool, steps: list[tuple[str, int]]
) -> None:
    one = tenure(is_multi=is_multi, is_locked=is_locked)
    now_ns = T0_NS
    for what, later_ns in steps:
        now_ns += later_ns
        if what == "admit":
            one.admitted(now_ns + 1800 * S, now_ns)
        elif what != "look":
            one.holding(what == "hold", now_ns)
        named_ns = one.next_ns
        assert (one.due(now_ns) is not None) == (now_ns >= named_ns)
