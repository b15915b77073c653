"""A client as the middle of the bridge knows it."""

from __future__ import annotations

import pytest

from bus.wsbridge.client import BridgeClient
from tests.wsbridge.makers import make_bridge, multi


def test_only_the_shell_can_make_one() -> None:
    with pytest.raises(TypeError, match="abstract"):
        BridgeClient()  # type: ignore[abstract]


def test_it_is_written_to_by_its_own_write_until_the_shell_says_otherwise() -> None:
    bridge, _ = make_bridge()
    client = multi(bridge)
    assert (client.is_direct, client.route(), client.direct_bytes) == (True, -1, 0)
    client.writes = 0
    client.write_rest(b"", 0)
    assert client.writes == 1
