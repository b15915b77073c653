"""The middle of the bridge: executes what sessions ask for, and joins them to the bus.

It knows clients only through :class:`~bus.wsbridge.client.BridgeClient` and the bus only through
:class:`BusSide`, so it runs in tests without a socket. Time comes in as ``now_ns``; what it waits
for, the first value of a cold topic, it waits for by a deadline that its owner checks
(:meth:`Bridge.sweep`), and what is due at a time it does when its owner calls
:meth:`Bridge.run_due`.

Bounds: a client has one request waiting at most (its further messages stay in its connection); a
bus topic stays subscribed while it is wanted and ``linger_s`` after.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from msgspec import UNSET

from bus.client.deliveries import Delivery
from bus.config import Settings
from bus.config.bridge import BridgeSettings
from bus.wsbridge.access.grant import base_limits
from bus.wsbridge.access.warden import Warden
from bus.wsbridge.actions import Refusal
from bus.wsbridge.audience import Audience
from bus.wsbridge.client import BridgeClient
from bus.wsbridge.fanout import STATUS_PREFIX, Fanout
from bus.wsbridge.health import Health
from bus.wsbridge.heartbeats import Heartbeats
from bus.wsbridge.inquiries import Greeting, feed_status, id_prefix
from bus.wsbridge.losses import feed_gaps
from bus.wsbridge.market import market_of
from bus.wsbridge.messages import encode
from bus.wsbridge.notices import Notice
from bus.wsbridge.outbox import Source
from bus.wsbridge.profile import Profile
from bus.wsbridge.routes import Endpoint, Options
from bus.wsbridge.session import Session
from bus.wsbridge.steps import (
    Attach,
    Authenticate,
    Give,
    Join,
    Leave,
    Owe,
    Rewire,
    Send,
    Step,
    Wanted,
)
from bus.wsbridge.subscriptions import Subscriptions
from bus.wsbridge.topics import Directory
from bus.wsbridge.waits import Wait, Waits

NS_PER_SECOND = 1_000_000_000
NS_PER_MS = 1_000_000
_ADMITTED_PER_SWEEP = 8  # however crowded it is: nobody is put off for good


class BusSide(Protocol):
    """Where topics come from: :class:`bus.wsbridge.upstream.Upstream`, or a fake."""

    def subscribe(self, prefix: bytes) -> None:
        """Want a topic: its snapshot, then live."""

    def unsubscribe(self, prefix: bytes) -> None:
        """Want it no more."""


@dataclass(frozen=True, slots=True)
class _Release:
    """The topics of a completed request need this request's hold no more."""

    wanted: tuple[Wanted, ...]


