"""Settings of who may connect and how much they may ask for: ``[bridge.access]`` and below."""

from __future__ import annotations

from bus.config.field import section, setting

ALGORITHMS = (
    "HS256",
    "HS384",
    "HS512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
)
"""What tokens may be signed with. ``none`` is not among them, and cannot be."""


@section
class AccessSettings:
    """How tokens are checked; in force with ``bridge.auth = "jwt"`` only."""

    algorithms: tuple[str, ...] = setting(
        ("HS256",),
        doc="Signature algorithms that are accepted: HS256, HS384, HS512, and with the crypto "
        "extra RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA.",
    )
    keys: dict[str, str] = setting(
        {},
        doc="Keys by their id (the `kid` of a token): the path of a file, or env:NAME. Several at "
        "once make a rotation. Secrets of HS* have at least 32 bytes and a file that only this "
        "user can read; the others are public keys in PEM.",
    )
    audience: tuple[str, ...] = setting(
        (), doc="A token must name one of these in `aud`. Empty: `aud` is not looked at."
    )
    issuer: tuple[str, ...] = setting(
        (), doc="A token must name one of these in `iss`. Empty: `iss` is not looked at."
    )
    leeway_s: float = setting(
        30.0,
        unit="s",
        minimum=0,
        maximum=300,
        doc="How far the clocks of this host and of the issuer may differ; a connection is closed "
        "with 4004 this long after its token's `exp`.",
    )
    auth_timeout_s: float = setting(
        10.0,
        unit="s",
        minimum=0.1,
        doc="Time a client that brought no token has to send one; then it is closed with 4009.",
    )
    expiry_notice_s: float = setting(
        60.0, unit="s", minimum=1, doc="How long before its token ends a client is reminded."
    )
    message_auth: str = setting(
        "browsers",
        choices=("browsers", "everyone"),
        doc="Who may bring the token in the first message. browsers: pages, which cannot set a "
        "header; a program without a token gets HTTP 401. everyone: programs too.",
    )
    allow_query_token: bool = setting(
        False, doc="Whether ?token= is accepted. URLs end up in logs of proxies: prefer tickets."
    )
    ticket_max_age_s: float = setting(
        60.0,
        unit="s",
        minimum=1,
        maximum=600,
        doc="Longest life (`exp` - `iat`) of a ticket; it is accepted once.",
    )
    deny_list: str = setting(
        "",
        unit="path",
        doc="A file of revoked tokens and users, one a line: a `jti`, or sub:USER. Read again when "
        "it changes and on SIGHUP. While it cannot be read, nobody is let in.",
    )
    default_tier: str = setting("free", doc="The tier of a token that names none.")


@section
class TierSettings:
    """What the users of one tier may have."""

    subscriptions: int = setting(
        10, unit="topics", minimum=1, doc="Topics of one connection of this tier."
    )
    actions_per_minute: int = setting(
        30,
        unit="actions",
        minimum=1,
        doc="Requests of one user, all connections and workers together: a bucket of that size "
        "that fills in a minute.",
    )
    connections: int = setting(
        1, unit="connections", minimum=1, doc="Connections of one user, all workers together."
    )
    topics: tuple[str, ...] = setting(
        ("*.*",), doc="Topics the tier may have: price.*, orderbook.BTC, *.BTC, *.*"
    )


DEFAULT_TIERS: dict[str, TierSettings] = {
    "free": TierSettings(10, 30, 1),
    "basic": TierSettings(50, 120, 3),
    "pro": TierSettings(200, 300, 5),
    "enterprise": TierSettings(1_000, 1_000, 10),
}


@section
class LimitSettings:
    """Bounds of one connection, one address and one process."""

    actions_per_s: float = setting(
        10.0,
        unit="1/s",
        minimum=0.1,
        doc="Requests of one connection; further ones are refused with rate_limited, and three "
        "refusals in 10 s close it with 4007.",
    )
    actions_burst: int = setting(
        50, unit="actions", minimum=1, doc="Requests of one connection that may come at once."
    )
    anonymous_subscriptions: int = setting(
        128,
        unit="topics",
        minimum=1,
        doc="Topics of a connection from another machine when there is no authentication.",
    )
    connections_per_ip: int = setting(
        50,
        unit="connections",
        minimum=1,
        doc="Connections of one address (IPv6: of a /64), all workers together; then HTTP 429.",
    )
    new_connections_per_ip: int = setting(
        300,
        unit="connections",
        minimum=1,
        doc="New connections of one address: a bucket of that size that fills in "
        "`new_connections_period_s`; then HTTP 429.",
    )
    new_connections_period_s: float = setting(
        300.0, unit="s", minimum=1, doc="See `new_connections_per_ip`."
    )
    loopback_per_ip: bool = setting(
        False,
        doc="Whether the two limits above hold for programs of this machine too. A proxy on this "
        "machine belongs into `trusted_proxies`, whatever stands here.",
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        doc="Addresses and networks (10.0.0.0/8) of proxies: from them X-Forwarded-For is "
        "believed, and from nobody else.",
    )
    max_handshakes: int = setting(
        256,
        unit="handshakes",
        minimum=1,
        doc="Handshakes in progress; beyond it those that have taken longest, and longer than a "
        "second, get HTTP 503.",
    )
    quota_policy: str = setting(
        "newest",
        choices=("newest", "reject"),
        doc="A user with too many connections. newest: the oldest is closed with 4505. reject: "
        "the new one is, with 4504.",
    )
    idle_s: float = setting(
        60.0,
        unit="s",
        minimum=0,
        doc="A connection to a multi endpoint without a subscription for this long is closed with "
        "4009. 0 means never.",
    )
    max_age_s: float = setting(
        0.0,
        unit="s",
        minimum=0,
        doc="A connection this old is told to come back and closed with 4006. 0 means never.",
    )


@section
class AdminSettings:
    """The admin port of each bridge worker: figures and operator actions."""

    enabled: bool = setting(True, doc="Whether bridge workers open an admin port.")
    host: str = setting(
        "127.0.0.1", doc="Address of the admin ports. Off loopback a token is needed."
    )
    port: int = setting(
        0,
        minimum=0,
        maximum=65_535,
        doc="Admin port of bridge.1; bridge.2 has the next one, and so on. 0: any free port, "
        "which `mdbus status --json` shows.",
    )
    token: str = setting(
        "",
        doc="Where the bearer token of the admin port is: the path of a file, or env:NAME. Empty: "
        "every program of this machine may use it.",
    )
