"""A market that knows what it published, and what each client may be told of it."""

from __future__ import annotations

import random
from typing import Any

from bus.client.deliveries import Delivery, GapFound, Message, SnapshotEnded
from bus.model import Body, Depth, OrderBook, Price, Trade
from bus.model.topic import Topic
from bus.wsbridge.messages import epoch_text
from tests.wsbridge.makers import EPOCH, FakeClient, frame_of

SYMBOLS = {"BTC": "BTC-USDT", "ETH": "ETH-USDT"}
LEVELS = 5
HISTORY = 30


class Published:
    """One bus topic. Its messages are numbered from 1 over all epochs; their prices say which."""

    def __init__(self, stream: str, symbol: str) -> None:
        self.stream = stream
        self.topic = Topic.md(stream, "sim", SYMBOLS[symbol])
        self.name = f"{'orderbook' if stream == 'depth' else stream}.{symbol}"
        self.name += "#delta" if stream == "depth" else ""
        self.log: list[Message] = []
        self.number_at: dict[tuple[str, int], int] = {}
        self.whole: set[int] = set()
        self.lost: set[int] = set()
        self.told = 0
        self._epoch, self._seq = EPOCH, 0

    @property
    def is_lossless(self) -> bool:
        return self.stream == "trades"

    def publish(self, rng: random.Random, now_ns: int) -> None:
        is_anew = rng.random() < 0.04
        if is_anew:
            self._epoch, self._seq = self._epoch + 7, 0
        self._seq += 1
        number = len(self.log) + 1
        if self.stream == "depth" and (number == 1 or is_anew or rng.random() < 0.1):
            self.whole.add(number)
        frame = frame_of(self.topic, self._seq, self._body(number), epoch=self._epoch, at_ns=now_ns)
        self.log.append(Message("live", self.topic.key, self._epoch, self._seq, frame))
        self.number_at[epoch_text(self._epoch), self._seq] = number

    def _body(self, number: int) -> Body:
        price = float(number)
        match self.stream:
            case "price":
                return Price(price, None, None, None)
            case "trades":
                return Trade(price, 1.0)
            case "orderbook":
                return OrderBook(number, [(price, 1.0)], [])
        if number in self.whole:
            book = sorted(self.book(number).items(), reverse=True)
            return Depth(number, number, book, [], True)
        return Depth(number, number, [(float(number % LEVELS), price)], [], False)

    @staticmethod
    def book(number: int) -> dict[float, float]:
        """The bids after a change: each sets one level, in turn, to its number."""
        return {float(n % LEVELS): float(n) for n in range(max(1, number - LEVELS + 1), number + 1)}

    def same_count(self, one: int, other: int) -> bool:
        return self.log[one - 1].epoch == self.log[other - 1].epoch

    def live(self, rng: random.Random) -> list[Delivery]:
        """What the bus has not delivered yet; now and then some of it is lost."""
        found: list[Delivery] = []
        while self.told < len(self.log):
            message = self.log[self.told]
            is_first = not self.told or not self.same_count(self.told, self.told + 1)
            if self.stream in ("trades", "depth") and not is_first and rng.random() < 0.05:
                end = self._lose(self.told + 1, rng.randrange(1, 4))
                last = self.log[end - 1].seq
                found.append(GapFound(message.topic, message.epoch, message.seq, last, "gone"))
                self.told = end
            else:
                found.append(message)
                self.told += 1
        return found

    def _lose(self, first: int, count: int) -> int:
        """Messages of one epoch; of a book all before the next whole one. The last of them."""
        last = first
        while last < len(self.log) and self.same_count(first, last + 1):
            if self.stream == "depth":
                if last + 1 in self.whole:
                    break
            elif last + 1 - first >= count:
                break
            last += 1
        self.lost |= set(range(first, last + 1))
        return last

    def snapshot(self, rng: random.Random) -> list[Delivery]:
        """What the bus holds of the last epoch, and the end of it."""
        first = len(self.log)
        if self.is_lossless:
            first = max(1, first - rng.choice([3, 2 * HISTORY]))
        elif self.stream == "depth":
            first = max(self.whole, default=0)
        self.told = len(self.log)
        held = [self.log[n - 1] for n in range(max(1, first), self.told + 1)]
        held = [one for one in held if one.epoch == held[-1].epoch]
        return [*held, SnapshotEnded(self.topic.key, len(held))]


class Seen:
    """What a client knows of one topic: the number of the last message, where that is known."""

    def __init__(self) -> None:
        self.at: int | None = None
        self.recovering = 0  # what is recovered goes as far as this number
        self.is_late = False  # acknowledged cold with a position
        self.is_filling = False  # acknowledged cold, its history is coming
        self.book: dict[float, float] | None = None
        self.book_at = 0


