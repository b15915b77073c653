"""Requests in, answer frames out."""

from __future__ import annotations

import pytest

from bus.broker import answers as module
from bus.broker.answers import BURST, Answers
from bus.broker.last_value_cache import LastValueCache
from bus.config.broker import BrokerSettings
from bus.model import Topic
from bus.wire.requests import End, Gone, decode_marker
from tests.broker.frames import EPOCH, PRICE, TRADES, price, trade

S = 1_000_000_000


def make(frames: list[bytes] | None = None, *, rate: int = 10**9) -> Answers:
    cache = LastValueCache(BrokerSettings(trades_ring=50_000))
    cache.store(frames or [])
    return Answers(cache, rate)


def ask(answers: Answers, key: bytes, *, ticket: int = 0) -> None:
    answers.on_subscription(b"\x01" + key, ticket, 0)


def answer(
    answers: Answers, *, ticket: int = 0, limit: int = 10**6, now_ns: int = 0
) -> list[bytes]:
    return list(answers.frames(ticket, limit, now_ns))


def marker(frame: bytes, key: bytes) -> End | Gone:
    topic, _, payload = frame.partition(b"\0")
    assert topic == key
    return decode_marker(payload)


def test_a_snapshot_is_every_cached_frame_under_its_own_topic_then_the_end() -> None:
    answers = make([price(1), trade(1), trade(2)])
    key = b"snapshot/abc/md/"
    ask(answers, key)
    frames = answer(answers)
    assert frames[:-1] == [b"snapshot/abc/" + frame for frame in (price(1), trade(1), trade(2))]
    assert marker(frames[-1], key) == End(3)
    assert answers.waiting == 0


def test_a_replay_is_what_follows_the_position() -> None:
    answers = make([trade(n) for n in (1, 2, 3)])
    root = b"replay/abc/%d-1/" % EPOCH
    ask(answers, root + TRADES.key)
    frames = answer(answers)
    assert frames[:-1] == [root + trade(2), root + trade(3)]
    assert marker(frames[-1], root + TRADES.key) == End(2)


def test_a_replay_that_cannot_be_whole_is_refused_in_one_frame() -> None:
    answers = make([trade(n) for n in (5, 6)])
    key = b"replay/abc/%d-1/" % EPOCH + TRADES.key
    ask(answers, key)
    (frame,) = answer(answers)
    assert marker(frame, key) == Gone(EPOCH, 5)
    assert answers.stats().gone == 1


@pytest.mark.parametrize(
    "key",
    [
        b"snapshot/",
        b"snapshot//md/",
        b"snapshot/abc/",
        b"snapshot/abc/md",
        b"snapshot/a b/md/",
        b"snapshot/" + b"x" * 5_000,
        b"replay/abc/md/trades/sim/BTC-USDT/",
        b"replay/abc/1/md/trades/sim/BTC-USDT/",
        b"replay/abc/1-x/md/trades/sim/BTC-USDT/",
        b"replay/abc/1-2/md/trades/",
        b"replay/abc/99999999999999999999-1/md/trades/sim/BTC-USDT/",
        b"snapshot/\xff\xfe/md/",
    ],
)
def test_a_malformed_request_is_counted_and_not_answered(key: bytes) -> None:
    answers = make([trade(1)])
    ask(answers, key)
    assert answer(answers) == []
    assert answers.stats().malformed == 1


def test_ordinary_subscriptions_are_let_pass() -> None:
    answers = make()
    for key in (b"", b"md/", b"anything else"):
        ask(answers, key)
    assert answers.stats().malformed == 0
    assert answers.waiting == 0


@pytest.mark.parametrize("message", [b"", b"\x07what", b"md/"])
def test_what_is_no_subscription_is_counted(message: bytes) -> None:
    answers = make()
    answers.on_subscription(message, 0, 0)
    assert answers.stats().malformed == 1


def test_a_withdrawn_request_is_not_answered() -> None:
    answers = make([trade(1)])
    ask(answers, b"snapshot/abc/md/")
    answers.on_subscription(b"\x00snapshot/abc/md/", 0, 0)
    assert answer(answers) == []
    assert answers.stats().cancelled == 1


def test_a_request_waits_until_everything_forwarded_before_it_is_stored() -> None:
    answers = make([trade(1)])
    ask(answers, b"snapshot/abc/md/", ticket=4)
    assert answer(answers, ticket=3) == []
    assert len(answer(answers, ticket=4)) == 2


def test_a_large_snapshot_does_not_delay_a_small_one() -> None:
    topics = [Topic.md("price", "sim", f"S{number}") for number in range(500)]
    answers = make([price(1, topic=topic) for topic in topics])
    ask(answers, b"snapshot/large/md/")
    ask(answers, b"snapshot/small/" + topics[0].key)
    roots = [frame.split(b"/")[1] for frame in answer(answers, limit=10)]
    assert roots.count(b"small") == 2


def test_many_large_snapshots_delay_a_small_one_by_a_few_rounds_only() -> None:
    answers = make([price(1), *(trade(n) for n in range(1, 20_001))])
    for number in range(200):
        ask(answers, b"snapshot/big%d/md/" % number)
    answer(answers, limit=2_000)  # they are under way
    key = b"snapshot/small/" + PRICE.key
    ask(answers, key)
    sent: list[bytes] = []
    while not any(frame.startswith(key) for frame in sent[-2_000:]):
        sent += answer(answers, limit=2_000)
        assert len(sent) <= 20_000


def test_a_turn_is_limited() -> None:
    topics = [Topic.md("price", "sim", f"S{number}") for number in range(100)]
    answers = make([price(1, topic=topic) for topic in topics])
    ask(answers, b"snapshot/a/md/")
    assert len(answer(answers, limit=30)) == 30
    assert answers.waiting == 1
    assert len(answer(answers)) == 71


def test_an_answer_keeps_its_speed_limit_after_its_burst() -> None:
    topics = [Topic.md("trades", "sim", f"S{number}") for number in range(30)]
    answers = make([trade(n, topic=t) for t in topics for n in range(1, 1_001)], rate=1_000)
    ask(answers, b"snapshot/a/md/")
    assert len(answer(answers)) == BURST
    assert answer(answers) == []
    assert len(answer(answers, now_ns=1 * S)) == 1_000
    assert len(answer(answers, now_ns=100 * S)) == 9_001


def test_requests_beyond_the_bound_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REQUESTS", 1)
    answers = make([trade(1)])
    ask(answers, b"snapshot/a/md/")
    ask(answers, b"snapshot/b/md/")
    assert answers.stats().refused == 1
    assert len(answer(answers)) == 2


def test_asking_twice_under_one_id_answers_once() -> None:
    answers = make([price(1)])
    ask(answers, b"snapshot/a/" + PRICE.key)
    ask(answers, b"snapshot/a/" + PRICE.key)
    assert len(answer(answers)) == 2