class Bridge:
    """See the module. ``name`` is the process's name, e.g. ``bridge.1``."""

    def __init__(self, settings: Settings, name: str, bus: BusSide, version: str) -> None:
        own: BridgeSettings = settings.bridge
        self.directory = Directory(settings)
        self.market = market_of(settings)
        self.market.on_loss = self._on_loss
        self.subscriptions: Subscriptions[BridgeClient] = Subscriptions(
            linger_ns=int(own.linger_s * NS_PER_SECOND)
        )
        self._waits: Waits[BridgeClient] = Waits(self._is_behind)
        self._audience = Audience(self.market, self.subscriptions.by_bus_key, self._waits)
        self.fanout: Fanout[BridgeClient] = Fanout(
            self.market,
            self.subscriptions,
            self._on_warm,
            self._on_feed,
            self._audience.concerned,
            with_checksum=own.book_checksum,
        )
        self.limits = base_limits(own)
        self._bus = bus
        self._wait_ns = own.first_value_wait_ms * NS_PER_MS
        self._recovery_wait_ns = max(own.recovery_wait_ms, own.first_value_wait_ms) * NS_PER_MS
        self._simulated = settings.simulated
        self._server = f"mdbus/{version}"
        self._id_prefix = id_prefix(name)
        self._ids = 0
        self._now_ns = 0
        self._health = Health(self.market, self.directory)
        self._clients: dict[BridgeClient, None] = {}
        self.heartbeats = Heartbeats(self._health, self.fanout.lag.p99_us, self.fanout.faults)
        self._curious: dict[BridgeClient, None] = {}
        self.is_crowded: Callable[[], bool] = lambda: False
        """Whether requests for topics wait for :meth:`admit`: the pacer's word."""

    def start(self) -> None:
        """Begin to follow the feeds' states."""
        self._bus.subscribe(STATUS_PREFIX)

    def take_settings(self, settings: Settings) -> None:
        """Know the names of ``settings`` from here on; wildcards match them soon."""
        self.directory.take(settings)
        self._curious = {c: None for c in self._clients if c.session.holdings.patterns}

    # ------------------------------------------------------------------ clients

    def new_session(
        self,
        endpoint: Endpoint,
        options: Options,
        warden: Warden | None = None,
        profile: Profile | None = None,
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
            profile=profile,
        )

    def opened(self, client: BridgeClient, now_ns: int) -> None:
        """The client's handshake is complete."""
        self._clients[client] = None
        self._rewire(client, now_ns)
        self._run(client, client.session.opened(now_ns), now_ns)

    def say(self, client: BridgeClient, steps: list[Step], now_ns: int) -> None:
        """Execute steps that the session knows nothing of: a refusal, a reminder, the end."""
        self._run(client, steps, now_ns)

    def received(self, client: BridgeClient, text: bytes, now_ns: int) -> None:
        """One request of the client. Not to be called while :meth:`is_waiting` for it."""
        self._run(client, client.session.receive(text, now_ns), now_ns)

    def refused(self, client: BridgeClient, refusal: Refusal, now_ns: int) -> None:
        """A frame of the client that is no request at all."""
        self._run(client, client.session.refuse(refusal, now_ns), now_ns)

    def is_waiting(self, client: BridgeClient) -> bool:
        """Whether a request of the client is not complete yet."""
        return client in self._waits

    def gone(self, client: BridgeClient, now_ns: int) -> None:
        """The client has left: it wants nothing any more."""
        self._clients.pop(client, None)
        self._curious.pop(client, None)
        self.heartbeats.discard(client)
        wait = self._waits.gone(client)
        if wait is not None:
            self._release(wait.attach.wanted, now_ns)
        for name in self._waits.owed_to(client):
            self._cancel_debt(client, name, now_ns)
        self.fanout.out.forget(client)
        self.subscriptions.leave_all(client, now_ns)

    @property
    def source(self) -> Source:
        """Who makes the messages that wait in a client's outbox."""
        return self.fanout.rendering

    # ------------------------------------------------------------------ the bus and the clock

    def batch(self, deliveries: list[Delivery], now_ns: int) -> None:
        """The deliveries of one bus batch, in order."""
        self._now_ns = now_ns
        self.fanout.batch(deliveries, now_ns)
        if self._waits.has_behind:
            for wait in self._waits.caught_up():
                self._complete(wait, now_ns)

    @property
    def next_ns(self) -> int | None:
        """When :meth:`run_due` has something to do; ``None`` while it has nothing."""
        return self.fanout.out.next_ns

    def run_due(self, now_ns: int) -> None:
        """Send the conflated values and the batches whose time has come."""
        self._now_ns = now_ns
        self.fanout.out.run_due(now_ns)

    def sweep(self, now_ns: int) -> bool:
        """Complete requests that have waited long enough; drop topics nobody wants any more;
        heartbeats, stale topics, new names. To be called about 20 times a second, and again soon
        where more is to be done."""
        self._now_ns = now_ns
        self.admit(_ADMITTED_PER_SWEEP, now_ns)
        for wait in self._waits.overdue(now_ns):
            self._complete(wait, now_ns)
        for key in self.subscriptions.expired(now_ns):
            self._bus.unsubscribe(key)
            self.market.drop(key)
        for channel, status in self._health.changed(self.subscriptions.by_bus_key, now_ns):
            self.fanout.put(channel, encode(status, channel.wire.codec))
        self.fanout.write(now_ns)
        for client in [c for c in self._curious if c not in self._waits]:
            del self._curious[client]
            self._guarded(client, client.session.created, now_ns)
        return self.heartbeats.beat(now_ns)

    def admit(self, count: int, now_ns: int) -> bool:
        """Go on with up to ``count`` requests that were put off, in order; whether more wait."""
        self._now_ns = now_ns
        taken = self._waits.take_put_off(count)
        faults = self.fanout.faults
        faults.each(taken, lambda client: self._take_up(client, taken[client], now_ns))
        return self._waits.has_put_off

    def _on_loss(self, feed: str, symbol: str, count: int) -> None:
        """A feed has lost trades: said between those before its word and those after it."""
        by_key, now_ns = self.subscriptions.by_bus_key, self._now_ns
        for channel, gap in feed_gaps(self.market, by_key, (feed, symbol), count, now_ns):
            self.fanout.put(channel, encode(gap, channel.wire.codec))

    def _on_feed(self, feed: str) -> None:
        """A feed has changed: tell who has a topic of it and wants to be told."""
        now_ns, out = self._now_ns, self.fanout.out
        notice = Notice(feed_status(UNSET, feed, self.directory, self.market, now_ns))

        def tell(client: BridgeClient) -> None:
            client.notify(notice, now_ns)
            out.flush_soon(client)

        self.fanout.faults.each(self._audience.followers(feed), tell)

    # ------------------------------------------------------------------ steps

    def _run(self, client: BridgeClient, steps: Iterable[Step | _Release], now_ns: int) -> None:
        """Execute ``steps`` in order; what they send is written once."""
        todo = deque(steps)
        while todo:
            step = todo.popleft()
            if isinstance(step, Send):
                client.tell(step.message, now_ns)
            elif isinstance(step, Give):
                client.give(step.given)
            elif isinstance(step, Join):
                self._join(client, step, now_ns)
            elif isinstance(step, Attach):
                if self._waits.has_put_off or self.is_crowded():
                    self._waits.put_off(client, step)
                else:
                    todo.extend(self._begin(client, step, now_ns))
            elif isinstance(step, _Release):
                self._release(step.wanted, now_ns)
            elif isinstance(step, Owe):
                self._owe(client, step.wanted, now_ns)
            elif isinstance(step, Leave):
                self._cancel_debt(client, step.name, now_ns)
                client.forget(step.name)
                self.subscriptions.leave(client, step.name, now_ns)
            elif isinstance(step, Rewire):
                self._rewire(client, now_ns)
            elif isinstance(step, Authenticate):
                todo.extend(client.authenticate(step, now_ns))
            else:
                client.flush()
                client.close(step.code, reason=step.reason)
                return
        self.fanout.out.flush_soon(client)
        client.go_on()

    def _take_up(self, client: BridgeClient, attach: Attach, now_ns: int) -> None:
        self._run(client, self._begin(client, attach, now_ns), now_ns)
        client.resume()

    def _begin(
        self, client: BridgeClient, attach: Attach, now_ns: int
    ) -> Sequence[Step | _Release]:
        """The steps that complete a request for topics; none yet if it has to wait for the bus."""
        cold = self._demand(attach)
        if cold or any(self._is_behind(wanted) for wanted in attach.wanted):
            self._wait(client, attach, cold, now_ns)
            return ()
        # Its topics must stay wanted until the steps it gave have joined them.
        return [*client.session.attached(attach, now_ns), _Release(attach.wanted)]

    def _join(self, client: BridgeClient, join: Join, now_ns: int) -> None:
        """Put a client on the channel of a topic, with what its old channel still owes it."""
        topic, terms = join.topic, join.terms
        client.on_slow[topic.name] = terms.on_slow
        old = self.subscriptions.channel_of(client, topic.name)
        if old is not None and (old.style, old.wire) == (terms.style, client.wire):
            new = old
        else:
            out, style, wire = self.fanout.out, terms.style, client.wire
            behind = 0 if old is None else out.leaving(client, old)
            epoch = self.market.open(topic).epoch
            new = self.subscriptions.join(client, topic, style, now_ns, wire, epoch)
            if old is not None:
                out.moved(client, old, new, behind)
        if join.is_shown:
            self.fanout.out.shown(client, new)

    def _rewire(self, client: BridgeClient, now_ns: int) -> None:
        """Let everything of a client follow its session's profile."""
        profile = client.session.profile
        client.rewire(profile.wire)
        client.batch_ms = profile.batch_ms
        for channel in self.subscriptions.of_client(client):
            join = client.session.holdings.best(channel.topic.name)
            if join is not None:
                self._join(client, join, now_ns)
        self.heartbeats.plan(client, now_ns)

    def _demand(self, attach: Attach) -> set[bytes]:
        """Hold the bus topics of a request, subscribing to new ones; those not warm yet."""
        cold: set[bytes] = set()
        for wanted in attach.wanted:
            key = wanted.topic.bus_key
            line = self.market.open(wanted.topic)
            if self.subscriptions.hold(key):
                self._bus.subscribe(key)
            if not line.warm:
                cold.add(key)
        return cold

    def _release(self, wanted: Iterable[Wanted], now_ns: int) -> None:
        for one in wanted:
            self.subscriptions.release(one.topic.bus_key, now_ns)

    # ------------------------------------------------------------------ waiting for first values

    def _is_behind(self, wanted: Wanted) -> bool:
        return wanted.since is not None and self.market.is_behind(
            wanted.topic.bus_key, wanted.since
        )

    def _wait(self, client: BridgeClient, attach: Attach, cold: set[bytes], now_ns: int) -> None:
        returns = bool(cold) and any(wanted.since is not None for wanted in attach.wanted)
        wait_ns = self._recovery_wait_ns if returns else self._wait_ns
        self._waits.add(client, attach, cold, now_ns + wait_ns)

    def _complete(self, wait: Wait[BridgeClient], now_ns: int) -> None:
        if not self._waits.forget(wait):
            return  # its client has left while others were answered
        client, attach = wait.client, wait.attach
        self._guarded(client, partial(client.session.attached, attach, now_ns), now_ns)
        self._release(attach.wanted, now_ns)
        client.resume()

    def _guarded(self, client: BridgeClient, act: Callable[[], list[Step]], now_ns: int) -> None:
        """Run steps in nobody's own turn: a fault in them costs this client and nobody else."""
        self.fanout.faults.each([client], lambda client: self._run(client, act(), now_ns))

    def _owe(self, client: BridgeClient, wanted: Wanted, now_ns: int) -> None:
        self._cancel_debt(client, wanted.topic.name, now_ns)
        self.subscriptions.hold(wanted.topic.bus_key)
        self._waits.owe(client, wanted)

    def _cancel_debt(self, client: BridgeClient, name: str, now_ns: int) -> None:
        """The client is owed ``name`` no more: given up, or about to be paid."""
        wanted = self._waits.cancel(client, name)
        if wanted is not None:
            self.subscriptions.release(wanted.topic.bus_key, now_ns)

    def _on_warm(self, key: bytes) -> None:
        """Everything the bus had on a topic is known: pay what was owed, answer who waited."""
        now_ns = self._now_ns
        for client, wanted in self._waits.due(key):
            if not self._waits.is_owed(client, wanted):
                continue  # given up, or its client has left, because of what it was given before
            self._guarded(client, partial(client.session.arrived, wanted, now_ns), now_ns)
            self._cancel_debt(client, wanted.topic.name, now_ns)
        for wait in self._waits.warmed(key):
            self._complete(wait, now_ns)
