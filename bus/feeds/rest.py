"""REST calls to one venue, in turn and within its budget: the shell around ``WeightLimit``.

Every caller waits here for its turn; nothing is retried here (the caller knows what an old answer
is worth). Secrets travel in headers only, never in a URL, so that no log line can hold one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import httpx
import msgspec

from bus.clock import now_ns
from bus.feeds.capture import Capture
from bus.feeds.errors import RestError
from bus.feeds.rate_limit import (
    BANNED,
    TOO_MANY_REQUESTS,
    WeightLimit,
    WeightStats,
    retry_after_s,
    used_weight,
)
from bus.runtime import get_logger

_log = get_logger("feeds.rest")

MAX_WAIT_S: Final = 5.0
"""Longest nap while waiting for the budget; then it is looked at again."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A 2xx answer: its bytes, and when the last of them arrived (wall-clock ns)."""

    body: bytes
    recv_ns: int


class RestClient:
    """One venue's REST interface.

    ``base_url`` without a final slash; ``headers`` go with every call; ``weight_header`` names the
    response header that tells the weight used this minute ("" = none).
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
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._weight_header = weight_header
        self._capture = capture
        self._limit = WeightLimit(budget_per_minute)
        self._turn = asyncio.Lock()
        self.calls = 0
        self.failures = 0
        loopback = (urlsplit(base_url).hostname or "") in ("127.0.0.1", "localhost", "::1")
        self._client = httpx.AsyncClient(
            timeout=timeout_s,
            headers=dict(headers or {}),
            trust_env=not loopback,
            follow_redirects=False,
        )

    async def get(self, path: str, params: Mapping[str, str | int], *, weight: int = 1) -> Reply:
        """``GET base_url + path``, when the budget allows. Raises RestError, nothing else."""
        await self._wait_for_turn(weight)
        self.calls += 1
        try:
            response = await self._client.get(f"{self.base_url}{path}", params=dict(params))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            self.failures += 1
            if self._capture is not None:
                self._capture.exchange(path, params, 0, {}, b"", now_ns())
            detail = f"GET {path}: {type(error).__name__}: {error}"
            raise RestError("unreachable", detail) from None
        recv_ns = now_ns()
        now_s = asyncio.get_running_loop().time()
        told = (
            used_weight(response.headers.get(self._weight_header)) if self._weight_header else None
        )
        self._limit.answered(told, now_s)
        if self._capture is not None:  # nothing may come between this and the caller's turn
            answer = response.status_code, response.headers, response.content
            self._capture.exchange(path, params, *answer, recv_ns)
        if response.is_success:
            return Reply(response.content, recv_ns)
        self.failures += 1
        raise self._refused(path, response, now_s)

    def allow(self, budget_per_minute: int) -> None:
        """Change the budget; 0 = none."""
        self._limit.allow(budget_per_minute)

    def stats(self) -> WeightStats:
        """The budget now."""
        return self._limit.stats(asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Free the connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _wait_for_turn(self, weight: int) -> None:
        loop = asyncio.get_running_loop()
        async with self._turn:
            while True:
                wait_s = self._limit.wait_s(weight, loop.time())
                if wait_s <= 0:
                    break
                await asyncio.sleep(min(wait_s, MAX_WAIT_S))
            self._limit.spend(weight, loop.time())

    def _refused(self, path: str, response: httpx.Response, now_s: float) -> RestError:
        status = response.status_code
        detail = f"GET {path}: {_reason(response)}"
        after_s = retry_after_s(response.headers.get("Retry-After"))
        if status in (TOO_MANY_REQUESTS, BANNED):
            blocked_s = self._limit.refused(status, after_s, now_s)
            kind = "banned" if status == BANNED else "limited"
            log = _log.error if status == BANNED else _log.warning
            log("all REST calls stopped", status=status, for_s=round(blocked_s, 1), detail=detail)
            return RestError(kind, detail, status=status, retry_after_s=blocked_s)
        if status == 401:
            return RestError("unauthorized", detail, status=status)
        kind = "venue" if status >= 500 else "refused"
        return RestError(kind, detail, status=status, retry_after_s=after_s)


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
