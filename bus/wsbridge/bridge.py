"""The middle of the bridge: executes what sessions ask for, and joins them to the bus.

It knows clients only through :class:`BridgeClient` and the bus only through :class:`BusSide`, so it
runs in tests without a socket. Time comes in as ``now_ns``; the one thing it waits for, the first
value of a cold topic, it waits for by a deadline that its owner checks (:meth:`Bridge.sweep`).

Bounds: a client has one request waiting at most (its further messages stay in its connection); a
bus topic stays subscribed while it is wanted and ``linger_s`` after.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from bus.client.deliveries import Delivery
from bus.config import Settings
from bus.config.bridge import BridgeSettings
from bus.wsbridge.access.grant import with_limits
from bus.wsbridge.access.warden import Warden
from bus.wsbridge.fanout import STATUS_PREFIX, Fanout
from bus.wsbridge.frames import text_frame
from bus.wsbridge.inquiries import Greeting
from bus.wsbridge.market import Market
from bus.wsbridge.messages import CloseCode, Limits, encode
from bus.wsbridge.routes import Endpoint, Options
from bus.wsbridge.session import Session
from bus.wsbridge.steps import Attach, Authenticate, Join, Leave, Owe, Send, Step, Wanted
from bus.wsbridge.subscriptions import Subscriptions
from bus.wsbridge.topics import Directory

NS_PER_SECOND = 1_000_000_000
NS_PER_MS = 1_000_000


class BusSide(Protocol):
    """Where topics come from: :class:`bus.wsbridge.upstream.Upstream`, or a fake."""

    def subscribe(self, prefix: bytes) -> None:
        """Want a topic: its snapshot, then live."""

    def unsubscribe(self, prefix: bytes) -> None:
        """Want it no more."""


class BridgeClient(Protocol):
    """One connected client, as the bridge needs it."""

    session: Session
    pending: list[bytes]

    def flush(self) -> None:
        """Write everything pending, at once, and clear it."""

    def allow_burst(self, size: int) -> None:
        """The next ``size`` bytes are an answer: not held against a client that reads slowly."""

    def close(self, code: CloseCode, *, reason: str = "") -> None:
        """Begin the closing handshake, with the code's word or ``reason``; the last write."""

    def authenticate(self, step: Authenticate, now_ns: int) -> list[Step]:
        """Check a token; the steps that follow from it."""

    def resume(self) -> None:
        """The waiting request is complete: handle the messages that came meanwhile."""


@dataclass(slots=True, eq=False)
class _Wait:
    """A request whose topics are not all warm yet."""

    client: BridgeClient
    attach: Attach
    missing: set[bytes]
    deadline_ns: int


@dataclass(frozen=True, slots=True)
class _Release:
    """The topics of a completed request need this request's hold no more."""

    wanted: tuple[Wanted, ...]


