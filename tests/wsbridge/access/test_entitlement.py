"""Patterns of topics: whole parts only, and what cannot be read allows nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.wsbridge.access.entitlement import EVERYTHING, Entitlement


@pytest.mark.parametrize(
    ("pattern", "allowed", "refused"),
    [
        ("price.BTC", ["price.BTC", "price.btc"], ["price.BTC@sim", "price.BTCX", "trades.BTC"]),
        (
            "price.*",
            ["price.BTC", "price.BRK.B", "price.BTC@sim", "price.*"],
            ["ticker.BTC", "*.*"],
        ),
        ("*.BTC", ["price.BTC", "trades.BTC", "*.BTC"], ["price.ETH", "*.*", "price.*"]),
        ("*.*", ["price.BTC", "news.crypto", "*.*", "*.BTC", "price.*"], []),
        ("price.BTC@sim", ["price.BTC@sim", "price.BTC@SIM"], ["price.BTC", "price.BTC@x"]),
        ("price.BTC@*", ["price.BTC@sim", "price.BTC"], ["price.ETH@sim"]),
        ("price.*@sim", ["price.BTC@sim"], ["price.BTC", "price.BTC@x", "price.*"]),
        ("orderbook.BTC", ["orderbook.BTC#delta", "book.BTC"], ["orderbook.BTCX#delta"]),
        ("trade.BTC", ["trades.BTC"], ["price.BTC"]),
        ("news.crypto", ["news.crypto"], ["news.forex", "news.*"]),
        ("pri*.BTC", [], ["price.BTC"]),
        ("price.B*", [], ["price.BTC", "price.B*"]),
        ("price", [], ["price.BTC", "price"]),
        ("price.", [], ["price.BTC", "price."]),
        ("", [], ["price.BTC", ""]),
        ("price.BTC@", [], ["price.BTC"]),
    ],
)
def test_what_a_pattern_allows(pattern: str, allowed: list[str], refused: list[str]) -> None:
    entitlement = Entitlement([pattern])
    for name in allowed:
        assert entitlement.allows(name), name
    for name in refused:
        assert not entitlement.allows(name), name


def test_no_pattern_allows_nothing_and_any_name_is_enough() -> None:
    assert not Entitlement([]).allows("price.BTC")
    assert Entitlement(["price.BTC-USDT"]).allows("price.BTC", "price.BTC-USDT")
    assert EVERYTHING.allows("price.BTC")


TEXT = st.text(alphabet="price.*@#BTCa", max_size=24) | st.text(max_size=200)


@given(st.lists(TEXT, max_size=4), TEXT)
def test_any_text_gives_an_answer(patterns: list[str], name: str) -> None:
    entitlement = Entitlement(patterns)
    if entitlement.allows(name):
        assert any("*" in one or name.partition("#")[0].split("@")[0].upper().endswith(
            one.partition(".")[2].split("@")[0].upper()) for one in patterns)  # fmt: skip


@given(st.sampled_from(["price.*", "*.BTC", "price.BTC@*", "*.*"]), TEXT)
def test_a_wildcard_request_is_covered_only_by_what_covers_all_of_it(
    request: str, pattern: str
) -> None:
    if Entitlement([pattern]).allows(request):
        for name in ("price.BTC", "price.BTC@sim"):
            if Entitlement([request]).allows(name):
                assert Entitlement([pattern]).allows(name)
