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

from collections.abc import Iterable

from msgspec import UNSET, UnsetType

from bus.wsbridge.access.grant import Access
from bus.wsbridge.access.replies import (
    NOT_ALLOWED,
    auth_required,
    identified,
    not_yet,
    rate_limited,
)
from bus.wsbridge.access.warden import Warden
from bus.wsbridge.actions import Refusal, parse_request
from bus.wsbridge.completion import Completion
from bus.wsbridge.holdings import Holdings, symbols_of
from bus.wsbridge.inquiries import (
    Greeting,
    connected,
    feed_status,
    listing,
    pong,
    removed_entry,
    removed_pattern,
    updated,
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
    Rejection,
    RequestId,
    SetRequest,
    SnapshotRequest,
    StatusRequest,
    Subscribe,
    Subscription,
    Unsubscribe,
    error,
    rfc3339,
)
from bus.wsbridge.naming import only_stream
from bus.wsbridge.planning import other_topic, plan_snapshot, plan_subscribe, plan_unsubscribe
from bus.wsbridge.profile import Profile
from bus.wsbridge.routes import Endpoint, EndpointKind, Options
from bus.wsbridge.steps import (
    Attach,
    Authenticate,
    Close,
    Leave,
    Rewire,
    Send,
    Step,
    Wanted,
)
from bus.wsbridge.strikes import Strikes
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
        profile: Profile | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._options = options
        self._directory = directory
        self._market = market
        self._warden = warden or Warden(limits, Access(limits))
        self._greeting = greeting
        self._fixed: MarketTopic | None = None
        self._strikes = Strikes(STRIKES, STRIKES_WINDOW_NS)
        self.profile = profile or Profile()
        self.holdings = Holdings(options, directory)
        self._completion = Completion(self.holdings, self.profile, options, directory, market)

    # ------------------------------------------------------------------ who it is

    @property
    def _limits(self) -> Limits:
        return self._warden.limits

    @property
    def connection_id(self) -> str:
        """The id that the client was told."""
        return self._greeting.connection_id

    @property
    def is_locked(self) -> bool:
        """Whether the client has still to show a token."""
        return self._warden.is_locked

    @property
    def held_count(self) -> int:
        """Topics and wildcards held."""
        return len(self.holdings.named) + len(self.holdings.patterns)

    def admitted(self, access: Access, id: RequestId | UnsetType, now_ns: int) -> list[Step]:
        """The client has shown a good token: the first one opens, a later one takes its place."""
        is_first = self._warden.is_locked
        self._warden.access = access
        if is_first:
            return self.opened(now_ns, id)
        steps: list[Step] = [Send(self._greet(now_ns, id))]
        warden, holdings = self._warden, self.holdings
        patterns = [t for t in holdings.patterns if not warden.allows_pattern(t)]
        names = {n: j.topic for n, j in holdings.named.items() if not warden.allows(j.topic)}
        if not patterns and not names:
            return steps
        steps += self._remove(names, patterns, now_ns, [], reason="forbidden")
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
            required = auth_required(greeting.connection_id, greeting.server, self._limits, now_ns)
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
            self._fixed = self.holdings.as_asked(found, Subscribe())
        problems = [
            (one, error(one.code, one.message, now_ns=now_ns, field=one.field))
            for one in (*self._options.problems, *self.profile.problems)
        ]
        for problem, refusal in problems:
            if problem.close:  # `connected` would say that it can be used
                return [Send(refusal), Close(CloseCode.UNSUPPORTED_CODEC)]
        steps: list[Step] = [Send(self._greet(now_ns, id))]
        steps += [Send(refusal) for _, refusal in problems]
        if self._fixed is not None:
            request = Subscribe()
            wanted = self.holdings.want(self._fixed, self._fixed.name, request, self._limits)
            steps.append(Attach("open", (wanted,)))
        elif self._options.streams:
            request = Subscribe(topics=list(self._options.streams))
            steps.append(plan_subscribe(request, self.holdings, self._directory, self._warden))
        return steps

    def _greet(self, now_ns: int, id: RequestId | UnsetType) -> Connection:
        message = connected(
            self._greeting,
            self._fixed,
            self._directory,
            self._market,
            self._limits,
            self.profile,
            now_ns,
        )
        return identified(message, self._warden.access, id, now_ns)

    # ------------------------------------------------------------------ requests

    def receive(self, text: bytes, now_ns: int) -> list[Step]:
        """One request of the client (JSON is UTF-8). Never raises for what a client can send."""
        request = parse_request(
            text,
            max_depth=self._limits.max_depth,
            max_history=self._limits.max_history,
            codec=self.profile.codec,
        )
        over = self._warden.spend(now_ns)
        if over is not None:
            return rate_limited(request.id, over, now_ns)
        if not self._warden.lets_through(request):
            return not_yet(request.id, now_ns)
        match request:
            case Refusal():
                return self.refuse(request, now_ns)
            case AuthRequest():
                return [Authenticate(request.token, request.id)]
            case Subscribe():
                return self._subscribe(request, now_ns)
            case Unsubscribe():
                return self._unsubscribe(request, now_ns)
            case SnapshotRequest():
                return plan_snapshot(request, self.holdings, self._directory, self._warden, now_ns)
            case ListRequest():
                held, count = self.holdings.effective(), self.holdings.count(self._limits)
                return [Send(listing(request.id, held, count, self._market, self._limits, now_ns))]
            case Ping():
                return [Send(pong(request, now_ns))]
            case StatusRequest():
                return self._status(request, now_ns)
            case SetRequest():
                return self._set(request, now_ns)

    def refuse(self, refusal: Refusal, now_ns: int) -> list[Step]:
        """An error; ten of class 400 in ten seconds are the end."""
        message = error(
            refusal.code, refusal.message, now_ns=now_ns, id=refusal.id, field=refusal.field
        )
        steps: list[Step] = [Send(message)]
        if ERRORS[refusal.code].status == 400 and self._strikes.add(now_ns):
            steps.append(Close(CloseCode.BAD_REQUEST))
        return steps

    def _subscribe(self, request: Subscribe, now_ns: int) -> list[Step]:
        if self._fixed is not None:
            other = other_topic(request, self._fixed, self.holdings, self._directory)
            if other is not None:
                sentence = f"this connection carries {self._fixed.name} only"
                refusal = error(
                    "fixed_subscription",
                    sentence,
                    now_ns=now_ns,
                    id=request.id,
                    topic=other or UNSET,
                )
                return [Send(refusal)]
        return [plan_subscribe(request, self.holdings, self._directory, self._warden)]

    def _unsubscribe(self, request: Unsubscribe, now_ns: int) -> list[Step]:
        named = (request.symbols, request.symbol, request.topics) != (UNSET, UNSET, UNSET)
        if not named and not request.all and self._fixed is None:
            sentence = "symbols or topics is missing"
            return self.refuse(Refusal("bad_request", sentence, request.id, "symbols"), now_ns)
        removal = plan_unsubscribe(request, self.holdings, self._directory)
        if removal.rejected and not removal.names and not removal.patterns:
            first = removal.rejected[0]
            message = error(first.code, first.message, now_ns=now_ns, id=request.id)
            return [Send(message)]
        steps = self._remove(
            removal.names,
            removal.patterns,
            now_ns,
            removal.rejected,
            id=request.id,
            label=only_stream(request),
        )
        if self._fixed is not None:
            steps.append(Close(CloseCode.BYE))
        return steps

    def _remove(
        self,
        names: dict[str, MarketTopic],
        patterns: Iterable[str],
        now_ns: int,
        rejected: list[Rejection],
        *,
        id: RequestId | UnsetType = UNSET,
        label: str | None = None,
        reason: str | UnsetType = UNSET,
    ) -> list[Step]:
        """Hold these no more: what ends leaves before the acknowledgement, which is a barrier."""
        holdings = self.holdings
        entries = [removed_entry(topic, self._market, now_ns) for topic in names.values()]
        entries += [removed_pattern(holdings.patterns[text]) for text in patterns]
        touched = list(names)
        for text in patterns:
            touched += list(holdings.patterns[text].topics)
            holdings.drop_pattern(text)
        for name in names:
            holdings.drop(name)
        steps: list[Step] = []
        for name in dict.fromkeys(touched):
            join = holdings.best(name)  # a wildcard, or the topic's own subscription, may remain
            steps.append(Leave(name) if join is None else join)
        reply = Subscription(
            action="unsubscribed",
            id=id,
            symbols=symbols_of(names.values()),
            remaining=holdings.symbols(label),
            stream_type=label or UNSET,
            topics=entries,
            rejected=rejected,
            count=holdings.count(self._limits),
            limit=self._limits.subscriptions,
            reason=reason,
            timestamp=rfc3339(now_ns),
        )
        return [*steps, Send(reply)]

    def _status(self, request: StatusRequest, now_ns: int) -> list[Step]:
        known = self._directory.feeds
        names = known if request.feeds is UNSET else tuple(dict.fromkeys(request.feeds))
        for name in names:
            if name not in known:
                sentence = f"there is no feed {shown(name)}; feeds are {', '.join(known)}"
                return self.refuse(Refusal("bad_request", sentence, request.id, "feeds"), now_ns)
        return [
            Send(feed_status(request.id, name, self._directory, self._market, now_ns))
            for name in names
        ]

    def _set(self, request: SetRequest, now_ns: int) -> list[Step]:
        profile = self.profile
        if request.batch_ms is not UNSET:
            profile.batch_ms = request.batch_ms
        if request.heartbeat_ms is not UNSET:
            profile.heartbeat_ms = request.heartbeat_ms
        if request.events is not UNSET:
            profile.events = request.events == "all"
        return [Rewire(), Send(updated(profile, request.id, now_ns))]

    # ------------------------------------------------------------------ completion

    def attached(self, attach: Attach, now_ns: int) -> list[Step]:
        """The steps that complete ``attach``, now that its bus topics are warm or overdue."""
        return self._completion.attached(attach, self._limits, now_ns)

    def arrived(self, wanted: Wanted, now_ns: int) -> list[Step]:
        """The first messages of an owed topic that has turned warm; nothing if it was given up."""
        return self._completion.arrived(wanted, now_ns)

    def created(self) -> list[Step]:
        """The names that are known have changed: what the client's wildcards match now."""
        wanted = [
            one for one in self.holdings.created(self._limits) if self._warden.allows(one.topic)
        ]
        return [Attach("created", tuple(wanted))] if wanted else []
