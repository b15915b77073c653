"""The table of streams."""

from __future__ import annotations

from bus.model import STREAMS, StreamKind


def test_each_stream_has_the_kind_that_decides_what_may_be_dropped() -> None:
    kinds = {name: spec.kind for name, spec in STREAMS.items()}
    assert {name for name, kind in kinds.items() if kind is StreamKind.EVENT} == {"trades", "news"}
    assert {name for name, kind in kinds.items() if kind is StreamKind.DELTA} == {"depth"}
    assert kinds["price"] is kinds["orderbook"] is kinds["status"] is StreamKind.STATE
    assert kinds["instrument"] is StreamKind.STATE


def test_names_are_their_own_keys() -> None:
    assert all(name == spec.name for name, spec in STREAMS.items())
