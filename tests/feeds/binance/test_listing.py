"""The list is asked for what is needed, and again: a halt shows, and so does the end of one."""

from __future__ import annotations

import json

from bus.testing import eventually
from tests.feeds.binance.binance_server import Binance, exchange_info, running_feed
from tests.feeds.binance.test_venue import both_synced


def with_status(status: str) -> tuple[int, dict[str, str], bytes]:
    code, headers, body = exchange_info("BTC-USDT", "ETH-USDT")
    info = json.loads(body)
    info["symbols"][0]["status"] = status
    return code, headers, json.dumps(info).encode()


async def test_only_the_symbols_served_are_asked_for() -> None:
    async with running_feed() as run:
        await both_synced(run)
        asked = [query for path, query in run.venue.requests if path.endswith("exchangeInfo")]
        assert asked == [{"symbols": '["BTCUSDT","ETHUSDT"]'}]


async def test_a_halt_is_seen_at_the_next_look_and_its_end_too() -> None:
    topic = "md/instrument/sim/BTC-USDT/"
    async with running_feed(instrument_poll_s=0.05) as run:
        await both_synced(run)
        run.binance.info = with_status("HALT")
        await eventually(lambda: run.tap.bodies(topic)[-1].status == "halted")
        run.binance.info = with_status("TRADING")
        await eventually(lambda: run.tap.bodies(topic)[-1].status == "trading")
        assert [body.status for body in run.tap.bodies(topic)] == ["trading", "halted", "trading"]


async def test_a_symbol_that_is_not_listed_any_more_is_down() -> None:
    async with running_feed(instrument_poll_s=0.05) as run:
        await both_synced(run)
        run.binance.info = exchange_info("ETH-USDT")
        await eventually(lambda: run.statuses.last("BTC-USDT").reason == "unknown_symbol")
        assert run.statuses.state("ETH-USDT") == "live"


async def test_the_weight_a_minute_is_taken_from_the_list() -> None:
    def prepare(binance: Binance) -> None:
        code, headers, body = exchange_info("BTC-USDT", "ETH-USDT")
        info = json.loads(body)
        info["rateLimits"] = [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": 1_200,
            }
        ]
        binance.info = (code, headers, json.dumps(info).encode())

    async with running_feed(prepare) as run:
        await both_synced(run)
        assert run.report("rest_weight_limit") == 600
