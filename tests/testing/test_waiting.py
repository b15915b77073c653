"""Waiting for a condition ends with it, or with a clear failure."""

from __future__ import annotations

import pytest

from bus.testing import eventually, wait_until


def test_it_returns_what_the_predicate_found() -> None:
    found = iter([0, 0, 7])
    assert wait_until(lambda: next(found)) == 7


def test_it_fails_naming_what_did_not_happen() -> None:
    with pytest.raises(AssertionError, match=r"the moon did not come true within 0.01 s"):
        wait_until(lambda: False, 0.01, "the moon")


async def test_the_async_form_takes_plain_and_async_predicates(loop_kind: str) -> None:
    calls = iter([False, True, "x"])

    async def ask() -> object:
        return next(calls)

    assert await eventually(ask) is True
    assert await eventually(lambda: next(calls)) == "x"
    with pytest.raises(AssertionError, match="never"):
        await eventually(lambda: False, 0.01, "never")
