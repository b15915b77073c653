"""From claims and tiers to rights: a token lowers, never raises."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.config import load
from bus.tokens import Claims, TokenRefused
from bus.wsbridge.access.grant import anonymous, base_limits, granted
from bus.wsbridge.messages import Limits

SETTINGS = load(None, ["bridge.auth=jwt", 'bridge.tiers.pro.topics=["price.*"]']).bridge


def base() -> Limits:
    """Limits as the bridge begins with."""
    return base_limits(SETTINGS)


def claims(**parts: object) -> Claims:
    return msgspec.convert({"subject": "u", "expires_s": 100.0} | parts, Claims)


def test_limits_of_everybody_are_told() -> None:
    found = base()
    assert (found.actions_per_s, found.burst) == (10.0, 50)
    assert (found.connections_per_ip, found.new_connections_per_ip) == (50, 300)
    assert found.new_connections_period_ms == 300_000
    assert (found.auth_timeout_ms, found.idle_ms) == (10_000, 60_000)
    assert found.max_age_ms is msgspec.UNSET, "off"


def test_a_tier_gives_and_the_token_lowers() -> None:
    access = granted(claims(tier="pro"), SETTINGS, base())
    assert (access.limits.subscriptions, access.max_connections) == (200, 5)
    assert (access.actions_per_minute, access.expires_ns) == (300, 100_000_000_000)
    assert access.topics.allows("price.BTC")
    assert not access.topics.allows("trades.BTC")
    own = granted(claims(tier="pro", topics=("trades.*",)), SETTINGS, base())
    assert own.topics.allows("trades.BTC"), "the token's topics replace the tier's"
    assert granted(claims(), SETTINGS, base()).tier == "free"


@given(st.dictionaries(st.sampled_from(["subscriptions", "connections", "actions_per_minute",
                                        "max_depth", "burst", "nonsense"]),
                       st.integers(-(2**40), 2**40)))  # fmt: skip
def test_no_token_raises_a_limit(limits: dict[str, int]) -> None:
    plain = granted(claims(tier="pro"), SETTINGS, base()).limits
    lowered = granted(claims(tier="pro", limits=limits), SETTINGS, base()).limits
    for name in ("subscriptions", "connections", "actions_per_minute", "max_depth", "burst"):
        assert 0 <= getattr(lowered, name) <= getattr(plain, name)


def test_a_tier_that_is_not_there_is_refused() -> None:
    with pytest.raises(TokenRefused):
        granted(claims(tier="emperor"), SETTINGS, base())


def test_anonymous_clients_of_other_machines_have_fewer_topics() -> None:
    assert anonymous(SETTINGS, base(), is_local=True).limits.subscriptions == 1_024
    assert anonymous(SETTINGS, base(), is_local=False).limits.subscriptions == 128
    assert anonymous(SETTINGS, base(), is_local=False).user is None
