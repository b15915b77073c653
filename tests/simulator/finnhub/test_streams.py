"""Finnhub's frames, byte for byte against the venue's samples."""

from __future__ import annotations

from bus.simulator.faults import Faults
from bus.simulator.finnhub.news import NewsItem
from bus.simulator.finnhub.stocks import Print, StockMarket
from bus.simulator.finnhub.streams import (
    PrintStream,
    crypto_print,
    news_frame,
    print_json,
    release_frame,
    trade_frame,
)
from bus.simulator.instruments import E8, crypto_instrument, stock_instrument
from bus.simulator.market import SymbolMarket, Trade

NOW_NS = 1_723_161_253_000_000_000
ITEM = NewsItem("company", 1679920200, "Head", 119440189, "", "CVVUF", "Wire", "Text", "https://x")


def test_a_trade_frame_mixes_symbols_and_keeps_the_key_order() -> None:
    rows = [
        print_json(Print("TSLA", 122.1, 1, 1672348887195, ("1", "8", "24", "12"))),
        print_json(Print("BINANCE:BTCUSDT", 7296.89, 0.011467, 1575526691134, None)),
    ]
    assert trade_frame(rows) == (
        b'{"data":[{"c":["1","8","24","12"],"p":122.1,"s":"TSLA","t":1672348887195,"v":1},'
        b'{"p":7296.89,"s":"BINANCE:BTCUSDT","t":1575526691134,"v":0.011467}],"type":"trade"}'
    )


def test_a_news_frame() -> None:
    assert news_frame([ITEM]) == (
        b'{"data":[{"category":"company","datetime":1679920200,"headline":"Head",'
        b'"id":119440189,"image":"","related":"CVVUF","source":"Wire","summary":"Text",'
        b'"url":"https://x"}],"type":"news"}'
    )


def test_a_release_frame_has_the_releases_keys() -> None:
    assert b'"fullText":"https://news.example/pr/119440189.html"' in release_frame(ITEM)
    assert release_frame(ITEM).endswith(b'}],"type":"pr"}')


def test_a_crypto_trade_keeps_price_and_size() -> None:
    trade = Trade(9, 6_180_001 * E8 // 100, E8 // 8, NOW_NS, True)
    assert crypto_print("BINANCE:BTCUSDT", trade) == Print(
        "BINANCE:BTCUSDT", 61_800.01, 0.125, NOW_NS // 10**6, None
    )


def stream(faults: Faults | None = None) -> tuple[PrintStream, SymbolMarket]:
    market = SymbolMarket(crypto_instrument("BTCUSDT"), 1, NOW_NS, levels=50)
    stocks = {"AAPL": StockMarket(stock_instrument("AAPL"), 1, NOW_NS)}
    return PrintStream(stocks, {"BTCUSDT": market}, faults or Faults()), market


def test_every_trade_of_a_wanted_market_comes_exactly_once() -> None:
    prints, market = stream()
    expected, found = [], []
    for step in range(1, 100):
        now_ns = NOW_NS + step * 20_000_000
        expected += [event for event in market.step(now_ns) if isinstance(event, Trade)]
        found += prints.step(now_ns, {"BINANCE:BTCUSDT"})
    count = len(found)
    assert count > 20
    assert [(item.price, item.size) for item in found] == [
        (trade.price_e8 / E8, trade.size_e8 / E8) for trade in expected[:count]
    ]


def test_frames_come_every_200_ms_and_only_with_what_is_wanted() -> None:
    prints, market = stream()
    for step in range(1, 100):
        now_ns = NOW_NS + step * 20_000_000
        market.step(now_ns)
        due = prints.step(now_ns, {"AAPL"})
        assert not due or now_ns % 200_000_000 == 0
        assert {item.symbol for item in due} <= {"AAPL"}


def test_silence_of_a_symbol() -> None:
    faults = Faults()
    faults.silence("AAPL", NOW_NS + 10**12)
    prints, _ = stream(faults)
    assert not any(prints.step(NOW_NS + step * 10**9, {"AAPL"}) for step in range(1, 20))
