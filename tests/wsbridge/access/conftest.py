"""The key that tokens of tests are signed with."""

from __future__ import annotations

import pytest

from tests.wsbridge.access.tokens import SECRET


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """The secret, in the environment under the name that ``JWT`` refers to."""
    monkeypatch.setenv("MDBUS_TEST_KEY", SECRET)
    return SECRET