class Witness:
    """Everything that one client is told, in order, against what was published."""

    def __init__(self, client: FakeClient, market: dict[str, Published]) -> None:
        self.client, self._market = client, market
        self.asked: list[dict[str, Any]] = []
        self.names: set[str] = set()
        self.patterns: set[str] = set()
        self.seen: dict[str, Seen] = {}
        self.left: dict[str, int] = {}  # how far it had come with topics it holds no more
        self._open: object = None  # the request whose snapshot_end is to come

    def holds(self, name: str) -> bool:
        return name in self.names or f"{name.partition('.')[0]}.*" in self.patterns

    def look(self) -> None:
        for message in self.client.take():
            kind = message["type"]
            if kind in ("subscription", "pong", "connection", "error") and "id" in message:
                self._answer(message)
            elif kind == "snapshot_end":
                assert message["id"] == self._open
                self._open = None
            elif kind in ("gap", "reset"):
                assert self.client.wire.events
                assert self.holds(message["topic"]), message
                if kind == "gap":
                    self._gap(message)
            elif "data" in message:
                assert self.holds(message["topic"]), message
                self._data(message)

    def _answer(self, message: dict[str, Any]) -> None:
        assert self._open is None
        request = self.asked.pop(0)
        assert message["id"] == request["id"]
        if message.get("action") == "subscribed":
            if self.client.session.profile.is_full:
                self._open = message["id"]
            for entry in message["topics"]:
                if "*" in entry["topic"]:
                    self.patterns.add(entry["topic"])
                    for name, position in entry["positions"].items():
                        if name in self._market:
                            self._begin(name, position, {}, None)
                else:
                    self.names.add(entry["topic"])
                    since = request.get("since", {}).get(entry["topic"])
                    self._begin(entry["topic"], entry, entry, since)
        elif message.get("action") == "unsubscribed":
            for entry in message["topics"]:
                self.names.discard(entry["topic"])
                self.patterns.discard(entry["topic"])
            for name in [one for one in self.seen if not self.holds(one)]:
                at = self.seen.pop(name).at
                if at is not None:
                    self.left[name] = at

    def _begin(self, name: str, position: Any, entry: Any, since: Any) -> None:
        published, is_new = self._market[name], name not in self.seen
        seen = self.seen.setdefault(name, Seen())
        if not is_new:
            return  # another subscription brings it already, and it goes on from there
        number = published.number_at.get((position.get("epoch"), position["seq"]))
        assert (number is None) == (position["seq"] == 0)
        seen.at = number
        assert ("recovered" in entry) == (since is not None)
        if since is None:
            return
        had = published.number_at[since["epoch"], since["seq"]]
        if entry["recovered"] and published.is_lossless:
            seen.at, seen.recovering = had, number or 0
        elif number is None and published.is_lossless:
            seen.at, seen.is_late = had, True

    def _gap(self, gap: dict[str, Any]) -> None:
        published, seen = self._market[gap["topic"]], self.seen.setdefault(gap["topic"], Seen())
        first, last = (published.number_at[gap["epoch"], gap[end]] for end in ("from", "to"))
        if not published.is_lossless:
            assert published.stream == "depth", "of a state topic nothing is missing"
            return
        assert seen.at is None or first == seen.at + 1, gap
        assert last - first + 1 == gap["count"]
        if gap["reason"] == "bus" and not seen.is_late:
            assert published.lost >= set(range(first, last + 1))
        seen.at, seen.is_late = last, False

    def _data(self, message: dict[str, Any]) -> None:
        published, data = self._market[message["topic"]], message["data"]
        seen = self.seen.setdefault(message["topic"], Seen())
        if published.stream == "orderbook":
            number = int(float(data["bids"][0][0]))
        elif published.stream == "depth":
            number = data["last_update_id"]
        else:
            number = int(float(data["price"]))
        if published.stream != "depth":
            source = published.log[number - 1]
            assert message["seq"] == source.seq
            assert message.get("epoch") in (None, epoch_text(source.epoch))
        if published.is_lossless:
            self._one_by_one(published, seen, number, message)
        elif published.stream == "depth":
            self._book(published, seen, number, message)
        else:
            self._value(published, seen, number, message)

    def _one_by_one(
        self, published: Published, seen: Seen, number: int, message: dict[str, Any]
    ) -> None:
        if message.get("snapshot"):  # history, which may be asked for again
            if seen.at is None or seen.is_late or seen.is_filling:
                seen.at, seen.is_filling = number, True
            return
        seen.is_filling = False
        if message.get("recovered"):
            assert seen.at is not None
            assert number == seen.at + 1
            assert seen.is_late or number <= seen.recovering
        elif seen.at is not None:
            assert number > seen.at, "twice, or out of order"
            missing = set(range(seen.at + 1, number))
            if not self.client.wire.events:
                missing -= missing if self.client.dropped_messages else published.lost
            if seen.is_late and not published.same_count(seen.at, number):
                missing = set()
            assert not missing, (message, missing)
            seen.is_late = False
        seen.at = number

    def _value(
        self, published: Published, seen: Seen, number: int, message: dict[str, Any]
    ) -> None:
        if message.get("snapshot") or message.get("recovered") or seen.at is None:
            assert seen.at is None or number >= seen.at
        else:
            assert number > seen.at, "a value twice, or an older one"
            if published.same_count(seen.at, number):
                assert message.get("conflated", 0) == number - seen.at - 1
        seen.at = number

    def _book(self, published: Published, seen: Seen, number: int, message: dict[str, Any]) -> None:
        bids = {float(price): float(size) for price, size in message["data"]["bids"]}
        if message.get("snapshot"):
            seen.book, seen.book_at = bids, number
        elif seen.book is not None:
            assert message["data"]["first_update_id"] <= seen.book_at + 1, "a hole in a book"
            seen.book |= bids
            seen.book_at = number
        if seen.book is not None:
            assert seen.book == published.book(seen.book_at)
        seen.at = number
