"""What is said to Coinbase."""

from __future__ import annotations

import json

from bus.feeds.coinbase import endpoints


def test_a_subscription_names_products_and_channels() -> None:
    assert json.loads(endpoints.subscribe(["BTC-USD"], [endpoints.BOOK])) == {
        "type": "subscribe",
        "product_ids": ["BTC-USD"],
        "channels": ["level2_batch"],
    }
    everything = json.loads(endpoints.unsubscribe(["BTC-USD"]))
    assert everything["channels"] == ["heartbeat", "ticker", "matches", "level2_batch"]
    assert endpoints.trades_path("BTC-USD") == "/products/BTC-USD/trades"