class Bridge:
    """See the module. ``name`` is the process's name, e.g. ``bridge.1``."""

    def __init__(self, settings: Settings, name: str, bus: BusSide, version: str) -> None:
        own: BridgeSettings = settings.bridge
        self.directory = Directory(settings)
        self.market = Market(
            ttl_ns={
                "price": int(own.price_ttl_s * NS_PER_SECOND),
                "quote": int(own.quote_ttl_s * NS_PER_SECOND),
                "orderbook": int(own.orderbook_ttl_s * NS_PER_SECOND),
                "trades": int(own.trades_ttl_s * NS_PER_SECOND),
                "ticker": int(own.ticker_ttl_s * NS_PER_SECOND),
            },
            history=own.history,
            history_age_ns=int(own.history_age_s * NS_PER_SECOND),
        )
        self.subscriptions: Subscriptions[BridgeClient] = Subscriptions(
            linger_ns=int(own.linger_s * NS_PER_SECOND)
        )
        self.fanout: Fanout[BridgeClient] = Fanout(self.market, self.subscriptions, self._on_warm)
        base = Limits(
            subscriptions=own.max_subscriptions,
            message_bytes=own.max_message_bytes,
            buffered_bytes=own.max_buffered_bytes,
            min_conflate_ms=0,
            max_depth=own.max_depth,
            max_history=own.history,
            wildcard_cost=100,
        )
        self.limits = with_limits(base, own)
        self._bus = bus
        self._wait_ns = own.first_value_wait_ms * NS_PER_MS
        self._simulated = settings.simulated
        self._server = f"mdbus/{version}"
        self._id_prefix = _id_prefix(name)
        self._ids = 0
        self._now_ns = 0
        self._waits: dict[BridgeClient, _Wait] = {}
        self._waits_for: dict[bytes, dict[_Wait, None]] = {}
        self._debts: dict[BridgeClient, dict[str, Wanted]] = {}
        self._debtors: dict[bytes, dict[BridgeClient, None]] = {}

    def start(self) -> None:
        """Begin to follow the feeds' states."""
        self._bus.subscribe(STATUS_PREFIX)

    # ------------------------------------------------------------------ clients

    def new_session(
        self, endpoint: Endpoint, options: Options, warden: Warden | None = None
    ) -> Session:
        """The session of a connection that has just been upgraded."""
        self._ids += 1
        greeting = Greeting(
            connection_id=f"{self._id_prefix}-{self._ids:06x}",
            server=self._server,
            simulated=self._simulated,
        )
        return Session(
            endpoint=endpoint,
            options=options,
            directory=self.directory,
            market=self.market,
            limits=self.limits,
            greeting=greeting,
            warden=warden,
        )

    def opened(self, client: BridgeClient, now_ns: int) -> None:
        """The client's handshake is complete."""
        self._run(client, client.session.opened(now_ns), now_ns)

    def say(self, client: BridgeClient, steps: list[Step], now_ns: int) -> None:
        """Execute steps that the session knows nothing of: a refusal, a reminder, the end."""
        self._run(client, steps, now_ns)

    def received(self, client: BridgeClient, text: bytes, now_ns: int) -> None:
        """One message of the client. Not to be called while :meth:`is_waiting` for it."""
        self._run(client, client.session.receive(text, now_ns), now_ns)

    def is_waiting(self, client: BridgeClient) -> bool:
        """Whether a request of the client is not complete yet."""
        return client in self._waits

    def gone(self, client: BridgeClient, now_ns: int) -> None:
        """The client has left: it wants nothing any more."""
        wait = self._waits.pop(client, None)
        if wait is not None:
            self._forget(wait)
            self._release(wait.attach.wanted, now_ns)
        for name in list(self._debts.get(client, ())):
            self._cancel_debt(client, name, now_ns)
        self.subscriptions.leave_all(client, now_ns)

    # ------------------------------------------------------------------ the bus

    def batch(self, deliveries: list[Delivery], now_ns: int) -> None:
        """The deliveries of one bus batch, in order."""
        self._now_ns = now_ns
        self.fanout.batch(deliveries)

    def sweep(self, now_ns: int) -> None:
        """Complete requests that have waited long enough; drop topics nobody wants any more."""
        for wait in [w for w in self._waits.values() if w.deadline_ns <= now_ns]:
            self._complete(wait, now_ns)
        for key in self.subscriptions.expired(now_ns):
            self._bus.unsubscribe(key)
            self.market.drop(key)

    def next_deadline_ns(self) -> int | None:
        """When the next waiting request is overdue; ``None`` when none waits."""
        return min((wait.deadline_ns for wait in self._waits.values()), default=None)

    # ------------------------------------------------------------------ steps

    def _run(self, client: BridgeClient, steps: Iterable[Step | _Release], now_ns: int) -> None:
        """Execute ``steps`` in order; what they send is written once, at the end."""
        todo = deque(steps)
        while todo:
            step = todo.popleft()
            if isinstance(step, Send):
                client.pending.append(text_frame(encode(step.message)))
            elif isinstance(step, Join):
                self.subscriptions.join(client, step.topic, step.depth, now_ns)
            elif isinstance(step, Attach):
                missing = self._demand(step)
                if missing:
                    self._wait(client, step, missing, now_ns)
                    break
                todo.extend(client.session.attached(step, now_ns))
                # Its topics must stay wanted until the steps it gave have joined them.
                todo.append(_Release(step.wanted))
            elif isinstance(step, _Release):
                self._release(step.wanted, now_ns)
            elif isinstance(step, Owe):
                self._owe(client, step.wanted, now_ns)
            elif isinstance(step, Leave):
                self._cancel_debt(client, step.name, now_ns)
                self.subscriptions.leave(client, step.name, now_ns)
            elif isinstance(step, Authenticate):
                todo.extend(client.authenticate(step, now_ns))
            else:
                self._write(client)
                client.close(step.code, reason=step.reason)
                break
        self._write(client)

    def _write(self, client: BridgeClient) -> None:
        if client.pending:
            client.allow_burst(sum(map(len, client.pending)))
            client.flush()

    def _demand(self, attach: Attach) -> set[bytes]:
        """Hold the bus topics of a request, subscribing to new ones; those not warm yet."""
        missing: set[bytes] = set()
        for wanted in attach.wanted:
            key = wanted.topic.bus_key
            line = self.market.open(wanted.topic)
            if self.subscriptions.hold(key):
                self._bus.subscribe(key)
            if not line.warm:
                missing.add(key)
        return missing

    def _release(self, wanted: Iterable[Wanted], now_ns: int) -> None:
        for one in wanted:
            self.subscriptions.release(one.topic.bus_key, now_ns)

    # ------------------------------------------------------------------ waiting for first values

    def _wait(self, client: BridgeClient, attach: Attach, missing: set[bytes], now_ns: int) -> None:
        wait = _Wait(client, attach, missing, now_ns + self._wait_ns)
        self._waits[client] = wait
        for key in missing:
            self._waits_for.setdefault(key, {})[wait] = None

    def _forget(self, wait: _Wait) -> None:
        self._waits.pop(wait.client, None)
        for key in wait.missing:
            waiting = self._waits_for.get(key)
            if waiting is not None:
                waiting.pop(wait, None)
                if not waiting:
                    del self._waits_for[key]

    def _complete(self, wait: _Wait, now_ns: int) -> None:
        self._forget(wait)
        steps = wait.client.session.attached(wait.attach, now_ns)
        self._run(wait.client, [*steps, _Release(wait.attach.wanted)], now_ns)
        wait.client.resume()

    def _owe(self, client: BridgeClient, wanted: Wanted, now_ns: int) -> None:
        name, key = wanted.topic.name, wanted.topic.bus_key
        self._cancel_debt(client, name, now_ns)
        self.subscriptions.hold(key)
        self._debts.setdefault(client, {})[name] = wanted
        self._debtors.setdefault(key, {})[client] = None

    def _cancel_debt(self, client: BridgeClient, name: str, now_ns: int) -> None:
        """The client is owed ``name`` no more: given up, or about to be paid."""
        debts = self._debts.get(client)
        wanted = None if debts is None else debts.pop(name, None)
        if debts is None or wanted is None:
            return
        key = wanted.topic.bus_key
        if not debts:
            del self._debts[client]
        if not any(other.topic.bus_key == key for other in debts.values()):
            debtors = self._debtors.get(key)
            if debtors is not None:
                debtors.pop(client, None)
                if not debtors:
                    del self._debtors[key]
        self.subscriptions.release(key, now_ns)

    def _on_warm(self, key: bytes) -> None:
        """Everything the bus had on a topic is known: pay what was owed, answer who waited."""
        now_ns = self._now_ns
        for client in list(self._debtors.get(key, ())):
            due = [w for w in self._debts.get(client, {}).values() if w.topic.bus_key == key]
            for wanted in due:
                self._run(client, client.session.arrived(wanted, now_ns), now_ns)
                self._cancel_debt(client, wanted.topic.name, now_ns)
        for wait in list(self._waits_for.get(key, ())):
            wait.missing.discard(key)
            if not wait.missing:
                self._complete(wait, now_ns)
        self._waits_for.pop(key, None)


def _id_prefix(name: str) -> str:
    """A short prefix of connection ids, different for each worker: ``bridge.1`` gives ``b1``."""
    kind, _, number = name.partition(".")
    return f"{kind[:1] or 'b'}{number}"
