"""``[simulator]``: the seeded market (or the recording) behind the venues' own protocols."""

from __future__ import annotations

from bus.config.field import section, setting

DEFAULT_PORTS: dict[str, int] = {
    "binance": 8011,
    "finnhub": 8012,
    "coinbase": 8013,
    "kraken": 8014,
}


@section
class SimulatorSettings:
    """Settings of the ``simulator`` process; the embedded profile's feeds connect to it."""

    host: str = setting(
        "127.0.0.1",
        doc="Address every venue listens on. The control endpoint answers loopback callers only.",
    )
    ports: dict[str, int] = setting(
        DEFAULT_PORTS,
        unit="0 to 65535",
        doc="venue = port: where each simulated venue speaks its WebSocket and REST protocols; 0 "
        "takes any free port. A venue is served while a feed of it is enabled.",
    )
    source: str = setting(
        "market",
        doc="What the venues say: the seeded market, or recorded traffic.",
        choices=("market", "playback"),
    )
    seed: int = setting(20240808, doc="Seed of the market; the same seed gives the same market.")
    crypto_symbols: tuple[str, ...] = setting(
        ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "XRPUSDT"),
        doc="Binance symbols of the seeded market; unknown ones get a made-up price. Coinbase and "
        "Kraken list the assets of those in USDT against USD.",
    )
    stock_symbols: tuple[str, ...] = setting(
        ("AAPL", "MSFT", "GOOGL", "AMZN", "NVDA", "TSLA"),
        doc="Stocks of the seeded market (Finnhub); unknown ones get a made-up price.",
    )
    activity: float = setting(
        1.0,
        doc="Factor on every rate of the seeded market: 10 is ten times the usual traffic.",
        minimum=0.01,
        maximum=100.0,
    )
    book_levels: int = setting(
        500,
        doc="Levels a side that the simulated order books hold, about.",
        minimum=20,
        maximum=5000,
    )
    step_ms: int = setting(
        20,
        unit="ms",
        doc="How often the market moves on and its messages are sent.",
        minimum=1,
        maximum=1000,
    )
    news_interval_s: float = setting(
        20.0,
        unit="s",
        doc="Mean time between two general news items; company news come at the same pace.",
        minimum=0.05,
        maximum=86400.0,
    )
    client_buffer_bytes: int = setting(
        8_000_000,
        unit="bytes",
        doc="Bytes queued for one WebSocket client before it is cut off as too slow.",
        minimum=65_536,
        maximum=1_000_000_000,
    )
    ping_interval_s: float = setting(
        20.0, unit="s", doc="Time between two WebSocket pings to a Binance client.", minimum=0.05
    )
    pong_timeout_s: float = setting(
        60.0, unit="s", doc="A Binance client that owes a pong this long is cut off.", minimum=0.05
    )
    max_connection_s: float = setting(
        86_400.0, unit="s", doc="Life of a Binance connection; the venue ends it then.", minimum=1.0
    )
    max_connections: int = setting(
        1_000,
        doc="Clients a server keeps at once; more are answered HTTP 503.",
        minimum=1,
        maximum=100_000,
    )
    weight_per_min: int = setting(
        6_000,
        doc="Binance REST request weight one address may use in a minute; then 429, then 418.",
        minimum=1,
    )
    finnhub_calls_per_min: int = setting(
        60, doc="Finnhub REST calls one key may make in a minute; then 429.", minimum=1
    )
    finnhub_max_symbols: int = setting(
        50, doc="Symbols one Finnhub connection may subscribe to.", minimum=1
    )
    finnhub_token: str = setting(
        "",
        doc="The one Finnhub key that is accepted; empty accepts any non-empty key.",
    )
    finnhub_ping_s: float = setting(
        60.0, unit="s", doc="Time between two Finnhub ping messages.", minimum=0.05
    )
    playback_files: tuple[str, ...] = setting(
        (),
        doc="Recorded traffic for source = playback: captures (.mdcap) of any venue, or Binance"
        " recordings (.gz, `<receive ns> <raw json>` lines), played in this order as one.",
    )
    playback_speed: str = setting(
        "1",
        doc='Speed of the playback: a factor such as "1" or "20", or "max" for flat out.',
    )
    playback_end: str = setting(
        "idle",
        doc="What a client gets after the last line: silence, a normal close, or the start again.",
        choices=("idle", "close", "loop"),
    )
    playback_snapshot: str = setting(
        "pass",
        doc="At the recorded place of the REST depth reply: pass it, or hold the playback until"
        " a client has asked for it.",
        choices=("pass", "hold"),
    )
