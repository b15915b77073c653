"""REST calls to one venue, in turn and within its budget: the shell around ``WeightLedger``.

The budget is that of the address: all processes of the host keep it together where a file is given
for it. Every caller waits here for its turn, the most urgent first; nothing is retried here (the
caller knows what an old answer is worth). Secrets travel in headers only, never
in a URL, so that no log line can hold one.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import heapq
import importlib
import importlib.util
import itertools
import os
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from bus.clock import now_ns
from bus.feeds.budget import LOOK_AGAIN_S, Priority, WeightLedger
from bus.feeds.capture import Capture
from bus.feeds.connect_errors import RESTRICTED, refuses_location, why_unreachable
from bus.feeds.errors import RestError
from bus.feeds.feed import Feed
from bus.feeds.rate_limit import (
    BANNED,
    TOO_MANY_REQUESTS,
    RollingLimit,
    WeightStats,
    retry_after_s,
    used_weight,
)
from bus.feeds.shared_file import Busy, Shared
from bus.runtime import get_logger

_log = get_logger("feeds.rest")

R = TypeVar("R")

MAX_WAIT_S: Final = 0.5
"""Longest nap while waiting for the budget; then it is asked for again, which keeps our place."""
BUSY_S: Final = 0.01
"""Nap while another process writes the shared budget."""


@functools.cache
def _unused_tls() -> ssl.SSLContext:
    """For plain http, which needs no certificates: reading them takes 30 ms of every start."""
    return httpx.create_ssl_context(verify=False)


class Reply:
    """A 2xx answer: its bytes, and when the last of them arrived (wall-clock ns).

    A capture keeps the order in which the feed's code gets things, and between an answer's coming
    and its caller's turn the event loop may hand over any number of frames. So the answer is
    recorded by :meth:`take`, at the moment when it is used; one that nobody takes is not recorded.
    """

    __slots__ = ("_body", "_record", "recv_ns")

    def __init__(self, body: bytes, recv_ns: int, record: Callable[[], None] | None = None) -> None:
        self._body = body
        self._record = record
        self.recv_ns = recv_ns

    def take(self) -> bytes:
        """The body. Use it before the next ``await``."""
        record, self._record = self._record, None
        if record is not None:
            record()
        return self._body


class RestClient:
    """One venue's REST interface.

    ``base_url`` without a final slash; ``headers`` go with every call; ``weight_header`` names the
    response header that tells the weight used this minute ("" = none). A venue that refuses this
    location (HTTP 451) is not asked again for ``restricted_retry_s``: calls fail at once.
    """

    def __init__(
        self,
        base_url: str,
        *,
        budget_per_minute: int,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
        weight_header: str = "",
        capture: Capture | None = None,
        shared: Shared[WeightLedger] | None = None,
        calls_per_s: int = 0,
        restricted_retry_s: float = 300.0,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._weight_header = weight_header
        self._capture = capture
        self._budget = budget_per_minute
        self._ledger = shared or Shared(WeightLedger)
        self._calls_per_s = RollingLimit(calls_per_s)
        self._queue: list[tuple[int, int]] = []
        self._asked = itertools.count()
        self._restricted_retry_s = restricted_retry_s
        self._restricted_until_s = 0.0
        self._stats = WeightStats(0, budget_per_minute, 0, 0.0, False)
        self.calls = 0
        self.failures = 0
        loopback = (urlsplit(base_url).hostname or "") in ("127.0.0.1", "localhost", "::1")
        self._client = httpx.AsyncClient(
            timeout=timeout_s,
            headers=dict(headers or {}),
            trust_env=not loopback,
            follow_redirects=False,
            verify=_unused_tls() if base_url.startswith("http://") else True,
        )

    @property
    def waiting(self) -> int:
        """Calls of this process that wait for the budget."""
        return len(self._queue)

    async def get(
        self,
        path: str,
        params: Mapping[str, str | int],
        *,
        weight: int = 1,
        priority: int = Priority.START,
        cause: str = "",
    ) -> Reply:
        """``GET base_url + path``, when the budget allows. Raises RestError, nothing else.

        ``cause`` is kept beside the answer in a capture; see ``Capture.exchange``.
        """
        if (left_s := self._restricted_until_s - time.monotonic()) > 0:
            detail = f"GET {path}: {refuses_location(RESTRICTED)}"
            raise RestError("restricted", detail, status=RESTRICTED, retry_after_s=left_s)
        who = await self._wait_for_turn(weight, priority)
        try:
            return await self._call(who, path, params, cause)
        finally:
            await self._change(lambda ledger: ledger.answered(who, None, time.time()))

    async def _call(
        self, who: str, path: str, params: Mapping[str, str | int], cause: str
    ) -> Reply:
        self.calls += 1
        try:
            response = await self._client.get(f"{self.base_url}{path}", params=dict(params))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            self.failures += 1
            if self._capture is not None:
                self._capture.exchange(path, params, 0, {}, b"", now_ns())
            kind, detail = why_unreachable(error)
            raise RestError(kind, f"GET {path}: {detail}") from None
        recv_ns = now_ns()
        told = (
            used_weight(response.headers.get(self._weight_header)) if self._weight_header else None
        )
        await self._change(lambda ledger: ledger.answered(who, told, time.time()))
        record = None
        if self._capture is not None:
            answer = response.status_code, response.headers, response.content
            record = partial(self._capture.exchange, path, params, *answer, recv_ns, cause)
        if response.is_success:
            return Reply(response.content, recv_ns, record)
        self.failures += 1
        refused = await self._refused(path, response)
        if record is not None:
            record()
        raise refused

    def allow(self, budget_per_minute: int) -> None:
        """Change the budget; 0 = none."""
        self._budget = budget_per_minute

    def stats(self) -> WeightStats:
        """The budget now, that of all processes; as last seen while another one writes it."""
        try:
            self._stats = self._ledger.change(
                lambda ledger: ledger.stats(self._budget, time.time())
            )
        except Busy:
            return self._stats
        return self._stats

    def report(self) -> dict[str, int | float | str]:
        """Counters for a heartbeat."""
        weight = self.stats()
        return {
            "rest_calls": self.calls,
            "rest_failures": self.failures,
            "rest_waiting": self.waiting,
            "rest_weight_used": weight.used,
            "rest_weight_limit": weight.limit,
            "rest_blocked_s": round(weight.blocked_s, 1),
        }

    async def close(self) -> None:
        """Free the connections and the shared budget."""
        await self._client.aclose()
        self._ledger.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _wait_for_turn(self, weight: int, priority: int) -> str:
        """Wait for the budget; returns the name under which the call is granted.

        Of this process only the most urgent call asks, so that a hundred that wait cost as little
        as one.
        """
        loop = asyncio.get_running_loop()
        place = (priority, next(self._asked))
        who = f"{os.getpid()}.{place[1]}.{id(self):x}"
        heapq.heappush(self._queue, place)
        asked = False
        try:
            while True:
                if self._queue[0] != place:
                    await asyncio.sleep(LOOK_AGAIN_S / 2)
                    continue
                wait_s = self._calls_per_s.wait_s(loop.time())
                if wait_s <= 0:
                    asked = True
                    wait_s = await self._change(
                        lambda ledger: ledger.ask(who, weight, priority, self._budget, time.time())
                    )
                if wait_s <= 0:
                    asked = False
                    self._calls_per_s.note(loop.time())
                    return who
                await asyncio.sleep(min(wait_s, MAX_WAIT_S))
        finally:
            self._queue.remove(place)
            heapq.heapify(self._queue)
            if asked:
                await self._change(lambda ledger: ledger.withdraw(who))

    async def _change(self, act: Callable[[WeightLedger], R]) -> R:
        """Change the shared budget, as soon as no other process does."""
        while True:
            try:
                return self._ledger.change(act)
            except Busy:
                await asyncio.sleep(BUSY_S)

    async def _refused(self, path: str, response: httpx.Response) -> RestError:
        status = response.status_code
        detail = f"GET {path}: {_reason(response)}"
        after_s = retry_after_s(response.headers.get("Retry-After"))
        if status in (TOO_MANY_REQUESTS, BANNED):
            blocked_s = await self._change(
                lambda ledger: ledger.refused(status, after_s, time.time())
            )
            kind = "banned" if status == BANNED else "limited"
            log = _log.error if status == BANNED else _log.warning
            log("all REST calls stopped", status=status, for_s=round(blocked_s, 1), detail=detail)
            return RestError(kind, detail, status=status, retry_after_s=blocked_s)
        if status == RESTRICTED:
            self._restricted_until_s = time.monotonic() + self._restricted_retry_s
            detail = f"GET {path}: {refuses_location(status)}"
            _log.error("location refused", detail=detail, retry_in_s=self._restricted_retry_s)
            return RestError(
                "restricted", detail, status=status, retry_after_s=self._restricted_retry_s
            )
        if status == 401:
            return RestError("unauthorized", detail, status=status)
        kind = "venue" if status >= 500 else "refused"
        return RestError(kind, detail, status=status, retry_after_s=after_s)


def client_for(
    feed: Feed, base: str, *, budget_per_minute: int, weight_header: str = ""
) -> RestClient:
    """Calls to a venue's REST interface as a feed's settings want them.

    Within the budget of the address: ``budget_per_minute`` unless the settings name one.
    """
    settings = feed.settings
    return RestClient(
        base,
        budget_per_minute=settings.rest_weight_per_minute or budget_per_minute,
        timeout_s=settings.rest_timeout_s,
        weight_header=weight_header,
        shared=feed.weight_ledger(base),
        capture=feed.capture,
        restricted_retry_s=settings.unauthorized_retry_s,
    )


def prepare_requests() -> None:
    """Ask and answer once over loopback, on a loop of its own: the first request of a process
    imports much and takes 80 ms, all on the way to its first tick. Does nothing where no port can
    be had.
    """
    importlib.import_module("concurrent.futures.thread")
    if importlib.util.find_spec("sniffio") is None:  # else it is looked for with every request
        sys.modules["sniffio"] = None  # type: ignore[assignment]  # how imports say: not there
    with contextlib.suppress(OSError, RestError), asyncio.Runner() as runner:
        runner.run(_rehearse())


async def _rehearse() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        base = f"http://{host}:{port}"
        async with RestClient(base, budget_per_minute=1_000, timeout_s=2.0) as client:
            await client.get("/", {"symbols": '["BTC-USDT"]'})


class _ErrorBody(msgspec.Struct):
    msg: str = ""
    error: str = ""
    code: int | None = None


def _reason(response: httpx.Response) -> str:
    """The venue's own words, from either error shape, or the start of the text."""
    try:
        body = msgspec.json.decode(response.content, type=_ErrorBody)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return response.text[:120] or response.reason_phrase
    words = body.msg or body.error or response.reason_phrase
    return f"{words} (code {body.code})" if body.code is not None else words
