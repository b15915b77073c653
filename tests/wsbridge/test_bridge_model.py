"""The whole bridge but its sockets: clients of every kind, requests at random, and a bus that is
late, loses messages and begins anew; each client's messages are held against what was published."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from bus.client.deliveries import Delivery
from bus.wsbridge.messages import epoch_text
from tests.wsbridge.makers import SECOND_NS, T0_NS, FakeClient, deliver, make_bridge, status
from tests.wsbridge.model import HISTORY, SYMBOLS, Published, Witness

MS = 1_000_000
URLS = ["/ws/v1/", "/ws/v1/?batch_ms=20", "/ws/v1/?conflate_ms=100", "/ws/v1/?events=all"]


class World:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now_ns = T0_NS
        self.bridge, _ = make_bridge(
            "bridge.limits.actions_burst=1000000",
            f"bridge.history={HISTORY}",
            "bridge.linger_s=1",
        )
        self._calls: list[Callable[[], None]] = []
        if rng.random() < 0.8:
            self.bridge.fanout.out.call_soon = self._calls.append
        published = [
            Published(stream, symbol)
            for stream in ("price", "trades", "orderbook", "depth")
            for symbol in SYMBOLS
        ]
        self.market = {one.name: one for one in published}
        self.witnesses: list[Witness] = []
        self._ids = 0
        self._statuses = 0

    # ------------------------------------------------------------------ what happens

    def join(self) -> None:
        codec = self.rng.choice(["json", "msgpack", None])
        subprotocol = None if codec is None else f"mdbus.v1.{codec}"
        client = FakeClient(self.bridge, self.rng.choice(URLS), subprotocol)
        client.session.profile.deflate = self.rng.random() < 0.5
        client.wire = client.session.profile.wire
        client.limit_bytes = self.rng.choice([2_000, 6_000, 1_000_000])
        witness = Witness(client, self.market)
        if self.witnesses and self.rng.random() < 0.5:  # it has been here before
            known = self.rng.choice(self.witnesses)
            at = {name: seen.at for name, seen in known.seen.items() if seen.at is not None}
            witness.left = known.left | at
        self.witnesses.append(witness)
        self.bridge.opened(client, self.now_ns)

    def leave(self, witness: Witness) -> None:
        self.witnesses.remove(witness)
        self.bridge.gone(witness.client, self.now_ns)

    def ask(self, witness: Witness) -> None:
        client, rng = witness.client, self.rng
        if client.is_stuck or client.has_answer_waiting or self.bridge.is_waiting(client):
            return
        self._ids += 1
        request: dict[str, object] = {"id": self._ids}
        kind = rng.random()
        if kind < 0.6:
            topics = rng.sample(sorted(self.market), rng.randrange(1, 4))
            request |= {"action": "subscribe", "topics": topics}
            since = {name: self._position(witness, name) for name in topics}
            if rng.random() < 0.6 and any(since.values()):
                request["since"] = {name: one for name, one in since.items() if one}
            elif rng.random() < 0.3:
                topics.append(rng.choice(["price.*", "trades.*"]))
            for option, values in (
                ("conflate_ms", [0, 50, 250, 1000]),
                ("snapshot", [True, False]),
                ("history", [1, 5]),
                ("on_slow", ["gap", "close"]),
                ("numbers", ["string", "float"]),
                ("allow_pending", [False]),
            ):
                if rng.random() < 0.3:
                    request[option] = rng.choice(values)
        elif kind < 0.85:
            held = sorted(witness.names | witness.patterns)
            request["action"] = "unsubscribe"
            if held and rng.random() < 0.8:
                request["topics"] = [rng.choice(held)]
            else:
                request["all"] = True
        elif kind < 0.95:
            request |= {"action": "set", "batch_ms": rng.choice([0, 5, 100])}
        else:
            request["action"] = "ping"
        witness.asked.append(request)
        got = client.say(self.now_ns, **request)
        client.got = got + client.got

    def _position(self, witness: Witness, name: str) -> dict[str, object] | None:
        number = witness.left.get(name)
        if number is None or witness.holds(name) or witness.asked:  # it may hold it by now
            return None
        message = self.market[name].log[number - 1]
        return {"epoch": epoch_text(message.epoch), "seq": message.seq}

    def publish(self) -> None:
        for _ in range(self.rng.choice([1, 3, 12])):
            self.rng.choice(list(self.market.values())).publish(self.rng, self.now_ns)

    def batch(self) -> None:
        streams: list[list[Delivery]] = []
        for published in self.market.values():
            line = self.bridge.market.lines.get(published.topic.key)
            if line is not None and line.warm:
                streams.append(published.live(self.rng))
            elif line is not None and self.rng.random() < 0.4:
                streams.append(published.snapshot(self.rng))
        if self.rng.random() < 0.05:
            self._statuses += 1
            state = self.rng.choice(["live", "down"])
            streams.append([status("binance", state, self._statuses, at_ns=self.now_ns)])
        mixed: list[Delivery] = []
        while streams := [one for one in streams if one]:
            mixed.append(self.rng.choice(streams).pop(0))
        deliver(self.bridge, *mixed, now_ns=self.now_ns)

    def stick(self, client: FakeClient) -> None:
        """Its socket takes nothing; whether that is noticed yet is another matter."""
        client.is_stuck = True
        if self.rng.random() < 0.7:
            client.press(self.now_ns, 300_000)

    def unstick(self, client: FakeClient) -> None:
        client.is_stuck = False
        client.go_on()

    def pass_time(self, ns: int) -> None:
        self.now_ns += ns
        self.bridge.run_due(self.now_ns)
        self.bridge.sweep(self.now_ns)

    def end_turn(self) -> None:
        calls, self._calls[:] = list(self._calls), []
        for call in calls:
            call()

    # ------------------------------------------------------------------ what is seen

    def step(self) -> None:
        kind = self.rng.random()
        witness = self.rng.choice(self.witnesses) if self.witnesses else None
        if kind < 0.4:
            self.publish()
            self.batch()
        elif kind < 0.65 and witness is not None:
            self.ask(witness)
        elif kind < 0.7 and len(self.witnesses) < 6:
            self.join()
        elif kind < 0.71 and witness is not None:
            self.leave(witness)
        elif kind < 0.75 and witness is not None:
            self.stick(witness.client)
        elif kind < 0.85 and witness is not None:
            self.unstick(witness.client)
        else:
            self.pass_time(self.rng.choice([MS, 60 * MS, 300 * MS, 1_100 * MS]))
        if self.rng.random() < 0.5:
            self.end_turn()
        self.look()

    def look(self) -> None:
        for witness in list(self.witnesses):
            client = witness.client
            client.keep_to_limit(self.now_ns)
            assert client.queued_bytes < client.limit_bytes + 20_000
            if client.is_overrun:
                self.leave(witness)
                continue
            witness.look()

    def settle(self) -> None:
        """Everybody reads, the bus answers, time passes: all have the last of what they hold."""
        for _ in range(30):
            for witness in self.witnesses:
                self.unstick(witness.client)
            self.batch()
            self.end_turn()
            self.pass_time(500 * MS)
            self.end_turn()
            self.look()
        for witness in self.witnesses:
            assert witness.asked == [], "every request has been answered"
            assert not witness.client.has_waiting
            for name, seen in witness.seen.items():
                self._has_the_last(witness, self.market[name], seen.at)

    def _has_the_last(self, witness: Witness, published: Published, at: int | None) -> None:
        last = len(published.log)
        line = self.bridge.market.lines[published.topic.key]
        assert line.warm
        if published.stream == "depth":
            if line.has_book and witness.seen[published.name].book is not None:
                while last in published.lost:
                    last -= 1
                assert witness.seen[published.name].book_at == last
        elif at is not None:
            if published.is_lossless and not witness.client.wire.events:
                while last > at and (last in published.lost or witness.client.dropped_messages):
                    last -= 1
            assert at == last

    def end(self) -> None:
        for witness in list(self.witnesses):
            self.leave(witness)
        self.end_turn()
        self.bridge.sweep(self.now_ns + 10_000 * SECOND_NS)
        assert self.bridge.subscriptions.channel_count == 0
        assert self.bridge.subscriptions.bus_topic_count == 0
        assert self.bridge.market.lines == {}
        assert self.bridge.next_ns is None


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_whatever_happens_each_client_has_a_true_picture_or_is_told(seed: int) -> None:
    world = World(random.Random(seed))
    world.join()
    for _ in range(150):
        world.step()
    world.settle()
    world.end()
