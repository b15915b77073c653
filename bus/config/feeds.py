"""Settings of one feed: ``[feeds.<name>]``."""

from __future__ import annotations

from dataclasses import dataclass

from bus.config.field import setting


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """One feed process: which venue, which instruments, how."""

    venue: str = setting("", doc="The venue's package under bus.feeds; empty: the feed's name.")
    enabled: bool = setting(True, doc="Whether the supervisor starts this feed.")
    symbols: tuple[str, ...] = setting((), doc="Instruments, in normal form (BTC-USDT, AAPL).")
    ws_url: str = setting("", unit="URL", doc="WebSocket base in live mode; empty: the venue's.")
    rest_url: str = setting("", unit="URL", doc="REST base in live mode; empty: the venue's.")
    news_categories: tuple[str, ...] = setting((), doc="News categories to poll, where offered.")


DEFAULT_FEEDS: dict[str, FeedSettings] = {
    "binance": FeedSettings(symbols=("BTC-USDT", "ETH-USDT", "SOL-USDT")),
    "finnhub": FeedSettings(
        symbols=("AAPL", "MSFT", "GOOGL"),
        news_categories=("general", "forex", "crypto", "merger"),
    ),
}
