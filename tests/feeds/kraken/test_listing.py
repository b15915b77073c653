"""The pairs as told last."""

from __future__ import annotations

from bus.feeds.kraken.listing import Pairs
from bus.feeds.listing import Listed

BTC, ETH = Listed("BTC-USD", "BTC/USD"), Listed("ETH-USD", "ETH/USD")


def test_a_change_alone_is_not_the_list() -> None:
    pairs = Pairs()
    pairs.update({"BTC-USD": BTC})
    assert not pairs.known.is_set()


def test_the_list_replaces_what_was_known_and_changes_add_to_it() -> None:
    pairs = Pairs()
    pairs.take({"BTC-USD": BTC})
    pairs.take({"ETH-USD": ETH})
    pairs.update({"BTC-USD": BTC})
    assert pairs.known.is_set()
    assert pairs.listed == {"ETH-USD": ETH, "BTC-USD": BTC}
