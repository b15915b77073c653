"""One WebSocket connection to a venue, kept up for ever: the shell around the venue's handler.

What it owns: connecting, the wait between attempts, the rate of messages sent, rotation. What it
must not do: know what a frame means. It is the only reader of its socket, and it hands frames on
**inside the read callback**: all frames of one read at once, with the time the read returned. There
is no queue between the socket and the handler, hence nothing that could overflow: while a handler
works, the kernel's buffer fills and TCP slows the venue down.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bus.clock import monotonic_ns
from bus.feeds.attempts import AttemptBudget
from bus.feeds.connect_errors import why_not_open
from bus.feeds.errors import RotationFailed
from bus.feeds.link import Link
from bus.feeds.rate_limit import RollingLimit, retry_after_s
from bus.feeds.session_settings import INCURABLE as INCURABLE
from bus.feeds.session_settings import Lost as Lost
from bus.feeds.session_settings import SessionSettings as SessionSettings
from bus.runtime import get_logger

_log = get_logger("feeds.session")

SUCCESSOR_DATA_S: Final = 15.0
"""A connection opened to replace another must bring data within this time."""

_library_log: Final = logging.getLogger("bus.feeds.websockets")
_library_log.setLevel(logging.WARNING)  # its debug lines show URLs, and a URL may hold a key


class FrameHandler(Protocol):
    """What a session calls, always on the event loop, in this order per connection:

    ``opening``, then ``opened``, then any number of ``frames``, then ``lost``.
    """

    def opening(self, session: Session) -> None:
        """An attempt to connect begins."""

    async def opened(self, session: Session, link: Link, successor: bool) -> None:
        """Connected: send the subscriptions. Frames may arrive meanwhile.

        ``successor``: this link replaces one that still runs; frames of both will be seen. The
        old one is closed when this returns and the new one has brought data: whoever has several
        streams waits here for each of them. Raises RotationFailed when the new connection is not
        fit to take over: it is closed, the old one serves on, another is tried.
        """

    def frames(self, link: Link, batch: Sequence[bytes], recv_ns: int) -> int:
        """All frames of one read; returns how many of them carried market data."""

    def lost(self, session: Session, lost: Lost) -> None:
        """The connection ended, or the attempt failed."""


class Session:
    """Keeps one connection to ``url`` open until ``stop``; never gives up.

    ``url`` is asked for at every attempt and may hold a secret: it is never logged; ``shown_url``
    is what logs and status show; ``attempts`` bounds how often it may connect.

    Rotation is make-before-break: the new connection is open and
    subscribed and has brought data before the old one is closed; the handler sees frames of both
    for a moment, told apart by ``link``.
    """

    def __init__(
        self,
        url: Callable[[], str],
        shown_url: str,
        handler: FrameHandler,
        settings: SessionSettings,
        *,
        jitter: Callable[[], float] = random.random,
        tls: ssl.SSLContext | None = None,
        attempts: AttemptBudget | None = None,
    ) -> None:
        self._url = url
        self.shown_url = shown_url
        self._handler = handler
        self._settings = settings
        self._jitter = jitter
        self._tls = tls
        self._attempts = attempts or AttemptBudget()
        self._limits: dict[Link, RollingLimit] = {}
        self._send_lock = asyncio.Lock()
        self._attempt = 0
        self._stopping = asyncio.Event()
        self._rotate = asyncio.Event()
        self._retire_reason = ""
        self._replaced: asyncio.Future[bool] | None = None
        self._candidate: Link | None = None
        self.link: Link | None = None
        self.opened_count = 0
        self.frames_in = 0

    @property
    def name(self) -> str:
        """Which of the feed's connections this is, for logs."""
        return self._settings.name

    @property
    def connected(self) -> bool:
        """Whether a connection is open now."""
        return self.link is not None

    @property
    def reconnects(self) -> int:
        """Connections made after the first."""
        return max(0, self.opened_count - 1)

    def stop(self) -> None:
        """Close, and make ``run`` return."""
        self._stopping.set()

    @property
    def links(self) -> tuple[Link, ...]:
        """The open connections: one, or two while one replaces the other."""
        return tuple(self._limits)

    def rotate(self) -> asyncio.Future[bool]:
        """Replace the connection by a new one, opened before the old one is closed.

        The future's result is whether the new one has taken over; when not, the old one still
        serves (and the attempt is repeated), or the connection has been lost.
        """
        if self._replaced is None or self._replaced.done():
            self._replaced = asyncio.get_running_loop().create_future()
            if self.link is None:
                self._replaced.set_result(False)
            else:
                self._rotate.set()
        return self._replaced

    def abort(self, reason: str) -> None:
        """Give the connection up now (it went silent); the next attempt follows."""
        if self.link is not None and not self._retire_reason:
            self._retire_reason = reason
            self.link.transport.abort()

    async def send(self, link: Link, message: str, *, again: bool = False) -> None:
        """Send one control message, as soon as the rate allows; nothing if the link is gone.

        ``again``: it renews what is subscribed to already, prompted by no frame (for captures).
        """
        async with self._send_lock:
            limit = self._limits.get(link)
            while limit is not None and (wait_s := limit.wait_s(time.monotonic())):
                await asyncio.sleep(wait_s)
                limit = self._limits.get(link)
            if limit is None:
                return
            try:
                await link.send(message, again=again)
            except ConnectionClosed:
                return
            finally:
                limit.note(time.monotonic())  # when it has left: it may have had to wait for that

    async def run(self) -> None:
        """Connect, and connect again, until ``stop``. Raises what a bug in the handler raised."""
        while not self._stopping.is_set():
            self._handler.opening(self)
            lost = await self._one_connection()
            if self._stopping.is_set():
                return
            self._handler.lost(self, lost)
            log = _log.warning if lost.attempt < 5 else _log.error
            log(
                "connection lost",
                connection=self.name,
                url=self.shown_url,
                reason=lost.reason,
                detail=lost.detail,
                retry_in_s=round(lost.retry_in_s, 2),
                attempt=lost.attempt,
            )
            await self._pause(lost.retry_in_s)

    async def _one_connection(self) -> Lost:
        """From one attempt to the end of its connection (or of the last of its successors)."""
        try:
            link = await self._open()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - every failure to connect has one answer: later
            return self._failed(error)
        subscribed = False
        try:
            while True:
                self.link = link
                successor = await self._serve(link, subscribed)
                if successor is None:
                    break
                link, subscribed = successor, True
                self._say_replaced(True)
        finally:
            self.link = None
            self._limits.clear()
            self._say_replaced(False)
        if link.handler_error is not None:
            raise link.handler_error
        return self._ended(link)

    async def _open(self) -> Link:
        told = False
        while (wait_s := self._attempts.take()) > 0:  # of all processes of this host together
            if self._stopping.is_set():
                raise ConnectionAbortedError("stopping")
            if wait_s > 1.0 and not told:
                told = True
                _log.warning("attempts used up", connection=self.name, wait_s=round(wait_s, 1))
            await self._pause(min(wait_s, 1.0))
        url = self._url()
        loopback = (urlsplit(url).hostname or "") in ("127.0.0.1", "localhost", "::1")
        limit = RollingLimit(self._settings.messages_per_s)
        capture, name, shown_url = self._settings.capture, self.name, self.shown_url

        def on_frames(link: Link, batch: Sequence[bytes], recv_ns: int) -> None:
            self.frames_in += len(batch)
            if self._handler.frames(link, batch, recv_ns):
                link.received_data.set()
                self._attempt = 0

        class BoundLink(Link):
            """Knows its session before the handshake ends: frames may come with its answer."""

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.on_frames = on_frames
                self.on_ping = lambda: limit.note(time.monotonic())  # the loop's time lags
                if capture is not None:
                    self.tap = capture.connection(name, shown_url)

        tls: dict[str, Any] = {"ssl": self._tls} if self._tls else {}
        link = await connect(
            url,
            create_connection=BoundLink,
            compression=None,  # market data over one hop: inflating costs more than it saves
            max_size=self._settings.max_frame_bytes,
            open_timeout=self._settings.connect_timeout_s,
            ping_interval=None,  # a ping of ours counts against the venue's message limit
            close_timeout=1.0,
            proxy=None if loopback else True,
            logger=_library_log,
            **tls,
        )
        assert isinstance(link, Link)
        link.last_frame_mono_ns = monotonic_ns()
        self._limits[link] = limit
        self.opened_count += 1
        _log.info("connected", connection=self.name, url=self.shown_url, attempt=self._attempt)
        return link

    async def _serve(self, link: Link, subscribed: bool) -> Link | None:
        """Run one connection to its end; the link that took over when it was rotated out."""
        self._rotate.clear()
        self._retire_reason = ""
        closed = asyncio.ensure_future(link.wait_closed())
        stopped = asyncio.ensure_future(self._stopping.wait())
        succession = asyncio.ensure_future(self._succession(link))
        watched: set[asyncio.Future[Any]] = {closed, stopped, succession}
        if not subscribed:
            watched.add(asyncio.ensure_future(self._handler.opened(self, link, False)))
        pending = set(watched)
        try:
            while not (closed.done() or stopped.done() or succession.done()):
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()  # a bug in the handler's ``opened`` ends the process
            if self._candidate is not None and not (succession.done() or stopped.done()):
                # Cut off while the next one is ready, as after an announced shutdown: go over.
                self.link = self._candidate
                self._limits.pop(link, None)
                await asyncio.wait(
                    {succession, stopped},
                    timeout=SUCCESSOR_DATA_S,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            if succession.done() and link.handler_error is None:
                return succession.result()
            return None
        finally:
            for task in watched:
                task.cancel()
            await asyncio.gather(*watched, return_exceptions=True)
            self._limits.pop(link, None)
            if link.handler_error is None:
                await link.close()

    async def _succession(self, old: Link) -> Link:
        """Wait until the connection is due for replacement; returns its running successor."""
        while True:
            await self._rotation_due(old)
            self._rotate.clear()
            try:
                link = await self._open()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - as in _one_connection
                lost = self._failed(error)
                _log.warning("rotation failed", connection=self.name, detail=lost.detail)
                self._say_replaced(False)
                await asyncio.sleep(lost.retry_in_s)
                self._rotate.set()
                continue
            try:
                self._candidate = link
                await self._handler.opened(self, link, True)
                await asyncio.wait_for(link.received_data.wait(), SUCCESSOR_DATA_S)
            except (TimeoutError, RotationFailed) as error:
                detail = str(error) or "no data came"
                _log.warning("rotation failed", connection=self.name, detail=detail)
                self._say_replaced(False)
                self._limits.pop(link, None)
                await link.close()
                self._rotate.set()
            except BaseException:
                link.transport.abort()
                raise
            else:
                return link
            finally:
                self._candidate = None

    async def _rotation_due(self, link: Link) -> None:
        """Until ``rotate`` is called, the venue announces its end, or it has reached its age."""
        age_s = self._settings.rotate_after_s
        spread = 0.9 + 0.1 * self._jitter()  # not all connections of a host at one moment
        waits = [
            asyncio.ensure_future(self._rotate.wait()),
            asyncio.ensure_future(link.shutdown_announced.wait()),
        ]
        try:
            done, _ = await asyncio.wait(
                waits,
                timeout=age_s * spread if age_s > 0 else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for wait in waits:
                wait.cancel()
        reason = "announced" if waits[1] in done else "asked" if done else "age"
        _log.info("replacing the connection", connection=self.name, reason=reason)

    def _say_replaced(self, done: bool) -> None:
        if self._replaced is not None and not self._replaced.done():
            self._replaced.set_result(done)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    def _failed(self, error: Exception) -> Lost:
        """An attempt that did not lead to a connection."""
        attempt, delay_s = self._next_attempt()
        reason, detail = why_not_open(error)
        if reason in ("unauthorized", "restricted"):
            return Lost(reason, detail, self._settings.unauthorized_retry_s, attempt)
        after_s = 0.0
        if isinstance(error, InvalidStatus):
            after_s = retry_after_s(error.response.headers.get("Retry-After")) or 0.0
        if reason == "limited" and after_s:
            self._attempts.refused(after_s)
        return Lost(reason, detail, max(delay_s, after_s), attempt)

    def _ended(self, link: Link) -> Lost:
        """A connection that was open and is not any more."""
        attempt, delay_s = self._next_attempt()
        if self._retire_reason:
            return Lost(self._retire_reason, "given up by this side", delay_s, attempt)
        detail = f"closed with code {link.close_code}"
        if link.close_reason:
            detail = f"{detail}: {link.close_reason}"
        return Lost("closed", detail, delay_s, attempt)

    def _next_attempt(self) -> tuple[int, float]:
        attempt = self._attempt
        self._attempt += 1
        return attempt, self._settings.backoff.delay_s(attempt, self._jitter())
