"""Settings of the WebSocket bridge: ``[bridge]``."""

from __future__ import annotations

from typing import Final

from bus.config.access import (
    DEFAULT_TIERS,
    AccessSettings,
    AdminSettings,
    LimitSettings,
    TierSettings,
)
from bus.config.field import below, section, setting

LEAST_TTL_S: Final = 0.1
CLOSES_PER_S: Final = 200
"""Connections that a draining bridge closes in a second, at most."""
_END_S: Final = 2.0
"""What the end of a bridge takes beside its clients: handshakes under way, sockets, ledger."""


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach an address."""
    if host in ("localhost", "127.0.0.1", "::1"):
        return True
    from ipaddress import ip_address  # hardly any host needs it, and every process has settings

    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@section
class BridgeSettings:
    """Where browsers connect and what the bridge promises them."""

    host: str = setting(
        "127.0.0.1",
        doc='Address to listen on. Off loopback the bridge starts only with auth = "jwt", or with '
        'auth = "none" said outright.',
    )
    port: int = setting(8000, minimum=0, maximum=65535, doc="TCP port, shared by all workers.")
    workers: int = setting(
        2, unit="processes", minimum=1, maximum=64, doc="Bridge processes sharing the port."
    )
    auth: str = setting(
        "",
        choices=("", "none", "jwt"),
        doc="Who may connect. Empty: everybody who reaches a loopback address, and nothing else "
        'may be listened on. "jwt": who has a token. "none": everybody, on any address.',
    )
    origins: tuple[str, ...] = setting(
        (),
        doc="Origins (https://desk.example.com) whose pages may connect, besides pages the bridge "
        'serves itself and programs that send no Origin. "*" allows every page.',
    )
    max_connections: int = setting(
        5_000,
        unit="connections",
        minimum=1,
        doc="Connections of one bridge process; further ones get HTTP 503, and are counted.",
    )
    max_subscriptions: int = setting(
        1_024,
        unit="topics",
        minimum=1,
        doc="Topics of one connection; further ones are rejected with limit_subscriptions.",
    )
    max_message_bytes: int = setting(
        65_536,
        unit="bytes",
        minimum=1_024,
        doc="Longest message accepted from a client; a longer one closes with 1009.",
    )
    max_buffered_bytes: int = setting(
        1_048_576,
        unit="bytes",
        minimum=65_536,
        doc="Trades, news and book changes kept for a client that reads too slowly; beyond it the "
        "client is closed with 4002 and counted, or (on_slow=gap) loses the oldest.",
    )
    pressure_bytes: int = setting(
        262_144,
        unit="bytes",
        minimum=16_384,
        doc="Bytes waiting for a client beyond which its state topics (prices, quotes, books, "
        "tickers) come as latest values only, until it has caught up.",
    )
    pressure_age_s: float = setting(
        0.25,
        unit="s",
        minimum=0.05,
        doc="The same by time: the oldest byte has waited this long.",
    )
    max_buffered_age_s: float = setting(
        5.0,
        unit="s",
        minimum=0.1,
        doc="The limit of max_buffered_bytes by time: the oldest trade, news item or book change "
        "has waited this long.",
    )
    stuck_s: float = setting(
        10.0,
        unit="s",
        minimum=0.5,
        doc="A client whose socket has taken no byte for this long is cut off, and counted.",
    )
    compression: str = setting(
        "auto",
        choices=("auto", "on", "off"),
        doc="Offer permessage-deflate. auto: off when listening on a loopback address, else on.",
    )
    min_conflate_ms: int = setting(
        0,
        unit="ms",
        minimum=0,
        maximum=5_000,
        doc="Least conflation of every topic: 0 sends every update to whoever wants it.",
    )
    wildcard_cost: int = setting(
        100,
        unit="topics",
        minimum=1,
        doc="What a wildcard subscription counts against max_subscriptions.",
    )
    book_checksum: bool = setting(
        False, doc="Put the checksum of the book into every order-book change."
    )
    recovery_wait_ms: int = setting(
        5_000,
        unit="ms",
        minimum=1,
        doc="How long an acknowledgement with `since` waits for the bus before it says that "
        "nothing could be recovered.",
    )
    send_buffer_bytes: int = setting(
        131_072,
        unit="bytes",
        minimum=16_384,
        doc="Kernel send buffer of each connection (SO_SNDBUF); small, so that a slow client "
        "shows here and not behind megabytes in the kernel.",
    )
    max_depth: int = setting(
        20,
        unit="levels",
        minimum=1,
        maximum=1_000,
        doc="Most order-book levels a side that a client may ask for.",
    )
    history: int = setting(
        1_000,
        unit="messages",
        minimum=1,
        doc="Trades or news items kept per subscribed topic for history and recovery.",
    )
    history_age_s: float = setting(
        300.0, unit="s", minimum=1, doc="Trades older than this are not recovered."
    )
    linger_s: float = setting(
        5.0,
        unit="s",
        minimum=0,
        doc="How long a topic that nobody wants any more stays subscribed on the bus.",
    )
    first_value_wait_ms: int = setting(
        250,
        unit="ms",
        minimum=1,
        doc="How long an acknowledgement waits for the last value from the bus before it says "
        "`pending`.",
    )
    ping_interval_s: float = setting(
        20.0, unit="s", minimum=1, doc="WebSocket ping of every connection."
    )
    ping_timeout_s: float = setting(
        20.0, unit="s", minimum=1, doc="A client without a pong for this long is closed with 4003."
    )
    handshake_timeout_s: float = setting(
        10.0, unit="s", minimum=1, doc="Time a client has to complete its HTTP request."
    )
    close_timeout_s: float = setting(
        5.0, unit="s", minimum=0.1, doc="Time a client has to answer a close before it is cut off."
    )
    drain_s: float = setting(
        15.0,
        unit="s",
        minimum=0,
        maximum=300,
        doc="When replaced or stopped alone: the time over which the connections are closed, with "
        "4001; half of it each client has to open its next one. At most 200 are closed a second, "
        "so many clients take longer; the supervisor waits as long as max_connections may take. "
        "When everything is taken down it is a second.",
    )
    price_ttl_s: float = setting(60.0, unit="s", minimum=LEAST_TTL_S, doc="Older prices are stale.")
    quote_ttl_s: float = setting(60.0, unit="s", minimum=LEAST_TTL_S, doc="Older quotes are stale.")
    orderbook_ttl_s: float = setting(
        10.0, unit="s", minimum=LEAST_TTL_S, doc="Older books are stale."
    )
    trades_ttl_s: float = setting(
        300.0, unit="s", minimum=LEAST_TTL_S, doc="Without a trade for this long a topic is stale."
    )
    ticker_ttl_s: float = setting(
        60.0, unit="s", minimum=LEAST_TTL_S, doc="Older tickers are stale."
    )
    ttl_s: dict[str, float] = setting(
        {},
        unit="s",
        doc="The same for single symbols, in place of what their stream has: "
        '"price.AAPL" = 900. A symbol is an alias or an instrument.',
    )
    expire: bool = setting(
        False,
        doc="Whether a value past its TTL is withheld from who subscribes or asks for it, as the "
        "legacy API did. Otherwise it is sent, marked stale and with its age.",
    )
    receive_hwm: int = setting(
        100_000,
        unit="messages",
        minimum=0,
        doc="High-water mark of the bridge's bus socket; beyond it ZeroMQ drops, the bridge sees "
        "the gap and repairs it by replay. 0 means no limit.",
    )
    access: AccessSettings = below(AccessSettings)
    limits: LimitSettings = below(LimitSettings)
    tiers: dict[str, TierSettings] = below(lambda: dict(DEFAULT_TIERS))
    admin: AdminSettings = below(AdminSettings)

    @property
    def farewell_s(self) -> float:
        """How long a bridge with all the connections that it may have takes to close them."""
        row_s = max(self.drain_s / 2, self.max_connections / CLOSES_PER_S)
        return row_s + self.drain_s / 2 + self.close_timeout_s

    @property
    def stop_s(self) -> float:
        """How long such a bridge may take from the signal to its end."""
        return self.farewell_s + _END_S
