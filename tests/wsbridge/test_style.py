"""Conflation classes and wires."""

from __future__ import annotations

import pytest

from bus.wsbridge.style import Wire, granted_class_ms


@pytest.mark.parametrize(
    ("asked", "minimum", "granted"),
    [(0, 0, 0), (1, 0, 50), (50, 0, 50), (200, 0, 250), (250.5, 0, 500), (5000, 0, 5000),
     (999_999, 0, 5000), (0, 100, 100), (50, 100, 100), (1000, 100, 1000)],
)  # fmt: skip
def test_what_is_asked_is_granted_as_the_next_class(
    asked: float, minimum: int, granted: int
) -> None:
    assert granted_class_ms(asked, minimum) == granted


def test_a_wire_compresses_what_is_long_and_what_is_batched() -> None:
    plain, packed = Wire(), Wire(deflate=True)
    assert packed.frame(b"x" * 511) == plain.frame(b"x" * 511)
    assert len(packed.frame(b"x" * 512)) < 100
    assert packed.frame(b"x" * 99, always_deflate=True)[0] == 0xC1
    assert Wire("msgpack").frame(b"x")[0] == 0x82
