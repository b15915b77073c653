"""The whole Finnhub feed against a server that speaks the venue's bytes and has its faults."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bus.config import FeedSettings
from bus.errors import ConfigError
from bus.feeds.errors import CommandRefused, KeyInUse
from bus.feeds.finnhub import venue as venue_module
from bus.feeds.finnhub.venue import FinnhubFeed, api_key, create
from bus.feeds.shared_file import OnlyOne, file_name
from bus.model import Instrument
from bus.testing import eventually
from tests.feeds.fake_venue import FakeVenue, RestAnswer, fake_venue, ok
from tests.feeds.tap import Statuses, Tap, make_feed

KEY = "c0ffee-key"
NEWS_ITEM = {"id": 5, "datetime": 100, "headline": "A &amp; B", "category": "technology"}


@dataclass
class Finnhub:
    """The venue's REST side: category to items; counts nothing, remembers nothing."""

    news: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    company: list[dict[str, Any]] = field(default_factory=list)
    market: dict[str, Any] = field(default_factory=lambda: {"isOpen": True, "session": "regular"})
    failing: RestAnswer | None = None
    stocks: tuple[str, ...] = ()

    def __call__(self, path: str, query: dict[str, str]) -> RestAnswer:
        if self.failing is not None:
            return self.failing
        if path == "/api/v1/news":
            newest = int(query["minId"])
            return ok([one for one in self.news.get(query["category"], []) if one["id"] > newest])
        if path == "/api/v1/company-news":
            return ok(self.company)
        if path == "/api/v1/quote":
            return ok({"c": 110.0, "pc": 100.0, "o": 101.0, "t": 5})
        if path == "/api/v1/stock/market-status":
            return ok(self.market)
        if path == "/api/v1/stock/symbol" and self.stocks:
            return ok([{"symbol": name, "currency": "USD"} for name in self.stocks])
        if path == "/api/v1/crypto/symbol" and query["exchange"] == "BINANCE":
            return ok([{"symbol": "BINANCE:BTCUSDT", "displaySymbol": "BTC/USDT"}])
        return 404, {}, b"{}"


@dataclass
class Running:
    venue: FakeVenue
    rest: Finnhub
    tap: Tap
    statuses: Statuses
    finnhub: FinnhubFeed


