"""What a session may do, request by request."""

from __future__ import annotations

import msgspec

from bus.wsbridge.access.entitlement import Entitlement
from bus.wsbridge.access.grant import Access
from bus.wsbridge.access.warden import Warden
from bus.wsbridge.messages import AuthRequest, ListRequest, Ping
from bus.wsbridge.topics import MarketTopic
from tests.wsbridge.access.test_grant import base

T0_NS = 1_800_000_000_000_000_000
S = 1_000_000_000


def topic(name: str, feed_symbol: str) -> MarketTopic:
    stream, _, symbol = name.partition(".")
    return msgspec.convert(
        {"name": name, "stream": stream, "symbol": symbol.partition("@")[0], "source": "sim",
         "feed": "binance", "feed_symbol": feed_symbol, "bus_key": b"x"},
        MarketTopic,
    )  # fmt: skip


def test_a_locked_one_lets_auth_and_ping_through() -> None:
    warden = Warden(base())
    assert warden.is_locked
    assert warden.lets_through(AuthRequest(token="t"))
    assert warden.lets_through(Ping())
    assert not warden.lets_through(ListRequest())
    assert not warden.allows(topic("price.BTC", "BTC-USDT"))
    warden.access = Access(base())
    assert warden.lets_through(ListRequest())
    assert warden.allows(topic("price.BTC", "BTC-USDT"))


def test_a_topic_goes_by_its_alias_and_by_its_symbol() -> None:
    for pattern in ("price.BTC", "price.BTC-USDT"):
        warden = Warden(base(), Access(base(), Entitlement([pattern])))
        assert warden.allows(topic("price.BTC", "BTC-USDT"))
        assert not warden.allows(topic("price.BTC@x", "BTC-USDT"))
        assert not warden.allows_pattern("price.*")
    assert Warden(base(), Access(base())).allows_pattern("price.*")


def test_the_third_refusal_in_ten_seconds_closes() -> None:
    warden = Warden(base(), Access(base()))
    for _ in range(50):
        assert warden.spend(T0_NS) is None
    over = [warden.spend(T0_NS) for _ in range(3)]
    assert [one and one.closes for one in over] == [False, False, True]
    assert over[0] is not None
    assert over[0].retry_after_ms == 100


def test_refusals_far_apart_do_not_close() -> None:
    limits = msgspec.structs.replace(base(), actions_per_s=0.01, burst=1)
    warden = Warden(limits, Access(limits))
    assert warden.spend(T0_NS) is None
    for second in range(1, 40, 6):
        over = warden.spend(T0_NS + second * S)
        assert over is not None
        assert not over.closes


def test_a_users_share_counts_after_the_connections_own() -> None:
    asked: list[tuple[str, int]] = []

    def quota(user: str, per_minute: int, _now_ns: int) -> int:
        asked.append((user, per_minute))
        return 0 if len(asked) < 3 else 1_500_000

    limits = msgspec.structs.replace(base(), actions_per_minute=30)
    warden = Warden(limits, Access(limits, user="u"), quota)
    assert warden.spend(T0_NS) is None
    assert warden.spend(T0_NS) is None
    over = warden.spend(T0_NS)
    assert over is not None
    assert over.retry_after_ms == 2, "rounded up"
    assert asked == [("u", 30)] * 3
    nobody = Warden(limits, Access(limits), quota)
    assert nobody.spend(T0_NS) is None
    assert len(asked) == 3
