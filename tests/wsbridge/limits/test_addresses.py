"""Which address a connection counts for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.wsbridge.limits.addresses import Addresses, Origin

PROXIED = Addresses(["10.0.0.0/8", "2001:db8:ffff::/48", "127.0.0.1"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "address", "group"),
    [
        ("203.0.113.5", [], "203.0.113.5", "203.0.113.5"),
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", [], "10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1, 10.0.0.2"], "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3", "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, garbage"], "10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, garbage, 10.0.0.2"], "10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1", "2001:db8::/64"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1", "198.51.100.1"),
        ("2001:db8:ffff::1", ["::ffff:198.51.100.1"], "198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", [], "", ""),
    ],
)
def test_proxies_are_believed_from_the_last_on(
    peer: str, forwarded: list[str], address: str, group: str
) -> None:
    assert PROXIED.origin(peer, forwarded) == Origin(address, group, False)


def test_this_machine_is_known_unless_it_is_a_proxy() -> None:
    assert Addresses([]).origin("127.0.0.1", ["198.51.100.1"]).is_local
    assert Addresses([]).origin("::1", []).is_local
    assert Addresses([]).origin("::ffff:127.0.0.1", []).is_local
    assert not PROXIED.origin("127.0.0.1", []).is_local
    assert not PROXIED.origin("127.0.0.1", ["127.0.0.2"]).is_local, "nobody can say that he is"


@given(st.text(max_size=40), st.lists(st.text(max_size=80), max_size=3))
def test_any_header_gives_an_address_that_was_seen(peer: str, forwarded: list[str]) -> None:
    assert PROXIED.origin("10.0.0.1", forwarded).group
    assert PROXIED.origin(peer, forwarded).is_local in (True, False)
