"""One client's side of the protocol: requests in, steps out.

Pure. The shell calls :meth:`Session.opened` once, then :meth:`Session.receive` for each message in
the order of arrival, and executes the returned steps in order. An :class:`Attach` step means that
bus topics are needed: the shell subscribes to those it lacks, handles no further message of this
client until they are warm or the wait is over, and then calls :meth:`Session.attached`, whose steps
complete the request. A topic that is still cold then is *owed*: the shell calls
:meth:`Session.arrived` when it turns warm.

Ordering promised: replies in the order of requests; an acknowledgement before any message of its
topics; a snapshot before live messages; nothing of a topic after its ``unsubscribed``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from msgspec import UNSET, UnsetType

from bus.wsbridge.access.grant import Access
from bus.wsbridge.access.replies import (
    NOT_ALLOWED,
    auth_required,
    forbidden,
    identified,
    not_yet,
    rate_limited,
)
from bus.wsbridge.access.warden import Warden
from bus.wsbridge.actions import Refusal, parse_request
from bus.wsbridge.grants import grant
from bus.wsbridge.inquiries import (
    Greeting,
    connected,
    feed_status,
    listing,
    removed_entry,
    snapshot_reply,
    symbols_of,
)
from bus.wsbridge.market import Market
from bus.wsbridge.messages import (
    ERRORS,
    AuthRequest,
    CloseCode,
    Connection,
    Limits,
    ListRequest,
    Ping,
    Pong,
    Rejection,
    RequestId,
    SnapshotRequest,
    StatusRequest,
    Subscribe,
    Subscription,
    TopicEntry,
    Unsubscribe,
    error,
    rfc3339,
)
from bus.wsbridge.naming import held_topics, named_topics, only_stream
from bus.wsbridge.payloads import DEFAULT_DEPTH
from bus.wsbridge.routes import Endpoint, EndpointKind, Options
from bus.wsbridge.steps import Attach, Authenticate, Close, Join, Leave, Owe, Send, Step, Wanted
from bus.wsbridge.topics import Directory, MarketTopic, Unknown, shown

STRIKES = 10
"""Errors of status 400 within ``STRIKES_WINDOW_NS`` that close the connection with 4500."""
STRIKES_WINDOW_NS = 10_000_000_000


class Session:
    """The protocol state of one connection: what it holds, what it is owed, its strikes."""

    def __init__(
        self,
        *,
        endpoint: Endpoint,
        options: Options,
        directory: Directory,
        market: Market,
        limits: Limits,
        greeting: Greeting,
        warden: Warden | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._options = options
        self._directory = directory
        self._market = market
        self._warden = warden or Warden(limits, Access(limits))
        self._greeting = greeting
        self._fixed: MarketTopic | None = None
        self._strikes: deque[int] = deque(maxlen=STRIKES)
        self._held: dict[str, Join] = {}
        self._owed: dict[str, Wanted] = {}

    # ------------------------------------------------------------------ who it is

    @property
    def _limits(self) -> Limits:
        return self._warden.limits

    @property
    def held_count(self) -> int:
        """Topics held."""
        return len(self._held)

    def admitted(self, access: Access, id: RequestId | UnsetType, now_ns: int) -> list[Step]:
        """The client has shown a good token: the first one opens, a later one takes its place."""
        is_first = self._warden.is_locked
        self._warden.access = access
        if is_first:
            return self.opened(now_ns, id)
        removed = {
            name: held.topic
            for name, held in self._held.items()
            if not self._warden.allows(held.topic)
        }
        steps: list[Step] = [Send(self._greet(now_ns, id))]
        if not removed:
            return steps
        entries = [removed_entry(topic, self._market, now_ns) for topic in removed.values()]
        for name in removed:
            del self._held[name]
            self._owed.pop(name, None)
        notice = Subscription(
            action="unsubscribed",
            symbols=symbols_of(removed.values()),
            remaining=self._symbols_held(None),
            topics=entries,
            rejected=[],
            count=len(self._held),
            limit=self._limits.subscriptions,
            reason="forbidden",
            timestamp=rfc3339(now_ns),
        )
        steps += [Leave(name) for name in removed]
        steps.append(Send(notice))
        if self._fixed is not None:
            steps.append(Close(CloseCode.FORBIDDEN))
        return steps

    # ------------------------------------------------------------------ opening

    def opened(self, now_ns: int, id: RequestId | UnsetType = UNSET) -> list[Step]:
        """The first steps: the greeting, or the refusal of a URL that names nothing known.

        A client that has still to say who it is hears ``auth_required`` and nothing else.
        """
        if self._warden.is_locked:
            greeting = self._greeting
            required = auth_required(
                greeting.connection_id, greeting.server, self._limits, now_ns
            )
            return [Send(required)]
        endpoint = self._endpoint
        if endpoint.kind is EndpointKind.REPLAY:
            refusal = error("unsupported", "replay is not enabled", now_ns=now_ns)
            return [Send(refusal), Close(CloseCode.UNKNOWN_STREAM)]
        if endpoint.is_fixed:
            found = self._directory.resolve(endpoint.stream, endpoint.symbol)
            if isinstance(found, Unknown):
                refusal = error(
                    found.code, found.message, now_ns=now_ns, topic=found.topic or UNSET
                )
                return [Send(refusal), Close(CloseCode.UNKNOWN_STREAM)]
            if not self._warden.allows(found):
                refusal = error("forbidden", NOT_ALLOWED, now_ns=now_ns, topic=found.name)
                return [Send(refusal), Close(CloseCode.FORBIDDEN)]
            self._fixed = found
        steps: list[Step] = [Send(self._greet(now_ns, id))]
        for problem in self._options.problems:
            refusal = error(problem.code, problem.message, now_ns=now_ns, field=problem.field)
            steps.append(Send(refusal))
            if problem.close:
                return [*steps, Close(CloseCode.UNSUPPORTED_CODEC)]
        if self._fixed is not None:
            wanted = self._want(self._fixed, self._fixed.name, Subscribe())
            steps.append(Attach("open", (wanted,)))
        elif self._options.streams:
            request = Subscribe(topics=list(self._options.streams))
            steps.append(self._attach_all(request))
        return steps

    def _greet(self, now_ns: int, id: RequestId | UnsetType) -> Connection:
        message = connected(
            self._greeting, self._fixed, self._directory, self._market, self._limits, now_ns
        )
        return identified(message, self._warden.access, id, now_ns)

    # ------------------------------------------------------------------ requests

    def receive(self, text: bytes, now_ns: int) -> list[Step]:
        """One message of the client (UTF-8). Never raises for what a client can send."""
        request = parse_request(
            text, max_depth=self._limits.max_depth, max_history=self._limits.max_history
        )
        over = self._warden.spend(now_ns)
        if over is not None:
            return rate_limited(request.id, over, now_ns)
        if not self._warden.lets_through(request):
            return not_yet(request.id, now_ns)
        match request:
            case Refusal():
                return self._refuse(request, now_ns)
            case AuthRequest():
                return [Authenticate(request.token, request.id)]
            case Subscribe():
                return self._subscribe(request, now_ns)
            case Unsubscribe():
                return self._unsubscribe(request, now_ns)
            case SnapshotRequest():
                return self._snapshot(request, now_ns)
            case ListRequest():
                held = list(self._held.values())
                return [Send(listing(request.id, held, self._market, self._limits, now_ns))]
            case Ping():
                pong = Pong(
                    id=request.id,
                    ts=request.ts,
                    server_us=now_ns // 1000,
                    timestamp=rfc3339(now_ns),
                )
                return [Send(pong)]
            case StatusRequest():
                return self._status(request, now_ns)

    def _refuse(self, refusal: Refusal, now_ns: int) -> list[Step]:
        message = error(
            refusal.code, refusal.message, now_ns=now_ns, id=refusal.id, field=refusal.field
        )
        steps: list[Step] = [Send(message)]
        if ERRORS[refusal.code].status == 400:
            self._strikes.append(now_ns)
            full = len(self._strikes) == STRIKES
            if full and now_ns - self._strikes[0] <= STRIKES_WINDOW_NS:
                steps.append(Close(CloseCode.BAD_REQUEST))
        return steps

    def _subscribe(self, request: Subscribe, now_ns: int) -> list[Step]:
        if self._fixed is not None:
            for _, found in named_topics(self._directory, request):
                if isinstance(found, Unknown) or found.name != self._fixed.name:
                    sentence = f"this connection carries {self._fixed.name} only"
                    other = (found.topic or UNSET) if isinstance(found, Unknown) else found.name
                    return [
                        Send(
                            error(
                                "fixed_subscription",
                                sentence,
                                now_ns=now_ns,
                                id=request.id,
                                topic=other,
                            )
                        )
                    ]
        return [self._attach_all(request)]

    def _attach_all(self, request: Subscribe) -> Attach:
        wanted: dict[str, Wanted] = {}
        rejected: list[Rejection] = []
        room = self._limits.subscriptions - len(self._held)
        for requested, found in named_topics(self._directory, request):
            if isinstance(found, Unknown):
                rejected.append(_rejection(found))
            elif not self._warden.allows(found):
                rejected.append(forbidden(found, requested))
            elif found.name in wanted:
                continue
            else:
                want = self._want(found, requested, request)
                if not want.already:
                    if room <= 0:
                        rejected.append(self._over_limit(found, requested))
                        continue
                    room -= 1
                wanted[found.name] = want
        streams = {want.topic.stream for want in wanted.values()}
        label = streams.pop() if len(streams) == 1 else only_stream(request)
        return Attach("subscribe", tuple(wanted.values()), tuple(rejected), request.id, label)

    def _want(self, topic: MarketTopic, requested: str, request: Subscribe) -> Wanted:
        already = topic.name in self._held
        owed = self._owed.pop(topic.name, None)  # this request takes its place
        if already and (owed is None or request.snapshot is not UNSET):
            snapshot = request.snapshot is True
        elif owed is not None:
            snapshot = owed.snapshot
        elif request.snapshot is UNSET:
            snapshot = self._options.snapshot
        else:
            snapshot = bool(request.snapshot)
        if request.depth is not UNSET:
            depth = request.depth
        elif already:
            depth = self._held[topic.name].depth
        else:
            depth = self._options.depth or min(DEFAULT_DEPTH, self._limits.max_depth)
        since = request.since.get(requested) or request.since.get(topic.name)
        return Wanted(
            topic=topic,
            requested=requested,
            depth=depth if topic.stream == "orderbook" else 0,
            snapshot=snapshot and topic.is_state,
            history=0 if topic.is_state else request.history or (owed.history if owed else 0),
            since=since,
            already=already,
        )

    def _over_limit(self, topic: MarketTopic, requested: str) -> Rejection:
        limit = self._limits.subscriptions
        return Rejection(
            topic=topic.name,
            requested=shown(requested),
            code="limit_subscriptions",
            message=f"a connection holds, and a request names, at most {limit} topics",
        )

    def _snapshot(self, request: SnapshotRequest, now_ns: int) -> list[Step]:
        wanted: dict[str, Wanted] = {}
        steps: list[Step] = []
        for requested, found in named_topics(self._directory, request):
            refused: Unknown | Rejection | None = None
            if isinstance(found, Unknown):
                refused = found
            elif not self._warden.allows(found):
                refused = forbidden(found, requested)
            elif found.name in wanted:
                continue
            elif len(wanted) >= self._limits.subscriptions:
                refused = self._over_limit(found, requested)
            else:
                depth = DEFAULT_DEPTH if request.depth is UNSET else request.depth
                depth = min(depth, self._limits.max_depth)
                wanted[found.name] = Wanted(
                    topic=found,
                    requested=requested,
                    depth=depth if found.stream == "orderbook" else 0,
                    snapshot=True,
                    history=1 if request.history is UNSET else request.history,
                    since=None,
                    already=False,
                )
            if refused is not None:
                topic = refused.topic or UNSET
                message = error(
                    refused.code, refused.message, now_ns=now_ns, id=request.id, topic=topic
                )
                steps.append(Send(message))
        steps.append(Attach("snapshot", tuple(wanted.values()), (), request.id))
        return steps

    def _unsubscribe(self, request: Unsubscribe, now_ns: int) -> list[Step]:
        named = (request.symbols, request.symbol, request.topics) != (UNSET, UNSET, UNSET)
        if not named and not request.all and self._fixed is None:
            sentence = "symbols or topics is missing"
            return self._refuse(Refusal("bad_request", sentence, request.id, "symbols"), now_ns)
        rejected: list[Rejection] = []
        removed: dict[str, MarketTopic] = {}
        if request.all or not named:
            removed = {name: held.topic for name, held in self._held.items()}
        else:
            held = [held.topic for held in self._held.values()]
            for requested, meant in held_topics(self._directory, request, held):
                removed |= {topic.name: topic for topic in meant}
                if not meant:
                    text = shown(requested)
                    sentence = f"this connection does not hold {text}"
                    rejected.append(
                        Rejection(requested=text, code="not_subscribed", message=sentence)
                    )
        if rejected and not removed:
            first = rejected[0]
            message = error(first.code, first.message, now_ns=now_ns, id=request.id)
            return [Send(message)]
        entries = [removed_entry(topic, self._market, now_ns) for topic in removed.values()]
        for name in removed:
            del self._held[name]
            self._owed.pop(name, None)
        label = only_stream(request)
        reply = Subscription(
            action="unsubscribed",
            id=request.id,
            symbols=symbols_of(removed.values()),
            remaining=self._symbols_held(label),
            stream_type=label or UNSET,
            topics=entries,
            rejected=rejected,
            count=len(self._held),
            limit=self._limits.subscriptions,
            timestamp=rfc3339(now_ns),
        )
        steps: list[Step] = [*(Leave(name) for name in removed), Send(reply)]
        if self._fixed is not None:
            steps.append(Close(CloseCode.BYE))
        return steps

    def _status(self, request: StatusRequest, now_ns: int) -> list[Step]:
        known = self._directory.feeds
        names = known if request.feeds is UNSET else tuple(dict.fromkeys(request.feeds))
        for name in names:
            if name not in known:
                sentence = f"there is no feed {shown(name)}; feeds are {', '.join(known)}"
                return self._refuse(Refusal("bad_request", sentence, request.id, "feeds"), now_ns)
        return [
            Send(feed_status(request.id, name, self._directory, self._market, now_ns))
            for name in names
        ]

    # ------------------------------------------------------------------ completion

    def attached(self, attach: Attach, now_ns: int) -> list[Step]:
        """The steps that complete ``attach``, now that its bus topics are warm or overdue."""
        if attach.purpose == "snapshot":
            return list(snapshot_reply(attach, self._market, self._limits, now_ns))
        entries: list[TopicEntry] = []
        after: list[Step] = []
        budget = self._limits.max_history
        for wanted in attach.wanted:
            granted = grant(wanted, self._market, now_ns, budget)
            entries.append(granted.entry)
            self._held[wanted.topic.name] = Join(wanted.topic, wanted.depth)
            if self._market.is_warm(wanted.topic.bus_key):
                if not wanted.topic.is_state:
                    budget -= len(granted.messages)
                after += [Send(message) for message in granted.messages]
                after.append(Join(wanted.topic, wanted.depth))
                self._owed.pop(wanted.topic.name, None)
            else:
                # The acknowledgement has said that nothing is recovered: the rest is a first
                # subscription, and its history counts against this request.
                history = min(wanted.history, budget)
                budget -= history
                owed = replace(wanted, since=None, history=history)
                self._owed[wanted.topic.name] = owed
                after.append(Owe(owed))
        if attach.purpose == "open":
            return after
        reply = Subscription(
            action="subscribed",
            id=attach.id,
            symbols=self._symbols_held(attach.stream_type),
            stream_type=attach.stream_type or UNSET,
            topics=entries,
            rejected=list(attach.rejected),
            count=len(self._held),
            limit=self._limits.subscriptions,
            timestamp=rfc3339(now_ns),
        )
        return [Send(reply), *after]

    def arrived(self, wanted: Wanted, now_ns: int) -> list[Step]:
        """The first messages of an owed topic that has turned warm; nothing if it was given up."""
        name = wanted.topic.name
        if self._owed.get(name) is not wanted:
            return []
        del self._owed[name]
        granted = grant(wanted, self._market, now_ns, self._limits.max_history)
        steps: list[Step] = [Send(message) for message in granted.messages]
        return [*steps, Join(wanted.topic, wanted.depth)]

    # ------------------------------------------------------------------ what is held

    def _symbols_held(self, stream: str | None) -> list[str]:
        return symbols_of(
            held.topic
            for held in self._held.values()
            if stream is None or held.topic.stream == stream
        )


def _rejection(found: Unknown) -> Rejection:
    return Rejection(
        topic=found.topic or UNSET,
        requested=shown(found.requested),
        code=found.code,
        message=found.message,
    )
