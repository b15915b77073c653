"""A loss that a feed states is understood by who reads its status."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.model.trade_loss import TRADES_LOST, loss_text, lost_count

IDS = st.integers(1, 10**14)


@given(IDS, IDS, IDS, st.text(max_size=50))
def test_what_is_stated_is_what_is_read(count: int, first: int, last: int, why: str) -> None:
    assert lost_count(TRADES_LOST, loss_text(count, first, last, why)) == count


@pytest.mark.parametrize(
    ("reason", "detail"),
    [
        ("data", loss_text(3, 1, 3, "because")),
        (TRADES_LOST, None),
        (TRADES_LOST, "some trades lost"),
        (TRADES_LOST, "-3 trades lost, ids"),
        (TRADES_LOST, "9" * 40 + " trades lost, "),
    ],
)
def test_anything_else_states_no_loss(reason: str, detail: str | None) -> None:
    assert lost_count(reason, detail) == 0
