"""The session as a state machine, against a model that only knows who holds what."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.wsbridge.makers import T0_NS, FakeClient, deliver, full, live, make_bridge, warm

SYMBOLS = {"BTC": "BTC-USDT", "ETH": "ETH-USDT"}
STREAMS = ("price", "trades")
NAMES = [f"{stream}.{symbol}" for stream in STREAMS for symbol in SYMBOLS]
PATTERNS = ["price.*", "*.BTC", "trades.*"]
LIMIT = 7
COST = 3


def matches(pattern: str, name: str) -> bool:
    """Whether a wildcard means a topic."""
    return all(p in ("*", n) for p, n in zip(pattern.split("."), name.split("."), strict=True))


class SessionMachine(RuleBasedStateMachine):
    """Requests of one client in any order, while the market goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.bridge, _ = make_bridge(
            f"bridge.max_subscriptions={LIMIT}",
            f"bridge.wildcard_cost={COST}",
            "bridge.limits.actions_burst=1000000",  # time stands still here
        )
        self.client: FakeClient = full(self.bridge)
        self.named: dict[str, int] = {}
        self.patterns: dict[str, int] = {}
        self.seqs = dict.fromkeys(NAMES, 0)

    def _ask(self, **request: Any) -> list[dict[str, Any]]:
        got = self.client.say(**request)
        if self.bridge.is_waiting(self.client):  # everything the bus has is nothing
            for stream in ("price", "quote", "orderbook", "ticker", "trades"):
                for symbol in (*SYMBOLS.values(), "SOL-USDT", "AAPL", "MSFT", "GOOGL"):
                    deliver(self.bridge, warm(stream, symbol=symbol))
            got = [*got, *self.client.take()]
        return got

    def _classes(self, name: str) -> list[int]:
        found = [self.named[name]] if name in self.named else []
        return found + [c for pattern, c in self.patterns.items() if matches(pattern, name)]

    @property
    def _count(self) -> int:
        return len(self.named) + COST * len(self.patterns)

    @rule(
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3),
        conflate_ms=st.sampled_from([0, 1000]),
    )
    def subscribe(self, names: list[str], conflate_ms: int) -> None:
        got = self._ask(action="subscribe", id="s", topics=names, conflate_ms=conflate_ms)
        ack = got[0]
        assert (ack["type"], ack["id"]) == ("subscription", "s")
        expected: list[str] = []
        for name in dict.fromkeys(names):
            if name in self.named or self._count < LIMIT:
                self.named[name] = conflate_ms
                expected.append(name)
        assert [entry["topic"] for entry in ack["topics"]] == expected
        assert all(one["code"] == "limit_subscriptions" for one in ack["rejected"])
        assert ack["count"] == self._count
        assert [m for m in got if m["type"] == "snapshot_end"]

    @rule(pattern=st.sampled_from(PATTERNS), conflate_ms=st.sampled_from([0, 1000]))
    def subscribe_all(self, pattern: str, conflate_ms: int) -> None:
        (ack, *_) = self._ask(action="subscribe", topics=[pattern], conflate_ms=conflate_ms)
        if pattern in self.patterns or self._count + COST <= LIMIT:
            self.patterns[pattern] = conflate_ms
            assert ack["topics"][0]["topic"] == pattern
        else:
            assert ack["rejected"][0]["code"] == "limit_wildcards"
        assert ack["count"] == self._count

    @rule(name=st.sampled_from([*NAMES, *PATTERNS]))
    def unsubscribe(self, name: str) -> None:
        (reply, *_) = self._ask(action="unsubscribe", topics=[name])
        held: dict[str, int] = self.patterns if "*" in name else self.named
        if name in held:
            del held[name]
            assert reply["count"] == self._count
        else:
            assert reply["code"] == "not_subscribed"

    @rule()
    def unsubscribe_everything(self) -> None:
        (reply, *_) = self._ask(action="unsubscribe", all=True)
        self.named.clear()
        self.patterns.clear()
        assert reply["count"] == 0
        assert self.bridge.subscriptions.channel_count == 0

    @rule(name=st.sampled_from(NAMES))
    def publish(self, name: str) -> None:
        stream, _, symbol = name.partition(".")
        self.seqs[name] += 1
        deliver(self.bridge, live(stream, self.seqs[name], symbol=SYMBOLS[symbol]))
        classes = self._classes(name)
        got = [m["seq"] for m in self.client.take() if m.get("topic") == name]
        if not classes:
            assert got == []
        elif min(classes) == 0:
            assert got == [self.seqs[name]], "once, however many subscriptions match"
        else:
            assert len(got) <= 1

    @invariant()
    def the_list_is_what_is_held(self) -> None:
        (reply,) = [m for m in self._ask(action="list") if m["type"] == "list"]
        listed = {
            one["topic"]: one["conflate_ms"]
            for one in reply["subscriptions"]
            if one["topic"] in NAMES
        }
        expected = {name: min(c) for name in NAMES if (c := self._classes(name))}
        assert listed == expected
        assert reply["count"] == self._count

    def teardown(self) -> None:
        self.bridge.gone(self.client, T0_NS)
        self.bridge.sweep(T0_NS + 10**12)
        assert self.bridge.subscriptions.bus_topic_count == 0
        assert self.bridge.market.lines == {}


TestSession = SessionMachine.TestCase
TestSession.settings = settings(deadline=None, max_examples=40, stateful_step_count=25)