@asynccontextmanager
async def running_feed(
    prepare: Callable[[FakeVenue, Finnhub], None] | None = None,
    shared_dir: Path | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    async with fake_venue() as venue:
        rest = Finnhub()
        venue.rest = rest
        if prepare is not None:
            prepare(venue, rest)
        tap, statuses = Tap(), Statuses()
        options = {
            "symbols": ("AAPL", "BINANCE:BTCUSDT"),
            "news_categories": ("general", "crypto"),
            "retry_floor_s": 0.01,
            "retry_cap_s": 0.05,
            "messages_per_s": 100,
            **settings,
        }
        feed = make_feed(
            tap,
            statuses,
            FeedSettings(**options),
            name="finnhub",
            ws_base=venue.ws_base,
            rest_base=venue.rest_base,
        )
        finnhub = FinnhubFeed(dataclasses.replace(feed, shared_dir=shared_dir), KEY)
        task = asyncio.ensure_future(finnhub.run())
        try:
            yield Running(venue, rest, tap, statuses, finnhub)
        finally:
            feed.stopping.set()
            await asyncio.wait_for(task, 5)


def trade(symbol: str, price: float, at_ms: int = 9_000_000_000) -> str:
    return json.dumps({"type": "trade", "data": [{"s": symbol, "p": price, "t": at_ms, "v": 1}]})


async def test_it_subscribes_symbol_by_symbol_and_goes_live(loop_kind: str) -> None:
    async with running_feed() as run:
        await eventually(lambda: len(run.venue.messages) == 3)
        assert run.venue.messages == [
            '{"type":"subscribe","symbol":"AAPL"}',
            '{"type":"subscribe","symbol":"BINANCE:BTCUSDT"}',
            '{"type":"subscribe-news","symbol":"AAPL"}',
        ]
        assert run.venue.handshakes == [f"/?token={KEY}"]
        run.venue.say(trade("AAPL", 105.0), trade("BINANCE:BTCUSDT", 60000.5))
        await eventually(lambda: run.statuses.states("AAPL") == ["connecting", "live"])
        await eventually(lambda: run.statuses.states("BINANCE:BTCUSDT") == ["connecting", "live"])
        await eventually(lambda: run.statuses.states() == ["connecting", "live"])
        assert len(run.tap.bodies("md/trades/sim/AAPL/")) == 1


async def test_the_key_is_in_a_header_and_never_in_a_rest_url_or_a_log(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with running_feed() as run:
        await eventually(lambda: len(run.venue.requests) >= 5)
        assert {headers["X-Finnhub-Token"] for headers in run.venue.headers} == {KEY}
        assert KEY not in str(run.venue.requests)
        run.venue.abort_all()
        await eventually(lambda: run.venue.opened == 2)
    assert KEY not in "".join(capfd.readouterr())


async def test_day_figures_give_prices_their_change() -> None:
    async with running_feed(symbols=("AAPL",)) as run:
        await eventually(lambda: run.tap.bodies("md/ticker/sim/AAPL/"))
        await eventually(lambda: run.venue.open)
        run.venue.say(trade("AAPL", 105.0))
        await eventually(lambda: len(run.tap.bodies("md/price/sim/AAPL/")) == 2)
        assert run.tap.bodies("md/price/sim/AAPL/")[-1].change_percent == 5.0


async def test_news_from_both_sources_is_published_once(loop_kind: str) -> None:
    def prepare(venue: FakeVenue, rest: Finnhub) -> None:
        rest.news = {"general": [NEWS_ITEM], "crypto": [{**NEWS_ITEM, "id": 6}]}
        rest.company = [{**NEWS_ITEM, "id": 7, "category": "company"}]

    async with running_feed(prepare) as run:
        company = "md/news/sim/company/"
        await eventually(lambda: run.tap.bodies(company))
        await eventually(lambda: len(run.venue.messages) == 3)
        again = {**NEWS_ITEM, "id": 7, "category": "company"}
        fresh = {**NEWS_ITEM, "id": 8, "category": "company"}
        run.venue.say(json.dumps({"type": "news", "data": [again, fresh]}))
        await eventually(lambda: len(run.tap.bodies(company)) == 2)
        assert [body.id for body in run.tap.bodies(company)] == ["7", "8"]
        for category, news_id in (("general", "5"), ("crypto", "6")):
            topic = f"md/news/sim/{category}/"
            await eventually(lambda topic=topic: run.tap.bodies(topic))  # type: ignore[misc]
            assert [body.id for body in run.tap.bodies(topic)] == [news_id]
        assert run.tap.bodies("md/news/sim/general/")[0].headline == "A & B"


async def test_the_next_poll_asks_only_for_what_is_newer() -> None:
    def prepare(venue: FakeVenue, rest: Finnhub) -> None:
        rest.news = {"general": [NEWS_ITEM]}

    async with running_feed(prepare, news_poll_s=1.0, news_categories=("general",)) as run:
        general = "md/news/sim/general/"
        await eventually(lambda: run.tap.bodies(general))
        run.rest.news["general"].append({**NEWS_ITEM, "id": 9})
        await eventually(lambda: len(run.tap.bodies(general)) == 2)
        asked = [query["minId"] for path, query in run.venue.requests if path == "/api/v1/news"]
        assert asked[:2] == ["0", "5"]


async def test_a_refused_key_is_down_and_rest_failures_do_not_matter() -> None:
    def prepare(venue: FakeVenue, rest: Finnhub) -> None:
        venue.refuse = (401, {}, b'{"error":"Invalid API key"}')
        rest.failing = (401, {}, b'{"error":"Invalid API key."}')

    async with running_feed(prepare) as run:
        await eventually(lambda: run.statuses.states() == ["connecting", "down"])
        assert run.statuses.last().reason == "unauthorized"
        assert len(run.venue.handshakes) == 1


async def test_a_complaint_of_the_venue_is_shown() -> None:
    async with running_feed() as run:
        await eventually(lambda: run.venue.open)
        run.venue.say('{"msg":"Subscribing to too many symbols","type":"error"}')
        await eventually(lambda: run.statuses.last().reason == "venue_error")
        assert run.statuses.last().detail == "Subscribing to too many symbols"


async def test_a_closed_market_is_closed_and_not_stale() -> None:
    def prepare(venue: FakeVenue, rest: Finnhub) -> None:
        rest.market = {"isOpen": False, "session": None}

    async with running_feed(prepare, stale_trades_s=0.1) as run:
        await eventually(lambda: run.statuses.state("AAPL") == "closed")
        await eventually(lambda: run.statuses.state("BINANCE:BTCUSDT") == "stale")


async def test_after_a_reset_everything_is_subscribed_again(loop_kind: str) -> None:
    async with running_feed() as run:
        await eventually(lambda: len(run.venue.messages) == 3)
        run.venue.abort_all()
        await eventually(lambda: len(run.venue.messages) == 6)
        assert run.finnhub.report()["reconnects"] == 1
        assert len(run.venue.open) == 1  # never two at a time with one key


async def test_rest_down_leaves_the_stream_alone() -> None:
    def prepare(venue: FakeVenue, rest: Finnhub) -> None:
        rest.failing = (500, {}, b"oops")

    async with running_feed(prepare) as run:
        await eventually(lambda: run.venue.open)
        run.venue.say(trade("AAPL", 105.0))
        await eventually(lambda: run.tap.bodies("md/trades/sim/AAPL/"))
        run.finnhub.broker_attached()


def feed_with(simulated: bool = False, **settings: Any) -> Any:
    options = FeedSettings(symbols=("AAPL",), **settings)
    return make_feed(Tap(), Statuses(), options, name="finnhub", simulated=simulated)


def test_the_key_comes_from_its_file_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINNHUB_API_KEY", " from-environment ")
    assert api_key(feed_with()) == "from-environment"
    file = tmp_path / "key"
    file.write_text("from-file\n")
    assert api_key(feed_with(api_key_file=str(file))) == "from-file"


def test_no_key_is_a_setting_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FINNHUB_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"set FINNHUB_API_KEY or feeds\.finnhub\.api_key_file"):
        create(feed_with())
    with pytest.raises(ConfigError, match="cannot be read"):
        create(feed_with(api_key_file="/nowhere/key"))


def test_a_key_with_odd_characters_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FINNHUB_API_KEY", "abc def")
    with pytest.raises(ConfigError) as caught:
        api_key(feed_with())
    assert "abc" not in str(caught.value)


def test_the_simulator_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINNHUB_API_KEY", "a-real-key")
    assert api_key(feed_with(simulated=True)) == "simulated"


async def test_a_second_process_with_the_same_key_ends_with_the_firsts_pid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(venue_module, "KEY_WAIT_S", 0.0)
    code = (
        "import sys; from pathlib import Path; from bus.feeds.shared_file import OnlyOne;"
        "lock = OnlyOne(Path(sys.argv[1])); lock.take(); print('held', flush=True);"
        "sys.stdin.read()"
    )
    path = tmp_path / file_name("finnhub-key", KEY)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        str(path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    options = FeedSettings(symbols=("AAPL",))
    statuses = Statuses()
    feed = make_feed(Tap(), statuses, options, name="finnhub")
    second = FinnhubFeed(dataclasses.replace(feed, shared_dir=tmp_path), KEY)
    with pytest.raises(KeyInUse, match=rf"process {process.pid} is connected with this API key"):
        await second.run()
    assert statuses.last().reason == "key_in_use"
    process.kill()
    await process.communicate()
    async with running_feed(shared_dir=tmp_path) as run:  # the kernel has freed the lock
        await eventually(lambda: run.venue.open)
        assert OnlyOne(path).take() == os.getpid()


async def test_a_subscription_too_many_is_told_of_the_symbol_it_concerns() -> None:
    async with running_feed(symbols=("AAPL", "MSFT", "GOOGL"), news_stream=False) as run:
        await eventually(lambda: len(run.venue.messages) == 3)
        run.venue.say(trade("AAPL", 105.0))
        run.venue.say('{"msg":"Subscribing to too many symbols","type":"error"}')
        await eventually(lambda: run.statuses.state("GOOGL") == "down")
        status = run.statuses.last("GOOGL")
        assert status.reason == "subscription_limit"
        assert "Subscribing to too many symbols" in (status.detail or "")
        assert run.statuses.state("MSFT") == "connecting"
        await eventually(lambda: run.statuses.state("AAPL") == "live")
        answer = await run.finnhub.add_symbols({"symbols": ["NVDA"]})
        assert answer["refused"][0]["reason"] == "the venue takes no more symbols with this key"
        await run.finnhub.remove_symbols({"symbols": ["GOOGL"]})
        answer = await run.finnhub.add_symbols({"symbols": ["NVDA"]})
        assert answer == {"symbols": ["AAPL", "MSFT", "NVDA"], "refused": []}


async def test_symbols_come_and_go_on_the_one_connection(loop_kind: str) -> None:
    def prepare(venue: FakeVenue, rest: Finnhub) -> None:
        rest.stocks = ("AAPL", "MSFT", "GOOGL")

    async with running_feed(prepare, symbols=("AAPL",), news_stream=False) as run:
        await eventually(lambda: run.tap.bodies("md/instrument/sim/AAPL/"))
        await eventually(lambda: len(run.venue.messages) == 1)
        answer = await run.finnhub.add_symbols({"symbols": ["MSFT", "GOGLE", "IC MARKETS:1"]})
        assert answer["symbols"] == ["AAPL", "MSFT"]
        assert [one["symbol"] for one in answer["refused"]] == ["GOGLE", "IC MARKETS:1"]
        assert answer["refused"][0]["nearest"] == ["GOOGL"]
        await eventually(lambda: run.venue.messages[1:] == ['{"type":"subscribe","symbol":"MSFT"}'])
        run.venue.say(trade("MSFT", 300.0))
        await eventually(lambda: run.statuses.state("MSFT") == "live")
        await run.finnhub.remove_symbols({"symbols": ["AAPL"]})
        await eventually(lambda: run.venue.messages[-1] == '{"type":"unsubscribe","symbol":"AAPL"}')
        run.venue.say(trade("AAPL", 105.0), trade("MSFT", 301.0))
        await eventually(lambda: len(run.tap.bodies("md/trades/sim/MSFT/")) == 2)
        assert run.tap.bodies("md/trades/sim/AAPL/") == []
        assert run.statuses.last("AAPL").reason == "removed"
        assert (await run.finnhub.list_symbols({}))["states"] == {"MSFT": "live"}
        with pytest.raises(CommandRefused, match="one connection a key"):
            await run.finnhub.rotate({})
        assert run.venue.opened == 1


async def test_a_symbol_no_list_has_is_down_and_the_others_are_described() -> None:
    def prepare(venue: FakeVenue, rest: Finnhub) -> None:
        rest.stocks = ("AAPL", "GOOGL")

    async with running_feed(prepare, symbols=("AAPL", "GOGLE", "BINANCE:BTCUSDT")) as run:
        await eventually(lambda: run.statuses.state("GOGLE") == "down")
        assert run.statuses.last("GOGLE").detail == "the venue lists no GOGLE; nearest: GOOGL"
        aapl = Instrument("AAPL", "USD", "stock", "trading", "AAPL")
        await eventually(lambda: run.tap.bodies("md/instrument/sim/AAPL/")[-1:] == [aapl])
        pair = Instrument("BTC", "USDT", "spot", None, "BINANCE:BTCUSDT")
        await eventually(lambda: run.tap.bodies("md/instrument/sim/BINANCE:BTCUSDT/") == [pair])


async def test_a_whole_repeated_frame_is_dropped_and_true_repeats_are_kept() -> None:
    two = {"s": "AAPL", "p": 105.0, "t": 9_000_000_000, "v": 4}
    frame = json.dumps({"type": "trade", "data": [two, two]})
    async with running_feed(symbols=("AAPL",)) as run:
        await eventually(lambda: run.venue.messages)
        run.venue.say(frame, frame, frame, trade("AAPL", 106.0))
        await eventually(lambda: run.tap.bodies("md/trades/sim/AAPL/")[-1:][0:1])
        await eventually(lambda: len(run.tap.bodies("md/trades/sim/AAPL/")) == 3)
        prices = [body.price for body in run.tap.bodies("md/trades/sim/AAPL/")]
        assert prices == [105.0, 105.0, 106.0]
