"""What is agreed in the handshake."""

from __future__ import annotations

import pytest

from bus.wsbridge.profile import agreed, chosen_subprotocol
from bus.wsbridge.routes import Options


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [([], None), (["other"], None), (["mdbus.v2.json"], None),
     (["other", "mdbus.v1.msgpack", "mdbus.v1.json"], "mdbus.v1.msgpack"),
     (["mdbus.bearer.abc", "mdbus.v1.json"], "mdbus.v1.json")],
)  # fmt: skip
def test_the_first_known_one_is_chosen_and_nothing_else_is_claimed(
    offered: list[str], chosen: str | None
) -> None:
    assert chosen_subprotocol(offered) == chosen


def test_the_profiles_differ_in_what_is_on_by_itself() -> None:
    compat, full = agreed(None, Options()), agreed("mdbus.v1.json", Options())
    assert (compat.name, compat.heartbeat_ms, compat.events) == ("compat", 0, False)
    assert (full.name, full.heartbeat_ms, full.events) == ("full", 15_000, True)
    assert not compat.wire.arrays
    assert full.wire.arrays


def test_options_refine_the_profile() -> None:
    compat = agreed(None, Options(codec="msgpack", events=True, heartbeat_ms=5000, batch_ms=20))
    assert (compat.codec, compat.events, compat.heartbeat_ms) == ("msgpack", True, 5000)
    assert compat.wire.batched
    assert agreed("mdbus.v1.json", Options(heartbeat_ms=0)).heartbeat_ms == 0


def test_two_codecs_at_once_are_refused() -> None:
    (problem,) = agreed("mdbus.v1.json", Options(codec="msgpack")).problems
    assert (problem.field, problem.close) == ("codec", True)
