"""Wait for a condition with a deadline, never for a duration."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

_PAUSE_S = 0.005


def wait_until(predicate: Callable[[], T], timeout_s: float = 10.0, what: str | None = None) -> T:
    """Call ``predicate`` until it returns something true, and return that.

    Raises AssertionError after ``timeout_s``, naming ``what`` (default: the predicate).
    """
    deadline = time.monotonic() + timeout_s
    while not (found := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(_message(predicate, what, timeout_s))
        time.sleep(_PAUSE_S)
    return found


async def eventually(
    predicate: Callable[[], Any], timeout_s: float = 10.0, what: str | None = None
) -> Any:
    """As :func:`wait_until`, letting the event loop run; the predicate may be a coroutine."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = predicate()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(_message(predicate, what, timeout_s))
        await asyncio.sleep(_PAUSE_S)


def _message(predicate: object, what: str | None, timeout_s: float) -> str:
    return f"{what or repr(predicate)} did not come true within {timeout_s:g} s"
