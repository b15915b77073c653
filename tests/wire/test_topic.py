"""Topics: parsing, typed errors, exact prefixes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import TopicError
from bus.model import STREAMS
from bus.model.topic import Topic
from bus.wire.topic import check_prefix, check_topic, parse_topic

venues = st.from_regex(r"[a-z0-9][a-z0-9_.-]{0,31}", fullmatch=True)
symbols = st.from_regex(r"[A-Za-z0-9$^][A-Za-z0-9._:^=$-]{0,63}", fullmatch=True)
topics = st.builds(
    Topic.md, st.sampled_from(sorted(set(STREAMS) - {"status"})), venues, symbols
) | st.builds(Topic.status, venues, symbols | st.just(""))


@given(topics)
def test_parsing_gives_back_the_topic(topic: Topic) -> None:
    assert parse_topic(topic.key) == topic
    assert topic.key.endswith(b"/")


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_topic_errors_only(key: bytes) -> None:
    try:
        topic = parse_topic(key)
    except TopicError:
        return
    assert topic.key == key


@given(topics, topics)
def test_a_topic_as_prefix_matches_itself_alone(one: Topic, other: Topic) -> None:
    if other.key.startswith(one.key):
        # Only the whole-feed status topic stands above others: sys/status/<feed>/<symbol>/.
        assert one == other or (one.root == "sys" and one.symbol == "")


def test_btc_usd_does_not_match_btc_usdt() -> None:
    usd, usdt = Topic.md("trades", "sim", "BTC-USD"), Topic.md("trades", "sim", "BTC-USDT")
    assert not usdt.key.startswith(usd.key)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (b"md/trades/sim/BTC-USDT", "must end in /"),
        (b"md/trades/sim/", "not md/<stream>"),
        (b"md/trades/sim//", "needs a symbol"),
        (b"md/candles/sim/BTC/", "unknown stream"),
        (b"md/status/sim/BTC/", "unknown stream"),
        (b"sys/trades/binance/", "unknown system stream"),
        (b"xx/trades/sim/BTC/", "not md/<stream>"),
        ("md/trades/sim/BTC€/".encode(), "not ASCII"),
        (b"md/trades/SIM/BTC/", "venue"),
        (b"md/trades/sim/B*C/", "symbol"),
        (b"md/trades/sim/" + b"A" * 200 + b"/", "longer than"),
    ],
)
def test_a_bad_topic_says_what_is_wrong(key: bytes, why: str) -> None:
    with pytest.raises(TopicError, match=why):
        parse_topic(key)


def test_check_topic_refuses_a_foreign_root() -> None:
    with pytest.raises(TopicError, match="must begin with"):
        check_topic(Topic("xx", "trades", "sim", "BTC"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "prefix", ["md/", "sys/", "md/trades/", "md/trades/sim/", "md/trades/sim/BTC-USDT/"]
)
def test_prefixes_at_every_level_are_accepted(prefix: str) -> None:
    assert check_prefix(prefix) == prefix.encode() == check_prefix(prefix.encode())


@pytest.mark.parametrize(
    "prefix", ["", "md", "md/tra", "/", "snapshot/x/md/", "md//", "md/a/b/c/d/"]
)
def test_a_prefix_that_cuts_inside_a_part_is_refused(prefix: str) -> None:
    with pytest.raises(TopicError, match="prefix"):
        check_prefix(prefix)
