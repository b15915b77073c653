"""Settings of one feed: ``[feeds.<name>]``."""

from __future__ import annotations

from bus.config.field import section, setting


@section
class FeedSettings:
    """One feed process: which venue, which instruments, how."""

    venue: str = setting("", doc="The venue's package under bus.feeds; empty: the feed's name.")
    enabled: bool = setting(True, doc="Whether the supervisor starts this feed.")
    symbols: tuple[str, ...] = setting((), doc="Instruments, in normal form (BTC-USDT, AAPL).")
    ws_url: str = setting("", unit="URL", doc="WebSocket base in live mode; empty: the venue's.")
    rest_url: str = setting("", unit="URL", doc="REST base in live mode; empty: the venue's.")
    news_categories: tuple[str, ...] = setting((), doc="News categories to poll, where offered.")
    news_poll_s: float = setting(
        15.0, unit="s", minimum=1, maximum=86_400, doc="Time between two polls of one category."
    )
    news_stream: bool = setting(
        True, doc="Subscribe to the venue's news stream too (Finnhub: a paid plan's feature)."
    )
    api_key_file: str = setting(
        "",
        unit="path",
        doc="File holding the venue's API key, one line. Empty: the environment variable named "
        "in the venue's guide (FINNHUB_API_KEY).",
    )

    orderbook_levels: int = setting(
        20, minimum=1, maximum=1_000, doc="Levels a side in every `orderbook` message."
    )
    depth_limit: int = setting(
        1_000,
        minimum=1,
        maximum=5_000,
        doc="Levels a side asked for in a REST book snapshot. Binance weight: 5 up to 100, 25 up "
        "to 500, 50 up to 1,000, 250 beyond.",
    )
    instrument_poll_s: float = setting(
        300.0,
        unit="s",
        minimum=10,
        maximum=86_400,
        doc="Time between two looks at the venue's list of instruments (halts, new tick sizes).",
    )
    book_refresh_s: float = setting(
        3_600.0,
        unit="s",
        minimum=0,
        maximum=86_400,
        doc="A book whose snapshot is older than this takes over a new one, without an outage. "
        "0: never for its age.",
    )
    book_max_levels: int = setting(
        20_000,
        minimum=100,
        maximum=1_000_000,
        doc="Levels a side kept in memory; beyond it the farthest tenth is forgotten and counted.",
    )
    buffer_diffs: int = setting(
        20_000,
        minimum=100,
        maximum=1_000_000,
        doc="Book changes held per symbol while its snapshot is on the way; beyond it the oldest "
        "is given up and counted, which costs another snapshot.",
    )
    depth_snapshot_deltas: int = setting(
        1_000,
        minimum=1,
        maximum=1_000,
        doc="A whole book is published on `depth` at least every so many changes.",
    )
    depth_snapshot_s: float = setting(
        30.0,
        unit="s",
        minimum=1,
        maximum=30,
        doc="A whole book is published on `depth` at least this often.",
    )

    streams_per_connection: int = setting(
        200,
        minimum=1,
        maximum=1_024,
        doc="Subscriptions on one WebSocket connection; more symbols open further connections.",
    )
    messages_per_s: int = setting(
        4,
        minimum=1,
        maximum=100,
        doc="Messages sent on one connection in any second, pongs counted; held over a second "
        "and a half, as they may bunch up on the way. Binance cuts off beyond 5 a second.",
    )
    rest_weight_per_minute: int = setting(
        0,
        minimum=0,
        maximum=100_000,
        doc="REST budget a minute, in the venue's weights. 0: half of what the venue allows.",
    )
    rest_timeout_s: float = setting(
        10.0, unit="s", minimum=0.5, maximum=120, doc="Longest wait for a REST answer."
    )
    connect_timeout_s: float = setting(
        10.0, unit="s", minimum=0.5, maximum=120, doc="Longest wait for a WebSocket handshake."
    )
    retry_floor_s: float = setting(
        0.25, unit="s", minimum=0.05, maximum=60, doc="Shortest wait before connecting again."
    )
    retry_cap_s: float = setting(
        30.0, unit="s", minimum=0.05, maximum=3_600, doc="Longest wait before connecting again."
    )
    unauthorized_retry_s: float = setting(
        300.0,
        unit="s",
        minimum=1,
        maximum=86_400,
        doc="Wait before asking again after the venue refused the API key (HTTP 401) or this "
        "location (HTTP 451).",
    )
    max_frame_bytes: int = setting(
        33_554_432,
        unit="bytes",
        minimum=16_777_216,
        maximum=1_073_741_824,
        doc="Largest WebSocket message accepted. Venues send whole books of 5 MB in one.",
    )
    rotate_after_s: float = setting(
        82_800.0,
        unit="s",
        minimum=0,
        maximum=86_400,
        doc="Age at which a connection is replaced by a new one, opened before the old one is "
        "closed. Binance cuts connections after 24 h. 0: never.",
    )

    give_up_after_s: float = setting(
        900.0,
        unit="s",
        minimum=0,
        maximum=86_400,
        doc="A feed that has brought nothing for so long ends, with one line, so that the "
        "supervisor starts it afresh; only under a supervisor. 0: never.",
    )
    shared_dir: str = setting(
        "",
        unit="path",
        doc="Directory where all feed processes of this host keep what they share: REST and "
        "connection budgets, locks of API keys. Of this user alone (mode 0700), or of a group "
        "(mode 2770) for the feeds of several users together. Empty: /tmp/mdbus-shared-<uid>, this "
        "user's feeds; with a simulated market, `shared` in the run directory.",
    )
    late_event_s: float = setting(
        5.0,
        unit="s",
        minimum=0,
        maximum=3_600,
        doc="Events later than this, the difference of the clocks taken out, for 3 s on end: "
        "stale, and the connection is replaced. 0: never.",
    )
    silent_connection_s: float = setting(
        60.0,
        unit="s",
        minimum=1,
        maximum=3_600,
        doc="A connection without any frame (pings count) for so long is given up.",
    )
    stale_trades_s: float = setting(
        300.0,
        unit="s",
        minimum=0,
        maximum=86_400,
        doc="Trades silent for so long: stale, until a stream's own rhythm has been learned (a "
        "minute); then 8 times its longest pause of late, at least 20 s. 0: never.",
    )
    stale_quote_s: float = setting(
        60.0,
        unit="s",
        minimum=0,
        maximum=86_400,
        doc="The same for quotes; learned, at least 10 s. 0: never.",
    )
    stale_ticker_s: float = setting(
        60.0,
        unit="s",
        minimum=0,
        maximum=86_400,
        doc="The same for tickers; learned, at least 10 s. 0: never.",
    )
    stale_depth_s: float = setting(
        10.0,
        unit="s",
        minimum=0,
        maximum=86_400,
        doc="The same for book changes; learned, at least 5 s. 0: never.",
    )

    capture: bool = setting(
        False,
        doc="Keep everything received and sent in files, to be played again with "
        "`mdbus replay`. Never while a recording is played.",
    )
    capture_dir: str = setting(
        "",
        unit="path",
        doc="Where captures go, a folder for each feed. Empty: $XDG_STATE_HOME/mdbus/capture, "
        "else ~/.local/state/mdbus/capture.",
    )
    capture_max_bytes: int = setting(
        10_737_418_240,
        unit="bytes",
        minimum=1_048_576,
        doc="All capture files of this feed together; the oldest are deleted for the newest.",
    )
    capture_roll_bytes: int = setting(
        268_435_456,
        unit="bytes",
        minimum=65_536,
        doc="Size at which a new capture file begins; one begins at each UTC hour as well. At "
        "most half of capture_max_bytes is used.",
    )


DEFAULT_FEEDS: dict[str, FeedSettings] = {
    "binance": FeedSettings(symbols=("BTC-USDT", "ETH-USDT", "SOL-USDT")),
    "finnhub": FeedSettings(
        symbols=("AAPL", "MSFT", "GOOGL"),
        news_categories=("general", "forex", "crypto", "merger"),
        silent_connection_s=180.0,
    ),
}
